//! What the owner allows the server (`[commands]`), and which commands the audit log records.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::command::Command;
use crate::protocol::file::{Action, SyncTable};
use crate::signature::PublicKey;

/// Commands that are allowed or denied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `DATA UPDATE`, `DATA DELETE`: people and tables.
    Data,
    /// `DATA QUERY`.
    Query,
    /// `CHECK`, `LOG`, `VERIFY SUM`, `INFO`: they change no data.
    Check,
    /// `SET OPTION`, `RELOAD OPTIONS`.
    Options,
    /// `CLEAR LOG`, `CLEAR PHOTO`.
    Clear,
    /// `CLEAR DATA`.
    ClearData,
    /// `PutFile`, and pictures by URL.
    PutFile,
    /// `GetFile`.
    GetFile,
    /// `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO`.
    Enroll,
    /// `AC_UNLOCK`, `AC_UNALARM`.
    Door,
    /// `REBOOT`.
    Reboot,
    /// `SHELL`.
    Shell,
    /// `UPGRADE`.
    Upgrade,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Data,
        Self::Query,
        Self::Check,
        Self::Options,
        Self::Clear,
        Self::ClearData,
        Self::PutFile,
        Self::GetFile,
        Self::Enroll,
        Self::Door,
        Self::Reboot,
        Self::Shell,
        Self::Upgrade,
    ];

    /// The family of a command; `None` for one that this terminal does not know.
    pub fn of(command: &Command<'_>) -> Option<Self> {
        Some(match command {
            Command::Update(..) | Command::Delete(..) => Self::Data,
            Command::Query(..) => Self::Query,
            Command::Check | Command::Log | Command::VerifySum(_) | Command::Info => Self::Check,
            Command::SetOption(_) | Command::SetClock(_) | Command::ReloadOptions => Self::Options,
            Command::ClearLog | Command::ClearPhoto => Self::Clear,
            Command::ClearData => Self::ClearData,
            Command::PutFile(_) => Self::PutFile,
            Command::GetFile(_) => Self::GetFile,
            Command::Enroll(_) => Self::Enroll,
            Command::Unlock | Command::Unalarm => Self::Door,
            Command::Reboot => Self::Reboot,
            Command::Shell(_) => Self::Shell,
            Command::Upgrade(_) => Self::Upgrade,
            Command::Unknown => return None,
        })
    }

    /// Its key in `[commands]`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Query => "query",
            Self::Check => "check",
            Self::Options => "options",
            Self::Clear => "clear",
            Self::ClearData => "clear_data",
            Self::PutFile => "put_file",
            Self::GetFile => "get_file",
            Self::Enroll => "enroll",
            Self::Door => "door",
            Self::Reboot => "reboot",
            Self::Shell => "shell",
            Self::Upgrade => "upgrade",
        }
    }

    /// Whether the audit log records each of its commands, not only those that were denied:
    /// all but those that change no setting and those that come in thousands.
    pub fn is_audited(self) -> bool {
        !matches!(self, Self::Data | Self::Query | Self::Check)
    }
}

/// What the owner allows, and within which limits.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The families that are refused with −1002.
    pub denied: Vec<Family>,
    /// Directories beneath which the server may write. A path that is not absolute is relative
    /// to the first.
    pub put_dirs: Vec<PathBuf>,
    /// Directories beneath which the server may read.
    pub get_dirs: Vec<PathBuf>,
    /// Prefixes of the URLs from which files may come, besides the server itself.
    pub urls: Vec<String>,
    /// Most bytes of one file, fetched or sent.
    pub file_bytes: u64,
    /// Bytes that a fetched file must leave free on the disk.
    pub free_bytes: u64,
    /// How long `SHELL` may run.
    pub shell_time: Duration,
    /// Most bytes of its output.
    pub shell_bytes: usize,
    /// The program that installs an upgrade, and its arguments. Empty if there is none.
    pub upgrade: Vec<String>,
    /// Whose signature an upgrade needs. Without a program that installs it, punchd does so itself.
    pub upgrade_key: Option<PublicKey>,
    /// Whether a signed upgrade may be older than this program.
    pub downgrade: bool,
    /// How long it may run.
    pub upgrade_time: Duration,
}

impl Policy {
    /// The family because of which a command is refused, if it is. Data that comes by file or
    /// URL needs the permission for data too, and a file that replaces all users by none needs
    /// the one for `CLEAR DATA`.
    pub fn denies(&self, command: &Command<'_>) -> Option<Family> {
        let besides: &[Family] = match command {
            Command::PutFile(put) => match put.action {
                Action::Keep => &[],
                Action::Sync { table: SyncTable::Users, records: 0 } => {
                    &[Family::Data, Family::ClearData]
                }
                Action::Sync { .. } | Action::Append => &[Family::Data],
            },
            _ => &[],
        };
        let own = Family::of(command);
        own.into_iter().chain(besides.iter().copied()).find(|family| !self.allows(*family))
    }

    /// Whether commands of a family are carried out.
    pub fn allows(&self, family: Family) -> bool {
        !self.denied.contains(&family)
    }
}
