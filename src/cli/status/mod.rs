//! `punchd status`: the state of the running daemon, for a person or as JSON.

mod text;

use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::{Arguments, Halt};
use super::call::{call, print};
use super::exit::{Exit, Failure};
use super::page::Page;
use crate::protocol::foreign;
use crate::rpc::Method;

pub const PAGE: Page = Page {
    name: "status",
    arguments: "[--json] [--watch | --check]",
    summary: "show the state of the running punchd",
    details: "\
Asks the running punchd for its state: the connection to the server, what was
not uploaded yet and why, what the server asked for last.

Options:
  --json              everything, as JSON
  --watch             show it anew every two seconds, until interrupted
  --check             show only what needs a person; the exit code is 1 if there
                      is something, 0 if there is nothing, 69 if no punchd runs,
                      77 if this user may not use the socket

docs/operating.md says what each reason means and what to do.

Example:
  punchd status --check >report 2>&1 || mail -s punchd admin <report
",
};

/// Time between two reports of `--watch`.
const WATCH: Duration = Duration::from_secs(2);

#[derive(Debug, PartialEq)]
pub struct Status {
    json: bool,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Once,
    Watch,
    Check,
}

impl Status {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let mut status = Self { json: false, mode: Mode::Once };
        while let Some(argument) = arguments.next()? {
            let mode = match argument.option() {
                Some("--json") => {
                    status.json = true;
                    continue;
                }
                Some("--watch") => Mode::Watch,
                Some("--check") => Mode::Check,
                _ => return Err(argument.unexpected()),
            };
            if ![Mode::Once, mode].contains(&status.mode) {
                return Err(Halt::Usage("--watch and --check exclude each other".into()));
            }
            status.mode = mode;
        }
        Ok(status)
    }

    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        match self.mode {
            Mode::Once => print(&self.shown(&report(config)?)),
            Mode::Watch => return self.watch(config),
            Mode::Check => return self.check(&report(config)?),
        }
        Ok(())
    }

    fn shown(&self, report: &Value) -> String {
        if self.json { format!("{report:#}\n") } else { text::of(report) }
    }

    /// Shows report after report. A punchd that does not run is shown, too: it may be restarting.
    /// Ends when nobody reads any longer.
    fn watch(&self, config: &Path) -> Result<(), Failure> {
        // Home, and clear what is below.
        let before = if stdout().is_terminal() { "\x1b[H\x1b[J" } else { "" };
        loop {
            let shown = match report(config) {
                Ok(report) if self.json => format!("{report}\n"),
                Ok(report) => format!("{}\n", text::of(&report)),
                Err(failure) if failure.exit == Exit::Unavailable => {
                    format!("punchd: {}\n", failure.message)
                }
                Err(failure) => return Err(failure),
            };
            let mut out = stdout().lock();
            if out
                .write_all(format!("{before}{}", foreign::lines(&shown)).as_bytes())
                .and_then(|()| out.flush())
                .is_err()
            {
                return Ok(());
            }
            sleep(WATCH);
        }
    }

    fn check(&self, report: &Value) -> Result<(), Failure> {
        let attention = &report["attention"];
        let messages: Vec<&str> =
            attention.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if self.json {
            print(&format!("{attention:#}\n"));
        } else {
            messages.iter().for_each(|message| print(&format!("{message}\n")));
        }
        match messages.len() {
            0 => Ok(()),
            count => {
                let things =
                    if count == 1 { "1 thing needs" } else { &format!("{count} things need") };
                Err(Failure::new(Exit::Attention, format!("{things} a person")))
            }
        }
    }
}

fn report(config: &Path) -> Result<Value, Failure> {
    call(config, Method::Status, &json!({}))
}
