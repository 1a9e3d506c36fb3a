//! The one pause that grows: it doubles from attempt to attempt, up to a longest one.

use std::time::Duration;

/// A pause between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DoublingPause {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl DoublingPause {
    /// `first` after the first attempt, never more than `longest`.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 0 }
    }

    /// The pause after the next attempt, without counting it.
    pub(crate) fn peek(&self) -> Duration {
        doubled(self.first, self.attempts, self.longest)
    }

    /// Counts an attempt. Returns the pause after it.
    pub(crate) fn advance(&mut self) -> Duration {
        let pause = self.peek();
        self.attempts = self.attempts.saturating_add(1);
        pause
    }

    /// An attempt succeeded: the next pause is the first again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Whether the pause grows no more.
    pub(crate) fn is_longest(&self) -> bool {
        self.peek() == self.longest
    }
}

/// `first`, doubled so many times, but not more than `longest`.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest_and_starts_again() {
        let millis = Duration::from_millis;
        let mut pause = DoublingPause::new(millis(250), millis(900));
        let pauses: Vec<Duration> = (0..4).map(|_| pause.advance()).collect();
        assert_eq!(pauses, [250, 500, 900, 900].map(millis));
        assert!(pause.is_longest());
        pause.reset();
        assert_eq!((pause.peek(), pause.is_longest()), (millis(250), false));
        assert_eq!(doubled(millis(1), u32::MAX, millis(900)), millis(900));
    }
}
