//! How the program ends: exit codes as in sysexits.h.

use std::process::ExitCode;

use crate::{daemon, drivers};

/// What an exit code other than 0 means; `punchd help` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something needs a person (`punchd status --check`, `punchd doctor`).
    Attention = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The store is damaged, or a CSV file cannot be imported.
    Data = 65,
    /// What the command line names is not there: a card reader, a row in quarantine.
    NoInput = 66,
    /// No punchd is running, or it refused.
    Unavailable = 69,
    /// The system refused something.
    System = 71,
    /// The store cannot be opened, or a file cannot be written.
    CannotCreate = 73,
    /// This user may not use the driver socket.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

/// What went wrong, for a person, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    /// What happened, to what, what to do.
    pub message: String,
    /// The exit code.
    pub exit: Exit,
}

impl Failure {
    /// A failure that ends the program with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), exit }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the daemon ended by itself.
impl From<daemon::Stop> for Failure {
    fn from(stop: daemon::Stop) -> Self {
        match stop {
            daemon::Stop::Config(message) => Self::new(Exit::Config, message),
            daemon::Stop::Damaged(error) => Self::new(Exit::Data, error.to_string()),
            daemon::Stop::Store(error) => Self::new(Exit::CannotCreate, error.to_string()),
            daemon::Stop::System(message) => Self::new(Exit::System, message),
        }
    }
}

/// Why a driver ended by itself.
impl From<drivers::Stop> for Failure {
    fn from(stop: drivers::Stop) -> Self {
        match stop {
            drivers::Stop::NoReader(message) => Self::new(Exit::NoInput, message),
            drivers::Stop::System(message) => Self::new(Exit::System, message),
        }
    }
}
