//! `punchd doctor`: what is wrong between the terminal and its server, and what to change.

use std::path::Path;

use serde_json::Value;

use super::arguments::{Arguments, Halt};
use super::call::print;
use super::exit::{Exit, Failure};
use super::page::Page;
use crate::doctor::{self, Level};

pub const PAGE: Page = Page {
    name: "doctor",
    arguments: "[--json]",
    summary: "find out what keeps the terminal from its server",
    details: "\
Checks the configuration, the clock, the store, and each step on the way to the
server: name, addresses, proxy, TLS, one handshake. Each line is 'ok', a
'warning' or a 'fault', and says what to change. The exit code is 1 if there is
a fault. It works beside a running punchd and without one, and changes nothing
at either end.

Options:
  --json              a list of objects: check, level, message, and remedy where
                      the message does not have it
  -v                  shows each request and its answer, too

Example:
  punchd doctor | grep -v ^ok
",
};

#[derive(Debug, PartialEq)]
pub struct Doctor {
    json: bool,
}

impl Doctor {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let mut doctor = Self { json: false };
        while let Some(argument) = arguments.next()? {
            match argument.option() {
                Some("--json") => doctor.json = true,
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(doctor)
    }

    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let (mut faults, mut found) = (0, Vec::new());
        doctor::examine(config, &mut |finding| {
            faults += usize::from(finding.level == Level::Fault);
            match self.json {
                true => found.push(finding.to_json()),
                false => print(&format!("{finding}\n")),
            }
        });
        if self.json {
            print(&format!("{:#}\n", Value::Array(found)));
        }
        match faults {
            0 => Ok(()),
            1 => Err(Failure::new(Exit::Attention, "there is a fault")),
            _ => Err(Failure::new(Exit::Attention, format!("there are {faults} faults"))),
        }
    }
}
