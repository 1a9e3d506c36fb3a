//! `UPGRADE` (§12.11.2): the new firmware is fetched, checked and handed to the owner's
//! program. Each stage is written down before it begins; the answer comes when the terminal
//! has come back with what it was given.

use std::ffi::OsString;
use std::io;

use super::{Executor, Step};
use crate::files::Spool;
use crate::processes::{End, Order};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::file::Upgrade;
use crate::store::{Job, Stage, StoreError};

/// What the firmware is called when it is handed over (§12.11.2).
const FIRMWARE: &str = "emfw.cfg";
/// How often an upgrade is handed over that never comes to an end.
const MOST_ATTEMPTS: u32 = 3;
/// Most output of the owner's program that is kept for the log.
const OUTPUT: usize = 4 << 10;

impl Executor<'_> {
    /// Refuses an upgrade that could not be installed, before anything is fetched.
    pub(super) fn check_upgrade(&self, upgrade: &Upgrade<'_>) -> Result<(), Refusal> {
        if self.policy.upgrade.is_empty() {
            let why = "no program is set that installs it ([upgrade] command)";
            return Err(Refusal::new(ReturnCode::UNSUPPORTED, why));
        }
        if upgrade.size > self.policy.file_bytes {
            let most = self.policy.file_bytes >> 20;
            let why = format!("it has more than {most} MiB ([limits] file_mib)");
            return Err(Refusal::new(ReturnCode::TOO_LONG, why));
        }
        Ok(())
    }

    /// Takes an upgrade whose file was fetched one step on.
    ///
    /// # Errors
    /// If the store fails; the step is taken again.
    pub fn upgrade(
        &mut self,
        job: &Job,
        upgrade: &Upgrade<'_>,
        spool: &Spool,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Step, StoreError> {
        match job.stage {
            Stage::Fetching => {
                let kept = job.download.kept;
                if kept != upgrade.size {
                    let why = format!("the file has {kept} bytes, not {}", upgrade.size);
                    return Ok(Step::Corrupt(why));
                }
                match spool.digest_md5(job.row, yield_now) {
                    Ok(digest) if digest == upgrade.checksum => {}
                    Ok(_) => return Ok(Step::Corrupt("the file's MD5 is another".into())),
                    Err(error) => return Ok(Step::Corrupt(format!("it cannot be read: {error}"))),
                }
                log::info!("upgrade {} is fetched and verified", job.id);
                self.store.jobs().set_stage(job, Stage::Verified)?;
                Ok(Step::GoesOn)
            }
            Stage::Verified => match spool.name(job.row, FIRMWARE) {
                Ok(()) => self.hand_over(job, upgrade, spool),
                Err(error) => Ok(failed(job, &format!("{FIRMWARE} cannot be named: {error}"))),
            },
            Stage::HandedOver => self.look_after(job, upgrade, spool),
            Stage::Running => Ok(self.restart(job)),
        }
    }

    /// Runs the owner's program; that it does is written down first.
    fn hand_over(
        &mut self,
        job: &Job,
        upgrade: &Upgrade<'_>,
        spool: &Spool,
    ) -> Result<Step, StoreError> {
        // Once more: the configuration may be another by now.
        if let Err(refusal) = self.check_upgrade(upgrade) {
            log::error!("upgrade {} failed: {}", job.id, refusal.why);
            return Ok(Step::Ended(refusal.code, Vec::new()));
        }
        self.store.jobs().set_stage(job, Stage::HandedOver)?;
        let mut argv: Vec<OsString> = self.policy.upgrade.iter().map(OsString::from).collect();
        argv.push(spool.named(job.row, FIRMWARE).into_os_string());
        let env =
            [("PUNCHD_UPGRADE_URL", upgrade.url), ("PUNCHD_VERSION", env!("CARGO_PKG_VERSION"))]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let order =
            Order { argv, env: env.to_vec(), most_output: OUTPUT, time: self.policy.upgrade_time };
        log::warn!("upgrade {} is handed over to {}", job.id, self.policy.upgrade[0]);
        Ok(match self.device.start(job.row, &order) {
            Ok(()) => Step::GoesOn,
            Err(message) => failed(job, &message),
        })
    }

    /// The owner's program runs, has ended, or was cut off.
    fn look_after(
        &mut self,
        job: &Job,
        upgrade: &Upgrade<'_>,
        spool: &Spool,
    ) -> Result<Step, StoreError> {
        if let Some(outcome) = self.device.ran(job.row) {
            let output = String::from_utf8_lossy(&outcome.output);
            return match outcome.end {
                End::Exited(0) => {
                    self.store.jobs().set_stage(job, Stage::Running)?;
                    log::info!("upgrade {} is installed, the new program is checked", job.id);
                    self.device.forget(job.row);
                    Ok(match self.device.start_version_check(job.row) {
                        Ok(()) => Step::GoesOn,
                        Err(message) => failed(job, &message),
                    })
                }
                End::Exited(status) => {
                    Ok(failed(job, &format!("the program ended with {status}: {output}")))
                }
                End::Killed(signal) => {
                    Ok(failed(job, &format!("the program was killed by signal {signal}")))
                }
                End::TooMuch => Ok(failed(job, "the program said more than was to be expected")),
                End::TimedOut => {
                    log::error!("upgrade {} failed: the program took too long", job.id);
                    Ok(Step::Ended(ReturnCode::TIMED_OUT, Vec::new()))
                }
            };
        }
        if self.device.is_running(job.row) {
            return Ok(Step::GoesOn);
        }
        // The terminal started anew meanwhile: by the program's doing, or for want of power. How
        // far it came cannot be told: it runs again.
        if job.attempts + 1 < MOST_ATTEMPTS {
            return self.hand_over(job, upgrade, spool);
        }
        log::error!("upgrade {} was handed over {MOST_ATTEMPTS} times and never ended", job.id);
        Ok(Step::Ended(ReturnCode::TIMED_OUT, Vec::new()))
    }

    /// Replaces punchd by the new program if that told its version; confirms the upgrade if this
    /// process is the new program.
    fn restart(&mut self, job: &Job) -> Step {
        let Some(outcome) = self.device.ran(job.row) else {
            log::info!("upgrade {} is confirmed", job.id);
            return Step::Ended(ReturnCode::DONE, Vec::new());
        };
        let why = match outcome.end {
            End::Exited(0) => {
                log::warn!("upgrade {}: punchd restarts as the new program", job.id);
                self.device.restart();
                return Step::GoesOn;
            }
            End::Exited(status) => format!("ended with {status}"),
            End::Killed(signal) => format!("was killed by signal {signal}"),
            End::TimedOut => "did not end in time".into(),
            End::TooMuch => "wrote more than a version".into(),
        };
        failed(job, &format!("the new program cannot be used, its --version {why}"))
    }
}

fn failed(job: &Job, why: &str) -> Step {
    log::error!("upgrade {} failed: {}", job.id, why.trim());
    Step::Ended(ReturnCode::STORAGE, Vec::new())
}
