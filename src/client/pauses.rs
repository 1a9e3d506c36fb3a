//! The pauses after failures of one activity: bounded, and different for every terminal, so that a fleet
//! that lost its server does not come back together.

use std::time::Duration;

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

/// The pauses of one activity.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    /// From 0 to 1, the same for the same serial.
    place: f64,
    pub(super) failures: u32,
    /// Failures without a connection since the last success, or since a link came.
    pub(super) unconnected: u32,
    /// The last failure was one of the link.
    pub(super) is_of_link: bool,
    /// The last pause is one that the server asked for.
    pub(super) is_asked: bool,
    pub(super) until: Duration,
    /// The first failure since the last success.
    pub(super) since: Duration,
    /// What was said about the last failure.
    pub(super) message: String,
}

impl Backoff {
    pub(super) fn new(serial: &str) -> Self {
        Self {
            place: place_of(serial),
            failures: 0,
            unconnected: 0,
            is_of_link: false,
            is_asked: false,
            until: Duration::ZERO,
            since: Duration::ZERO,
            message: String::new(),
        }
    }

    /// Counts a failure and holds the activity back; `error_delay` in seconds. Returns how long.
    pub(super) fn fail(&mut self, now: Duration, error_delay: u32, pause: Pause) -> Duration {
        if self.failures == 0 {
            self.since = now;
        }
        let mut delay = Duration::from_secs(error_delay.into());
        if now.saturating_sub(self.since) >= LASTING {
            delay = delay.max(LASTING_PAUSE);
        }
        self.is_of_link = matches!(pause, Pause::Link(_));
        self.is_asked = matches!(pause, Pause::AsAsked(_));
        let pause = match pause {
            Pause::ErrorDelay | Pause::Link(Cause::TimedOut | Cause::Other | Cause::Proxy) => {
                self.with_jitter(delay)
            }
            Pause::Link(Cause::NoConnection | Cause::LinkCame | Cause::Closed) => {
                self.sooner_at_first(now, delay)
            }
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
    pub(super) fn place_in(&self, seconds: u32) -> Duration {
        Duration::from_secs(seconds.into()).mul_f64(self.place)
    }
}

/// A terminal's place from 0 to 1: the fraction of its serial's number times the golden ratio. Serials
/// that follow each other have places that are as even as can be, however many they are; a digest would
/// spread them as by chance.
fn place_of(serial: &str) -> f64 {
    const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15; // its fraction, in parts of 2^64
    let number = serial
        .bytes()
        .fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(digit.into()));
    let fraction = number.wrapping_mul(GOLDEN_RATIO) >> 40;
    fraction as f64 / (1u64 << 24) as f64
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
        let (mut backoff, mut now) = (Backoff::new(serial), SECOND * 100);
        let fail = |_| {
            let pause = backoff.fail(now, error_delay, pause);
            now += pause;
            assert_eq!(backoff.until, now);
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
        for pause in [Pause::ErrorDelay, Pause::Link(Cause::TimedOut), Pause::Link(Cause::Other)] {
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
                let mut backoff = Backoff::new(&format!("MADE{nth:03}"));
                let pause = backoff.fail(Duration::ZERO, 60, Pause::AsAsked(asked));
                let an_hour = Duration::from_secs(3600);
                assert!((asked.min(an_hour)..=an_hour).contains(&pause), "{pause:?}");
                found.insert(pause);
            }
            assert!(asked.as_secs() >= 3600 || found.len() > 90, "{asked:?}: no jitter");
        }
    }

    #[test]
    fn terminals_of_a_fleet_come_apart() {
        // With a check digit, in steps of ten, with letters, from before a carry to after it.
        let serials: [fn(u32) -> String; 5] = [
            |nth| format!("MADE{nth:04}"),
            |nth| format!("MADE{nth:04}{}", nth * 7 % 10),
            |nth| format!("{nth}0"),
            |nth| format!("CKX{nth:X}"),
            |nth| format!("{}", 99_950 + nth),
        ];
        for serial in serials {
            let mut seconds = [0; 60];
            (0..600).for_each(|nth| {
                let place = Backoff::new(&serial(nth)).place_in(60);
                seconds[place.as_secs() as usize] += 1;
            });
            // Ten in each, if it were even.
            let most = seconds.into_iter().max();
            assert!(most <= Some(18), "{}: {seconds:?}", serial(0));
        }
    }
}
