//! Why an exchange failed.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::reactor::Stopping;

/// Why an exchange did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The program was asked to stop; nothing is wrong.
    Stopping,
    /// The request did not reach the server as a whole. For a person: the address, what went
    /// wrong there, and what to change.
    Unsent(Cause, String),
    /// The request was sent, and no whole answer came; likewise.
    Broken(Cause, String),
}

/// What is behind a failure, by how soon the next attempt may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection could be made: refused, no route, network down, name not found. Such an attempt
    /// costs the server nothing, so that the first ones may come sooner than `ErrorDelay`.
    NoConnection,
    /// The same, and a link has come up meanwhile: the next attempt is soon, and at this terminal's place
    /// among others that met the same.
    LinkCame,
    /// The connection was reset or closed before the answer was whole. The first attempts may come
    /// sooner, too.
    Closed,
    /// The proxy takes connections, and makes none to the server. As `Other`.
    Proxy,
    /// Nothing came in time: not even the head of an answer. As `Other`.
    TimedOut,
    /// TLS, an answer that cannot be read or does not come to its end, and all else: the server may have work
    /// with it, or a person has to change something.
    Other,
}

impl Failure {
    /// A failure of a request that was sent, not for want of a connection.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Broken(Cause::Other, message.into())
    }

    /// The same with another message.
    #[cfg(feature = "exchange")]
    #[must_use]
    pub fn with_message(self, message: String) -> Self {
        match self {
            Self::Stopping => Self::Stopping,
            Self::Unsent(cause, _) => Self::Unsent(cause, message),
            Self::Broken(cause, _) => Self::Broken(cause, message),
        }
    }

    /// What is behind it; none if the program is to stop.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Stopping => None,
            Self::Unsent(cause, _) | Self::Broken(cause, _) => Some(*cause),
        }
    }
}

impl Cause {
    /// What is behind an error of a socket.
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Closed,
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable => Self::NoConnection,
            _ => Self::Other,
        }
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
            Self::Unsent(_, message) | Self::Broken(_, message) => f.write_str(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_not_there_and_one_that_closed_are_told_from_all_else() {
        for (kind, cause) in [
            (ErrorKind::ConnectionRefused, Cause::NoConnection),
            (ErrorKind::ConnectionReset, Cause::Closed),
            (ErrorKind::ConnectionAborted, Cause::Closed),
            (ErrorKind::BrokenPipe, Cause::Closed),
            (ErrorKind::UnexpectedEof, Cause::Closed),
            (ErrorKind::HostUnreachable, Cause::NoConnection),
            (ErrorKind::NetworkUnreachable, Cause::NoConnection),
            (ErrorKind::NetworkDown, Cause::NoConnection),
            (ErrorKind::AddrNotAvailable, Cause::NoConnection),
            (ErrorKind::TimedOut, Cause::Other),
            (ErrorKind::InvalidData, Cause::Other),
            (ErrorKind::Other, Cause::Other),
        ] {
            assert_eq!(Cause::of_io(&kind.into()), cause, "{kind:?}");
        }
        assert_eq!(Failure::new("no").cause(), Some(Cause::Other));
        assert_eq!(Failure::Stopping.cause(), None);
    }
}
