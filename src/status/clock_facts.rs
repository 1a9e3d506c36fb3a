//! What is known of the clock and the zone, and what of it needs a person.

use serde_json::{Value, json};

use crate::clock::{Clock, ZoneSource, zone_name};

/// A `Date` header of the server.
#[derive(Clone, Debug)]
pub struct LastDate {
    /// As it came.
    pub text: String,
    /// In seconds since 1970, if it could be read.
    pub at: Option<i64>,
    /// Why it is not believed; `None` if it is.
    pub reason: Option<&'static str>,
}

/// A step of the clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockStep {
    /// By how many seconds, forward or back.
    pub seconds: i64,
    /// When, in seconds since 1970 on the new clock.
    pub at: i64,
}

impl LastDate {
    pub(super) fn to_json(&self) -> Value {
        let Self { text, at, reason } = self;
        json!({"text": text, "at": at, "believed": reason.is_none(), "reason": reason})
    }
}

impl ClockStep {
    pub(super) fn to_json(self) -> Value {
        json!({"seconds": self.seconds, "at": self.at})
    }
}

/// The zone of the terminal's time now; `None` while it is awaited.
pub(super) fn zone_in_use(clock: &dyn Clock) -> Option<String> {
    let is_awaited = clock.zone_source() == ZoneSource::Awaited;
    (!is_awaited).then(|| zone_name(clock.offset(clock.utc())))
}

/// What needs a person.
pub(super) fn attention(step: Option<ClockStep>, clock: &dyn Clock) -> Vec<String> {
    let mut found = Vec::new();
    if clock.zone_source() == ZoneSource::Unknown {
        let zone = zone_name(clock.offset(clock.utc()));
        found.push(format!(
            "the time zone is not known, {zone} is used: set TimeZone at the server, or timezone in \
             punchd.toml"
        ));
    }
    if let Some(ClockStep { seconds, .. }) = step {
        found.push(format!(
            "the clock was changed by {seconds} s; what was recorded before keeps the old time: check \
             these punches, and the server's clock"
        ));
    }
    found
}
