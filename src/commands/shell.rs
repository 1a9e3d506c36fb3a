//! `SHELL` (§12.11.1): a line for the system's shell, if the owner allows it. It runs once at most:
//! that it runs is recorded before, and one that was cut off is not run again.

use super::context::Context;
use super::error::CommandError;
use super::outcome::Step;
use crate::device::Device;
use crate::processes::{End, Order, Outcome};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::{Job, Stage};

/// What a shell adds to the number of the signal that killed a program.
const KILLED: i64 = 128;

/// Runs lines of the shell.
pub(crate) struct Shell<'a> {
    context: &'a Context<'a>,
    device: &'a mut dyn Device,
}

impl<'a> Shell<'a> {
    pub(super) fn new(context: &'a Context<'a>, device: &'a mut dyn Device) -> Self {
        Self { context, device }
    }

    /// Starts the program, or looks whether it ended.
    pub(crate) fn step(&mut self, job: &Job, line: &str) -> Result<Step, CommandError> {
        if let Some(Outcome { end, output }) = self.device.ran(job.row) {
            return Ok(Step::Ended(code(end), output));
        }
        if self.device.is_running(job.row) {
            return Ok(Step::Continues);
        }
        if job.stage == Stage::HandedOver {
            let why = "punchd was stopped while it ran, and it is not run again";
            return Err(Refusal::new(ReturnCode::TIMED_OUT, why).into());
        }
        self.context.store.jobs().set_stage(job, Stage::HandedOver)?;
        let order = Order {
            argv: ["/bin/sh", "-c", line].map(Into::into).to_vec(),
            env: Vec::new(),
            most_output: self.context.policy.shell_bytes,
            time: self.context.policy.shell_time,
        };
        Ok(match self.device.start(job.row, &order) {
            Ok(()) => Step::Continues,
            Err(message) => Step::Ended(ReturnCode::STORAGE, message.into_bytes()),
        })
    }
}

/// The answer for the end of a program: its exit status, as the shell has it.
fn code(end: End) -> ReturnCode {
    match end {
        End::Exited(status) => ReturnCode(status.into()),
        End::Killed(signal) => ReturnCode(i64::from(signal) + KILLED),
        End::TimedOut => ReturnCode::TIMED_OUT,
        End::TooMuch => ReturnCode::TOO_LONG,
    }
}
