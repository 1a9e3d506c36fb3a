//! Whether a server's `Date` is believed, and what is remembered of those that are not.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::{BUILD_TIME, LATEST_TIME};
use crate::protocol::options::{Given, ServerOptions};
use crate::uplink::DateHeader;

/// Longest that a reply may have taken for its date to set the clock.
const FRESH: Duration = Duration::from_secs(5);
/// How long a clock that is not set waits for such a reply. Then the fastest that came sets it.
const WAIT_FOR_FRESH: Duration = Duration::from_secs(3600);

const TOO_EARLY: &str = "it is before this version of punchd was built";
const TOO_LATE: &str = "it is more than ten years after this version of punchd was built";
/// The one reason for which a date sets a clock that is not set after all.
pub(super) const TOO_SLOW: &str = "the answer took more than 5 s";
const NO_ZONE: &str = "the server's TimeZone makes no sense";

/// The date in seconds since 1970, or why it does not set the clock. The answer `took` so long.
pub(super) fn believed(
    header: &DateHeader,
    options: &ServerOptions,
    took: Duration,
) -> Result<i64, &'static str> {
    let date = header.at?;
    match date {
        ..BUILD_TIME => Err(TOO_EARLY),
        _ if date > LATEST_TIME => Err(TOO_LATE),
        _ if options.time_zone == Given::Invalid => Err(NO_ZONE),
        _ if took >= FRESH => Err(TOO_SLOW),
        _ => Ok(date),
    }
}

/// What is remembered from one date to the next.
#[derive(Default)]
pub(super) struct Dates {
    slow: RefCell<SlowDates>,
    /// Why dates were not believed, as far as that was logged.
    told: RefCell<BTreeSet<&'static str>>,
}

impl Dates {
    /// Takes the date of an answer that took long, while the clock is not set. Returns the time, if
    /// no better one is to be waited for.
    pub(super) fn take_slow(&self, slow: SlowDate, now: Duration) -> Option<i64> {
        self.slow.borrow_mut().take_in(slow, now)
    }

    /// An answer came that was fast enough.
    pub(super) fn forget_slow(&self) {
        self.slow.take();
    }

    /// Says once why a date is not believed. A slow answer is of interest only while the clock is
    /// not set.
    pub(super) fn tell(&self, reason: &'static str, text: &str, is_set: bool) {
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
pub(super) struct SlowDate {
    /// Seconds since 1970.
    pub(super) date: Option<i64>,
    /// Time from the request to the head of the answer.
    pub(super) took: Duration,
    /// When the head came, on the monotonic clock.
    pub(super) head_at: Duration,
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
            let options = ServerOptions { time_zone: zone, ..ServerOptions::default() };
            believed(&header, &options, took)
        };
        for (at, zone, took, expected) in [
            (Ok(BUILD_TIME), Given::Absent, 0, Ok(BUILD_TIME)),
            (Ok(BUILD_TIME - 1), Given::Absent, 0, Err(TOO_EARLY)),
            (Ok(0), Given::Value(0), 0, Err(TOO_EARLY)),
            (Ok(i64::MIN), Given::Value(0), 0, Err(TOO_EARLY)),
            (Ok(LATEST_TIME), Given::Value(0), 4, Ok(LATEST_TIME)),
            (Ok(LATEST_TIME + 1), Given::Value(0), 0, Err(TOO_LATE)),
            (Ok(i64::MAX), Given::Value(0), 0, Err(TOO_LATE)),
            (Ok(BUILD_TIME), Given::Invalid, 0, Err(NO_ZONE)),
            (Ok(BUILD_TIME), Given::Value(0), 5, Err(TOO_SLOW)),
            (Err("it cannot be read"), Given::Value(0), 0, Err("it cannot be read")),
        ] {
            assert_eq!(decide(at, zone, took), expected, "{at:?} {zone:?} {took}");
        }
        // 2036-11-01, ten years after the build.
        assert_eq!(
            LocalTime::from_seconds(LATEST_TIME).unwrap().to_string(),
            "2036-11-01 00:00:00"
        );
    }
}
