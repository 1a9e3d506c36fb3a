//! The trial of an upgrade, as the loop sees it: the new program writes down that it works, the old one decides
//! what it means if the new one had no exchange with the server. `src/daemon/guard.rs` runs the new program.

use std::time::Duration;

use super::context::Context;
use super::jobs::fail_upgrades;
use crate::commands::remove_candidate;
use crate::signature;
use crate::store::{Stage, StoreError, Trial, TrialState};

/// If the old program has an exchange within this part of the time in which the new one had none, the
/// network was not at fault.
const AT_ONCE: u32 = 3;

/// What this process has to do with a trial.
#[derive(Default)]
pub(super) enum Probation {
    #[default]
    None,
    /// It is the new program, since then.
    OnTrial(Duration, Trial),
    /// It is the old one, since then, and the new one had no exchange.
    Undecided(Duration, Trial),
}

impl Probation {
    /// Looks at the trial that was written down. One that is over is ended here. `is_on_trial`: this
    /// process is the new program.
    pub(super) fn begin(context: &mut Context, is_on_trial: bool) -> Result<Self, StoreError> {
        if !signature::IS_BUILT_IN {
            return Ok(Self::None);
        }
        let now = context.clock.monotonic();
        let Some(trial) = Trial::read(context.store.options())? else {
            fail_orphans(context)?;
            return Ok(Self::None);
        };
        Ok(match trial.state {
            TrialState::Begun | TrialState::Connected if is_on_trial => Self::OnTrial(now, trial),
            TrialState::Unconnected => Self::Undecided(now, trial),
            TrialState::Good => {
                install(context, &trial)?;
                Self::None
            }
            TrialState::Begun | TrialState::Connected => {
                take_back(context, "its trial was not carried out")?;
                Self::None
            }
            TrialState::Failed => {
                take_back(context, &trial.why)?;
                Self::None
            }
        })
    }

    /// Goes on with the trial. Returns when it is to be looked at again.
    pub(super) fn look(
        &mut self,
        context: &mut Context,
        is_online: bool,
    ) -> Result<Duration, StoreError> {
        if !signature::IS_BUILT_IN {
            return Ok(Duration::MAX);
        }
        let now = context.clock.monotonic();
        match self {
            Self::OnTrial(since, trial) => {
                if trial.state == TrialState::Begun && is_online {
                    advance(context, trial, TrialState::Connected)?;
                    log::info!("the new program has reached the server");
                }
                let good_at = *since + context.settings.probation;
                if trial.state != TrialState::Connected || now < good_at {
                    return Ok(good_at.max(now + Duration::from_secs(1)));
                }
                advance(context, trial, TrialState::Good)?;
                log::warn!(
                    "the new program has stood its trial: it takes the place of the old one"
                );
                *self = Self::None;
                context.device.restart();
            }
            Self::Undecided(since, trial) if is_online => {
                if now.saturating_sub(*since) <= context.settings.trial_time / AT_ONCE {
                    let why = format!("{}, and the program before it has at once", trial.why);
                    take_back(context, &why)?;
                    *self = Self::None;
                    return Ok(Duration::MAX);
                }
                advance(context, trial, TrialState::Begun)?;
                log::warn!("the network was away: the new program is tried again");
                *self = Self::None;
                context.device.restart();
            }
            Self::None | Self::Undecided(..) => {}
        }
        Ok(Duration::MAX)
    }
}

/// The trial is further only when that is written down: a write that fails is repeated.
fn advance(context: &Context, trial: &mut Trial, state: TrialState) -> Result<(), StoreError> {
    let next = Trial { state, ..trial.clone() };
    next.write(context.store.options())?;
    *trial = next;
    Ok(())
}

/// This is the new program, in the place of the old one: its upgrade goes on as one that was installed.
fn install(context: &Context, trial: &Trial) -> Result<(), StoreError> {
    let store = &context.store;
    store.atomically(|| {
        if let Some(job) = store.jobs().get(trial.job)? {
            store.jobs().set_stage(&job, Stage::Running)?;
        }
        Trial::clear(store.options())
    })
}

/// The old program goes on, and the server is told.
fn take_back(context: &mut Context, why: &str) -> Result<(), StoreError> {
    if let Ok(place) = context.device.candidate()
        && let Err(error) = remove_candidate(&place)
    {
        log::warn!("{} cannot be removed: {error}", place.display());
    }
    fail_upgrades(context, &format!("the new program was taken back: {why}"))?;
    // Also where its command is gone.
    Trial::clear(context.store.options())
}

/// Ends what is on trial although nothing was written down of it.
fn fail_orphans(context: &mut Context) -> Result<(), StoreError> {
    let jobs = context.store.jobs().upgrades_to_prove()?;
    if jobs.iter().any(|job| job.stage == Stage::OnTrial) {
        take_back(context, "nothing is known of its trial")?;
    }
    Ok(())
}
