//! The `Date` of a response, in every form that servers in use write.
//!
//! `Wed, 25 Nov 2026 08:00:00 GMT` is the standard's; `UTC`, `+0000`, other offsets, days of one
//! digit, a missing weekday and ISO 8601 exist as well.

use tz::UtcDateTime;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads a date as seconds since 1970 in UTC. `None` for what is no date.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    // The weekday is not needed, and sometimes wrong.
    let text = text.split_once(',').map_or(text, |(_, rest)| rest).trim();
    let (year, month, day, rest) = match text.as_bytes() {
        [_, _, _, _, b'-', ..] => iso(text)?,
        [first, ..] if first.is_ascii_alphabetic() => asctime(text)?,
        _ => rfc(text)?,
    };
    let (time, zone) = split_zone(rest.trim());
    let mut parts = time.split('.').next()?.split(':');
    let mut next = || parts.next().and_then(|part| number(part, 2));
    let (hour, minute, second) = (next()?, next()?, next()?);
    let date = UtcDateTime::new(
        i32::try_from(year).ok()?,
        u8::try_from(month).ok()?,
        u8::try_from(day).ok()?,
        u8::try_from(hour).ok()?,
        u8::try_from(minute).ok()?,
        u8::try_from(second).ok()?,
        0,
    )
    .ok()?;
    Some(date.unix_time() - offset(zone)?)
}

/// `25 Nov 2026 …`: year, month, day, and what follows.
fn rfc(text: &str) -> Option<(u32, u32, u32, &str)> {
    let mut words = text.splitn(4, [' ', '-']).filter(|word| !word.is_empty());
    let day = number(words.next()?, 2)?;
    let month = month(words.next()?)?;
    let year = number(words.next()?, 4)?;
    Some((if year < 100 { 2000 + year } else { year }, month, day, words.next()?))
}

/// `Wed Nov 25 08:00:00 2026`, the oldest form.
fn asctime(text: &str) -> Option<(u32, u32, u32, &str)> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let (name, day, time, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some((number(year, 4)?, month(name)?, number(day, 2)?, time))
}

fn month(name: &str) -> Option<u32> {
    let name = name.get(..3)?.to_ascii_lowercase();
    (1..).zip(MONTHS).find(|(_, known)| *known == name).map(|(month, _)| month)
}

/// `2026-11-25T…`, also with a blank.
fn iso(text: &str) -> Option<(u32, u32, u32, &str)> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = (number(year, 4)?, number(month, 2)?, number(day, 2)?, rest);
    parts.next().is_none().then_some(whole)
}

/// The time, and the zone after it.
fn split_zone(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
    let (time, zone) = text.split_at(end.unwrap_or(text.len()));
    (time, zone.trim())
}

/// Seconds east of UTC; a date without a zone is in UTC.
fn offset(zone: &str) -> Option<i64> {
    if ["", "z", "gmt", "utc", "ut"].contains(&zone.to_ascii_lowercase().as_str()) {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    let (hours, minutes) = (digits.get(..2)?, digits.get(2..).unwrap_or_default());
    let minutes = if minutes.is_empty() { 0 } else { number(minutes, 2)? };
    let hours = number(hours, 2)?;
    (hours <= 14 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// A number of at most `digits` digits.
fn number(text: &str, digits: usize) -> Option<u32> {
    let fits = (1..=digits).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_seen_is_the_same_moment() {
        for text in [
            "Wed, 25 Nov 2026 08:00:00 GMT",
            "Wed, 25 Nov 2026 08:00:00 UTC",
            "Wed, 25 Nov 2026 08:00:00 +0000",
            "Wed, 25 Nov 2026 16:00:00 +0800",
            "Wed, 25 Nov 2026 04:30:00 -03:30",
            "25 Nov 2026 08:00:00 GMT",
            "Wednesday, 25-Nov-26 08:00:00 GMT",
            "Wed Nov 25 08:00:00 2026",
            "2026-11-25T08:00:00Z",
            "2026-11-25 08:00:00",
            "2026-11-25T08:00:00.123Z",
            "2026-11-25T16:00:00+08:00",
            " Wed, 25 Nov 2026 08:00:00 GMT ",
        ] {
            assert_eq!(parse(text), Some(1_795_593_600), "{text:?}");
        }
        assert_eq!(parse("Wed, 4 Nov 2026 08:00:00 GMT"), parse("Wed, 04 Nov 2026 08:00:00 GMT"));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "now",
            "Wed, 25 Nov 2026",
            "Wed, 32 Nov 2026 08:00:00 GMT",
            "Wed, 25 Foo 2026 08:00:00 GMT",
            "Wed, 25 Nov 2026 25:00:00 GMT",
            "Wed, 25 Nov 2026 08:00:00 MARS",
            "2026-13-25T08:00:00Z",
            "Wed, 25 Nov 2026 08:00:00 +9900",
            "1795593600",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
