//! What drivers are asked for: enrolments and doors. These jobs need no exchange, so they continue
//! without a connection: an enrolment for which a person came is not lost.

use super::activity::Activity;
use super::context::Context;
use super::job_end::{Progress, end, forget, refuse};
use crate::commands::{CommandError, Step};
use crate::policy::Family;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::protocol::fields::Refusal;
use crate::store::options::REBOOT;
use crate::store::{Job, Lane, Stage, StoreError};

/// Doors that are looked at together: more than can be under way.
const DOORS: usize = 100;

/// The doors that were answered, and the enrolment that can take a step: enrolments wait for
/// one another, and for a reboot that is due.
pub(super) fn ready(context: &Context) -> Result<Vec<Activity>, StoreError> {
    let mut jobs = jobs(context)?;
    let reboots = !jobs.is_empty() && context.store.options().get(REBOOT)?.is_some();
    jobs.retain(|job| {
        let begins = job.stage != Stage::HandedOver;
        !(context.device.is_running(job.row) || reboots && begins)
    });
    Ok(jobs.iter().map(|job| Activity::DriverRequest(job.row)).collect())
}

/// Whether a driver is at a request, or its answer has not been stored yet.
pub(super) fn is_under_way(context: &Context) -> Result<bool, StoreError> {
    Ok(jobs(context)?.iter().any(|job| job.stage == Stage::HandedOver))
}

/// The doors, and the first enrolment.
fn jobs(context: &Context) -> Result<Vec<Job>, StoreError> {
    let mut jobs = context.store.jobs().in_lane(Lane::Door, DOORS)?;
    jobs.extend(context.store.jobs().in_lane(Lane::Enrolment, 1)?);
    Ok(jobs)
}

/// Asks a driver, or does what follows from its answer.
pub(super) fn step(context: &mut Context, row: i64) -> Result<Progress, StoreError> {
    let Some(job) = context.store.jobs().get(row)? else { return Ok(Progress::Ended) };
    match carry_out(context, &job) {
        Ok(Step::Continues) => Ok(Progress::GoesOn),
        Ok(Step::Ended(code, rest)) => end(context, &job, code, &rest),
        Ok(Step::Corrupt(_)) => end(context, &job, ReturnCode::STORAGE, &[]),
        Ok(Step::Stored) => Ok(forget(context, &job)),
        Err(CommandError::Refused(refusal)) => refuse(context, &job, &refusal),
        Err(CommandError::Store(error)) => Err(error),
    }
}

fn carry_out(context: &mut Context, job: &Job) -> Result<Step, CommandError> {
    let command = Command::parse(&job.text)?;
    let policy = &context.settings.policy;
    let is_denied = Family::of(&command).is_none_or(|family| !policy.allows(family));
    // What a driver has been asked for already is accepted from it.
    if is_denied && job.stage == Stage::Fetching {
        let why = "the owner of the terminal does not allow it any more";
        return Err(Refusal::new(ReturnCode::UNSUPPORTED, why).into());
    }
    match &command {
        Command::Enroll(enroll) => context.commands().enrolments().step(job, enroll),
        Command::Unlock | Command::Unalarm => context.commands().doors().step(job),
        _ => {
            let why = "no driver carries out this command";
            Err(Refusal::new(ReturnCode::UNSUPPORTED, why).into())
        }
    }
}
