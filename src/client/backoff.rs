//! What is held back after failures, and until when. Each activity has pauses of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::activity::Activity;
use super::pauses::{Backoff, Pause};

/// The pauses of all activities.
#[derive(Debug)]
pub(super) struct Backoffs {
    /// Without a failure: what each of them starts from.
    none: Backoff,
    by_activity: BTreeMap<Activity, Backoff>,
}

impl Backoffs {
    /// No failures yet; jitter by the serial.
    pub(super) fn new(serial: &str) -> Self {
        Self { none: Backoff::new(serial), by_activity: BTreeMap::new() }
    }

    /// Holds an activity back for this terminal's place in a spread of so many seconds, although
    /// nothing has failed.
    pub(super) fn spread(&mut self, activity: Activity, now: Duration, seconds: u32) {
        let mut backoff = self.none.clone();
        backoff.until = now + backoff.place_in(seconds);
        self.by_activity.insert(activity, backoff);
    }

    /// This terminal's place in a spread of so many seconds.
    pub(super) fn place_in(&self, seconds: u32) -> Duration {
        self.none.place_in(seconds)
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

    /// Holds an activity back no longer, although nothing shows that it would succeed; but for the time
    /// for which the server asked.
    pub(super) fn release(&mut self, activity: Activity) {
        if let Some(backoff) = self.by_activity.get_mut(&activity).filter(|it| !it.is_asked) {
            backoff.until = Duration::ZERO;
        }
    }

    /// The server asks for uploads: none is held back any longer.
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
        let until = at + self.place_in(seconds);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::Cause;

    const SECOND: Duration = Duration::from_secs(1);

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
