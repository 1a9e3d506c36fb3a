//! What all commands work with besides the device itself.

use super::profile::DeviceProfile;
use super::unknown_keys::UnknownKeys;
use crate::policy::Policy;
use crate::protocol::codes::Language;
use crate::protocol::fields::Refusal;
use crate::protocol::time::LocalTime;
use crate::store::{ClockReading, Moment, Store};

/// What sets the clock for a command.
pub(crate) trait ClockSetter {
    /// Sets it to a local time, which it has at this moment.
    fn set(&self, local: LocalTime) -> Result<(), Refusal>;
}

/// The store, the settings and the time by which a command is carried out.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a Store,
    /// What the terminal says about itself.
    pub(crate) profile: &'a DeviceProfile,
    pub(crate) language: Language,
    /// Whether `VERIFY SUM` is answered with `AttlogCount` too, as some servers want it.
    pub(crate) attlog_count: bool,
    pub(crate) policy: &'a Policy,
    /// The URL of the server that sent the command.
    pub(crate) server: &'a str,
    /// Seconds since 1970, if the clock is set.
    pub(crate) now: Option<i64>,
    /// The same time as the journals store it.
    pub(crate) moment: Moment,
    /// The same time as the command log measures it.
    pub(crate) clock: ClockReading<'a>,
    /// What sets the clock.
    pub(crate) clock_setter: &'a dyn ClockSetter,
    /// The keys that meant nothing so far.
    pub(crate) unknown_keys: &'a UnknownKeys,
    /// Longest command in bytes.
    pub(crate) command_bytes: usize,
}
