//! Times in rows: the local wall clock of the terminal, in seconds.

use std::fmt;

use tz::UtcDateTime;

/// A wall-clock time without a zone, counted in seconds as if the wall clock were UTC.
///
/// Rows have local time and are not rewritten when the time zone changes, so that this is what
/// the store holds. [`fmt::Display`] writes the form for the server: `2015-07-30 15:16:28`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime(i64);

/// The earliest time of a row, 2000-01-01. A clock with an earlier time was never set.
const EARLIEST: i64 = 946_684_800;
/// The latest time of a row, the end of 2099: the date formats in the field end there.
const LATEST: i64 = 4_102_444_799;

impl LocalTime {
    /// Seconds of the wall clock as [`Self::seconds`] counts them. `None` outside the years 2000
    /// to 2099.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        (EARLIEST..=LATEST).contains(&seconds).then_some(Self(seconds))
    }

    /// Seconds since 1970-01-01 00:00:00 of the same wall clock.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// Reads `YYYY-MM-DD hh:mm:ss`. `None` for another form and for an impossible date.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = b"dddd-dd-dd dd:dd:dd";
        let fits = bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(b, s)| match s {
                b'd' => b.is_ascii_digit(),
                _ => b == s,
            });
        if !fits {
            return None;
        }
        let number = |range: std::ops::Range<usize>| -> Option<u16> { text[range].parse().ok() };
        let date = UtcDateTime::new(
            number(0..4)?.into(),
            number(5..7)? as u8,
            number(8..10)? as u8,
            number(11..13)? as u8,
            number(14..16)? as u8,
            number(17..19)? as u8,
            0,
        )
        .ok()?;
        // `UtcDateTime` allows leap seconds, rows do not.
        (date.second() < 60).then(|| Self::from_seconds(date.unix_time()))?
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = UtcDateTime::from_timespec(self.0, 0).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            date.year(),
            date.month(),
            date.month_day(),
            date.hour(),
            date.minute(),
            date.second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        for text in ["2015-07-30 15:16:28", "2024-02-29 23:59:59", "2099-12-31 00:00:00"] {
            assert_eq!(LocalTime::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "",
            "2015-07-30",
            "2015-02-29 00:00:00",
            "2015-13-01 00:00:00",
            "2015-01-01 24:00:00",
            "2015-01-01 00:00:60",
            "2015-01-01T00:00:00",
            " 2015-01-01 00:00:0",
            "1970-01-01 00:00:00",
            "1971--10--29 -23:-27",
            "2015-01-01 00:00:00 ",
            "２015-01-01 00:00:0",
        ] {
            assert_eq!(LocalTime::parse(text), None, "{text:?}");
        }
    }
}
