//! What the command line sets for the drivers that ship.

use std::path::PathBuf;
use std::time::Duration;

use super::line::Spec;
use super::typed::Format;

/// For `punchd card-reader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CardReader {
    /// The device, serial line, FIFO or file.
    pub(crate) device: PathBuf,
    /// How long the same card is one punch.
    pub(crate) again: Duration,
    /// How numbers are written.
    pub(crate) format: Format,
    /// The attendance status of punches: 0 in, 1 out.
    pub(crate) status: u8,
    /// Speed of a serial line in baud; none leaves it as it is set.
    pub(crate) baud: Option<u32>,
}

/// For `punchd relay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    /// The line of the door.
    pub(crate) door: Spec,
    /// That of the alarm, if there is one.
    pub(crate) alarm: Option<Spec>,
    /// How long the door's line is active.
    pub(crate) pulse: Duration,
    /// Whether both lines are active when they are low.
    pub(crate) active_low: bool,
}
