//! Why an activity failed.

use std::fmt;
use std::time::Duration;

use crate::protocol::ack::NotKnown;
use crate::reactor::Stopping;
use crate::store::StoreError;
use crate::uplink::{Cause, Failure};

/// Why an activity failed, by what follows from it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection to the server failed: the session starts again with a handshake.
    Link(Failure),
    /// The server's answer, or what it sent, was not accepted; the message says why.
    Refused(String),
    /// Rows were refused, or their offers were broken off, and nothing follows from that yet: the
    /// search for the row at fault goes on at once. It is no success either: what failed before
    /// still fails.
    Unsettled,
    /// The server does not know the terminal: a handshake comes first.
    NotKnown(NotKnown),
    /// The server has no time now (429, `Retry-After`), or a proxy stands before it (407).
    Later {
        message: String,
        /// How long the server wants to be left alone, if it said so.
        pause: Option<Duration>,
    },
    /// The store failed.
    Store(StoreError),
}

impl Trouble {
    /// Whether a request was sent and got no answer in time.
    pub(super) fn is_no_answer(&self) -> bool {
        matches!(self, Self::Link(Failure::Broken(Cause::TimedOut, _)))
    }

    /// What to say of it where a row met it and others are taken.
    pub(super) fn of_row(&self) -> String {
        match self {
            Self::NotKnown(NotKnown { of_row, .. }) => of_row.clone(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(failure) => failure.fmt(f),
            Self::Refused(message)
            | Self::NotKnown(NotKnown { message, .. })
            | Self::Later { message, .. } => f.write_str(message),
            Self::Store(error) => error.fmt(f),
            Self::Unsettled => f.write_str("rows were refused"),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Link(failure)
    }
}

impl From<Stopping> for Trouble {
    fn from(stopping: Stopping) -> Self {
        Self::Link(stopping.into())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
