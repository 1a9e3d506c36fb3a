//! `UPGRADE` (§12.11.2): the firmware is fetched, checked, and handed to the program that the owner
//! configured, or put beside this program to be tried. Each stage is recorded before it begins, so that a
//! restart continues there. The command is answered when the terminal runs again after the upgrade.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::context::Context;
use super::error::{CommandError, failed};
use super::outcome::Step;
use super::signed_file::{self, FIRMWARE};
use crate::device::Device;
use crate::files::Spool;
use crate::policy::Policy;
use crate::processes::{End, Order};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::file::Upgrade;
use crate::signature;
use crate::store::options::{UPGRADE_FAILED, UPGRADED};
use crate::store::{Download, Job, SCHEMA_VERSION, Stage, Store, StoreError, Trial};

/// How often an upgrade may be handed over that never ends.
const MOST_ATTEMPTS: u32 = 3;
/// Most bytes of the program's output that are kept for the log.
const OUTPUT: usize = 4 << 10;

/// Refuses an upgrade that could not be installed, before anything is fetched.
pub(super) fn check_upgrade(policy: &Policy, upgrade: &Upgrade<'_>) -> Result<(), Refusal> {
    if policy.upgrade.is_empty() && policy.upgrade_key.is_none() {
        let why = "the owner has set neither a key ([upgrade] public_key) nor a program that installs an \
                   upgrade ([upgrade] command)";
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
            Stage::FetchingSignature if signature::IS_BUILT_IN => self.keep_signature(job),
            Stage::Verified => self.hand_over(job, upgrade, yield_now),
            Stage::HandedOver => self.look_after(job, upgrade, yield_now),
            Stage::Checking if signature::IS_BUILT_IN => self.begin_trial(job),
            Stage::Running => self.restart(job, upgrade),
            // On trial it is looked after by the loop; the others are no stages of an upgrade.
            _ => Ok(Step::Continues),
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
        let jobs = self.context.store.jobs();
        let needs_key = self.context.policy.upgrade_key.is_some();
        let named = self.spool.name(job.row, FIRMWARE);
        match named.and_then(|()| Ok(!needs_key || signed_file::detach(self.spool, job)?)) {
            Ok(true) => jobs.set_stage(job, Stage::Verified)?,
            // Its signature is not at its end: it is beside it, at the server.
            Ok(false) => self.context.store.atomically(|| {
                jobs.set_download(job.row, &Download::default(), 0)?;
                jobs.set_stage(job, Stage::FetchingSignature)
            })?,
            Err(error) => return Ok(Step::Corrupt(format!("{FIRMWARE} cannot be made: {error}"))),
        }
        log::info!("upgrade {} is fetched: its size and MD5 are right", job.id);
        Ok(Step::Continues)
    }

    fn keep_signature(&self, job: &Job) -> Result<Step, CommandError> {
        signed_file::keep(self.spool, job)
            .map_err(|error| failed(format!("its signature cannot be kept: {error}")))?;
        self.context.store.jobs().set_stage(job, Stage::Verified)?;
        Ok(Step::Continues)
    }

    /// Checks whose file it is. Then puts it beside this program, or starts the owner's program; what is
    /// begun is recorded before.
    fn hand_over(
        &mut self,
        job: &Job,
        upgrade: &Upgrade<'_>,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Step, CommandError> {
        let policy = self.context.policy;
        // Again: the configuration may have changed since.
        check_upgrade(policy, upgrade)?;
        if let (Some(key), true) = (&policy.upgrade_key, policy.upgrade.is_empty()) {
            let place = self.device.candidate().map_err(failed)?;
            signed_file::install(self.spool, job, policy, key, yield_now, &place)?;
            return self.check_candidate(job);
        }
        if let Some(key) = &policy.upgrade_key {
            signed_file::check(self.spool, job, policy, key, yield_now)?;
        }
        self.remove_candidate()?;
        self.context.store.jobs().set_stage(job, Stage::HandedOver)?;
        let mut argv: Vec<OsString> = policy.upgrade.iter().map(OsString::from).collect();
        argv.push(self.spool.named(job.row, FIRMWARE).into_os_string());
        let signed = if policy.upgrade_key.is_some() { "1" } else { "0" };
        let trial = self.candidate().map(|place| place.to_string_lossy().into_owned());
        let env = [
            ("PUNCHD_UPGRADE_URL", Some(upgrade.url)),
            ("PUNCHD_VERSION", Some(env!("CARGO_PKG_VERSION"))),
            ("PUNCHD_UPGRADE_SIGNED", Some(signed)),
            ("PUNCHD_TRIAL", trial.as_deref()),
        ];
        let env =
            env.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let order =
            Order { argv, env: env.collect(), most_output: OUTPUT, time: policy.upgrade_time };
        log::warn!("upgrade {} is handed over to {}", job.id, policy.upgrade[0]);
        self.device.start(job.row, &order).map_err(failed)?;
        Ok(Step::Continues)
    }

    /// The owner's program runs, has ended, or was cut off.
    fn look_after(
        &mut self,
        job: &Job,
        upgrade: &Upgrade<'_>,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Step, CommandError> {
        let Some(outcome) = self.device.ran(job.row) else {
            if self.device.is_running(job.row) {
                return Ok(Step::Continues);
            }
            // The terminal restarted meanwhile: the program did it, or the power failed. How much
            // of its work is done is not known: it runs again.
            if job.attempts + 1 < MOST_ATTEMPTS {
                return self.hand_over(job, upgrade, yield_now);
            }
            let why = format!("it was handed over {MOST_ATTEMPTS} times and never ended");
            return Err(Refusal::new(ReturnCode::TIMED_OUT, why).into());
        };
        if outcome.end == End::Exited(0) {
            self.device.forget(job.row);
            if self.candidate().is_some_and(|place| place.exists()) {
                return self.check_candidate(job);
            }
            self.context.store.jobs().set_stage(job, Stage::Running)?;
            log::info!("upgrade {} is installed, the new program is checked", job.id);
            self.device.start_version_check(job.row).map_err(failed)?;
            return Ok(Step::Continues);
        }
        let why = format!("the upgrade program {}: {}", end(outcome.end), said(&outcome.output));
        let code = match outcome.end {
            End::TimedOut => ReturnCode::TIMED_OUT,
            _ => ReturnCode::STORAGE,
        };
        Err(Refusal::new(code, why).into())
    }

    /// Asks the new program, which stands beside this one, whether it can work here.
    fn check_candidate(&mut self, job: &Job) -> Result<Step, CommandError> {
        self.context.store.jobs().set_stage(job, Stage::Checking)?;
        log::info!("upgrade {}: the new program checks the configuration", job.id);
        match self.device.start_candidate_check(job.row, SCHEMA_VERSION) {
            Ok(()) => Ok(Step::Continues),
            Err(why) => {
                self.remove_candidate()?;
                Err(failed(why).into())
            }
        }
    }

    /// The new program has answered: its trial begins, with the next start.
    fn begin_trial(&mut self, job: &Job) -> Result<Step, CommandError> {
        let Some(outcome) = self.device.ran(job.row) else {
            return match self.device.is_running(job.row) {
                true => Ok(Step::Continues),
                false if job.attempts + 1 < MOST_ATTEMPTS => self.check_candidate(job),
                false => {
                    self.remove_candidate()?;
                    let why = "the new program was asked three times whether it can work here, and the \
                               terminal stopped each time";
                    Err(failed(why.into()).into())
                }
            };
        };
        if outcome.end != End::Exited(0) {
            self.remove_candidate()?;
            let (end, said) = (end(outcome.end), said(&outcome.output));
            return Err(failed(format!(
                "the new program cannot work here: its check {end}: {said}"
            ))
            .into());
        }
        self.device.forget(job.row);
        let store = self.context.store;
        store.atomically(|| {
            store.jobs().set_stage(job, Stage::OnTrial)?;
            Trial::new(job.row).begin(store.options())
        })?;
        log::warn!("upgrade {}: the new program is on trial", job.id);
        self.device.restart();
        Ok(Step::Continues)
    }

    /// Where a new program is to stand to be tried; none if this punchd tries none.
    fn candidate(&self) -> Option<PathBuf> {
        if signature::IS_BUILT_IN { self.device.candidate().ok() } else { None }
    }

    /// Nothing stands beside this program that could be taken for the new one.
    fn remove_candidate(&self) -> Result<(), Refusal> {
        let Some(place) = self.candidate() else { return Ok(()) };
        let cannot = |error| failed(format!("{} cannot be removed: {error}", place.display()));
        signed_file::remove(&place).map_err(cannot)
    }

    /// Replaces punchd by the new program if that told its version; confirms the upgrade if this
    /// process is the new program.
    fn restart(&mut self, job: &Job, upgrade: &Upgrade<'_>) -> Result<Step, CommandError> {
        let Some(outcome) = self.device.ran(job.row) else {
            log::info!("upgrade {} is confirmed", job.id);
            self.context.store.options().set(UPGRADED, &installed(upgrade))?;
            self.context.store.options().clear(UPGRADE_FAILED)?;
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

/// What a program said, for the log.
fn said(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}
