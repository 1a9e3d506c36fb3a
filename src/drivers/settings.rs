//! What the command line sets for the drivers that ship.

use std::path::PathBuf;
use std::time::Duration;

use super::line::Spec;
use super::typed::Format;

/// For `punchd card-reader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardReader {
    /// The device, serial line, FIFO or file.
    pub device: PathBuf,
    /// How long the same card is one punch.
    pub again: Duration,
    /// How numbers are written.
    pub format: Format,
    /// The attendance status of punches: 0 in, 1 out.
    pub status: u8,
    /// Speed of a serial line in baud; none leaves it as it is set.
    pub baud: Option<u32>,
}

/// For `punchd relay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The line of the door.
    pub door: Spec,
    /// That of the alarm, if there is one.
    pub alarm: Option<Spec>,
    /// How long the door's line is active.
    pub pulse: Duration,
    /// Whether both lines are active when they are low.
    pub active_low: bool,
}
