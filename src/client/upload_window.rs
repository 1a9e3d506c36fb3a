//! When new data goes up (§11.1): at once, at intervals, or at times of the day.
//!
//! Real time overrides the others. Otherwise a window opens when the interval has passed or a
//! time of the day has come, stays open until nothing is left to send, and closes.
//! `LOG` and `CHECK` open it too. It is open at start: what waited while the terminal was off
//! may have missed its time.

use std::time::Duration;

use crate::clock::Clock;
use crate::protocol::options::ServerOptions;

const A_DAY: i64 = 86_400;

/// When new data goes up.
#[derive(Debug)]
pub(super) struct UploadWindow {
    open: bool,
    /// When it opened or was looked at last, on the monotonic clock.
    since: Duration,
    /// The same on the wall clock in UTC, for the times of the day.
    since_utc: i64,
}

impl Default for UploadWindow {
    fn default() -> Self {
        Self { open: true, since: Duration::ZERO, since_utc: 0 }
    }
}

impl UploadWindow {
    /// Opens at any time.
    pub(super) fn open(&mut self) {
        self.open = true;
    }

    /// Closes: nothing is left to send, and the next interval starts.
    pub(super) fn close(&mut self, clock: &dyn Clock) {
        *self = Self { open: false, since: clock.monotonic(), since_utc: clock.utc() };
    }

    /// Whether it is open now, or opens because its time has come.
    pub(super) fn is_open(&mut self, options: &ServerOptions, clock: &dyn Clock) -> bool {
        self.open = self.open || self.opens_at(options, clock) <= clock.monotonic();
        self.open
    }

    /// When it opens, on the monotonic clock; [`Duration::MAX`] if it never does by itself.
    pub(super) fn opens_at(&self, options: &ServerOptions, clock: &dyn Clock) -> Duration {
        if self.open || options.realtime {
            return Duration::ZERO;
        }
        let interval = match options.trans_interval {
            0 => Duration::MAX,
            minutes => self.since + Duration::from_secs(u64::from(minutes) * 60),
        };
        // A clock that was set back does not skip a day.
        let since = self.since_utc.min(clock.utc());
        let time = options
            .trans_times
            .iter()
            .filter_map(|minute| next_time(i64::from(*minute) * 60, since, clock))
            .min()
            .map_or(Duration::MAX, |utc| {
                let wait = (utc - clock.utc()).max(0) as u64;
                clock.monotonic() + Duration::from_secs(wait)
            });
        interval.min(time)
    }
}

/// The first moment after `after` (both in UTC) at which the wall clock shows `second` of the
/// day. A time that summer time skips is later by as much as was skipped; one that comes
/// twice counts the first time.
fn next_time(second: i64, after: i64, clock: &dyn Clock) -> Option<i64> {
    let today = (after + i64::from(clock.offset(after))).div_euclid(A_DAY);
    (today - 1..=today + 2)
        .map(|day| moment_of(day * A_DAY + second, clock))
        .find(|utc| *utc > after)
}

/// When the wall clock shows `local`, in UTC.
fn moment_of(local: i64, clock: &dyn Clock) -> i64 {
    // The offset before the change holds for a time that is skipped, and for the first of two.
    let before = i64::from(clock.offset(local - A_DAY));
    let guess = local - before;
    match i64::from(clock.offset(guess)) {
        same if same == before => guess,
        later if i64::from(clock.offset(local - later)) == later => local - later,
        _ => guess,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clock::{BUILD_TIME, ZoneSource};

    /// A clock that the test moves, in a zone whose summer begins and ends.
    struct Wall {
        utc: Cell<i64>,
        summer: std::ops::Range<i64>,
    }

    impl Clock for Wall {
        fn utc(&self) -> i64 {
            self.utc.get()
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs((self.utc.get() - BUILD_TIME) as u64)
        }
        fn boot(&self) -> &str {
            "boot"
        }
        fn offset(&self, utc: i64) -> i32 {
            if self.summer.contains(&utc) { 7200 } else { 3600 }
        }
        fn set(&self, utc: i64) -> Option<i64> {
            Some(utc - self.utc.replace(utc))
        }
        fn set_zone(&self, _: Option<i32>) {}
        fn zone_source(&self) -> ZoneSource {
            ZoneSource::System
        }
    }

    fn wall(summer: std::ops::Range<i64>) -> Wall {
        Wall { utc: Cell::new(BUILD_TIME + 3600), summer }
    }

    fn options(interval: u32, times: &[u16]) -> ServerOptions {
        ServerOptions {
            realtime: false,
            trans_interval: interval,
            trans_times: times.to_vec(),
            ..ServerOptions::default()
        }
    }

    /// The wall-clock seconds of the day at which the window opens in the next days.
    fn openings(clock: &Wall, options: &ServerOptions, days: i64) -> Vec<(i64, i64)> {
        let mut upload_window = UploadWindow::default();
        upload_window.close(clock);
        let mut seen = Vec::new();
        let end = clock.utc() + days * A_DAY;
        while clock.utc() < end {
            let at = upload_window.opens_at(options, clock);
            clock.utc.set(BUILD_TIME + at.as_secs() as i64);
            assert!(upload_window.is_open(options, clock));
            let local = clock.utc() + i64::from(clock.offset(clock.utc()));
            seen.push((local.div_euclid(A_DAY) - BUILD_TIME / A_DAY, local.rem_euclid(A_DAY)));
            upload_window.close(clock);
        }
        seen
    }

    #[test]
    fn intervals_pass_and_zero_never_does() {
        let clock = wall(0..0);
        let mut upload_window = UploadWindow::default();
        upload_window.close(&clock);
        let every_five = options(5, &[]);
        clock.utc.set(clock.utc() + 299);
        assert!(!upload_window.is_open(&every_five, &clock));
        clock.utc.set(clock.utc() + 1);
        assert!(upload_window.is_open(&every_five, &clock));
        upload_window.close(&clock);
        assert!(!upload_window.is_open(&every_five, &clock));
        assert_eq!(upload_window.opens_at(&options(0, &[]), &clock), Duration::MAX);
        upload_window.open();
        assert!(upload_window.is_open(&options(0, &[]), &clock));
    }

    #[test]
    fn times_of_the_day_come_once_a_day_over_midnight() {
        let clock = wall(0..0);
        let seen = openings(&clock, &options(0, &[0, 14 * 60 + 5]), 2);
        assert_eq!(seen, [(0, 50_700), (1, 0), (1, 50_700), (2, 0), (2, 50_700)]);
    }

    #[test]
    fn summer_time_neither_skips_nor_doubles_a_time() {
        // Summer begins on day 1 at 02:00 and ends on day 3 at 03:00, as wall clocks show it.
        let begin = BUILD_TIME + A_DAY + 2 * 3600 - 3600;
        let end = BUILD_TIME + 3 * A_DAY + 3 * 3600 - 7200;
        let clock = wall(begin..end);
        let seen = openings(&clock, &options(0, &[150]), 5);
        // 02:30 does not exist on day 1 and comes at 03:30; on day 3 it comes twice.
        let days: Vec<i64> = seen.iter().map(|(day, _)| *day).collect();
        assert_eq!(days, [0, 1, 2, 3, 4, 5], "{seen:?}");
        assert_eq!(seen[1].1, 3 * 3600 + 1800);
        assert!(seen.iter().enumerate().all(|(nth, (_, at))| nth == 1 || *at == 9000), "{seen:?}");
    }
}
