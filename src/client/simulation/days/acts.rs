//! What the device did: a program runs once for each asking, and a driver is asked once.

use std::collections::BTreeSet;

use super::super::world::Act;

#[derive(Default)]
pub(super) struct Acts {
    pub(super) doors: usize,
    pub(super) reboots: usize,
    programs: BTreeSet<String>,
    /// The rows of the commands for which a driver was asked. Each asking has a row of its own.
    rows: BTreeSet<i64>,
}

impl Acts {
    /// The device did this.
    pub(super) fn add(&mut self, act: &Act) -> Result<(), String> {
        match act.what {
            "door" => self.doors += 1,
            "reboot" => self.reboots += 1,
            _ => {}
        }
        let is_request = ["door", "enrolment"].contains(&act.what);
        if is_request && !self.rows.insert(act.row) {
            return Err(format!("a driver was asked twice for one {}", act.what));
        }
        Ok(())
    }

    /// A program was started. Each has a line of its own.
    pub(super) fn start(&mut self, line: String) -> Result<(), String> {
        if self.programs.contains(&line) {
            return Err(format!("{line:?} ran twice"));
        }
        self.programs.insert(line);
        Ok(())
    }

    /// Whether the program of this command was started.
    pub(super) fn has_started(&self, text: &str) -> bool {
        text.strip_prefix("SHELL ").is_some_and(|line| self.programs.contains(line))
    }
}
