//! `UPGRADE` (§12.11.2): the firmware is fetched, checked, and handed to the program that the owner
//! configured. Each stage is recorded before it begins, so that a restart continues there. The
//! command is answered when the terminal runs again after the upgrade.

use std::ffi::OsString;
use std::io;

use super::context::Context;
use super::error::CommandError;
use super::outcome::Step;
use crate::device::Device;
use crate::files::Spool;
use crate::policy::Policy;
use crate::processes::{End, Order};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::file::Upgrade;
use crate::store::options::UPGRADED;
use crate::store::{Job, Stage, Store, StoreError};

/// The name of the firmware when it is handed over (§12.11.2).
const FIRMWARE: &str = "emfw.cfg";
/// How often an upgrade may be handed over that never ends.
const MOST_ATTEMPTS: u32 = 3;
/// Most bytes of the program's output that are kept for the log.
const OUTPUT: usize = 4 << 10;

/// Refuses an upgrade that could not be installed, before anything is fetched.
pub(super) fn check_upgrade(policy: &Policy, upgrade: &Upgrade<'_>) -> Result<(), Refusal> {
    if policy.upgrade.is_empty() {
        let why = "the owner has set no program that installs an upgrade ([upgrade] command)";
        return Err(Refusal::new(ReturnCode::UNSUPPORTED, why));
    }
    if upgrade.size > policy.file_bytes {
        let most = policy.file_bytes >> 20;
        let why = format!("the upgrade is larger than {most} MiB ([limits] file_mib)");
        return Err(Refusal::new(ReturnCode::TOO_LONG, why));
    }
    Ok(())
}

/// Whether the firmware is the one that was installed last, and punchd is the one that came with it.
pub(super) fn is_installed(store: &Store, upgrade: &Upgrade<'_>) -> Result<bool, StoreError> {
    Ok(store.options().get(UPGRADED)?.as_deref() == Some(&installed(upgrade)))
}

fn installed(upgrade: &Upgrade<'_>) -> String {
    format!("{:032x} {}", u128::from_be_bytes(upgrade.checksum), env!("CARGO_PKG_VERSION"))
}

/// Carries out upgrades whose file was fetched.
pub(crate) struct Upgrades<'a> {
    context: &'a Context<'a>,
    device: &'a mut dyn Device,
    spool: &'a Spool,
}

