//! Several records in one `DATA UPDATE` or `DATA DELETE` (§12.2 joins them with LF): each is carried
//! out by itself. Many of them are a job, a time slice in each step, so that drivers are served
//! between them. After a restart such a job begins again: what was done is done again.

use std::time::Instant;

use super::data::{Data, Updated};
use super::error::{CommandError, data_error, refused_by_store};
use super::outcome::Step;
use super::pending::{MOST_ATTEMPTS, TIME_SLICE};
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::protocol::data_table::DataTable;
use crate::protocol::fields::Refusal;
use crate::protocol::records::records;
use crate::store::{Job, StoreError};

/// Bytes of records that are carried out together with other commands: about a hundred people.
const FEW: usize = 8 << 10;

/// Whether a command has several records.
pub(crate) fn is_joined(records: &[u8]) -> bool {
    records.contains(&b'\n')
}

/// Whether the records of a command take so long that they are carried out step by step.
pub(super) fn are_many(records: &[u8]) -> bool {
    records.len() > FEW && is_joined(records)
}

/// How far the records of a command are.
#[derive(Debug, Default)]
pub(crate) struct RecordProgress {
    /// The job whose records they are.
    row: Option<i64>,
    /// Records that were carried out: those that were done, and those that were refused.
    done: usize,
    refused: usize,
    /// Bytes of the records that were carried out.
    offset: usize,
    /// The first that was refused, by its number from 1.
    first: Option<(usize, Refusal)>,
}

impl RecordProgress {
    /// Carries out the next records, as many as take [`TIME_SLICE`] if `is_sliced`. Whether none is
    /// left.
    fn advance(
        &mut self,
        joined: &[u8],
        is_sliced: bool,
        mut each: impl FnMut(&[u8]) -> Result<(), CommandError>,
    ) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let Some(rest) = joined.get(self.offset..) else { return Ok(true) };
        for record in records(rest) {
            match each(record) {
                Ok(()) => self.done += 1,
                Err(CommandError::Refused(refusal)) => {
                    self.refused += 1;
                    let nth = self.done + self.refused;
                    self.first.get_or_insert((nth, refusal));
                }
                Err(CommandError::Store(error)) => return Err(error),
            }
            self.offset += record.len() + 1;
            if is_sliced && begun.elapsed() > TIME_SLICE {
                return Ok(self.offset > joined.len());
            }
        }
        Ok(true)
    }

    /// What came of all records: the first refusal.
    fn result(self) -> Result<(), Refusal> {
        let all = self.done + self.refused;
        match self.first {
            None => Ok(()),
            Some((_, refusal)) if all == 1 => Err(refusal),
            Some((nth, refusal)) => {
                let why = format!(
                    "{} of {all} records were refused, the first is record {nth}: {}",
                    self.refused, refusal.why
                );
                Err(Refusal { why, ..refusal })
            }
        }
    }

    /// Whether some were done and others were refused.
    fn is_partly(&self) -> bool {
        self.done > 0 && self.refused > 0
    }
}

impl Data<'_> {
    /// Carries out the records of a command together. Returns the first refusal, and whether others
    /// were done all the same. The caller holds the transaction.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn take_all(
        self,
        command: &Command<'_>,
    ) -> Result<(Result<(), Refusal>, bool), StoreError> {
        let mut progress = RecordProgress::default();
        self.take(command, false, &mut progress)?;
        let is_partly = progress.is_partly();
        Ok((progress.result(), is_partly))
    }

    /// Takes a job of many records one step on.
    ///
    /// # Errors
    /// A refusal, also if the store fails: what was done stays.
    pub(crate) fn step(
        self,
        job: &Job,
        command: &Command<'_>,
        progress: &mut RecordProgress,
    ) -> Result<Step, Refusal> {
        let done = self.try_step(job, command, progress);
        done.map_err(|error| match error {
            CommandError::Refused(refusal) => refusal,
            CommandError::Store(error) => refused_by_store(&error),
        })
    }

    fn try_step(
        self,
        job: &Job,
        command: &Command<'_>,
        progress: &mut RecordProgress,
    ) -> Result<Step, CommandError> {
        let store = self.context.store;
        if progress.row != Some(job.row) {
            if job.attempts >= MOST_ATTEMPTS {
                let why = format!("it was begun {MOST_ATTEMPTS} times and never ended");
                return Err(Refusal::new(ReturnCode::TIMED_OUT, why).into());
            }
            // Records that crash the program do so three times, not for ever.
            store.jobs().add_failures(job.row, 1)?;
            *progress = RecordProgress { row: Some(job.row), ..RecordProgress::default() };
        }
        let done = store.atomically(|| {
            if !self.take(command, true, progress)? {
                return Ok(Step::Continues);
            }
            let (is_partly, result) = (progress.is_partly(), std::mem::take(progress).result());
            if is_partly {
                store.command_log().set_partly_done(job.row)?;
            }
            let code = match &result {
                Ok(()) => ReturnCode::DONE,
                Err(refusal) => {
                    store.error_log().add(&data_error(&job.id, refusal))?;
                    refusal.code
                }
            };
            store.jobs().finish(job.row, code, &[])?;
            if let Err(Refusal { code, why, .. }) = result {
                log::warn!("command {} was refused with {code}: {why}", job.id);
            }
            Ok::<_, StoreError>(Step::Stored)
        });
        Ok(done?)
    }

    fn take(
        self,
        command: &Command<'_>,
        is_sliced: bool,
        progress: &mut RecordProgress,
    ) -> Result<bool, StoreError> {
        match *command {
            Command::Update(table, joined) => {
                progress.advance(joined, is_sliced, |record| self.update_one(table, record))
            }
            Command::Delete(table, joined) => {
                progress.advance(joined, is_sliced, |record| self.delete(table, record))
            }
            _ => Ok(true),
        }
    }

    fn update_one(self, table: DataTable<'_>, record: &[u8]) -> Result<(), CommandError> {
        match self.update(table, record)? {
            Updated::Stored => Ok(()),
            Updated::PictureAt(_) => {
                let why = "a picture at a URL needs a command of its own, with one record";
                Err(Refusal::new(ReturnCode::UNSUPPORTED, why).into())
            }
        }
    }
}
