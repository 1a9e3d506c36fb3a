//! Pauses after failures: exponential, bounded, and different for every terminal, so that
//! a fleet that lost its server does not come back together.

use std::collections::BTreeMap;
use std::time::Duration;

use md5::{Digest, Md5};

use super::activity::Activity;
use crate::backoff::doubled;

/// Longest pause after a failure in seconds, unless the server asks for a longer one.
const LONGEST_PAUSE: u32 = 900;
/// Longest pause that a server may ask for (`Retry-After`), all included.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(3600);

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

    /// Counts a failure: holds the activity back for `base` seconds, and longer after each further
    /// failure. Returns how long.
    pub(super) fn fail(&mut self, activity: Activity, now: Duration, base: u32) -> Duration {
        self.entry(activity).fail(now, base, LONGEST_PAUSE.max(base))
    }

    /// Counts a failure: holds the activity back for `pause`, however often it failed. Returns how
    /// long.
    pub(super) fn fail_for(
        &mut self,
        activity: Activity,
        now: Duration,
        pause: Duration,
    ) -> Duration {
        self.entry(activity).hold(now, pause, Duration::MAX)
    }

    /// Counts a failure: holds the activity back for as long as the server asked, at most
    /// [`LONGEST_ASKED`]. Returns how long.
    pub(super) fn fail_as_asked(
        &mut self,
        activity: Activity,
        now: Duration,
        asked: Duration,
    ) -> Duration {
        self.entry(activity).hold(now, asked.min(LONGEST_ASKED), LONGEST_ASKED)
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

    fn entry(&mut self, activity: Activity) -> &mut Backoff {
        self.by_activity.entry(activity).or_insert_with(|| self.none.clone())
    }
}

/// The pauses of one activity.
#[derive(Clone, Debug)]
struct Backoff {
    seed: u64,
    failures: u32,
    until: Duration,
    /// The first failure since the last success.
    since: Duration,
    /// What was said about the last failure.
    message: String,
}

impl Backoff {
    fn new(serial: &str) -> Self {
        let digest: [u8; 16] = Md5::digest(serial.as_bytes()).into();
        let seed = digest.iter().fold(0u64, |seed, &byte| seed.rotate_left(8) ^ u64::from(byte));
        Self {
            seed,
            failures: 0,
            until: Duration::ZERO,
            since: Duration::ZERO,
            message: String::new(),
        }
    }

    /// `base` seconds, doubled with each further failure up to `longest`, and up to a quarter
    /// more.
    fn fail(&mut self, now: Duration, base: u32, longest: u32) -> Duration {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let pause = doubled(seconds(base), self.failures, seconds(longest));
        self.hold(now, pause, Duration::MAX)
    }

    /// This pause, and up to a quarter more, but no more than `longest`.
    fn hold(&mut self, now: Duration, pause: Duration, longest: Duration) -> Duration {
        if self.failures == 0 {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let most_jitter = (pause / 4).min(longest.saturating_sub(pause));
        let pause = pause + most_jitter.mul_f64(self.jitter());
        self.until = now + pause;
        pause
    }

    /// This terminal's place within a spread of so many seconds.
    fn place_in(&self, seconds: u32) -> Duration {
        Duration::from_secs(seconds.into()).mul_f64(self.jitter())
    }

    /// From 0 to 1, the same for the same serial and failure (splitmix64).
    fn jitter(&self) -> f64 {
        let mut z =
            self.seed.wrapping_add(u64::from(self.failures).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z >> 40) as f64 / f64::from(1u32 << 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded() {
        let mut backoff = Backoff::new("MADE01");
        let mut earlier = 0.0;
        for nth in 0..20 {
            let pause = backoff.fail(Duration::ZERO, 30, 900).as_secs_f64();
            let plain = (30.0 * 2f64.powi(nth)).min(900.0);
            assert!((plain..=plain * 1.25).contains(&pause), "{nth}: {pause}");
            assert!(pause >= earlier * 0.7);
            earlier = pause;
        }
    }

    #[test]
    fn what_the_server_asks_for_is_the_least_and_an_hour_the_most() {
        for asked in [1, 1800, 3000, 3599, 3600, 7200].map(Duration::from_secs) {
            let mut pauses = std::collections::BTreeSet::new();
            for nth in 0..100 {
                let mut backoffs = Backoffs::new(&format!("MADE{nth:03}"));
                let pause = backoffs.fail_as_asked(Activity::Poll, Duration::ZERO, asked);
                assert!((asked.min(LONGEST_ASKED)..=LONGEST_ASKED).contains(&pause), "{pause:?}");
                pauses.insert(pause);
            }
            assert!(asked >= LONGEST_ASKED || pauses.len() > 1, "{asked:?}: no jitter");
        }
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
        let pause = backoffs.fail(Activity::Poll, now, 30);
        assert_eq!(backoffs.until(Activity::Poll), now + pause);
        assert_eq!(backoffs.until(Activity::Query), Duration::ZERO);
        // What the server asks for holds, also if it is longer than the longest pause.
        assert!(backoffs.fail(Activity::Query, now, 3000) >= Duration::from_secs(3000));
        assert!(backoffs.is_news(Activity::Poll, "refused"));
        assert!(!backoffs.is_news(Activity::Poll, "refused"));
        assert!(backoffs.clear(Activity::Query) && backoffs.any_failed());
        assert!(backoffs.clear(Activity::Poll) && !backoffs.any_failed());
        assert_eq!(backoffs.failures(Activity::Poll), 0);
    }
}
