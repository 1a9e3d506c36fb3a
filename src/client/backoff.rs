//! Pauses after failures: exponential, bounded, and different for every terminal, so that
//! a fleet that lost its server does not come back together.

use std::collections::BTreeMap;
use std::time::Duration;

use md5::{Digest, Md5};

use super::activity::Activity;
use crate::backoff::doubled;
use crate::uplink::Cause;

/// `ErrorDelay` counts as so many seconds at most, and no pause grows longer.
pub(super) const LONGEST_PAUSE: u32 = 900;
/// Longest pause that a server may ask for (`Retry-After`), all included.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// The first pause where there is no connection; it doubles up to `ErrorDelay`.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Once a failure has lasted so long, `ErrorDelay` counts as [`LASTING_PAUSE`] at least.
const LASTING: Duration = Duration::from_secs(600);
const LASTING_PAUSE: Duration = Duration::from_secs(30);

/// What decides how long a failure holds an activity back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pause {
    /// The server refused something, or something else failed: `ErrorDelay`.
    ErrorDelay,
    /// An exchange failed. Where there was no connection, 2, 4, 8 … s, up to `ErrorDelay`: such
    /// attempts cost the server nothing. Otherwise `ErrorDelay`, so that a fleet does not multiply the
    /// load of a server in trouble.
    Link(Cause),
    /// Its attempts are counted: `ErrorDelay`, doubled with each failure.
    Growing,
    /// As long as the server asked, at most [`LONGEST_ASKED`].
    AsAsked(Duration),
}

/// The pauses of all activities.
#[derive(Debug)]
pub(super) struct Backoffs {
    /// Without a failure: what each of them starts from.
    none: Backoff,
    by_activity: BTreeMap<Activity, Backoff>,
}

impl Backoffs {
    /// No failures yet; jitter seeded by the serial.
    pub(super) fn new(serial: &str) -> Self {
        Self { none: Backoff::new(serial), by_activity: BTreeMap::new() }
    }

    /// Holds an activity back for this terminal's place in a spread of so many seconds, although
    /// nothing has failed.
    pub(super) fn spread(&mut self, activity: Activity, now: Duration, seconds: u32) {
        let backoff = self.none.clone();
        let until = now + backoff.place_in(seconds);
        self.by_activity.insert(activity, Backoff { until, ..backoff });
    }

    /// When an activity may run again, on the monotonic clock; zero if it is not held back.
    pub(super) fn until(&self, activity: Activity) -> Duration {
        self.by_activity.get(&activity).map_or(Duration::ZERO, |backoff| backoff.until)
    }

    /// Failures of an activity since its last success.
    pub(super) fn failures(&self, activity: Activity) -> u32 {
        self.by_activity.get(&activity).map_or(0, |backoff| backoff.failures)
    }

    /// What failed since its last success: until when it is held back, since when it fails, and what
    /// was said about the last failure.
    pub(super) fn failing(&self) -> impl Iterator<Item = (Activity, Duration, Duration, &str)> {
        let failed = self.by_activity.iter().filter(|(_, backoff)| backoff.failures > 0);
        failed.map(|(activity, backoff)| {
            (*activity, backoff.until, backoff.since, backoff.message.as_str())
        })
    }

    /// Since when an activity fails; `None` if it does not.
    pub(super) fn failing_since(&self, activity: Activity) -> Option<Duration> {
        let backoff = self.by_activity.get(&activity).filter(|backoff| backoff.failures > 0);
        backoff.map(|backoff| backoff.since)
    }

    /// Whether any activity has failed since its last success.
    pub(super) fn any_failed(&self) -> bool {
        self.by_activity.values().any(|backoff| backoff.failures > 0)
    }

    /// Counts a failure and holds the activity back; `error_delay` in seconds. Returns how long.
    pub(super) fn fail(
        &mut self,
        activity: Activity,
        now: Duration,
        error_delay: u32,
        pause: Pause,
    ) -> Duration {
        self.entry(activity).fail(now, error_delay, pause)
    }

