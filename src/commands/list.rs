//! Command lists (§12): each command takes effect once, in the order of the list, and its result is
//! stored together with its effect.
//!
//! A short list takes two transactions: the first records in the command log that its commands are
//! about to run, the second holds their effects *and* their results. So a command that is cut off
//! leaves no trace except the recorded attempt, and one that crashes the program is tried three
//! times, not for ever. For a long list the caller records once that a list is being carried out;
//! after a crash the next list is carried out as a short one.

use std::time::{Duration, Instant};

use super::arrival::{Arrival, ListOrigin};
use super::context::Context;
use super::executor::Executor;
use super::outcome::{Effects, End};
use super::pending::{ListedCommand, PendingCommand, excerpt};
use crate::device::Device;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::reply_name;
use crate::protocol::touches::{Also, Touches};
use crate::store::{CommandState, Job, Lane, StoreError};

/// How often a command may be begun that never ends.
const MOST_ATTEMPTS: u32 = 3;
/// How long a part of a list may take: a punch may have to wait that long.
const TIME_SLICE: Duration = Duration::from_millis(20);

/// Carries out command lists.
pub(crate) struct CommandList<'a> {
    context: &'a Context<'a>,
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
            let mut arrival = Arrival::begin(self.context, origin)?;
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
        if effects.audited {
            store.audit_log().trim()?;
        }
        Ok((effects, done))
    }

    /// Carries out commands that waited, as far as nothing is in their way any longer; `TIME_SLICE`
    /// at most. `is_forced`: their time to wait is over.
    ///
    /// # Errors
    /// If the store fails: then none of them has happened.
    pub(crate) fn resume(&mut self, jobs: &[Job], is_forced: bool) -> Result<Effects, StoreError> {
        let (store, begun) = (self.context.store, Instant::now());
        let mut ready: Vec<&Job> = Vec::new();
        store.atomically(|| {
            for job in jobs {
                let blocker = store.jobs().blocker(&job.touches, Some(job.turn))?;
                match blocker.filter(|_| !is_forced) {
                    Some(row) => store.jobs().set_after(job.row, row)?,
                    None => {
                        // A command that crashes the program does so three times, not for ever.
                        store.jobs().add_failures(job.row, 1)?;
                        ready.push(job);
                    }
                }
            }
            Ok::<_, StoreError>(())
        })?;
        let (mut effects, mut reached) = (Effects::default(), 0);
        let done = store.atomically(|| {
            for job in &ready {
                reached += 1;
                self.resume_one(job, &mut effects)?;
                if begun.elapsed() > TIME_SLICE {
                    break;
                }
            }
            if effects.audited { store.audit_log().trim() } else { Ok(()) }
        });
        let rows: Vec<i64> = ready.iter().map(|job| job.row).collect();
        let mut failed = Ok(());
        if done.is_err() {
            self.forget_requests(&rows);
            (effects, reached) = (Effects::default(), 0);
            for job in &ready {
                let done = store.atomically(|| self.resume_one(job, &mut effects));
                let kept = done.or_else(|error| {
                    let row = (job.row, &*job.id, &*job.text);
                    self.refuse_alone(row, error, |code| store.jobs().finish(job.row, code, &[]))
                });
                if let Err(error) = kept {
                    failed = Err(error);
                    break;
                }
                reached += 1;
            }
        }
        // What was not reached was not tried; nor was what the store failed at.
        if reached < rows.len() {
            let _ = store.jobs().void_failures(&rows[reached..]);
        }
        failed.map(|()| effects)
    }

    fn resume_one(&mut self, job: &Job, effects: &mut Effects) -> Result<(), StoreError> {
        let store = self.context.store;
        // With its whole text; this attempt is counted already.
        let Some(job) = &store.jobs().get(job.row)? else { return Ok(()) };
        let command = PendingCommand {
            row: job.row,
            attempts: job.attempts,
            id: &job.id,
            name: reply_name(&job.text),
            text: &job.text,
            is_overlong: false,
            is_resumed: true,
            is_new: false,
        };
        let (end, touches) = self.carry_out(&command, effects)?;
        match end {
            End::Now(code, rest) => store.jobs().finish(job.row, code, &rest),
            End::File(size, file) => {
                store.jobs().remove(job.row)?;
                let code = ReturnCode(i64::try_from(size).unwrap_or(i64::MAX));
                store.command_log().finish_with_file(job.row, code, file.as_bytes(), &file)
            }
            End::Query { is_copied } => {
                let touches = if is_copied { Touches::default() } else { touches };
                store.jobs().start(job, Lane::Query, &touches)
            }
            End::Job(lane) => store.jobs().start(job, lane, &touches),
            End::Waits(after) => store.jobs().set_after(job.row, after),
        }
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
            if effects.audited { store.audit_log().trim() } else { Ok(()) }
        });
        if done.is_err() {
            let rows: Vec<i64> = pending.iter().map(|command| command.row).collect();
            self.forget_requests(&rows);
            effects = Effects { fresh, ..Effects::default() };
            for (nth, command) in pending.iter().enumerate() {
                if let Err(error) = self.finish_alone(command, &mut effects) {
                    // The store failed, not the commands: these attempts do not count.
                    let _ = store.command_log().void_attempts(&rows[nth..]);
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
            if effects.audited { store.audit_log().trim() } else { Ok(()) }
        });
        done.or_else(|error| {
            let row = (command.row, command.id, command.text);
            let keep = |code| store.command_log().finish(command.row, code, &[]);
            self.refuse_alone(row, error, keep)
        })
    }

    /// Refuses a data command that the store failed at, so that it stops no other. Others are tried
    /// again: somebody stands at a door.
    fn refuse_alone(
        &mut self,
        (row, id, text): (i64, &str, &[u8]),
        error: StoreError,
        keep: impl FnOnce(ReturnCode) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.executor.forget(row);
        if reply_name(text) != "DATA" {
            return Err(error);
        }
        let code = match error {
            StoreError::Full => ReturnCode::CAPACITY,
            _ => ReturnCode::STORAGE,
        };
        self.context.store.atomically(|| keep(code))?;
        log::error!("command {id} failed with {code}: {error}: {}", excerpt(text));
        Ok(())
    }

    fn begin_all<'l>(
        &self,
        commands: &[ListedCommand<'l>],
        origin: &ListOrigin,
    ) -> Result<Vec<PendingCommand<'l>>, StoreError> {
        let mut arrival = Arrival::begin(self.context, origin)?;
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
        let is_urgent =
            matches!(end, End::Job(Lane::Door | Lane::Enrolment)) || touches.also == Also::Briefly;
        match end {
            End::Now(code, rest) => store.command_log().finish(command.row, code, &rest),
            End::File(size, file) => store.command_log().finish_with_file(
                command.row,
                ReturnCode(i64::try_from(size).unwrap_or(i64::MAX)),
                file.as_bytes(),
                &file,
            ),
            _ if !is_urgent && !store.jobs().has_room(command.text.len())? => {
                if effects.without_room == 0 {
                    log::warn!(
                        "command {} was refused with {}: as many commands wait or are under way as \
                         the terminal keeps; the server has to send it again later, and those that \
                         follow it",
                        command.id,
                        ReturnCode::BUSY
                    );
                }
                effects.without_room += 1;
                store.queries().end(command.row)?;
                store.audit_log().set_result(command.row, ReturnCode::BUSY)?;
                store.command_log().finish(command.row, ReturnCode::BUSY, &[])
            }
            End::Query { .. } | End::Job(_) | End::Waits(_) => {
                match self.continue_as_job(command, &end, touches) {
                    Err(StoreError::PartFull(why)) => {
                        let code = ReturnCode::CAPACITY;
                        log::warn!("command {} was refused with {code}: {why}", command.id);
                        store.queries().end(command.row)?;
                        store.audit_log().set_result(command.row, code)?;
                        store.command_log().finish(command.row, code, &[])
                    }
                    begun => {
                        begun?;
                        store.command_log().set_in_background(command.row)
                    }
                }
            }
        }
    }

    fn continue_as_job(
        &self,
        command: &PendingCommand<'_>,
        end: &End,
        touches: Touches,
    ) -> Result<(), StoreError> {
        let (jobs, row, text) = (self.context.store.jobs(), command.row, command.text);
        match end {
            // Nothing waits for a query whose rows were copied.
            End::Query { is_copied: true } => {
                jobs.begin(row, text, Lane::Query, &Touches::default())
            }
            End::Query { .. } => jobs.begin(row, text, Lane::Query, &touches),
            End::Job(lane) => jobs.begin(row, text, *lane, &touches),
            End::Waits(after) => jobs.wait(row, text, &touches, *after),
            End::Now(..) | End::File(..) => Ok(()),
        }
    }

    fn carry_out(
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

    /// Takes back what drivers were to do: their requests have not gone out yet.
    fn forget_requests(&mut self, rows: &[i64]) {
        rows.iter().for_each(|row| self.executor.forget(*row));
    }
}
