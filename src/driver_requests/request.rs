//! A request to a driver, and its answer.

use super::service::Service;
use crate::protocol::enroll::{Enroll, Outcome};
use crate::protocol::record::Template;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverRequest {
    /// Enrol somebody.
    Enroll {
        /// Whom and what.
        enroll: Enroll,
        /// Their name, to be shown.
        name: String,
    },
    /// Open the door.
    Unlock,
    /// End the alarm.
    Unalarm,
}

impl DriverRequest {
    /// What a driver has to provide for it.
    pub(crate) fn service(&self) -> Service {
        match self {
            Self::Enroll { enroll, .. } => Service::to_enroll(enroll.sought),
            Self::Unlock => Service::Unlock,
            Self::Unalarm => Service::Unalarm,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The person is enrolled with these.
    Templates(Vec<Template>),
    /// The person is enrolled with a card of this number.
    Card(String),
    /// The person is not enrolled.
    NotEnrolled(Outcome),
    /// The driver cannot do that after all.
    Unable,
    /// The driver failed, disconnected, or sent an answer that cannot be used; a message.
    Failed(String),
    /// The driver did not answer in time.
    Late,
}

/// Why no driver is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// No driver provides it.
    Nobody,
    /// Too many requests are under way.
    TooMany,
}

/// The number of a connected driver, never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverId(pub(crate) u64);

/// A request on its way to a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The `id` of the JSON-RPC request.
    pub(crate) id: u64,
    pub(crate) driver: DriverId,
    pub(crate) request: DriverRequest,
}
