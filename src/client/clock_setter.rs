//! `SET TIME` and `SET OPTION DateTime=`: the server sets the clock by a command. The rules are those
//! for the `Date` of its answers.

use std::rc::Rc;

use crate::clock::{BUILD_TIME, Clock, LATEST_TIME, TOLERANCE};
use crate::commands::ClockSetter;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::time::LocalTime;

/// A step of the clock by more than this is reported.
const A_DAY: i64 = 86_400;

/// Sets the terminal's clock.
pub(super) struct ServersClockSetter {
    clock: Rc<dyn Clock>,
}

impl ServersClockSetter {
    pub(super) fn new(clock: Rc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl ClockSetter for ServersClockSetter {
    fn set(&self, local: LocalTime) -> Result<(), Refusal> {
        set_clock(&*self.clock, local)
    }
}

fn set_clock(clock: &dyn Clock, local: LocalTime) -> Result<(), Refusal> {
    let utc = utc_of(clock, local);
    if !(BUILD_TIME..=LATEST_TIME).contains(&utc) {
        let why = format!(
            "is {local}, which is not believed: it is before this version of punchd was built, or \
             more than ten years after"
        );
        return Err(Refusal::field("datetime", why));
    }
    let was_set = clock.utc_if_set().is_some();
    let step = clock.set(utc).unwrap_or(0);
    if (utc - clock.utc()).abs() > TOLERANCE {
        let why = "the owner does not let the server set the clock (clock = \"system\")";
        return Err(Refusal::new(ReturnCode::UNSUPPORTED, why));
    }
    if was_set && step.abs() > A_DAY {
        log::warn!(
            "a command of the server changed the clock by {step} s, more than a day: what was \
             recorded before keeps the time of the old clock. Check the punches before this line, \
             and the server's clock"
        );
    }
    Ok(())
}

/// The moment at which the wall clock shows a local time. The offset is that of the moment, which is
/// known from the second look on.
fn utc_of(clock: &dyn Clock, local: LocalTime) -> i64 {
    let look = |utc: i64| local.seconds() - i64::from(clock.offset(utc));
    look(look(local.seconds()))
}
