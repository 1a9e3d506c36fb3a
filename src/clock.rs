//! The time: UTC, the terminal's local time, and a monotonic clock.
//!
//! [`Clock`] is a trait, so that tests run the loop with a clock of their own. A clock that shows
//! less than [`BUILD_TIME`] was never set; its time is never sent.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use tz::TimeZone;

use crate::protocol::time::LocalTime;

/// Seconds since 1970 at the build of this version, 2026-11-01 UTC. A clock that is set shows more.
pub const BUILD_TIME: i64 = 1_793_491_200;

/// Seconds by which a clock may be off before it is set.
pub const TOLERANCE: i64 = 10;

/// The clock of the terminal.
pub trait Clock {
    /// Seconds since 1970 in UTC, right or not.
    fn utc(&self) -> i64;
    /// Time since a fixed moment of this boot. It never jumps.
    fn monotonic(&self) -> Duration;
    /// The boot to which the monotonic time belongs.
    fn boot(&self) -> &str;
    /// Offset of the terminal's time zone from UTC at a moment, in seconds.
    fn offset(&self, utc: i64) -> i32;
    /// Sets the clock, if it is off by more than [`TOLERANCE`] and the owner lets the server do it.
    fn set(&self, utc: i64);
    /// Sets the time zone to an offset that the server named, in seconds. It has an effect if the
    /// owner lets the server do it.
    fn set_zone(&self, offset: i32);

    /// Seconds since 1970 in UTC, or `None` while the clock is not set.
    fn utc_if_set(&self) -> Option<i64> {
        Some(self.utc()).filter(|utc| *utc >= BUILD_TIME)
    }

    /// The local time, or `None` while the clock is not set.
    fn local(&self) -> Option<LocalTime> {
        self.utc_if_set().and_then(|utc| self.wall(utc))
    }

    /// The local time at a moment.
    fn wall(&self, utc: i64) -> Option<LocalTime> {
        LocalTime::from_seconds(utc + i64::from(self.offset(utc)))
    }
}

/// Who sets the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The server sets the system's clock.
    Server,
    /// Not punchd: the system's clock is right.
    System,
    /// The server sets punchd's own clock and not the system's.
    Own,
}

/// Who decides about the time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The server; until it named one, the system.
    Server,
    /// The system (`TZ`, `/etc/localtime`), with its summer time.
    System,
    /// The owner: this offset from UTC in seconds.
    Fixed(i32),
}

/// punchd's own clock, if it has one: what to add to the time since boot, in seconds. The system's
/// clock is no base for it, since somebody else may set that. Clones share the offset: TLS checks
/// the dates of certificates by it.
#[derive(Clone, Debug, Default)]
pub struct ClockOffset(Arc<Mutex<Option<i64>>>);

impl ClockOffset {
    /// Seconds since 1970 in UTC, right or not.
    pub fn utc(&self) -> i64 {
        match *self.own() {
            Some(clock_offset) => clock_gettime(ClockId::Boottime).tv_sec + clock_offset,
            None => clock_gettime(ClockId::Realtime).tv_sec,
        }
    }

    /// Sets the own clock.
    fn set(&self, utc: i64) {
        *self.own() = Some(utc - clock_gettime(ClockId::Boottime).tv_sec);
    }

    fn clear(&self) {
        *self.own() = None;
    }

    fn own(&self) -> MutexGuard<'_, Option<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of the machine.
pub struct SystemClock {
    authority: Authority,
    zone: Zone,
    system_zone: Option<TimeZone>,
    server_offset: Cell<Option<i32>>,
    clock_offset: ClockOffset,
    boot: String,
    warned: Cell<bool>,
}

impl SystemClock {
    /// The machine's clock. `server_offset` is the offset from UTC that the server named last, in
    /// seconds.
    pub fn new(
        authority: Authority,
        zone: Zone,
        server_offset: Option<i32>,
        clock_offset: ClockOffset,
    ) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            authority,
            zone,
            system_zone: TimeZone::local().ok(),
            server_offset: Cell::new(server_offset),
            clock_offset,
            boot: boot.trim().to_owned(),
            warned: Cell::new(false),
        }
    }

    /// Its own clock ([`Authority::Own`]).
    pub fn clock_offset(&self) -> ClockOffset {
        self.clock_offset.clone()
    }
}

impl Clock for SystemClock {
    fn utc(&self) -> i64 {
        self.clock_offset.utc()
    }

    fn monotonic(&self) -> Duration {
        // BOOTTIME also counts while the machine sleeps.
        let now = clock_gettime(ClockId::Boottime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    fn boot(&self) -> &str {
        &self.boot
    }

    fn offset(&self, utc: i64) -> i32 {
        let of_system = || {
            let zone = self.system_zone.as_ref()?;
            Some(zone.find_local_time_type(utc).ok()?.ut_offset())
        };
        match self.zone {
            Zone::Fixed(offset) => offset,
            Zone::System => of_system().unwrap_or(0),
            Zone::Server => self.server_offset.get().or_else(of_system).unwrap_or(0),
        }
    }

    fn set(&self, utc: i64) {
        let off = utc - self.utc();
        if self.authority == Authority::System || off.abs() <= TOLERANCE {
            return;
        }
        if self.authority == Authority::Server {
            let now = Timespec { tv_sec: utc, tv_nsec: 0 };
            match clock_settime(ClockId::Realtime, now) {
                Ok(()) => {
                    self.clock_offset.clear();
                    log::info!("clock set to the server's time; it was off by {off} s");
                    return;
                }
                Err(error) if !self.warned.replace(true) => {
                    log::warn!(
                        "the system clock is off by {off} s and cannot be set ({error}): \
                         punchd keeps the server's time on a clock of its own; give it \
                         CAP_SYS_TIME, or set clock = \"own\" to end this warning"
                    );
                }
                Err(_) => {}
            }
        }
        self.clock_offset.set(utc);
        log::info!("own clock set to the server's time; it was off by {off} s");
    }

    fn set_zone(&self, offset: i32) {
        self.server_offset.set(Some(offset));
    }
}
