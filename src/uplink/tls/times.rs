//! Times as rustls has them, in seconds since 1970, and for a person.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use tz::UtcDateTime;

/// A time in seconds since 1970. There is none before.
pub(super) fn unix(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.max(0).unsigned_abs()))
}

/// The same, back.
pub(super) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// `2026-11-26 12:00:00 UTC`
pub(super) fn utc(seconds: i64) -> String {
    let Ok(date) = UtcDateTime::from_timespec(seconds, 0) else { return "?".into() };
    let (hour, minute, second) = (date.hour(), date.minute(), date.second());
    let (year, month, day) = (date.year(), date.month(), date.month_day());
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (1_795_694_400, "2026-11-26 12:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
            (i64::MAX, "?"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
