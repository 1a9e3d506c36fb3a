//! How long a user is valid: `StartDatetime`, `EndDatetime` and `Expires`. The document does not have
//! them; servers send them, and terminals send them back at the end of the row of a user.

use tz::UtcDateTime;

use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::foreign::quoted;

/// The validity of a user. `None`: nobody ever gave it. Times are kept as they came, since servers
/// write them in several forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// From when; `0` for no limit.
    pub start: Option<String>,
    /// Until when; `0` for no limit.
    pub end: Option<String>,
    /// What ends it: 0 nothing, 1 the time, 2 a number of uses, 3 both.
    pub expires: Option<u8>,
}

/// The last of the values of `Expires`.
const LAST_EXPIRES: u8 = 3;

impl Validity {
    /// The end of the row of a user whose validity nobody gave, where it is sent all the same.
    pub(crate) const ABSENT: &'static str = "\tStartDatetime=0\tEndDatetime=0";

    /// Reads and checks what a record carries.
    pub(super) fn from_fields(fields: &Fields) -> Result<Self, Refusal> {
        let time =
            |field: &'static str| fields.get(field).map(|text| time(field, text)).transpose();
        let (start, end) = (time("startdatetime")?, time("enddatetime")?);
        if let (Some(start), Some(end)) = (&start, &end) {
            // Only times of the same form can be compared.
            let both = start != "0" && end != "0" && start.len() == end.len();
            if both && end < start {
                let why = format!("is {end}, before startdatetime, which is {start}");
                return Err(Refusal::field("enddatetime", why));
            }
        }
        let expires = match fields.number("expires")? {
            None => fields.get("expires").map(|_| 0),
            Some(expires @ 0..=LAST_EXPIRES) => Some(expires),
            Some(other) => {
                return Err(Refusal::field(
                    "expires",
                    format_args!("is {other}; allowed are 0 to 3"),
                ));
            }
        };
        Ok(Self { start, end, expires })
    }

    /// Changes what another value has.
    pub(super) fn apply(self, validity: &mut Self) {
        validity.start = self.start.or(validity.start.take());
        validity.end = self.end.or(validity.end.take());
        validity.expires = self.expires.or(validity.expires);
    }

    /// Writes the end of the row of a user: nothing if nobody ever gave a validity.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if *self == Self::default() {
            return;
        }
        let (start, end) = (self.start.as_deref(), self.end.as_deref());
        let (start, end) = (start.unwrap_or("0"), end.unwrap_or("0"));
        out.extend_from_slice(format!("\tStartDatetime={start}\tEndDatetime={end}").as_bytes());
        if let Some(expires) = self.expires {
            out.extend_from_slice(format!("\tExpires={expires}").as_bytes());
        }
    }
}

/// A time as servers write it: a number (seconds, or digits of a date), or a date with or without
/// a time. Empty means 0, no limit.
fn time(field: &'static str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() || text.bytes().all(|byte| byte == b'0') {
        return Ok("0".to_owned());
    }
    let is_number = text.len() <= MOST_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || is_date(text) {
        return Ok(text.to_owned());
    }
    let why =
        "is neither a number of up to 14 digits nor a date YYYY-MM-DD, with or without hh:mm:ss";
    Err(Refusal::field(field, format_args!("{why}: {}", quoted(text))))
}

/// As many as `YYYYMMDDhhmmss` has; seconds have ten, milliseconds thirteen.
const MOST_DIGITS: usize = 14;

/// `YYYY-MM-DD`, with or without `hh:mm:ss` after a blank or a `T`.
fn is_date(text: &str) -> bool {
    let shapes = ["dddd-dd-dd", "dddd-dd-dd dd:dd:dd", "dddd-dd-ddTdd:dd:dd"];
    let is_of = |shape: &&str| {
        shape.len() == text.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, expected)| match expected {
                b'd' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    if !shapes.iter().any(is_of) {
        return false;
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse().ok());
    let two = |from| number(from, from + 2).unwrap_or(0) as u8;
    let year = number(0, 4).unwrap_or(0_u16);
    UtcDateTime::new(year.into(), two(5), two(8), two(11), two(14), two(17), 0).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Validity, Refusal> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Validity::from_fields(&Fields::from_pairs(pairs.iter().map(owned).collect()))
    }

    #[test]
    fn times_are_kept_in_the_form_in_which_they_come() {
        for (text, kept) in [
            ("", "0"),
            ("0", "0"),
            ("000000", "0"),
            ("1767225600", "1767225600"),
            ("20260101", "20260101"),
            ("20260101235959", "20260101235959"),
            ("2026-01-01", "2026-01-01"),
            ("2026-01-01 08:00:00", "2026-01-01 08:00:00"),
            ("2026-01-01T08:00:00", "2026-01-01T08:00:00"),
            ("9999-12-31 23:59:59", "9999-12-31 23:59:59"),
        ] {
            assert_eq!(read(&[("startdatetime", text)]).unwrap().start.as_deref(), Some(kept));
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_its_field() {
        for (key, text) in [
            ("startdatetime", "tomorrow"),
            ("startdatetime", "2026-02-30"),
            ("startdatetime", "2026-01-01 24:00:00"),
            ("startdatetime", "-1"),
            ("startdatetime", "123456789012345"),
            ("enddatetime", "2026-01-01 08:00"),
            ("enddatetime", "１"),
            ("expires", "4"),
            ("expires", "-1"),
            ("expires", "never"),
        ] {
            assert_eq!(read(&[(key, text)]).unwrap_err().field, Some(key), "{text}");
        }
        let turned = [("startdatetime", "2026-02-01"), ("enddatetime", "2026-01-01")];
        assert_eq!(read(&turned).unwrap_err().field, Some("enddatetime"));
        assert!(read(&[("startdatetime", "2026-02-01"), ("enddatetime", "0")]).is_ok());
    }
}
