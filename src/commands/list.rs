//! Command lists (§12): each command takes effect once, in the order of the list, and its result is
//! stored together with its effect.
//!
//! A short list takes two transactions: the first records in the command log that its commands are
//! about to run, the second holds their effects *and* their results. So a command that is cut off
//! leaves no trace except the recorded attempt, and one that crashes the program is tried three
//! times, not for ever. For a long list the caller records once that a list is being carried out;
//! after a crash the next list is carried out as a short one.

use std::time::Instant;

use super::arrival::{Arrival, ListOrigin};
use super::context::Context;
use super::error::refused_by_store;
use super::executor::Executor;
use super::outcome::{Effects, End};
use super::pending::{ListedCommand, MOST_ATTEMPTS, PendingCommand, TIME_SLICE, excerpt};
use crate::device::Device;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::reply_name;
use crate::protocol::fields::Refusal;
use crate::protocol::touches::Touches;
use crate::store::{CommandState, Lane, StoreError};

/// Commands of a short list that are carried out in one transaction.
const TOGETHER: usize = 64;

/// Carries out command lists.
pub(crate) struct CommandList<'a> {
    pub(super) context: &'a Context<'a>,
    executor: Executor<'a>,
}

impl<'a> CommandList<'a> {
    pub(super) fn new(context: &'a Context<'a>, device: &'a mut dyn Device) -> Self {
        Self { context, executor: Executor::new(context, device) }
    }

