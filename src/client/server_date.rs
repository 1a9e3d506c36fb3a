//! The clock, set by the `Date` of the server's answers; and the rows that wait for it.

use std::time::Duration;

use super::context::Context;
use super::dates::{SlowDate, TOO_SLOW, believed};
use crate::clock::{BUILD_TIME, ZoneSource};
use crate::protocol::options::ServerOptions;
use crate::status::{ClockStep, LastDate};
use crate::store::{Known, StoreError};
use crate::uplink::{DateHeader, Response};

/// A step of the clock by more than this is reported.
const A_DAY: i64 = 86_400;

/// The `Date` of an answer.
pub(super) struct ServerDate {
    header: Option<DateHeader>,
    /// Time from the request to the head of the answer.
    took: Duration,
    /// When the head of the answer came, on the monotonic clock: its body may take minutes.
    head_at: Duration,
}

impl ServerDate {
    /// The date of a response whose head has just come.
    pub(super) fn of(response: &Response, now: Duration) -> Self {
        Self { header: response.date.clone(), took: response.took, head_at: now }
    }

    /// Sets the clock, if the date is believed. Rows that waited for the clock or the zone then
    /// get their time.
    pub(super) fn apply(
        &self,
        context: &Context,
        options: &ServerOptions,
    ) -> Result<(), StoreError> {
        if let Some(header) = &self.header {
            self.apply_header(context, options, header);
        }
        let is_set = context.clock.utc_if_set().is_some();
        context.status.update(|connection| connection.clock_set = is_set);
        date_rows(context)
    }

    fn apply_header(&self, context: &Context, options: &ServerOptions, header: &DateHeader) {
        let clock = &context.clock;
        let is_set = clock.utc_if_set().is_some();
        let now = clock.monotonic();
        let believed = believed(header, options, self.took);
        let utc = match believed {
            Ok(date) => {
                context.dates.forget_slow();
                Some(date + now.saturating_sub(self.head_at).as_secs() as i64)
            }
            Err(TOO_SLOW) if !is_set => {
                let slow =
                    SlowDate { date: header.at.ok(), took: self.took, head_at: self.head_at };
                context.dates.take_slow(slow, now)
            }
            Err(_) => None,
        };
        if let Err(reason) = believed {
            context.dates.tell(reason, &header.text, is_set);
        }
        context.status.update(|connection| {
            connection.last_date = Some(LastDate {
                text: header.text.clone(),
                at: header.at.ok(),
                reason: believed.err().filter(|_| utc.is_none()),
            });
        });
        if let Some(step) = utc.and_then(|utc| clock.set(utc))
            && is_set
            && step.abs() > A_DAY
        {
            report_step(context, step);
        }
    }
}

/// Rows that were recorded with the wrong time keep it: somebody has to know.
fn report_step(context: &Context, step: i64) {
    let at = context.clock.utc();
    log::warn!(
        "the server's Date changed the clock by {step} s, more than a day: what was recorded before \
         keeps the time of the old clock. Check the punches before this line, and the server's clock"
    );
    context.status.update(|connection| {
        connection.clock_step = Some(ClockStep { seconds: step, at });
    });
}

/// Gives the rows that wait for the clock or the zone their time, as far as both are known.
fn date_rows(context: &Context) -> Result<(), StoreError> {
    let (clock, undated) = (&context.clock, context.store.undated());
    let (for_clock, for_zone) = undated.count()?;
    let Some(utc) = clock.utc_if_set().filter(|_| for_clock + for_zone > 0) else {
        return Ok(());
    };
    if for_clock > 0 {
        let monotonic = clock.monotonic().as_secs() as i64;
        undated.date_this_boot(Known { boot: clock.boot(), monotonic, utc })?;
    }
    if clock.zone_source() == ZoneSource::Awaited {
        return Ok(());
    }
    let dated = undated.date_by_zone(|utc| clock.offset(utc))?;
    if dated > 0 {
        log::info!("{dated} rows that waited for the clock or the zone got their time");
    }
    let floor = clock.wall(BUILD_TIME);
    if let Some((now, floor)) = clock.local().zip(floor) {
        let estimated = undated.estimate_earlier_boots(clock.boot(), now, floor)?;
        if estimated > 0 {
            log::warn!(
                "{estimated} rows of an earlier boot without a clock got the earliest time they can have"
            );
        }
    }
    Ok(())
}
