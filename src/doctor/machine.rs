//! Clock, zone and store of a terminal on which no punchd runs.

use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use super::finding::{Finding, Level, Report};
use crate::clock::{Authority, Clock, ClockOffset, ServerZone, SystemClock, ZoneSource, zone_name};
use crate::config::Config;
use crate::protocol::time::LocalTime;
use crate::store::{self, Inspection};

/// Checks them. The store is left alone if a punchd may use it.
pub(super) fn state(config: &Config, is_free: bool, report: Report<'_>) {
    let found = if is_free { store::inspect(&config.store) } else { Ok(None) };
    let kept = found.as_ref().ok().and_then(|store| store.as_ref()?.zone.clone());
    let zone = ServerZone::from_kept(kept.as_deref());
    let offset = ClockOffset::default();
    let clock = SystemClock::new(config.clock, config.timezone.clone(), zone, offset);
    report(clock_of(&clock, config.clock));
    report(zone_of(&clock));
    match found {
        Err(error) => {
            let level = if is_denied(&config.store) { Level::Warning } else { Level::Fault };
            report(Finding { level, ..Finding::ok("store", error.to_string()) });
        }
        Ok(found) if is_free => report(store_of(config, found.as_ref())),
        Ok(_) => {}
    }
    report(free_room(config));
}

/// Whether this user may not read a file.
fn is_denied(file: &Path) -> bool {
    rustix::fs::access(file, Access::READ_OK) == Err(Errno::ACCESS)
}

fn clock_of(clock: &SystemClock, authority: Authority) -> Finding {
    let time = LocalTime::describe(clock.utc());
    let source = match authority {
        Authority::Server => "the server sets it",
        Authority::System => "punchd does not set it (clock = \"system\")",
        Authority::Own => "punchd has a clock of its own, which the server sets after each start",
    };
    match (clock.utc_if_set(), authority) {
        (Some(_), _) => Finding::ok("clock", format!("{time} UTC; {source}")),
        (None, Authority::System) => Finding::fault(
            "clock",
            format!("not set ({time} UTC is before this version was built); {source}"),
        )
        .remedy("set it, or set clock = \"server\" in punchd.toml"),
        (None, _) => Finding::warning(
            "clock",
            format!("not set ({time} UTC is before this version was built); {source}"),
        )
        .remedy("punches wait until the server was reached; a battery for the clock helps"),
    }
}

fn zone_of(clock: &SystemClock) -> Finding {
    let name = zone_name(clock.offset(clock.utc()));
    let unknown = format!("not known; {name} is used");
    match clock.zone_source() {
        ZoneSource::Server => Finding::ok("zone", format!("{name}, as the server named it")),
        ZoneSource::System => Finding::ok("zone", format!("{name}, as the system has it")),
        ZoneSource::Configuration => Finding::ok("zone", format!("{name}, from timezone")),
        ZoneSource::Awaited => Finding::warning("zone", "not known until the server names it")
            .remedy("punches wait for it: connect the server, or set timezone in punchd.toml"),
        ZoneSource::Unknown => Finding::warning("zone", unknown)
            .remedy("set TimeZone at the server, or timezone in punchd.toml"),
    }
}

fn store_of(config: &Config, found: Option<&Inspection>) -> Finding {
    let path = config.store.display();
    let Some(Inspection { version: (version, newest), bytes, .. }) = found else {
        return Finding::ok("store", format!("{path} is not there yet; the first start makes it"));
    };
    let most = config.store_limits().bytes;
    let size = format!("{path}: {} of {} KiB used, version {version}", bytes >> 10, most >> 10);
    match () {
        () if *bytes > most => Finding::warning("store", size)
            .remedy("raise [limits] store_mib, or connect the server, which takes what is old"),
        () if version < newest => {
            Finding::ok("store", format!("{size}; a start brings it to version {newest}"))
        }
        () => Finding::ok("store", size),
    }
}

/// The room on the file system of the store.
pub(super) fn free_room(config: &Config) -> Finding {
    let (dir, wanted) = (config.store.display(), config.store_limits().free);
    let Some(free) = store::free_bytes(&config.store) else {
        return Finding::warning("room", format!("the file system of {dir} cannot be asked"));
    };
    let message = format!("{} KiB are free on the file system of {dir}", free >> 10);
    if free < 1 << 20 {
        return Finding::fault("room", format!("{message}: punches are refused"))
            .remedy("delete what else is on it");
    }
    if free < wanted {
        return Finding::warning("room", format!("{message}: only punches are taken"))
            .remedy("delete what else is on it, or lower [limits] free_mib");
    }
    Finding::ok("room", message)
}
