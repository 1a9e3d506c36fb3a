//! The end of a job: its answer, and what it leaves behind.

use super::context::Context;
use crate::commands::CommandError;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::{Job, StoreError};

/// What a step of a job led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    GoesOn,
    /// In the middle of a response: how that ends is not known yet.
    Paused,
    /// The job is over.
    Ended,
}

/// Ends a job with its answer; what it had on disk is removed after that.
pub(super) fn end(
    context: &mut Context,
    job: &Job,
    code: ReturnCode,
    rest: &[u8],
) -> Result<Progress, StoreError> {
    context.store.atomically(|| context.store.jobs().finish(job.row, code, rest))?;
    if let Err(error) = context.spool.remove(job.row) {
        log::warn!("{error}");
    }
    Ok(forget(context, job))
}

/// Ends a job with its answer, or with its refusal.
pub(super) fn finish(
    context: &mut Context,
    job: &Job,
    done: Result<ReturnCode, CommandError>,
) -> Result<Progress, StoreError> {
    match done {
        Ok(code) => end(context, job, code, &[]),
        Err(CommandError::Refused(refusal)) => refuse(context, job, &refusal),
        Err(CommandError::Store(error)) => Err(error),
    }
}

/// Ends a job that cannot be carried out.
pub(super) fn refuse(
    context: &mut Context,
    job: &Job,
    refusal: &Refusal,
) -> Result<Progress, StoreError> {
    log::warn!("command {} failed with {}: {}", job.id, refusal.code, refusal.why);
    end(context, job, refusal.code, &[])
}

/// The answer of a job is stored: the device need not remember it.
pub(super) fn forget(context: &mut Context, job: &Job) -> Progress {
    context.device.forget(job.row);
    Progress::Ended
}
