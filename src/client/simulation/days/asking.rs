//! One asking of a command: its text, and what may be its answer.

use super::plan::Ask;

/// One asking of a command.
pub(super) struct Asking {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) ask: Ask,
    /// The number of the asking; texts have it.
    pub(super) nth: usize,
    /// It was in an answer, or a part of one, that reached the terminal.
    pub(super) was_given: bool,
    /// All of it certainly reached the terminal.
    pub(super) was_heard: bool,
    /// Its effect was seen.
    pub(super) is_done: bool,
    /// It deletes a person who was not there, and whom a driver has named since.
    pub(super) is_unseen: bool,
    /// What the terminal answered.
    pub(super) code: Option<String>,
    /// The terminal knows that the server has its answer.
    pub(super) is_settled: bool,
    /// It died in the moment in which it heard so.
    pub(super) may_come_again: bool,
    /// Complete answers that reached the terminal since: without it, and without any command.
    pub(super) came_without: bool,
    /// It is sent once more by a timer, and is no new asking.
    pub(super) is_repeated: bool,
    /// Punches that were in the log before it was given.
    pub(super) log_before: usize,
}

impl Ask {
    /// The nth command; it has the number in it where that shows what it did.
    pub(super) fn text(&self, nth: usize, file: &str) -> String {
        match self {
            Self::Name(pin) => format!("DATA UPDATE USERINFO PIN={pin}\tName=C{nth}"),
            Self::Delete(pin) => format!("DATA DELETE USERINFO PIN={pin}"),
            Self::Shell => format!("SHELL echo S{nth} > {file}"),
            Self::Unlock | Self::Button => "AC_UNLOCK".into(),
            Self::Reboot => "REBOOT".into(),
            Self::Check => "CHECK".into(),
            Self::Log => "LOG".into(),
            Self::Info => "INFO".into(),
            Self::ClearLog => "CLEAR LOG".into(),
            Self::QueryLog => {
                "DATA QUERY ATTLOG StartTime=2020-01-01 00:00:00\tEndTime=2038-01-01 00:00:00"
                    .into()
            }
            Self::QueryUsers => "DATA QUERY USERINFO".into(),
            Self::GetFile => format!("GetFile {file}"),
            Self::PutFile => format!("PutFile put{nth}.bin\t{file}.put"),
            Self::Unknown => format!("NONSENSE {nth}"),
            Self::Option => format!("SET OPTION Own{}={nth}", nth % 3),
            Self::Enroll(pin) => format!("ENROLL_FP PIN={pin}\tFID=1\tRETRY=1\tOVERWRITE=1"),
        }
    }
}

impl Asking {
    /// Whether this may be the answer.
    pub(super) fn may_be(&self, code: &str) -> bool {
        match self.ask {
            Ask::Name(_) | Ask::Delete(_) | Ask::Check | Ask::Log | Ask::Option => code == "0",
            Ask::Reboot => code == "0" || code == "-1003",
            Ask::Shell | Ask::Unlock | Ask::Button => code == "0" || code == "-1003",
            Ask::Unknown => code == "-1002",
            Ask::Enroll(_) => ["0", "-10", "-1003", "-1"].contains(&code),
            Ask::ClearLog => code == "0" || code == "-1003",
            Ask::QueryLog | Ask::QueryUsers => code == "0" || code == "-1003",
            Ask::Info | Ask::GetFile | Ask::PutFile => true,
        }
    }
}
