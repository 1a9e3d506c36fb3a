//! What the owner lets the server do (`[commands]`), and which of it is put on record.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::command::Command;

/// Commands that are allowed or denied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `DATA UPDATE`, `DATA DELETE`: people and tables.
    Data,
    /// `DATA QUERY`.
    Query,
    /// `CHECK`, `LOG`, `VERIFY SUM`, `INFO`: they only ask.
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
            Command::SetOption(_) | Command::ReloadOptions => Self::Options,
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

    /// Whether what it does is put on record, and not only what was denied: all but what
    /// comes by the thousand.
    pub fn is_audited(self) -> bool {
        !matches!(self, Self::Data | Self::Query | Self::Check)
    }
}

/// What the owner allows, and within which limits.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What is not obeyed.
    pub denied: Vec<Family>,
    /// Directories beneath which the server may write. The first is where a path begins that
    /// is not absolute.
    pub put_dirs: Vec<PathBuf>,
    /// Directories beneath which the server may read.
    pub get_dirs: Vec<PathBuf>,
    /// Beginnings of URLs from which files may come, beside the server itself.
    pub urls: Vec<String>,
    /// Most bytes of one file, either way.
    pub file_bytes: u64,
    /// Bytes that stay free on a disk.
    pub free_bytes: u64,
    /// How long `SHELL` may run.
    pub shell_time: Duration,
    /// Most bytes of its output.
    pub shell_bytes: usize,
    /// The program that installs an upgrade, and its arguments; empty: there is none.
    pub upgrade: Vec<String>,
    /// How long it may run.
    pub upgrade_time: Duration,
}

impl Policy {
    /// Whether a family is obeyed.
    pub fn allows(&self, family: Family) -> bool {
        !self.denied.contains(&family)
    }
}
