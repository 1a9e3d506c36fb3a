//! What drivers are asked for: enrolments and doors. These jobs need no exchange, so they go
//! on also while there is no connection: what a person came for is kept.

use super::activity::Activity;
use super::context::Context;
use super::job_end::{Progress, end, forget};
use crate::commands::Step;
use crate::policy::Family;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::store::{Job, Lane, Stage, StoreError};

/// Doors that are looked at together: more than can be under way.
const DOORS: usize = 100;

/// The doors that were answered, and the enrolment that can take a step: enrolments wait for
/// one another, and for nothing else.
pub(super) fn ready(context: &Context) -> Result<Vec<Activity>, StoreError> {
    let mut jobs = context.store.jobs().in_lane(Lane::Door, DOORS)?;
    jobs.extend(context.store.jobs().in_lane(Lane::Enrolment, 1)?);
    jobs.retain(|job| !context.device.is_running(job.row));
    Ok(jobs.iter().map(|job| Activity::DriverRequest(job.row)).collect())
}

/// Asks a driver, or does what follows from its answer.
pub(super) fn step(context: &mut Context, row: i64) -> Result<Progress, StoreError> {
    let Some(job) = context.store.jobs().get(row)? else { return Ok(Progress::Ended) };
    match carry_out(context, &job)? {
        Step::GoesOn => Ok(Progress::GoesOn),
        Step::Ended(code, rest) => end(context, &job, code, &rest),
        Step::Corrupt(_) => end(context, &job, ReturnCode::STORAGE, &[]),
        Step::Stored => Ok(forget(context, &job)),
    }
}

fn carry_out(context: &mut Context, job: &Job) -> Result<Step, StoreError> {
    let command = match Command::parse(&job.text) {
        Ok(command) => command,
        Err(refusal) => return Ok(Step::Ended(refusal.code, Vec::new())),
    };
    let policy = &context.settings.policy;
    let is_denied = Family::of(&command).is_none_or(|family| !policy.allows(family));
    // What a person came for already is taken.
    if is_denied && job.stage == Stage::Fetching {
        log::warn!("command {} failed: the owner allows it no more", job.id);
        return Ok(Step::Ended(ReturnCode::UNSUPPORTED, Vec::new()));
    }
    match &command {
        Command::Enroll(enroll) => context.executor().enroll(job, enroll),
        _ => Ok(context.executor().door_answered(job)),
    }
}
