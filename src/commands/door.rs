//! `AC_UNLOCK` and `AC_UNALARM` (§12.10): a driver opens the door, or ends the alarm.
//!
//! Somebody is waiting at the door, so the driver is asked inside the transaction that records the
//! request, and gets it with the next wait. A request that was cut off is never carried out late:
//! by then somebody else may be standing there.

use super::error::CommandError;
use super::outcome::Step;
use crate::device::Device;
use crate::driver_requests::{Answer, DriverRequest};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::Job;

/// Asks drivers that have a door.
pub(crate) struct Doors<'a> {
    device: &'a mut dyn Device,
}

impl<'a> Doors<'a> {
    pub(super) fn new(device: &'a mut dyn Device) -> Self {
        Self { device }
    }

    /// Asks the driver, for the command in this row of the command log.
    pub(super) fn ask(
        &mut self,
        row: i64,
        attempts: u32,
        request: DriverRequest,
    ) -> Result<(), CommandError> {
        if attempts > 1 {
            return Err(cut_off().into());
        }
        Ok(self.device.ask(row, request)?)
    }

    /// What the driver answered.
    pub(crate) fn step(&self, job: &Job) -> Result<Step, CommandError> {
        let refusal = match self.device.answered(job.row) {
            Some(Answer::Done) => return Ok(Step::Ended(ReturnCode::DONE, Vec::new())),
            Some(Answer::Unable) => {
                Refusal::new(ReturnCode::UNSUPPORTED, "the driver says that it cannot do that")
            }
            Some(Answer::Late) => {
                Refusal::new(ReturnCode::TIMED_OUT, "the driver did not answer in time")
            }
            Some(Answer::Failed(message)) => Refusal::new(ReturnCode::STORAGE, message),
            Some(Answer::Templates(_) | Answer::Card(_) | Answer::NotEnrolled(_)) => {
                Refusal::new(ReturnCode::STORAGE, "the driver of the door answered an enrolment")
            }
            None if self.device.is_running(job.row) => return Ok(Step::Continues),
            None => cut_off(),
        };
        Err(refusal.into())
    }
}

fn cut_off() -> Refusal {
    let why = "punchd was stopped before a driver did it, and it is not done late";
    Refusal::new(ReturnCode::TIMED_OUT, why)
}
