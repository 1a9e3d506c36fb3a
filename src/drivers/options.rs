//! What the command line says to the drivers that ship, in any order.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Error, Parser, ValueExt};

use super::line::Spec;
use super::typed::Format;

/// `punchd card-reader`.
#[derive(Clone, Debug)]
pub struct CardReader {
    /// The device, serial line, FIFO or file.
    pub device: Option<PathBuf>,
    /// How long the same card is one punch.
    pub again: Duration,
    /// How numbers are written.
    pub format: Format,
    /// The state that punches carry: 0 in, 1 out.
    pub status: u8,
    /// Speed of a serial line; as it is set, without one.
    pub baud: Option<u32>,
}

impl Default for CardReader {
    fn default() -> Self {
        let again = Duration::from_secs(3);
        Self { device: None, again, format: Format::Auto, status: 0, baud: None }
    }
}

impl CardReader {
    /// Takes an option, with its value from `parser`.
    ///
    /// # Errors
    /// There is no such option, or its value is wrong.
    pub fn set(&mut self, name: &str, parser: &mut Parser) -> Result<(), Error> {
        match name {
            "again" => self.again = Duration::from_secs(within(name, parser, 0..=3600)?),
            "status" => self.status = within(name, parser, 0..=255)? as u8,
            "baud" => self.baud = Some(within(name, parser, 50..=4_000_000)? as u32),
            "hex" => self.format = Format::Hex,
            "hex-reversed" => self.format = Format::HexReversed,
            _ => return Err(Error::UnexpectedOption(format!("--{name}"))),
        }
        Ok(())
    }
}

/// `punchd relay`.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The line of the door.
    pub door: Option<Spec>,
    /// That of the alarm, if there is one: a line, or its number on the door's chip.
    pub alarm: Option<String>,
    /// How long the door's line is active.
    pub pulse: Duration,
    /// Whether both lines are active when they are low.
    pub active_low: bool,
}

impl Default for Relay {
    fn default() -> Self {
        Self { door: None, alarm: None, pulse: Duration::from_secs(3), active_low: false }
    }
}

impl Relay {
    /// Takes an option, with its value from `parser`.
    ///
    /// # Errors
    /// There is no such option, or its value is wrong.
    pub fn set(&mut self, name: &str, parser: &mut Parser) -> Result<(), Error> {
        match name {
            "pulse" => self.pulse = Duration::from_millis(within(name, parser, 10..=600_000)?),
            "alarm" => self.alarm = Some(parser.value()?.string()?),
            "active-low" => self.active_low = true,
            _ => return Err(Error::UnexpectedOption(format!("--{name}"))),
        }
        Ok(())
    }
}

fn within(name: &str, parser: &mut Parser, range: RangeInclusive<u64>) -> Result<u64, Error> {
    let number: u64 = parser.value()?.parse()?;
    if range.contains(&number) {
        return Ok(number);
    }
    Err(format!("--{name} {number} is not within {} to {}", range.start(), range.end()).into())
}
