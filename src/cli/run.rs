//! `punchd run`: the daemon.

use std::path::Path;

use super::arguments::{Arguments, Halt};
use super::exit::Failure;
use super::page::Page;
use crate::daemon;

pub const PAGE: Page = Page {
    name: "run",
    arguments: "[--set-aside-damaged-store]",
    summary: "run the terminal, until the signal TERM or INT",
    details: "\
Runs the terminal until the signal TERM or INT. It logs to standard error.
The signal HUP makes it read the configuration again.

Options:
  --set-aside-damaged-store
                      if the store is damaged, rename it and start an empty
                      one; without this option, on_damage in [limits]
                      decides: 'stop' (the default) ends with exit code 65
                      and does not touch the store
",
};

#[derive(Debug, PartialEq)]
pub struct Run {
    set_aside_damaged_store: bool,
}

impl Run {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let mut run = Self { set_aside_damaged_store: false };
        while let Some(argument) = arguments.next()? {
            match argument.option() {
                Some("--set-aside-damaged-store") => run.set_aside_damaged_store = true,
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(run)
    }

    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        Ok(daemon::run(config, self.set_aside_damaged_store)?)
    }
}
