//! Pauses after failures: exponential, bounded, and different for every terminal, so that
//! a fleet that lost its server does not come back together.

use std::time::Duration;

use md5::{Digest, Md5};

/// The pauses of one activity.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    seed: u64,
    failures: u32,
    until: Duration,
    message: String,
}

impl Backoff {
    /// No failure yet; jitter seeded by the serial.
    pub(super) fn new(serial: &str) -> Self {
        let digest: [u8; 16] = Md5::digest(serial.as_bytes()).into();
        let seed = digest.iter().fold(0u64, |seed, &byte| seed.rotate_left(8) ^ u64::from(byte));
        Self { seed, failures: 0, until: Duration::ZERO, message: String::new() }
    }

    /// When the activity may be tried again, on the monotonic clock.
    pub(super) fn until(&self) -> Duration {
        self.until
    }

    /// Not before this moment, though nothing has failed.
    pub(super) fn hold_until(&mut self, at: Duration) {
        self.until = at;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the trouble is not the one of the last time.
    pub(super) fn is_news(&mut self, message: &str) -> bool {
        let news = self.message != message;
        if news {
            message.clone_into(&mut self.message);
        }
        news
    }

    /// Counts a failure: `base` seconds, doubled with each further one up to `longest`, and
    /// up to a quarter more.
    pub(super) fn fail(&mut self, now: Duration, base: u32, longest: u32) -> Duration {
        let doubled = base.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let pause = Duration::from_secs(doubled.min(longest).into());
        let pause = pause + pause.mul_f64(self.jitter() / 4.0);
        self.until = now + pause;
        pause
    }

    /// This terminal's place within a spread of so many seconds.
    pub(super) fn spread(&self, seconds: u32) -> Duration {
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
    fn terminals_of_a_fleet_come_apart() {
        let places: std::collections::BTreeSet<u128> = (0..100)
            .map(|nth| Backoff::new(&format!("MADE{nth:03}")).spread(60).as_millis() / 1000)
            .collect();
        assert!(places.len() > 40, "only {} different seconds", places.len());
    }
}
