//! `AC_UNLOCK` and `AC_UNALARM` (§12.10): a driver opens the door, or ends the alarm.
//!
//! Somebody waits in front of it, so the driver is asked in the very transaction that writes
//! down that it is: it has the request with the next wait, whatever else is to be done. One
//! that was cut off is not done late: nobody knows who stands there by then.

use super::{Effects, End, Executor, PendingCommand, Step};
use crate::driver_requests::{Answer, DriverRequest, Unasked};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::{Job, Lane};

impl Executor<'_> {
    /// Asks the driver.
    pub(super) fn door(
        &mut self,
        pending: &PendingCommand<'_>,
        request: DriverRequest,
        effects: &mut Effects,
    ) -> Result<End, Refusal> {
        if pending.attempts > 1 {
            let why = "it was cut off before, and is not done late";
            return Err(Refusal::new(ReturnCode::TIMED_OUT, why));
        }
        self.device.ask(pending.row, request).map_err(unasked)?;
        effects.asked = true;
        Ok(End::Job(Lane::Door))
    }

    /// What the driver answered.
    pub fn door_answered(&self, job: &Job) -> Step {
        let code = match self.device.answered(job.row) {
            Some(Answer::Done) => ReturnCode::DONE,
            Some(Answer::Unable) => ReturnCode::UNSUPPORTED,
            Some(Answer::Late) => ReturnCode::TIMED_OUT,
            Some(Answer::Failed(message)) => {
                log::warn!("command {} failed: {message}", job.id);
                ReturnCode::STORAGE
            }
            Some(_) => ReturnCode::STORAGE,
            None if self.device.is_running(job.row) => return Step::GoesOn,
            None => {
                log::warn!("command {} was cut off and is not done late", job.id);
                ReturnCode::TIMED_OUT
            }
        };
        Step::Ended(code, Vec::new())
    }
}

/// What the server is told when nobody can be asked.
pub(super) fn unasked(why: Unasked) -> Refusal {
    match why {
        Unasked::Nobody => Refusal::new(ReturnCode::UNSUPPORTED, "no driver provides it"),
        Unasked::TooMany => {
            Refusal::new(ReturnCode::BUSY, "the drivers have been asked for too much already")
        }
    }
}
