//! Commands that wait for commands before them, and how long they may: nothing waits for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::job_end::refuse;
use super::session::Session;
use crate::commands::waits_besides;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::protocol::fields::Refusal;
use crate::protocol::stream::Table;
use crate::protocol::touches::Also;
use crate::store::{Job, StoreError};

/// Commands that are looked at together.
const LOOKED_AT: usize = 32;
/// How long a reboot waits for what stands before it.
const REBOOT: Duration = Duration::from_secs(60);
/// How long it waits while a download grows.
const REBOOT_LONGEST: Duration = Duration::from_secs(600);
/// How long an enrolment waits: the person stands there.
const ENROLMENT: Duration = Duration::from_secs(10);
/// How long rows may not move, while other requests succeed, before what waits for them is not done.
pub(super) const NO_PROGRESS: Duration = Duration::from_secs(600);

/// Commands that wait.
#[derive(Default)]
pub(super) struct WaitingCommands {
    watched: BTreeMap<i64, Watched>,
    /// What can be carried out, and whether its time to wait is over.
    ready: Vec<Job>,
    overdue: Vec<Job>,
    given_up: Vec<Job>,
}

/// A command whose time to wait is limited.
#[derive(Clone, Copy)]
struct Watched {
    since: Duration,
    /// How far what it waits for was, and since when it has not moved.
    progress: i64,
    still_since: Duration,
}

impl WaitingCommands {
    /// Looks for commands that wait no longer. Whether there are any. `wake_at` is set to when the
    /// time of one is over. `others_succeeded_at`: the last time that a request went well.
    pub(super) fn look(
        &mut self,
        context: &Context,
        others_succeeded_at: Duration,
        wake_at: &mut Duration,
    ) -> Result<bool, StoreError> {
        (self.ready, self.overdue, self.given_up) = Default::default();
        let jobs = context.store.jobs();
        if jobs.count()? == 0 {
            self.watched.clear();
            return Ok(false);
        }
        let now = context.clock.monotonic();
        let mut watched = BTreeMap::new();
        for job in jobs.released(LOOKED_AT)? {
            if !waits_besides(&context.store, &job.touches)? {
                self.ready.push(job);
            } else if job.touches.also == Also::Resend {
                let progress = context.store.outbox().resend_position(Table::Attlog)?;
                let seen = self.watch(&mut watched, &job, progress, now);
                if now >= seen.still_since + NO_PROGRESS && others_succeeded_at > seen.still_since {
                    self.given_up.push(job);
                }
            }
        }
        let impatient = jobs.impatient(LOOKED_AT)?;
        let fetched = if impatient.is_empty() { 0 } else { jobs.bytes_fetched()? };
        for job in impatient {
            let seen = self.watch(&mut watched, &job, fetched, now);
            let until = match job.touches.also {
                Also::All => (seen.still_since + REBOOT).min(seen.since + REBOOT_LONGEST),
                _ => seen.since + ENROLMENT,
            };
            if now >= until {
                self.overdue.push(job);
            } else {
                *wake_at = until.min(*wake_at);
            }
        }
        self.watched = watched;
        Ok(!(self.ready.is_empty() && self.overdue.is_empty() && self.given_up.is_empty()))
    }

    fn watch(
        &self,
        watched: &mut BTreeMap<i64, Watched>,
        job: &Job,
        progress: i64,
        now: Duration,
    ) -> Watched {
        let known = self.watched.get(&job.row).copied();
        let mut seen = known.unwrap_or(Watched { since: now, progress, still_since: now });
        if seen.progress != progress {
            (seen.progress, seen.still_since) = (progress, now);
        }
        watched.insert(job.row, seen);
        seen
    }

    /// Carries out what was found.
    pub(super) fn carry_out(
        &mut self,
        context: &mut Context,
        session: &mut Session,
    ) -> Result<(), StoreError> {
        for job in std::mem::take(&mut self.given_up) {
            refuse(context, &job, &not_done())?;
        }
        for (jobs, is_forced) in
            [(std::mem::take(&mut self.ready), false), (std::mem::take(&mut self.overdue), true)]
        {
            if !jobs.is_empty() {
                let effects = context.commands().list().resume(&jobs, is_forced)?;
                session.apply_effects(context, &effects)?;
            }
        }
        Ok(())
    }
}

/// A query brought nothing through: what would delete its rows is not done.
pub(super) fn refuse_deletions_after(context: &mut Context, query: i64) -> Result<(), StoreError> {
    let store = std::rc::Rc::clone(&context.store);
    let Some(job) = store.jobs().get(query)? else { return Ok(()) };
    for waiting in store.jobs().waiting_for(&job)? {
        let deletes = matches!(
            Command::parse(&waiting.text),
            Ok(Command::ClearLog | Command::ClearPhoto | Command::ClearData | Command::Delete(..))
        );
        if deletes {
            refuse(context, &waiting, &not_done())?;
        }
    }
    Ok(())
}

fn not_done() -> Refusal {
    let why = "what it would delete is asked for by the server, but does not get through to it: it is \
               not deleted";
    Refusal::new(ReturnCode::TIMED_OUT, why)
}