    /// Whether this message is not that of the activity's last failure.
    pub(super) fn is_news(&mut self, activity: Activity, message: &str) -> bool {
        let backoff = self.entry(activity);
        let is_news = backoff.message != message;
        if is_news {
            message.clone_into(&mut backoff.message);
        }
        is_news
    }

    /// Holds an activity back no longer. Whether it had failed.
    pub(super) fn clear(&mut self, activity: Activity) -> bool {
        self.by_activity.remove(&activity).is_some_and(|backoff| backoff.failures > 0)
    }

    /// Holds an activity back no longer, although nothing shows that it would succeed.
    pub(super) fn release(&mut self, activity: Activity) {
        if let Some(backoff) = self.by_activity.get_mut(&activity) {
            backoff.until = Duration::ZERO;
        }
    }

    /// The same for all uploads.
    pub(super) fn release_uploads(&mut self) {
        let uploads = |activity: &Activity| matches!(activity, Activity::Upload(_));
        let held = self.by_activity.iter_mut().filter(|(activity, _)| uploads(activity));
        held.for_each(|(_, backoff)| backoff.until = Duration::ZERO);
    }

    /// A link or an address has come: whatever failed at the link is tried at this terminal's place in
    /// a spread of so many seconds after `at`, unless it comes sooner. `from_start`: if it fails, the
    /// pauses are short again. Returns when the first of them is tried; `None` if none comes sooner now.
    pub(super) fn release_link(
        &mut self,
        at: Duration,
        seconds: u32,
        from_start: bool,
    ) -> Option<Duration> {
        let until = at + self.none.place_in(seconds);
        let held = self.by_activity.values_mut();
        let held = held.filter(|backoff| backoff.is_of_link && backoff.until > until);
        let mut next = None;
        for backoff in held {
            (backoff.until, next) = (until, Some(until));
            if from_start {
                backoff.unconnected = 0;
            }
        }
        next
    }

    fn entry(&mut self, activity: Activity) -> &mut Backoff {
        self.by_activity.entry(activity).or_insert_with(|| self.none.clone())
    }
}

/// The pauses of one activity.
#[derive(Clone, Debug)]
struct Backoff {
    /// From 0 to 1, the same for the same serial.
    place: f64,
    failures: u32,
    /// Failures without a connection since the last success, or since a link came.
    unconnected: u32,
    /// The last failure was one of the link.
    is_of_link: bool,
    until: Duration,
    /// The first failure since the last success.
    since: Duration,
    /// What was said about the last failure.
    message: String,
}

impl Backoff {
    fn new(serial: &str) -> Self {
        let digest: [u8; 16] = Md5::digest(serial.as_bytes()).into();
        let number =
            digest.iter().fold(0u32, |number, &byte| number.rotate_left(8) ^ u32::from(byte));
        Self {
            place: f64::from(number >> 8) / f64::from(1u32 << 24),
            failures: 0,
            unconnected: 0,
            is_of_link: false,
            until: Duration::ZERO,
            since: Duration::ZERO,
            message: String::new(),
        }
    }

