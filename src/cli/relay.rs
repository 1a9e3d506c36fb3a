//! `punchd relay`: the driver of a door's relay.

use std::path::Path;
use std::time::Duration;

use super::arguments::{Argument, Arguments, Halt};
use super::call::driver_socket;
use super::exit::Failure;
use super::page::Page;
use crate::drivers::{self, Spec, settings};

pub const PAGE: Page = Page {
    name: "relay",
    arguments: "LINE [OPTION...]",
    summary: "run the driver of a door's relay",
    details: "\
Unlocks the door when the server asks for it, until the signal TERM or INT.
LINE is a line of a GPIO chip (gpiochip0:17), or a file that gets 1 and 0
(file:/sys/class/gpio/gpio17/value). The line is inactive at the start and at
the end.

Options:
  --pulse MS          how long the door is unlocked, in milliseconds: 10 to
                      600000 (default 3000)
  --alarm LINE        the line of the alarm: as LINE, or the number of a line
                      of the same chip
  --active-low        the lines are active when they are low

Example:
  punchd relay gpiochip0:17 --alarm 18 --pulse 5000
",
};

/// Reads the options of `punchd relay`.
pub fn parse(arguments: &mut Arguments) -> Result<settings::Relay, Halt> {
    let mut door = None;
    let mut alarm: Option<String> = None;
    let mut pulse = 3000;
    let mut active_low = false;
    while let Some(argument) = arguments.next()? {
        match argument.option() {
            Some("--pulse") => pulse = arguments.number("--pulse", 10..=600_000)?,
            Some("--alarm") => alarm = Some(arguments.value()?),
            Some("--active-low") => active_low = true,
            _ => match argument {
                Argument::Argument(line) if door.is_none() => {
                    door = Some(Spec::parse(&line.to_string_lossy()).map_err(Halt::Usage)?);
                }
                other => return Err(other.unexpected()),
            },
        }
    }
    let door = door.ok_or_else(|| {
        Halt::Usage("LINE is missing: name the line of the relay, such as gpiochip0:17".into())
    })?;
    // The alarm's line can be named by a number that counts on the door's chip.
    let alarm = alarm.map(|line| door.beside(&line)).transpose();
    let alarm = alarm.map_err(|why| Halt::Usage(format!("--alarm: {why}")))?;
    Ok(settings::Relay { door, alarm, pulse: Duration::from_millis(pulse), active_low })
}

pub fn run(config: &Path, settings: &settings::Relay) -> Result<(), Failure> {
    Ok(drivers::relay::run(&driver_socket(config)?, settings)?)
}
