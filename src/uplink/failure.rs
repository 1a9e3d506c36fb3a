//! Why an exchange failed.

use std::fmt;

use crate::reactor::Stopping;

/// Why an exchange did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The program was asked to stop; nothing is wrong.
    Stopping,
    /// The request did not reach the server as a whole. For a person: the address, what went
    /// wrong there, and what to change.
    Unsent(String),
    /// The request was sent, and no whole answer came; likewise.
    Broken(String),
}

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Broken(message.into())
    }
}

impl From<Stopping> for Failure {
    fn from(_: Stopping) -> Self {
        Self::Stopping
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => Stopping.fmt(f),
            Self::Unsent(message) | Self::Broken(message) => f.write_str(message),
        }
    }
}
