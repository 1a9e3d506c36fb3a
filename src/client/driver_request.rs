//! What drivers are asked for: enrolments and doors. These jobs need no exchange, so they go
//! on also while there is no connection: what a person came for is kept.

use super::{Activity, Client};
use crate::commands::Step;
use crate::policy::Family;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::store::{Job, Lane, Stage, StoreError};
use crate::uplink::Uplink;

/// Doors that are looked at together: more than can be under way.
const DOORS: usize = 100;

impl<U: Uplink> Client<U> {
    /// The doors that were answered, and the enrolment that can take a step: they wait for
    /// one another, and for nothing else.
    pub(super) fn requests_ready(&self) -> Result<Vec<Activity>, StoreError> {
        let mut jobs = self.store.jobs().in_lane(Lane::Door, DOORS)?;
        jobs.extend(self.store.jobs().in_lane(Lane::Enrolment, 1)?);
        jobs.retain(|job| !self.device.is_running(job.row));
        Ok(jobs.iter().map(|job| Activity::Request(job.row)).collect())
    }

    /// Asks a driver, or does what follows from its answer.
    pub(super) fn go_on(&mut self, row: i64) -> Result<(), StoreError> {
        let Some(job) = self.store.jobs().get(row)? else { return Ok(()) };
        match self.step_of_driver(&job)? {
            Step::GoesOn => Ok(()),
            Step::Ended(code, rest) => self.end(&job, code, &rest),
            Step::Corrupt(_) => self.end(&job, ReturnCode::STORAGE, &[]),
            Step::Stored => {
                self.forget(&job);
                Ok(())
            }
        }
    }

    fn step_of_driver(&mut self, job: &Job) -> Result<Step, StoreError> {
        let command = match Command::parse(&job.text) {
            Ok(command) => command,
            Err(refusal) => return Ok(Step::Ended(refusal.code, Vec::new())),
        };
        let is_denied =
            Family::of(&command).is_none_or(|family| !self.settings.policy.allows(family));
        // What a person came for already is taken.
        if is_denied && job.stage == Stage::Fetching {
            log::warn!("command {} failed: the owner allows it no more", job.id);
            return Ok(Step::Ended(ReturnCode::UNSUPPORTED, Vec::new()));
        }
        match &command {
            Command::Enroll(enroll) => self.executor().enroll(job, enroll),
            _ => Ok(self.executor().door_answered(job)),
        }
    }
}
