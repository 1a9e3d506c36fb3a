//! The time: UTC, the terminal's local time, and a monotonic clock.
//!
//! [`Clock`] is a trait, so that tests run the loop with a clock of their own. A clock that shows
//! less than [`BUILD_TIME`] was never set; its time is never sent. There is no local time either
//! until the zone is known, where the server has to name it.

mod offset;

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use tz::TimeZone;

pub use self::offset::ClockOffset;
use crate::protocol::time::LocalTime;

/// Seconds since 1970 at the build of this version, 2026-11-01 UTC. A clock that is set shows more.
pub const BUILD_TIME: i64 = 1_793_491_200;

/// The latest time that is believed of a server, and for TLS of the terminal's own clock: ten years
/// after the build.
pub const LATEST_TIME: i64 = BUILD_TIME + 3653 * 86_400;

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
    /// Returns by how many seconds it was off, if it was set.
    fn set(&self, utc: i64) -> Option<i64>;
    /// Takes what a completed handshake says of the time zone: an offset in seconds, or nothing. It
    /// has an effect if the owner lets the server decide.
    fn set_zone(&self, offset: Option<i32>);
    /// Who named the time zone.
    fn zone_source(&self) -> ZoneSource;

    /// Seconds since 1970 in UTC, or `None` while the clock is not set.
    fn utc_if_set(&self) -> Option<i64> {
        Some(self.utc()).filter(|utc| *utc >= BUILD_TIME)
    }

    /// The local time, or `None` while the clock is not set or the zone is awaited.
    fn local(&self) -> Option<LocalTime> {
        let is_awaited = self.zone_source() == ZoneSource::Awaited;
        self.utc_if_set().filter(|_| !is_awaited).and_then(|utc| self.wall(utc))
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

/// Who named the zone in which the terminal's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneSource {
    /// The server, in this run or an earlier one.
    Server,
    /// The system.
    System,
    /// The owner.
    Configuration,
    /// Nobody: the server names none, or the system's cannot be read.
    Unknown,
    /// Nobody yet: the server has to name it, and no handshake was completed.
    Awaited,
}

impl ZoneSource {
    /// The name in `punchd status --json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::System => "system",
            Self::Configuration => "configuration",
            Self::Unknown => "unknown",
            Self::Awaited => "awaited",
        }
    }
}

/// What the server has said of the time zone so far. It is kept over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerZone {
    /// No handshake was completed yet.
    Awaited,
    /// A handshake was completed and named no zone.
    Unnamed,
    /// The last zone that it named, in seconds.
    Offset(i32),
}

impl ServerZone {
    /// What was kept, if anything was.
    pub fn from_kept(text: Option<&str>) -> Self {
        match text {
            None => Self::Awaited,
            Some(text) => text.parse().map_or(Self::Unnamed, Self::Offset),
        }
    }

    /// The text to keep; `None` while there is nothing to keep.
    pub fn to_kept(self) -> Option<String> {
        match self {
            Self::Awaited => None,
            Self::Unnamed => Some("none".into()),
            Self::Offset(offset) => Some(offset.to_string()),
        }
    }

    /// What is known after a handshake that named `offset`. A zone that was named once holds until
    /// another is named.
    pub fn after(self, offset: Option<i32>) -> Self {
        match (offset, self) {
            (Some(offset), _) | (None, Self::Offset(offset)) => Self::Offset(offset),
            (None, _) => Self::Unnamed,
        }
    }
}

