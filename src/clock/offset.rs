//! What punchd knows of the time besides the system's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::time::{ClockId, clock_gettime};

/// punchd's own clock, if it has one, and the time that the server told last. The system's clock is
/// no base for them, since somebody else may set that. Clones share them: TLS checks the dates of
/// certificates by them.
#[derive(Clone, Debug, Default)]
pub struct ClockOffset(Arc<Mutex<Offsets>>);

/// What to add to the time since boot, in seconds.
#[derive(Debug, Default)]
struct Offsets {
    own: Option<i64>,
    told: Option<i64>,
}

impl ClockOffset {
    /// Seconds since 1970 in UTC, right or not.
    pub fn utc(&self) -> i64 {
        match self.offsets().own {
            Some(clock_offset) => since_boot() + clock_offset,
            None => clock_gettime(ClockId::Realtime).tv_sec,
        }
    }

    /// The time that the server told last and that was believed, counted on since then. `None` if
    /// there was none since punchd was started.
    pub fn told(&self) -> Option<i64> {
        Some(since_boot() + self.offsets().told?)
    }

    /// Sets the own clock.
    pub(super) fn set(&self, utc: i64) {
        self.offsets().own = Some(utc - since_boot());
    }

    /// From now on the system's clock counts.
    pub(super) fn clear(&self) {
        self.offsets().own = None;
    }

    /// Keeps what the server told.
    pub(super) fn set_told(&self, utc: i64) {
        self.offsets().told = Some(utc - since_boot());
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A clock that shows this time, whatever the system's shows.
    #[cfg(all(test, feature = "tls"))]
    pub(crate) fn at(utc: i64) -> Self {
        let clock = Self::default();
        clock.set(utc);
        clock
    }

    /// The same, after the server told this time.
    #[cfg(all(test, feature = "tls"))]
    pub(crate) fn after_told(self, utc: i64) -> Self {
        self.set_told(utc);
        self
    }
}

/// Seconds since boot. BOOTTIME also counts while the machine sleeps.
fn since_boot() -> i64 {
    clock_gettime(ClockId::Boottime).tv_sec
}
