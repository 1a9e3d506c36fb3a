//! Commands that waited for others of their list, or of an earlier one, and are carried out now.

use std::time::Instant;

use super::list::CommandList;
use super::order::waits_besides;
use super::outcome::{Effects, End};
use super::pending::{PendingCommand, TIME_SLICE};
use crate::protocol::command::reply_name;
use crate::store::{Job, Lane, StoreError};

/// Commands that were released together, as many as are looked at.
const FOLLOWERS: usize = 32;

impl CommandList<'_> {
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
                // Each look may go over all that wait. The rest is looked at the next time.
                if begun.elapsed() > TIME_SLICE {
                    break;
                }
            }
            Ok::<_, StoreError>(())
        })?;
        let (mut effects, mut reached) = (Effects::default(), 0);
        let (rows, mut followed): (Vec<i64>, _) =
            (ready.iter().map(|job| job.row).collect(), Vec::new());
        // What crashes the program is found only if nothing else is carried out with it.
        let may_be_followed = !is_forced && ready.iter().all(|job| job.attempts == 0);
        let done = store.atomically(|| {
            for job in &ready {
                reached += 1;
                self.resume_one(job, &mut effects)?;
                if begun.elapsed() > TIME_SLICE {
                    return self.trim_audit_log(&effects);
                }
            }
            if may_be_followed {
                self.follow(&mut effects, &mut followed, begun)?;
            }
            self.trim_audit_log(&effects)
        });
        let mut failed = Ok(());
        if done.is_err() {
            self.forget_requests(&rows);
            self.forget_requests(&followed);
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

    /// Carries out what waited for the commands that were just carried out, and so on: thousands may
    /// wait for one another, and each transaction is a commit. Their rows are added to `rows`.
    fn follow(
        &mut self,
        effects: &mut Effects,
        rows: &mut Vec<i64>,
        begun: Instant,
    ) -> Result<(), StoreError> {
        let store = self.context.store;
        loop {
            let mut is_any = false;
            for job in store.jobs().released(FOLLOWERS)? {
                if job.attempts > 0 || waits_besides(store, &job.touches)? {
                    continue;
                }
                is_any = true;
                match store.jobs().blocker(&job.touches, Some(job.turn))? {
                    Some(row) => store.jobs().set_after(job.row, row)?,
                    None => {
                        rows.push(job.row);
                        self.resume_one(&job, effects)?;
                    }
                }
                if begun.elapsed() > TIME_SLICE {
                    return Ok(());
                }
            }
            if !is_any {
                return Ok(());
            }
        }
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
            result: None,
            is_new: false,
        };
        let (end, touches) = self.carry_out(&command, effects)?;
        match end {
            End::Now(code, rest) => store.jobs().finish(job.row, code, &rest),
            End::File(code, file) => {
                store.jobs().remove(job.row)?;
                store.command_log().finish_with_file(job.row, code, file.as_bytes(), &file)
            }
            End::Query { .. } => store.jobs().start(job, Lane::Query, &touches),
            End::Job(lane) => store.jobs().start(job, lane, &touches),
            End::Waits(after) => store.jobs().set_after(job.row, after),
        }
    }
}