/// An offset from UTC as `UTC+08:00`.
pub fn zone_name(offset: i32) -> String {
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
    format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The clock of the machine.
pub struct SystemClock {
    authority: Authority,
    zone: Zone,
    system_zone: Option<TimeZone>,
    server_zone: Cell<ServerZone>,
    clock_offset: ClockOffset,
    boot: String,
    warned: Cell<bool>,
    warned_of_zone: Cell<bool>,
}

impl SystemClock {
    /// The machine's clock, with what the server said of the zone in earlier runs.
    pub fn new(
        authority: Authority,
        zone: Zone,
        server_zone: ServerZone,
        clock_offset: ClockOffset,
    ) -> Self {
        Self {
            authority,
            system_zone: system_zone(&zone),
            zone,
            server_zone: Cell::new(server_zone),
            clock_offset,
            boot: boot_id(),
            warned: Cell::new(false),
            warned_of_zone: Cell::new(false),
        }
    }

    /// Warns once that the zone is not known.
    fn warn_of_zone(&self) {
        if self.warned_of_zone.replace(true) {
            return;
        }
        let zone = zone_name(self.offset(self.utc()));
        log::warn!(
            "the server names no time zone that can be used (TimeZone in its handshake reply): \
             punches have the time of the terminal's own zone, {zone}; set TimeZone at the server, \
             or timezone in punchd.toml"
        );
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
            Zone::Server => match self.server_zone.get() {
                ServerZone::Offset(offset) => offset,
                ServerZone::Awaited | ServerZone::Unnamed => of_system().unwrap_or(0),
            },
        }
    }

    fn set(&self, utc: i64) -> Option<i64> {
        if self.authority == Authority::System {
            return None;
        }
        self.clock_offset.set_told(utc);
        let off = utc - self.utc();
        if off.abs() <= TOLERANCE {
            return None;
        }
        if self.authority == Authority::Server {
            let now = Timespec { tv_sec: utc, tv_nsec: 0 };
            match clock_settime(ClockId::Realtime, now) {
                Ok(()) => {
                    self.clock_offset.clear();
                    log::info!("clock set to the server's time; it was off by {off} s");
                    return Some(off);
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
        Some(off)
    }

    fn set_zone(&self, offset: Option<i32>) {
        self.server_zone.set(self.server_zone.get().after(offset));
        if self.zone == Zone::Server && self.zone_source() == ZoneSource::Unknown {
            self.warn_of_zone();
        }
    }

    fn zone_source(&self) -> ZoneSource {
        match (&self.zone, self.server_zone.get()) {
            (Zone::Fixed(_), _) => ZoneSource::Configuration,
            (Zone::System, _) if self.system_zone.is_some() => ZoneSource::System,
            (Zone::System, _) | (Zone::Server, ServerZone::Unnamed) => ZoneSource::Unknown,
            (Zone::Server, ServerZone::Awaited) => ZoneSource::Awaited,
            (Zone::Server, ServerZone::Offset(_)) => ZoneSource::Server,
        }
    }
}

/// The system's zone: `TZ` if it is set, else `/etc/localtime`.
fn system_zone(zone: &Zone) -> Option<TimeZone> {
    let (read, name) = match std::env::var("TZ") {
        Ok(name) if name.is_empty() => (Ok(TimeZone::utc()), "TZ"),
        Ok(name) => (TimeZone::from_posix_tz(&name), "TZ"),
        Err(_) => (TimeZone::local(), "/etc/localtime"),
    };
    let warn = |error: &tz::Error| {
        if *zone == Zone::System {
            log::error!(
                "the system's time zone cannot be read from {name} ({error}): punches have the \
                 time of UTC; correct it, or set timezone in punchd.toml"
            );
        }
    };
    read.inspect_err(warn).ok()
}

/// What names this boot. Without the kernel's name for it, one that no other run has: rows of
/// another boot must never look like rows of this one.
fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if !boot.trim().is_empty() {
        return boot.trim().to_owned();
    }
    let now = clock_gettime(ClockId::Boottime);
    format!("run-{}-{}-{}", std::process::id(), now.tv_sec, now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(zone: Zone, server_zone: ServerZone) -> ZoneSource {
        SystemClock::new(Authority::Own, zone, server_zone, ClockOffset::default()).zone_source()
    }

    #[test]
    fn a_zone_that_was_named_once_holds_over_restarts() {
        let mut zone = ServerZone::from_kept(None);
        assert_eq!((zone, zone.to_kept()), (ServerZone::Awaited, None));
        for (named, expected) in [
            (None, ServerZone::Unnamed),
            (Some(28_800), ServerZone::Offset(28_800)),
            (None, ServerZone::Offset(28_800)),
            (Some(-3600), ServerZone::Offset(-3600)),
        ] {
            zone = zone.after(named);
            assert_eq!(zone, expected, "{named:?}");
            assert_eq!(ServerZone::from_kept(zone.to_kept().as_deref()), zone);
        }
    }

    #[test]
    fn only_a_zone_that_the_server_has_to_name_is_awaited() {
        assert_eq!(source(Zone::Server, ServerZone::Awaited), ZoneSource::Awaited);
        assert_eq!(source(Zone::Server, ServerZone::Unnamed), ZoneSource::Unknown);
        assert_eq!(source(Zone::Server, ServerZone::Offset(0)), ZoneSource::Server);
        assert_eq!(source(Zone::Fixed(3600), ServerZone::Awaited), ZoneSource::Configuration);
    }

    #[test]
    fn what_the_server_told_is_kept_unless_the_systems_clock_is_right() {
        for (authority, is_kept) in [(Authority::Own, true), (Authority::System, false)] {
            let known = ClockOffset::default();
            let clock =
                SystemClock::new(authority, Zone::System, ServerZone::Unnamed, known.clone());
            assert_eq!(known.told(), None);
            clock.set(BUILD_TIME + 1000);
            let told = known.told();
            assert_eq!(told.is_some(), is_kept, "{authority:?}");
            // A second may have passed.
            assert!(told.is_none_or(|told| (0..9).contains(&(told - BUILD_TIME - 1000))));
        }
    }

    #[test]
    fn offsets_are_written_with_their_sign() {
        for (offset, name) in [(0, "UTC+00:00"), (19_800, "UTC+05:30"), (-12_600, "UTC-03:30")] {
            assert_eq!(zone_name(offset), name);
        }
    }
}
