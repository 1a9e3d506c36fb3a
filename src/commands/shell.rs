//! `SHELL` (§12.11.1): a line for the system's shell, if the owner allows it at all.

use super::{Executor, Step};
use crate::processes::{End, Order, Outcome};
use crate::protocol::codes::ReturnCode;
use crate::store::{Job, Stage, StoreError};

impl Executor<'_> {
    /// Takes a `SHELL` one step on. Before it runs it is written down that it does: one that
    /// was cut off is not run again, and says so.
    ///
    /// # Errors
    /// If the store fails; the step is taken again.
    pub fn shell(&mut self, job: &Job, line: &str) -> Result<Step, StoreError> {
        if let Some(outcome) = self.device.ran(job.row) {
            let Outcome { end, output } = outcome;
            return Ok(Step::Ended(exit(end), output));
        }
        if self.device.is_running(job.row) {
            return Ok(Step::GoesOn);
        }
        if job.stage == Stage::HandedOver {
            log::warn!("command {} was cut off and is not run again", job.id);
            return Ok(Step::Ended(ReturnCode::TIMED_OUT, Vec::new()));
        }
        self.store.jobs().set_stage(job, Stage::HandedOver)?;
        let order = Order {
            argv: ["/bin/sh", "-c", line].map(Into::into).to_vec(),
            env: Vec::new(),
            most_output: self.policy.shell_bytes,
            time: self.policy.shell_time,
        };
        Ok(match self.device.start(job.row, &order) {
            Ok(()) => Step::GoesOn,
            Err(message) => Step::Ended(ReturnCode::STORAGE, message.into_bytes()),
        })
    }
}

/// What is answered for the end of a program: its exit status, as the shell has it.
fn exit(end: End) -> ReturnCode {
    match end {
        End::Exited(status) => ReturnCode(status.into()),
        End::Killed(signal) => ReturnCode(i64::from(signal) + 128),
        End::TimedOut => ReturnCode::TIMED_OUT,
        End::TooMuch => ReturnCode::TOO_LONG,
    }
}
