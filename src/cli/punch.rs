//! `punchd punch`: records a punch through the running daemon.

use std::path::Path;

use serde_json::{Value, json};

use super::arguments::{Arguments, Halt};
use super::call::{call, print};
use super::exit::Failure;
use super::page::Page;
use crate::protocol::record::{HIGHEST_VERIFY, Punch as Row, Temperature};
use crate::rpc::Method;

pub const PAGE: Page = Page {
    name: "punch",
    arguments: "--pin PIN [OPTION...]",
    summary: "record a punch",
    details: "\
Records a punch through the running punchd, and prints its number.

Options:
  --pin PIN           who: up to 24 letters, digits and . _ -
  --time 'YYYY-MM-DD hh:mm:ss'
                      when, by the terminal's clock (default: now)
  --status NUMBER     attendance status, 0 to 255: 0 in (default), 1 out
  --verify NUMBER     how the person was verified, 0 to 28 (default 0)
  --workcode CODE     up to 24 letters and digits (default 0)
  --mask 0|1          whether the person wore a mask
  --temperature NUMBER
                      of the person, in degrees Celsius, 20.0 to 50.0

Example:
  punchd punch --pin 1001 --time '2026-11-02 08:00:00' --status 1
",
};

/// Who, when and how the person was verified: the running punchd checks it, and adds what is
/// missing.
#[derive(Debug, Default, PartialEq)]
pub struct Punch {
    pin: String,
    time: Option<String>,
    status: Option<u8>,
    verify: Option<u8>,
    workcode: Option<String>,
    mask: Option<u8>,
    temperature: Option<f64>,
}

impl Punch {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let mut pin = None;
        let mut punch = Self::default();
        while let Some(argument) = arguments.next()? {
            match argument.option() {
                Some("--pin") => pin = Some(arguments.value()?),
                Some("--time") => punch.time = Some(arguments.value()?),
                Some("--status") => punch.status = Some(arguments.number("--status", 0..=255)?),
                Some("--verify") => {
                    punch.verify = Some(arguments.number("--verify", 0..=HIGHEST_VERIFY.into())?);
                }
                Some("--workcode") => punch.workcode = Some(arguments.value()?),
                Some("--mask") => punch.mask = Some(arguments.number("--mask", 0..=1)?),
                Some("--temperature") => punch.temperature = Some(temperature(arguments)?),
                _ => return Err(argument.unexpected()),
            }
        }
        let pin = pin.ok_or_else(|| Halt::Usage("--pin PIN is missing".into()))?;
        Ok(Self { pin, ..punch })
    }

    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let recorded = self.record(config)?;
        print(&format!("recorded as number {}\n", recorded["seq"]));
        Ok(())
    }

    /// Has the running punchd record it, and returns its answer.
    pub fn record(&self, config: &Path) -> Result<Value, Failure> {
        let Self { pin, time, status, verify, workcode, mask, temperature } = self;
        let params = json!({
            "pin": pin, "time": time, "status": status, "verify": verify, "workcode": workcode,
            "mask": mask, "temperature": temperature
        });
        call(config, Method::Punch, &params)
    }
}

impl From<&Row> for Punch {
    fn from(row: &Row) -> Self {
        Self {
            pin: row.pin.to_string(),
            time: Some(row.time.to_string()),
            status: Some(row.status),
            verify: Some(row.verify),
            workcode: Some(row.workcode.as_str().to_owned()),
            mask: row.screening.mask.map(u8::from),
            temperature: row.screening.temperature.map(Temperature::degrees),
        }
    }
}

/// The value of `--temperature`.
fn temperature(arguments: &mut Arguments) -> Result<f64, Halt> {
    let text = arguments.value()?;
    let degrees = text.parse().ok().and_then(|it| Temperature::new("temperature", it).ok());
    degrees.map(Temperature::degrees).ok_or_else(|| {
        Halt::Usage(format!(
            "--temperature {text} is not a number of degrees Celsius from 20.0 to 50.0"
        ))
    })
}
