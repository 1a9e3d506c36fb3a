//! `punchd card-reader`: the driver of a card reader.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::arguments::{Argument, Arguments, Halt};
use super::call::driver_socket;
use super::exit::Failure;
use super::page::Page;
use crate::drivers::{self, Format, settings};

pub const PAGE: Page = Page {
    name: "card-reader",
    arguments: "DEVICE [OPTION...]",
    summary: "run the driver of a card reader that types like a keyboard",
    details: "\
Reads cards from DEVICE and has the running punchd record a punch for each,
until the signal TERM or INT. DEVICE is an input device (/dev/input/event0),
a serial line (/dev/ttyS1), a FIFO or a file.

Options:
  --again SECONDS     the same card within this time is the same punch:
                      0 to 3600 (default 3)
  --status NUMBER     attendance status of the punches, 0 to 255: 0 for a
                      reader at the entrance (default), 1 at the exit
  --hex               the reader types hexadecimal numbers
  --hex-reversed      the same, the lowest byte first
  --baud RATE         speed of a serial line, 50 to 4000000 (default: as it
                      is set already)

Example:
  punchd card-reader /dev/ttyS1 --baud 9600 --status 1
",
};

/// Reads the options of `punchd card-reader`.
pub fn parse(arguments: &mut Arguments) -> Result<settings::CardReader, Halt> {
    let mut device: Option<OsString> = None;
    let (mut again, mut format, mut status, mut baud) = (3, Format::Auto, 0, None);
    while let Some(argument) = arguments.next()? {
        match argument.option() {
            Some("--again") => again = arguments.number("--again", 0..=3600)?,
            Some("--status") => status = arguments.number("--status", 0..=255)?,
            Some("--baud") => baud = Some(arguments.number("--baud", 50..=4_000_000)?),
            Some("--hex") => format = Format::Hex,
            Some("--hex-reversed") => format = Format::HexReversed,
            _ => match argument {
                Argument::Argument(name) if device.is_none() => device = Some(name),
                other => return Err(other.unexpected()),
            },
        }
    }
    let device = device.ok_or_else(|| {
        Halt::Usage("DEVICE is missing: name the device of the card reader".into())
    })?;
    let again = Duration::from_secs(again);
    Ok(settings::CardReader { device: device.into(), again, format, status, baud })
}

pub fn run(config: &Path, settings: &settings::CardReader) -> Result<(), Failure> {
    Ok(drivers::card_reader::run(&driver_socket(config)?, settings)?)
}
