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

    /// Such seconds as text, for a person: `?` outside of these years.
    pub fn describe(seconds: i64) -> String {
        Self::from_seconds(seconds).map_or_else(|| "?".into(), |time| time.to_string())
    }

    /// Seconds since 1970-01-01 00:00:00 of the same wall clock.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// Writes the form for the server.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text());
    }

    /// The form for the server. Rows come by the ten thousand: formatting it took half of their time.
    fn text(self) -> [u8; 19] {
        let mut text = *b"2000-01-01 00:00:00";
        // A time between the years 2000 and 2099 has a date, and two digits of its year are known.
        if let Ok(date) = UtcDateTime::from_timespec(self.0, 0) {
            let mut write = |at: usize, number: u8| {
                (text[at], text[at + 1]) = (b'0' + number / 10, b'0' + number % 10);
            };
            write(2, (date.year() % 100) as u8);
            write(5, date.month());
            write(8, date.month_day());
            write(11, date.hour());
            write(14, date.minute());
            write(17, date.second());
        }
        text
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

    /// Reads the number in which devices of this kind keep a time: seconds since 2000 as if every
    /// month had 31 days. `None` for a date that no month has.
    pub fn from_packed(number: u32) -> Option<Self> {
        let (days, seconds) = (number / 86_400, number % 86_400);
        let (months, day) = (days / 31, days % 31 + 1);
        let (year, month) = (2000 + months / 12, months % 12 + 1);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let (day, month) = (u8::try_from(day).ok()?, u8::try_from(month).ok()?);
        let (hour, minute, second) = (hour as u8, minute as u8, second as u8);
        let date = UtcDateTime::new(year as i32, month, day, hour, minute, second, 0).ok()?;
        Self::from_seconds(date.unix_time())
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        for text in [
            "2000-01-01 00:00:00",
            "2009-10-20 10:09:08",
            "2015-07-30 15:16:28",
            "2024-02-29 23:59:59",
            "2099-12-31 23:59:59",
        ] {
            let time = LocalTime::parse(text).unwrap();
            let mut written = Vec::new();
            time.write(&mut written);
            assert_eq!((time.to_string().as_str(), written.as_slice()), (text, text.as_bytes()));
        }
    }

    #[test]
    fn a_number_in_which_each_month_has_31_days_is_a_time() {
        for (number, text) in [
            (0, Some("2000-01-01 00:00:00")),
            (583_050_990, Some("2018-02-22 06:36:30")),
            (864_614_045, Some("2026-11-26 02:34:05")),
            // The 30th of February.
            ((31 + 29) * 86_400, None),
            (u32::MAX, None),
        ] {
            let read = LocalTime::from_packed(number).map(|time| time.to_string());
            assert_eq!(read.as_deref(), text, "{number}");
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
