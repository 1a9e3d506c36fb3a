//! Command lists: what is about to run is written down first, and effect and result are one.
//!
//! A short list is carried out in two transactions: the first writes down that the commands
//! are about to run, the second holds their effects *and* their results. So a command that is
//! cut off leaves no trace but that it was tried; one that makes the program fall over is tried
//! three times and not for ever. Of a long list that is written down once for all of it; if it
//! was cut off, the next list is carried out as short ones are.

use std::time::{Duration, Instant};

use md5::{Digest, Md5};

use super::{Effects, End, Executor, PendingCommand, excerpt};
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::{CommandLine, reply_name};
use crate::protocol::lines::Line;
use crate::store::{Begun, StoreError};

/// Most commands that go on at once.
const MOST_JOBS: u64 = 100;
/// How often a command is begun that never comes to an end.
const MOST_ATTEMPTS: u32 = 3;
/// How long a transaction of a long list may be open: so long a punch may have to wait.
const TIME_SLICE: Duration = Duration::from_millis(20);

impl Executor<'_> {
    /// Carries out a chunk of a command list, or the beginning of it; how many lines that was.
    /// Lines that are no commands are left out.
    ///
    /// # Errors
    /// If the store fails: then the rest of the chunk has not happened.
    pub fn run(&mut self, lines: &[Line]) -> Result<(Effects, usize), StoreError> {
        // Where one was cut off before, each runs by itself: if that one makes the program
        // fall over, its neighbours are not counted as tried.
        if lines.len() > 1 && self.any_was_cut_off(lines)? {
            let begun = Instant::now();
            let mut effects = Effects::default();
            for (nth, line) in lines.iter().enumerate() {
                effects.add(self.run_together(std::slice::from_ref(line))?);
                if begun.elapsed() > TIME_SLICE {
                    return Ok((effects, nth + 1));
                }
            }
            return Ok((effects, lines.len()));
        }
        Ok((self.run_together(lines)?, lines.len()))
    }

    /// Carries out the beginning of a long list in one transaction, as much of it as takes
    /// `TIME_SLICE`: then others are to be served. How many lines that was.
    ///
    /// # Errors
    /// If the store fails: then nothing of it has happened.
    pub fn run_swiftly(&mut self, lines: &[Line]) -> Result<(Effects, usize), StoreError> {
        let (store, begun) = (self.store, Instant::now());
        let (mut effects, mut rows) = (Effects::default(), Vec::new());
        let done = store.atomically(|| {
            for (nth, line) in lines.iter().enumerate() {
                for command in self.begin(std::slice::from_ref(line))? {
                    effects.fresh += 1;
                    rows.push(command.row);
                    self.carry_out(&command, &mut effects)?;
                }
                if begun.elapsed() > TIME_SLICE {
                    return Ok(nth + 1);
                }
            }
            Ok::<_, StoreError>(lines.len())
        });
        // What drivers and programs were to do, they were not told yet.
        let done = done.inspect_err(|_| rows.iter().for_each(|row| self.device.forget(*row)))?;
        if effects.audited {
            store.audit_log().trim()?;
        }
        Ok((effects, done))
    }

    fn any_was_cut_off(&self, lines: &[Line]) -> Result<bool, StoreError> {
        for Line::Whole(bytes) | Line::Overlong(bytes) in lines {
            if let Ok(line) = CommandLine::parse(bytes)
                && self.store.command_log().is_unfinished(&digest(bytes), line.id)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run_together(&mut self, lines: &[Line]) -> Result<Effects, StoreError> {
        let pending = self.store.atomically(|| self.begin(lines))?;
        let mut effects = Effects { fresh: pending.len(), ..Effects::default() };
        let store = self.store;
        let done = store.atomically(|| {
            for command in &pending {
                self.carry_out(command, &mut effects)?;
            }
            if effects.audited { self.store.audit_log().trim() } else { Ok(()) }
        });
        if let Err(error) = done {
            // Not the commands' fault: these attempts do not count.
            let rows: Vec<i64> = pending.iter().map(|command| command.row).collect();
            rows.iter().for_each(|row| self.device.forget(*row));
            let _ = self.store.command_log().void_attempts(&rows);
            return Err(error);
        }
        Ok(effects)
    }

    fn begin<'l>(&self, lines: &'l [Line]) -> Result<Vec<PendingCommand<'l>>, StoreError> {
        let mut pending: Vec<PendingCommand<'_>> = Vec::new();
        for line in lines {
            let (bytes, overlong) = match line {
                Line::Whole(bytes) => (bytes, false),
                Line::Overlong(bytes) => (bytes, true),
            };
            let line = match CommandLine::parse(bytes) {
                Ok(line) => line,
                Err(why) => {
                    log::warn!("a line of the server was skipped: {why}: {}", excerpt(bytes));
                    continue;
                }
            };
            let begun =
                self.store.command_log().begin(&digest(bytes), line.id, &reply_name(line.text))?;
            if let Begun::Now { row, attempts } = begun
                && pending.iter().all(|other| other.row != row)
            {
                pending.push(PendingCommand { row, attempts, line, overlong });
            }
        }
        Ok(pending)
    }

    fn carry_out(
        &mut self,
        command: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let end = if command.overlong {
            log::warn!("command {} is too long and was refused", command.line.id);
            End::Now(ReturnCode::TOO_LONG, Vec::new())
        } else if command.attempts > MOST_ATTEMPTS {
            log::error!(
                "command {} never came to an end in {MOST_ATTEMPTS} attempts and is given up: {}",
                command.line.id,
                excerpt(command.line.text)
            );
            End::Now(ReturnCode::TIMED_OUT, Vec::new())
        } else {
            self.authorize(command, effects)?
        };
        match end {
            End::Now(code, rest) => self.store.command_log().finish(command.row, code, &rest),
            End::File(size, file) => self.store.command_log().finish_with_file(
                command.row,
                ReturnCode(i64::try_from(size).unwrap_or(i64::MAX)),
                file.as_bytes(),
                &file,
            ),
            End::Later => self.store.command_log().set_in_background(command.row),
            End::Job(_) if self.store.jobs().count()? >= MOST_JOBS => {
                log::warn!("command {} was refused: {MOST_JOBS} go on already", command.line.id);
                self.store.audit_log().set_result(command.row, ReturnCode::BUSY)?;
                self.store.command_log().finish(command.row, ReturnCode::BUSY, &[])
            }
            End::Job(lane) => {
                self.store.jobs().begin(command.row, command.line.text, lane)?;
                self.store.command_log().set_in_background(command.row)
            }
        }
    }
}

/// By what a command is known again: its id and its text.
fn digest(line: &[u8]) -> [u8; 16] {
    Md5::digest(line).into()
}