    /// Carries out the commands of a short list, or the first of them. Returns how many.
    ///
    /// # Errors
    /// If the store fails: then the rest has not happened.
    pub(crate) fn run(
        &mut self,
        commands: &[ListedCommand<'_>],
        origin: &ListOrigin,
    ) -> Result<(Effects, usize), StoreError> {
        let commands = &commands[..commands.len().min(TOGETHER)];
        if commands.len() == 1 || !self.any_was_cut_off(commands)? {
            return Ok((self.run_together(commands, origin)?, commands.len()));
        }
        // If the one that was cut off crashes the program again, only its own attempt is counted.
        self.run_each(commands, origin)
    }

    /// Carries out commands in transactions of their own, as many as take `TIME_SLICE`. Returns how many.
    fn run_each(
        &mut self,
        commands: &[ListedCommand<'_>],
        origin: &ListOrigin,
    ) -> Result<(Effects, usize), StoreError> {
        let begun = Instant::now();
        let mut effects = Effects::default();
        for (nth, command) in commands.iter().enumerate() {
            effects.add(self.run_together(std::slice::from_ref(command), origin)?);
            if begun.elapsed() > TIME_SLICE {
                return Ok((effects, nth + 1));
            }
        }
        Ok((effects, commands.len()))
    }

    /// Carries out the first commands of a long list in one transaction, as many as take
    /// `TIME_SLICE`: then drivers are to be served. Returns how many.
    ///
    /// # Errors
    /// If the store fails: then none of them has happened.
    pub(crate) fn run_long(
        &mut self,
        commands: &[ListedCommand<'_>],
        origin: &ListOrigin,
    ) -> Result<(Effects, usize), StoreError> {
        // That the clock is about to be set has to be on disk before: it is not set late.
        let first = commands.iter().position(ListedCommand::may_set_clock);
        if first == Some(0) {
            return Ok((self.run_together(&commands[..1], origin)?, 1));
        }
        let commands = &commands[..first.unwrap_or(commands.len())];
        let (store, begun) = (self.context.store, Instant::now());
        let (mut effects, mut rows) = (Effects::default(), Vec::new());
        let done = store.atomically(|| {
            let mut arrival = Arrival::begin(self.context, origin, Some(ReturnCode::DONE))?;
            let mut done = 0;
            for command in commands {
                if let Some(pending) = arrival.take(command)? {
                    effects.fresh += usize::from(pending.is_new);
                    rows.push(pending.row);
                    self.finish(&pending, &mut effects)?;
                }
                done += 1;
                if begun.elapsed() > TIME_SLICE {
                    break;
                }
            }
            arrival.end()?;
            Ok::<_, StoreError>(done)
        });
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                // None of them happened. Each by itself, so that one fails alone.
                log::warn!("a command list is carried out command by command: {error}");
                self.forget_requests(&rows);
                return self.run_each(commands, origin);
            }
        };
        self.trim_audit_log(&effects)?;
        Ok((effects, done))
    }

    fn any_was_cut_off(&self, commands: &[ListedCommand<'_>]) -> Result<bool, StoreError> {
        let log = self.context.store.command_log();
        for command in commands {
            let known = log.find(&command.digest, command.id)?;
            if known.is_some_and(|known| matches!(known.state, CommandState::CutOff { .. })) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run_together(
        &mut self,
        commands: &[ListedCommand<'_>],
        origin: &ListOrigin,
    ) -> Result<Effects, StoreError> {
        let store = self.context.store;
        let pending = store.atomically(|| self.begin_all(commands, origin))?;
        let fresh = pending.iter().filter(|command| command.is_new).count();
        let mut effects = Effects { fresh, ..Effects::default() };
        let done = store.atomically(|| {
            for command in &pending {
                self.finish(command, &mut effects)?;
            }
            self.trim_audit_log(&effects)
        });
        if done.is_err() {
            let rows: Vec<i64> = pending.iter().map(|command| command.row).collect();
            self.forget_requests(&rows);
            effects = Effects { fresh, ..Effects::default() };
            for (nth, command) in pending.iter().enumerate() {
                if let Err(error) = self.finish_alone(command, &mut effects) {
                    // The store failed, not the commands: these attempts do not count.
                    store.command_log().void_attempts(&rows[nth..]);
                    return Err(error);
                }
            }
        }
        Ok(effects)
    }

    /// Carries out a command in a transaction of its own, after the store failed at it together with
    /// others.
    ///
    /// # Errors
    /// If the store cannot keep a refusal either.
    fn finish_alone(
        &mut self,
        command: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let store = self.context.store;
        let done = store.atomically(|| {
            self.finish(command, effects)?;
            self.trim_audit_log(effects)
        });
        done.or_else(|error| {
            let row = (command.row, command.id, command.text);
            let keep = |code| store.command_log().finish(command.row, code, &[]);
            self.refuse_alone(row, error, keep)
        })
    }

    /// Refuses a data command that the store failed at, so that it stops no other. Others are tried
    /// again: somebody stands at a door.
    pub(super) fn refuse_alone(
        &mut self,
        (row, id, text): (i64, &str, &[u8]),
        error: StoreError,
        keep: impl FnOnce(ReturnCode) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.executor.forget(row);
        if reply_name(text) != "DATA" {
            return Err(error);
        }
        let Refusal { code, why, .. } = refused_by_store(&error);
        self.context.store.atomically(|| keep(code))?;
        log::error!("command {id} failed with {code}: {why}: {}", excerpt(text));
        Ok(())
    }

    fn begin_all<'l>(
        &self,
        commands: &[ListedCommand<'l>],
        origin: &ListOrigin,
    ) -> Result<Vec<PendingCommand<'l>>, StoreError> {
        let mut arrival = Arrival::begin(self.context, origin, None)?;
        let mut all = Vec::new();
        for command in commands {
            all.extend(arrival.take(command)?);
        }
        arrival.end()?;
        Ok(all)
    }

    /// Carries out a command and stores its result.
    fn finish(
        &mut self,
        command: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let store = self.context.store;
        let (end, touches) = self.carry_out(command, effects)?;
        if command.result.is_some() {
            match &end {
                End::Now(code, rest) if command.result == Some(*code) && rest.is_empty() => {
                    return Ok(());
                }
                _ => store.command_log().has_no_result(command.row)?,
            }
        }
        let (lane, after) = match end {
            End::Now(code, rest) => return store.command_log().finish(command.row, code, &rest),
            End::File(code, file) => {
                let path = file.as_bytes();
                return store.command_log().finish_with_file(command.row, code, path, &file);
            }
            End::Query { .. } => (Lane::Query, None),
            End::Job(lane) => (lane, None),
            End::Waits(after) => (Lane::Waiting, Some(after)),
        };
        if !lane.is_urgent(&touches) && !store.jobs().has_room(command.text.len())? {
            if store.jobs().must_say_no_room() {
                log::warn!(
                    "command {} was refused with {}: as many commands wait or are under way as \
                     the terminal keeps; the server has to send it again later, and those that \
                     follow it",
                    command.id,
                    ReturnCode::BUSY
                );
            }
            return self.give_up(command.row, ReturnCode::BUSY);
        }
        match store.jobs().begin(command.row, command.text, lane, &touches, after) {
            Err(StoreError::PartFull(why)) => {
                let code = ReturnCode::CAPACITY;
                log::warn!("command {} was refused with {code}: {why}", command.id);
                self.give_up(command.row, code)
            }
            begun => {
                begun?;
                store.command_log().set_in_background(command.row)
            }
        }
    }

    /// Ends a command that there is no room for in the background.
    fn give_up(&self, row: i64, code: ReturnCode) -> Result<(), StoreError> {
        let store = self.context.store;
        store.queries().end(row)?;
        store.audit_log().set_result(row, code)?;
        store.command_log().finish(row, code, &[])
    }

    pub(super) fn carry_out(
        &mut self,
        command: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<(End, Touches), StoreError> {
        if command.is_overlong {
            log::warn!(
                "command {} was refused with {}: it is longer than {} bytes",
                command.id,
                ReturnCode::TOO_LONG,
                self.context.command_bytes
            );
            return Ok((End::Now(ReturnCode::TOO_LONG, Vec::new()), Touches::default()));
        }
        if command.attempts > MOST_ATTEMPTS {
            log::error!(
                "command {} failed with {}: it was begun {MOST_ATTEMPTS} times and never ended: {}",
                command.id,
                ReturnCode::TIMED_OUT,
                excerpt(command.text)
            );
            return Ok((End::Now(ReturnCode::TIMED_OUT, Vec::new()), Touches::default()));
        }
        self.executor.run(command, effects)
    }

    pub(super) fn trim_audit_log(&self, effects: &Effects) -> Result<(), StoreError> {
        if effects.audited { self.context.store.audit_log().trim() } else { Ok(()) }
    }

    /// Takes back what drivers were to do: their requests have not gone out yet.
    pub(super) fn forget_requests(&mut self, rows: &[i64]) {
        rows.iter().for_each(|row| self.executor.forget(*row));
    }
}
