//! The clock, set by the `Date` of the server's answers; and the rows that wait for it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use super::context::Context;
use crate::clock::{BUILD_TIME, ZoneSource};
use crate::protocol::options::{Given, ServerOptions};
use crate::status::{ClockStep, LastDate};
use crate::store::{Known, StoreError};
use crate::uplink::{DateHeader, Response};

/// Longest that a reply may have taken for its date to set the clock.
const FRESH: Duration = Duration::from_secs(5);
/// How long a clock that is not set waits for such a reply. Then the fastest that came sets it.
const WAIT_FOR_FRESH: Duration = Duration::from_secs(3600);
/// The latest date that is believed: ten years after the build.
const LATEST: i64 = BUILD_TIME + 3653 * A_DAY;
/// A step of the clock by more than this is reported.
const A_DAY: i64 = 86_400;

const TOO_EARLY: &str = "it is before this version of punchd was built";
const TOO_LATE: &str = "it is more than ten years after this version of punchd was built";
const TOO_SLOW: &str = "the answer took more than 5 s";
const NO_ZONE: &str = "the server's TimeZone makes no sense";

/// The `Date` of an answer.
pub(super) struct ServerDate {
    header: Option<DateHeader>,
    /// Time from the request to the head of the answer.
    took: Duration,
    /// When the head of the answer came, on the monotonic clock: its body may take minutes.
    head_at: Duration,
}

/// What is remembered from one date to the next.
#[derive(Default)]
pub(super) struct Dates {
    slow: RefCell<SlowDates>,
    /// Why dates were not believed, as far as that was logged.
    told: RefCell<BTreeSet<&'static str>>,
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
        let believed = self.believed(header, options);
        let utc = match believed {
            Ok(date) => {
                context.dates.slow.take();
                Some(date + now.saturating_sub(self.head_at).as_secs() as i64)
            }
            Err(TOO_SLOW) if !is_set => {
                let slow =
                    SlowDate { date: header.at.ok(), took: self.took, head_at: self.head_at };
                context.dates.slow.borrow_mut().take_in(slow, now)
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

    /// The date in seconds since 1970, or why it does not set the clock.
    fn believed(&self, header: &DateHeader, options: &ServerOptions) -> Result<i64, &'static str> {
        let date = header.at?;
        match date {
            ..BUILD_TIME => Err(TOO_EARLY),
            _ if date > LATEST => Err(TOO_LATE),
            _ if options.time_zone == Given::Invalid => Err(NO_ZONE),
            _ if self.took >= FRESH => Err(TOO_SLOW),
            _ => Ok(date),
        }
    }
}

impl Dates {
    /// Says once why a date is not believed. A slow answer is of interest only while the clock is
    /// not set.
    fn tell(&self, reason: &'static str, text: &str, is_set: bool) {
        if (reason != TOO_SLOW || !is_set) && self.told.borrow_mut().insert(reason) {
            log::warn!(
                "the server's Date {text:?} does not set the clock: {reason}. Check the server's \
                 clock and the link to it"
            );
        }
    }
}

/// The dates of answers that took long, while the clock is not set.
#[derive(Default)]
struct SlowDates {
    since: Option<Duration>,
    fastest: Option<SlowDate>,
}

/// The date of an answer that took long.
#[derive(Clone, Copy)]
struct SlowDate {
    date: Option<i64>,
    took: Duration,
    head_at: Duration,
}

impl SlowDates {
    /// Takes another date. When none came faster for an hour, returns the time by the fastest: the
    /// server wrote it in the middle between request and answer, as far as is known.
    fn take_in(&mut self, slow: SlowDate, now: Duration) -> Option<i64> {
        let since = *self.since.get_or_insert(now);
        if self.fastest.is_none_or(|fastest| slow.took < fastest.took) {
            self.fastest = Some(slow);
        }
        if now.saturating_sub(since) < WAIT_FOR_FRESH {
            return None;
        }
        let fastest = std::mem::take(self).fastest?;
        let passed = now.saturating_sub(fastest.head_at) + fastest.took / 2;
        log::warn!(
            "no answer of the server took less than {} s for an hour: the clock is set by one that \
             took {} s, and may be off by half of that",
            FRESH.as_secs(),
            fastest.took.as_secs()
        );
        Some(fastest.date? + passed.as_secs() as i64)
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
        log::info!(
            "the clock is set and the zone is known: {dated} rows that waited got their time"
        );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::time::LocalTime;

    fn slow(date: i64, took: u64, head_at: u64) -> SlowDate {
        let (took, head_at) = (Duration::from_secs(took), Duration::from_secs(head_at));
        SlowDate { date: Some(date), took, head_at }
    }

    #[test]
    fn after_an_hour_the_fastest_of_the_slow_answers_sets_the_clock() {
        let mut dates = SlowDates::default();
        let at = |seconds| Duration::from_secs(seconds);
        for (slow, now) in [
            (slow(BUILD_TIME + 1000, 20, 100), 100),
            (slow(BUILD_TIME + 1900, 8, 1000), 1001),
            (slow(BUILD_TIME + 2900, 30, 2000), 2000),
        ] {
            assert_eq!(dates.take_in(slow, at(now)), None);
        }
        // 2700 s after the head of the fastest answer, and half of the 8 s that it took.
        let found = dates.take_in(slow(BUILD_TIME + 9999, 9, 3700), at(3700));
        assert_eq!(found, Some(BUILD_TIME + 1900 + 2700 + 4));
        // Then the hour begins again.
        assert_eq!(dates.take_in(slow(BUILD_TIME + 9999, 9, 3800), at(3800)), None);
    }

    #[test]
    fn a_date_is_believed_from_the_build_on_and_for_ten_years() {
        let decide = |at, zone, took| {
            let header = DateHeader { text: String::new(), at };
            let took = Duration::from_secs(took);
            let date = ServerDate { header: None, took, head_at: Duration::ZERO };
            let options = ServerOptions { time_zone: zone, ..ServerOptions::default() };
            date.believed(&header, &options)
        };
        for (at, zone, took, expected) in [
            (Ok(BUILD_TIME), Given::Absent, 0, Ok(BUILD_TIME)),
            (Ok(BUILD_TIME - 1), Given::Absent, 0, Err(TOO_EARLY)),
            (Ok(0), Given::Value(0), 0, Err(TOO_EARLY)),
            (Ok(i64::MIN), Given::Value(0), 0, Err(TOO_EARLY)),
            (Ok(LATEST), Given::Value(0), 4, Ok(LATEST)),
            (Ok(LATEST + 1), Given::Value(0), 0, Err(TOO_LATE)),
            (Ok(i64::MAX), Given::Value(0), 0, Err(TOO_LATE)),
            (Ok(BUILD_TIME), Given::Invalid, 0, Err(NO_ZONE)),
            (Ok(BUILD_TIME), Given::Value(0), 5, Err(TOO_SLOW)),
            (Err("it cannot be read"), Given::Value(0), 0, Err("it cannot be read")),
        ] {
            assert_eq!(decide(at, zone, took), expected, "{at:?} {zone:?} {took}");
        }
        // 2036-11-01, ten years after the build.
        assert_eq!(LocalTime::from_seconds(LATEST).unwrap().to_string(), "2036-11-01 00:00:00");
    }
}