    fn fail(&mut self, now: Duration, error_delay: u32, pause: Pause) -> Duration {
        if self.failures == 0 {
            self.since = now;
        }
        let mut delay = Duration::from_secs(error_delay.into());
        if now.saturating_sub(self.since) >= LASTING {
            delay = delay.max(LASTING_PAUSE);
        }
        self.is_of_link = matches!(pause, Pause::Link(_));
        let pause = match pause {
            Pause::ErrorDelay | Pause::Link(Cause::Other) => self.with_jitter(delay),
            Pause::Link(Cause::NoConnection | Cause::Closed) => self.sooner_at_first(now, delay),
            Pause::Growing => {
                let longest = Duration::from_secs(LONGEST_PAUSE.into());
                self.with_jitter(doubled(delay, self.failures, longest))
            }
            Pause::AsAsked(asked) => {
                let asked = asked.min(LONGEST_ASKED);
                asked + (asked / 4).min(LONGEST_ASKED - asked).mul_f64(self.place)
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.until = now + pause;
        pause
    }

    /// A pause and up to a quarter more. The share is the same each time: terminals that failed
    /// together come apart in four pauses.
    fn with_jitter(&self, pause: Duration) -> Duration {
        pause + (pause / 4).mul_f64(self.place)
    }

    /// A short pause, or, when it has grown up to `delay`, one that ends at this terminal's place in
    /// `delay`, counted from the first failure: a quarter of `delay` at least, `delay` and a quarter
    /// at most. So a fleet that lost its server in one moment comes back evenly.
    fn sooner_at_first(&mut self, now: Duration, delay: Duration) -> Duration {
        let short = doubled(FIRST_PAUSE, self.unconnected, delay);
        self.unconnected = self.unconnected.saturating_add(1);
        if short < delay {
            return self.with_jitter(short);
        }
        let least = delay / 4;
        let to_place = delay - delay.mul_f64(self.place);
        let passed = now.saturating_sub(self.since) + least + to_place;
        least + delay - remainder(passed, delay)
    }

    /// This terminal's place within a spread of so many seconds.
    fn place_in(&self, seconds: u32) -> Duration {
        Duration::from_secs(seconds.into()).mul_f64(self.place)
    }
}

/// What is left of a time after whole pauses.
fn remainder(time: Duration, pause: Duration) -> Duration {
    let left = time.as_nanos() % pause.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The pauses after so many failures that come one after the other.
    fn pauses(serial: &str, error_delay: u32, pause: Pause, count: usize) -> Vec<f64> {
        let (mut backoffs, mut now) = (Backoffs::new(serial), SECOND * 100);
        let fail = |_| {
            let pause = backoffs.fail(Activity::Handshake, now, error_delay, pause);
            now += pause;
            assert_eq!(backoffs.until(Activity::Handshake), now);
            pause.as_secs_f64()
        };
        (0..count).map(fail).collect()
    }

    #[test]
    fn pauses_double_and_are_bounded() {
        for (nth, pause) in pauses("MADE01", 30, Pause::Growing, 20).into_iter().enumerate() {
            let plain = (30.0 * 2f64.powi(nth as i32)).min(900.0);
            assert!((plain..=plain * 1.25).contains(&pause), "{nth}: {pause}");
        }
    }

    #[test]
    fn without_a_connection_the_first_attempts_come_sooner() {
        for (nth, serial) in (0..200).map(|nth| (nth, format!("MADE{nth:04}"))) {
            let found = pauses(&serial, 60, Pause::Link(Cause::NoConnection), 40);
            for (pause, plain) in found.iter().zip([2.0, 4.0, 8.0, 16.0, 32.0]) {
                assert!((plain..=plain * 1.25).contains(pause), "{nth}: {found:?}");
            }
            let longer = &found[5..];
            assert!(longer.iter().all(|pause| (15.0..=75.0).contains(pause)), "{nth}: {found:?}");
            assert!(longer[1..].iter().all(|pause| (59.99..=60.01).contains(pause)), "{found:?}");
            let closed = pauses(&serial, 60, Pause::Link(Cause::Closed), 40);
            assert_eq!(closed, found);
        }
    }

    #[test]
    fn after_a_time_out_or_an_error_none_comes_before_error_delay_nor_late() {
        for pause in [Pause::ErrorDelay, Pause::Link(Cause::Other)] {
            for serial in (0..200).map(|nth| format!("MADE{nth:04}")) {
                let found = pauses(&serial, 60, pause, 40);
                assert!(found.iter().all(|pause| (60.0..=75.0).contains(pause)), "{found:?}");
            }
        }
    }

    #[test]
    fn error_delay_counts_as_30_s_at_least_after_ten_minutes() {
        for pause in [Pause::ErrorDelay, Pause::Link(Cause::Other), Pause::Link(Cause::Closed)] {
            let mut passed = 0.0;
            for pause in pauses("MADE01", 1, pause, 1000) {
                let delay = if passed >= 600.0 { 30.0 } else { 1.0 };
                assert!((delay / 4.0..=delay * 1.25).contains(&pause), "{passed}: {pause}");
                passed += pause;
            }
        }
    }

    #[test]
    fn what_the_server_asks_for_is_the_least_and_an_hour_the_most() {
        for asked in [1, 1800, 3000, 3599, 3600, 7200].map(Duration::from_secs) {
            let mut found = std::collections::BTreeSet::new();
            for nth in 0..100 {
                let mut backoffs = Backoffs::new(&format!("MADE{nth:03}"));
                let pause =
                    backoffs.fail(Activity::Poll, Duration::ZERO, 60, Pause::AsAsked(asked));
                assert!((asked.min(LONGEST_ASKED)..=LONGEST_ASKED).contains(&pause), "{pause:?}");
                found.insert(pause);
            }
            assert!(asked >= LONGEST_ASKED || found.len() > 90, "{asked:?}: no jitter");
        }
    }

    #[test]
    fn a_link_that_comes_releases_what_failed_at_the_link_and_nothing_else() {
        let (now, mut backoffs) = (SECOND * 100, Backoffs::new("MADE01"));
        let asked = Pause::AsAsked(SECOND * 50);
        for _ in 0..7 {
            backoffs.fail(Activity::Handshake, now, 60, Pause::Link(Cause::NoConnection));
        }
        backoffs.fail(Activity::Poll, now, 60, Pause::Link(Cause::Other));
        backoffs.fail(Activity::Query, now, 60, asked);
        backoffs.fail(Activity::Job(1), now, 60, Pause::Growing);
        let (query, job) = (backoffs.until(Activity::Query), backoffs.until(Activity::Job(1)));
        backoffs.release_link(now, 3, true);
        for activity in [Activity::Handshake, Activity::Poll] {
            assert!((now..now + SECOND * 3).contains(&backoffs.until(activity)), "{activity:?}");
        }
        assert_eq!(
            (backoffs.until(Activity::Query), backoffs.until(Activity::Job(1))),
            (query, job)
        );
        // It is no success, and after another failure the pauses are short again.
        assert_eq!(backoffs.failures(Activity::Handshake), 7);
        let pause = backoffs.fail(Activity::Handshake, now, 60, Pause::Link(Cause::NoConnection));
        assert!(pause <= SECOND * 5 / 2, "{pause:?}");
        // What comes sooner than that stays.
        backoffs.release_link(now + SECOND * 10, 3, true);
        assert_eq!(backoffs.until(Activity::Handshake), now + pause);
    }

    #[test]
    fn terminals_of_a_fleet_come_apart() {
        let places: std::collections::BTreeSet<u128> = (0..100)
            .map(|nth| Backoff::new(&format!("MADE{nth:03}")).place_in(60).as_millis() / 1000)
            .collect();
        assert!(places.len() > 40, "only {} different seconds", places.len());
    }

    #[test]
    fn each_activity_has_pauses_of_its_own() {
        let (now, mut backoffs) = (Duration::from_secs(100), Backoffs::new("MADE01"));
        let pause = backoffs.fail(Activity::Poll, now, 30, Pause::ErrorDelay);
        assert_eq!(backoffs.until(Activity::Poll), now + pause);
        assert_eq!(backoffs.until(Activity::Query), Duration::ZERO);
        backoffs.fail(Activity::Query, now, 30, Pause::ErrorDelay);
        assert!(backoffs.is_news(Activity::Poll, "refused"));
        assert!(!backoffs.is_news(Activity::Poll, "refused"));
        assert!(backoffs.clear(Activity::Query) && backoffs.any_failed());
        assert!(backoffs.clear(Activity::Poll) && !backoffs.any_failed());
        assert_eq!(backoffs.failures(Activity::Poll), 0);
    }
}
