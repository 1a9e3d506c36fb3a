//! Commands that go over many rows: `CLEAR` and `VERIFY SUM`. What takes longer than a time slice is a
//! job, a slice in each step, so that drivers are served between. After a restart it begins again.

use std::time::{Duration, Instant};

use super::context::Context;
use super::error::CommandError;
use super::outcome::Step;
use super::pending::{MOST_ATTEMPTS, TIME_SLICE};
use super::query::Sum;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::protocol::fields::Refusal;
use crate::store::{Cleared, Clearing, Job, Seq, StoreError};

/// What of it may be done together with other commands.
pub(super) const AT_ONCE: Duration = Duration::from_millis(10);
/// Most batches of rows in a time slice, on a fast machine.
const MOST_BATCHES: usize = 15;

/// A command over many rows, and how far it is.
#[derive(Debug)]
pub(crate) enum RowWork {
    Clear(Clearing),
    Sum(Sum),
}

impl RowWork {
    /// Begins a command. Rows after the number `until` came later.
    pub(super) fn begin(
        context: &Context<'_>,
        command: &Command<'_>,
        until: Seq,
    ) -> Result<Self, Refusal> {
        let cleared = match command {
            Command::ClearLog => Cleared::Log,
            Command::ClearPhoto => Cleared::Photos,
            Command::ClearData => Cleared::Data,
            Command::VerifySum(record) => {
                return Sum::begin(context, record, until).map(Self::Sum);
            }
            _ => {
                let why = "it is no command over many rows";
                return Err(Refusal::new(ReturnCode::UNSUPPORTED, why));
            }
        };
        Ok(Self::Clear(Clearing::new(cleared, until)))
    }

    /// Goes on for about so long. What follows `CMD=…` in the answer, once it is done. The caller holds
    /// the transaction.
    pub(super) fn go_on(
        &mut self,
        context: &Context<'_>,
        time: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let begun = Instant::now();
        for _ in 0..MOST_BATCHES {
            let answer = match self {
                Self::Clear(clearing) => clearing.step(context.store.retention())?.then(Vec::new),
                Self::Sum(sum) => sum.step(context)?,
            };
            if answer.is_some() || begun.elapsed() > time {
                return Ok(answer);
            }
        }
        Ok(None)
    }

    /// Takes a job one step on. `under_way`: how far such jobs are, by their rows; they take turns.
    pub(crate) fn step(
        context: &Context<'_>,
        job: &Job,
        command: &Command<'_>,
        under_way: &mut Vec<(i64, Self)>,
    ) -> Result<Step, CommandError> {
        let store = context.store;
        let place = under_way.iter().position(|(row, _)| *row == job.row);
        let mut work = match place.map(|place| under_way.swap_remove(place).1) {
            Some(work) => work,
            None => {
                if job.attempts >= MOST_ATTEMPTS {
                    let why = format!("it was begun {MOST_ATTEMPTS} times and never ended");
                    return Err(Refusal::new(ReturnCode::TIMED_OUT, why).into());
                }
                // One that crashes the program does so three times, not for ever.
                store.jobs().add_failures(job.row, 1)?;
                Self::begin(context, command, job.high_water_mark)?
            }
        };
        let answer = store.atomically(|| {
            store.jobs().forget_failures(job.row)?;
            work.go_on(context, TIME_SLICE)
        });
        match answer {
            Ok(Some(rest)) => Ok(Step::Ended(ReturnCode::DONE, rest)),
            Ok(None) => {
                under_way.push((job.row, work));
                Ok(Step::Continues)
            }
            Err(error) => {
                // The transaction did not take place.
                under_way.push((job.row, Self::begin(context, command, job.high_water_mark)?));
                Err(error.into())
            }
        }
    }
}
