//! What the loop does, one at a time. Each activity has a back-off of its own.

use crate::protocol::stream::Table;

/// One thing that the loop can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Activity {
    /// The handshake: at the start of a session, and when the server asks for one.
    Handshake,
    /// A question of a driver to the server.
    ServerQuery,
    /// Results of commands.
    Replies,
    /// A result that the server refused before.
    RefusedReplies,
    /// A batch of a table.
    Upload(Table),
    /// A pack of the answer to `DATA QUERY`.
    Query,
    /// Asking for commands.
    Poll,
    /// Waiting for the answer to a poll that the server holds, or that comes slowly.
    HeldPoll,
    /// Pushing the device's options.
    Options,
    /// Rebooting the device. No exchange.
    Reboot,
    /// Commands that waited for others, and wait no longer. No exchange.
    Waiting,
    /// The next step of a job, by the row of its command.
    Job(i64),
    /// The next step of a job that a driver carries out, likewise. No exchange.
    DriverRequest(i64),
    /// Reading from the store what has work. The scheduler never chooses it.
    Store,
}

impl Activity {
    /// Whether the server answers it.
    pub(super) fn is_exchange(self) -> bool {
        !matches!(
            self,
            Self::Reboot | Self::Waiting | Self::Job(_) | Self::DriverRequest(_) | Self::Store
        )
    }

    /// Whether it waits while a poll is held.
    pub(super) fn waits_for_polls(self) -> bool {
        matches!(
            self,
            Self::Options | Self::Query | Self::Job(_) | Self::RefusedReplies | Self::Upload(_)
        )
    }

    /// The table that it uploads, if it is an upload.
    pub(super) fn table(self) -> Option<Table> {
        match self {
            Self::Upload(table) => Some(table),
            _ => None,
        }
    }

    /// As text, for the log and for `punchd status`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Handshake => "connecting",
            Self::ServerQuery => "asking the server for a driver",
            Self::Replies => "sending results of commands",
            Self::RefusedReplies => "sending a result that the server refused before",
            Self::Upload(Table::Attlog) => "uploading punches",
            Self::Upload(Table::Operlog) => "uploading operations, users and templates",
            Self::Upload(Table::Biodata) => "uploading unified templates",
            Self::Upload(Table::Idcard) => "uploading identity cards",
            Self::Upload(Table::Errorlog) => "uploading errors",
            Self::Upload(Table::Attphoto) => "uploading photos",
            Self::Query => "answering a query",
            Self::Poll | Self::HeldPoll => "asking for commands",
            Self::Options => "pushing the options",
            Self::Reboot => "rebooting",
            Self::Waiting | Self::Job(_) => "carrying out a command",
            Self::DriverRequest(_) => "asking a driver",
            Self::Store => "reading the store",
        }
    }
}