impl<'a> Upgrades<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        device: &'a mut dyn Device,
        spool: &'a Spool,
    ) -> Self {
        Self { context, device, spool }
    }

    /// Checks the file, starts the owner's program, looks whether it ended, or confirms the
    /// upgrade. To hash the file is long work: it calls `yield_now`, which ends it by an error.
    pub(crate) fn step(
        &mut self,
        job: &Job,
        upgrade: &Upgrade<'_>,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Step, CommandError> {
        match job.stage {
            Stage::Fetching => Ok(self.verify(job, upgrade, yield_now)?),
            Stage::Verified => self.hand_over(job, upgrade),
            Stage::HandedOver => self.look_after(job, upgrade),
            Stage::Running => self.restart(job, upgrade),
            // Neither is a stage of an upgrade.
            Stage::Waiting | Stage::Answering => Ok(Step::Continues),
        }
    }

    fn verify(
        &self,
        job: &Job,
        upgrade: &Upgrade<'_>,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Step, StoreError> {
        let (kept, expected) = (job.download.kept, upgrade.size);
        if kept != expected {
            return Ok(Step::Corrupt(format!("it has {kept} bytes, not {expected}")));
        }
        match self.spool.digest_md5(job.row, yield_now) {
            Ok(digest) if digest == upgrade.checksum => {}
            Ok(_) => return Ok(Step::Corrupt("its MD5 is not the one in the command".into())),
            Err(error) => return Ok(Step::Corrupt(format!("it cannot be read: {error}"))),
        }
        log::info!("upgrade {} is fetched and verified", job.id);
        self.context.store.jobs().set_stage(job, Stage::Verified)?;
        Ok(Step::Continues)
    }

    /// Starts the owner's program; that it runs is recorded before.
    fn hand_over(&mut self, job: &Job, upgrade: &Upgrade<'_>) -> Result<Step, CommandError> {
        let policy = self.context.policy;
        // Again: the configuration may have changed since.
        check_upgrade(policy, upgrade)?;
        self.spool
            .name(job.row, FIRMWARE)
            .map_err(|error| failed(format!("{FIRMWARE} cannot be made: {error}")))?;
        self.context.store.jobs().set_stage(job, Stage::HandedOver)?;
        let mut argv: Vec<OsString> = policy.upgrade.iter().map(OsString::from).collect();
        argv.push(self.spool.named(job.row, FIRMWARE).into_os_string());
        let env =
            [("PUNCHD_UPGRADE_URL", upgrade.url), ("PUNCHD_VERSION", env!("CARGO_PKG_VERSION"))]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let order =
            Order { argv, env: env.to_vec(), most_output: OUTPUT, time: policy.upgrade_time };
        log::warn!("upgrade {} is handed over to {}", job.id, policy.upgrade[0]);
        self.device.start(job.row, &order).map_err(failed)?;
        Ok(Step::Continues)
    }

    /// The owner's program runs, has ended, or was cut off.
    fn look_after(&mut self, job: &Job, upgrade: &Upgrade<'_>) -> Result<Step, CommandError> {
        let Some(outcome) = self.device.ran(job.row) else {
            if self.device.is_running(job.row) {
                return Ok(Step::Continues);
            }
            // The terminal restarted meanwhile: the program did it, or the power failed. How much
            // of its work is done is not known: it runs again.
            if job.attempts + 1 < MOST_ATTEMPTS {
                return self.hand_over(job, upgrade);
            }
            let why = format!("it was handed over {MOST_ATTEMPTS} times and never ended");
            return Err(Refusal::new(ReturnCode::TIMED_OUT, why).into());
        };
        if outcome.end == End::Exited(0) {
            self.context.store.jobs().set_stage(job, Stage::Running)?;
            log::info!("upgrade {} is installed, the new program is checked", job.id);
            self.device.forget(job.row);
            self.device.start_version_check(job.row).map_err(failed)?;
            return Ok(Step::Continues);
        }
        let output = String::from_utf8_lossy(&outcome.output);
        let why = format!("the upgrade program {}: {}", end(outcome.end), output.trim());
        let code = match outcome.end {
            End::TimedOut => ReturnCode::TIMED_OUT,
            _ => ReturnCode::STORAGE,
        };
        Err(Refusal::new(code, why).into())
    }

    /// Replaces punchd by the new program if that told its version; confirms the upgrade if this
    /// process is the new program.
    fn restart(&mut self, job: &Job, upgrade: &Upgrade<'_>) -> Result<Step, CommandError> {
        let Some(outcome) = self.device.ran(job.row) else {
            log::info!("upgrade {} is confirmed", job.id);
            self.context.store.options().set(UPGRADED, &installed(upgrade))?;
            return Ok(Step::Ended(ReturnCode::DONE, Vec::new()));
        };
        if outcome.end != End::Exited(0) {
            let why = format!("the new program cannot be used: its --version {}", end(outcome.end));
            return Err(failed(why).into());
        }
        log::warn!("upgrade {}: punchd restarts as the new program", job.id);
        self.device.restart();
        Ok(Step::Continues)
    }
}

/// How a program ended, as the end of a sentence.
fn end(end: End) -> String {
    match end {
        End::Exited(status) => format!("ended with status {status}"),
        End::Killed(signal) => format!("was killed by signal {signal}"),
        End::TimedOut => "did not end in time".into(),
        End::TooMuch => "wrote more than was expected".into(),
    }
}

fn failed(why: String) -> Refusal {
    Refusal::new(ReturnCode::STORAGE, why)
}
