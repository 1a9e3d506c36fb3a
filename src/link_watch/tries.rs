//! When a link or an address that comes leads to an attempt: at once, and less and less often where the
//! link flaps.

use std::time::Duration;

use crate::backoff::DoublingPause;

/// The longest time between two attempts for that reason. A link that was quiet for so long counts as
/// one that does not flap.
const LONGEST: Duration = Duration::from_secs(60);

/// The attempts that were granted. The second comes two seconds after the first, at the earliest, the
/// third after four more.
pub struct LinkTries {
    last: Option<Duration>,
    gap: DoublingPause,
}

impl Default for LinkTries {
    fn default() -> Self {
        Self { last: None, gap: DoublingPause::new(Duration::from_secs(1), LONGEST) }
    }
}

impl LinkTries {
    /// A link or an address has come: from when on there may be an attempt.
    pub fn earliest(&mut self, now: Duration) -> Duration {
        let Some(last) = self.last else { return now };
        if last > now {
            return last;
        }
        if now - last >= LONGEST {
            self.gap.reset();
            return now;
        }
        now.max(last + self.gap.peek())
    }

    /// There will be an attempt then.
    pub fn granted(&mut self, at: Duration) {
        if self.last != Some(at) {
            self.gap.advance();
            self.last = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_link_that_flaps_a_hundred_times_a_second_makes_no_storm() {
        let (mut tries, mut granted) = (LinkTries::default(), Vec::new());
        let mut now = SECOND * 1000;
        let begun = now;
        while now < begun + SECOND * 3600 {
            let at = tries.earliest(now);
            tries.granted(at);
            granted.push(at - begun);
            now += MILLISECOND * 10;
        }
        granted.dedup();
        let first: Vec<u64> = granted.iter().take(8).map(Duration::as_secs).collect();
        assert_eq!(first, [0, 2, 6, 14, 30, 62, 122, 182]);
        assert!(granted.len() < 66, "{} attempts in an hour", granted.len());
        // After a minute without a change it comes at once again.
        let now = now + SECOND * 120;
        assert_eq!(tries.earliest(now), now);
        tries.granted(now);
        assert_eq!(tries.earliest(now + SECOND), now + SECOND * 2);
    }
}
