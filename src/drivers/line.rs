//! A line that is active or inactive: one of a GPIO chip, or a file that holds 1 or 0.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::gpio::Gpio;

/// The name of a line, as the command line takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    /// A line of a chip, by its offset.
    Gpio(PathBuf, u32),
    /// A file.
    File(PathBuf),
}

impl Spec {
    /// Reads `gpiochip0:17`, `/dev/gpiochip0:17` or `file:/path`.
    ///
    /// # Errors
    /// It is none of these, as text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no line: it must be of the form gpiochip0:17 or file:/path");
        if let Some(path) = text.strip_prefix("file:") {
            return match path {
                "" => Err(wrong()),
                path => Ok(Self::File(path.into())),
            };
        }
        let (chip, offset) = text.rsplit_once(':').ok_or_else(wrong)?;
        let offset = offset.parse().map_err(|_| wrong())?;
        match chip {
            "" => Err(wrong()),
            // A name without a directory is one in /dev; a path stays as it is.
            chip => Ok(Self::Gpio(Path::new("/dev").join(chip), offset)),
        }
    }

    /// The same, but a number alone is a line of the chip of `self`.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub(crate) fn beside(&self, text: &str) -> Result<Self, String> {
        match (self, text.parse()) {
            (Self::Gpio(chip, _), Ok(offset)) => Ok(Self::Gpio(chip.clone(), offset)),
            _ => Self::parse(text),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpio(chip, offset) => write!(f, "{}, line {offset}", chip.display()),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// An open line, inactive at first. When it is closed, most chips keep its level: make it
/// inactive before.
pub(super) struct Line {
    spec: Spec,
    output: Output,
}

enum Output {
    Gpio(Gpio),
    File { active_low: bool },
}

impl Line {
    /// # Errors
    /// A message that names the line.
    pub(super) fn open(spec: &Spec, active_low: bool) -> Result<Self, String> {
        let output = match spec {
            Spec::Gpio(chip, offset) => {
                let explained = |error| format!("{spec}: {}", explain(&error));
                Output::Gpio(Gpio::open(chip, *offset, active_low).map_err(explained)?)
            }
            Spec::File(_) => Output::File { active_low },
        };
        // A line of a chip is inactive when it is opened; a file holds what it held before.
        let line = Self { spec: spec.clone(), output };
        line.set(false)?;
        Ok(line)
    }

    /// Makes it active or inactive.
    ///
    /// # Errors
    /// A message that names the line, which is as it was before.
    pub(super) fn set(&self, active: bool) -> Result<(), String> {
        let done = match (&self.output, &self.spec) {
            (Output::Gpio(gpio), _) => gpio.set(active),
            (Output::File { active_low }, Spec::File(path)) => write(path, active != *active_low),
            (Output::File { .. }, Spec::Gpio(..)) => Ok(()),
        };
        done.map_err(|error| format!("{}: {error}", self.spec))
    }
}

/// Overwrites the two bytes in place: a reader never finds an empty file.
fn write(path: &Path, high: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    // A FIFO without a reader would block otherwise.
    options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    let bytes: &[u8] = if high { b"1\n" } else { b"0\n" };
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    // The file may have been longer. Devices and sysfs refuse this, and do not need it.
    let _ = file.set_len(bytes.len() as u64);
    Ok(())
}

fn explain(error: &io::Error) -> String {
    let why = match error.kind() {
        ErrorKind::ResourceBusy => "another program uses this line (gpioinfo shows which)",
        ErrorKind::InvalidInput => "the chip has no such line, or the line cannot be an output",
        ErrorKind::NotFound => "there is no such chip (gpiodetect lists them)",
        ErrorKind::PermissionDenied => {
            "punchd may not open it: run as a user of its group (often gpio)"
        }
        _ => return error.to_string(),
    };
    format!("{why}: {error}")
}
