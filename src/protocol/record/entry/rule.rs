//! What a field of a small table may hold.

use base64::Engine as _;

use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::foreign::quoted;
use crate::protocol::record::Pin;
use crate::protocol::text;
use crate::protocol::time::LocalTime;

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A whole number within these bounds.
    Number(i64, i64),
    /// One of these numbers.
    OneOf(&'static [i64]),
    /// Text of up to so many bytes in the encoding of the terminal.
    Text(usize),
    /// A PIN.
    Pin,
    /// `YYYY-MM-DD hh:mm:ss`.
    Time,
    /// `hhmm`.
    Hhmm,
    /// `MMDD`.
    Mmdd,
    /// So many numbers, at least and at most, separated by semicolons.
    Numbers(usize, usize),
    /// Up to so many times `hh:mm`, separated by semicolons.
    Times(usize),
    /// Base64 of up to so many bytes, with its size in `size`.
    Base64(usize),
}

impl Rule {
    /// A value that the rule allows, in the one form in which it is kept: `03` is `3`.
    pub(super) fn canonical(self, value: &str) -> String {
        match (self, value.trim().parse::<i64>()) {
            (Self::Number(..) | Self::OneOf(_), Ok(number)) => number.to_string(),
            _ => value.to_owned(),
        }
    }

    /// Refuses a value that breaks the rule.
    pub(super) fn check(
        self,
        key: &'static str,
        value: &str,
        fields: &Fields,
        language: Language,
    ) -> Result<(), Refusal> {
        let refuse =
            |why: String| Err(Refusal::field(key, format_args!("{why}: {}", quoted(value))));
        let digits =
            |count: usize| value.len() == count && value.bytes().all(|byte| byte.is_ascii_digit());
        let two = |at: usize| value.get(at..at + 2).and_then(|two| two.parse::<u8>().ok());
        let clock = |time: &str| {
            time.split_once(':').is_some_and(|(hours, minutes)| {
                matches!((hours.parse(), minutes.parse()), (Ok(0..=23), Ok(0..=59)))
            })
        };
        match self {
            Self::Number(least, most) => match value.trim().parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => refuse(format!("is not a whole number from {least} to {most}")),
            },
            Self::OneOf(known) => match value.trim().parse::<i64>() {
                Ok(number) if known.contains(&number) => Ok(()),
                _ => refuse(format!("is not one of {known:?}")),
            },
            Self::Text(most) if !text::is_clean(value) => {
                refuse(format!("has a control character; allowed is text of up to {most} bytes"))
            }
            Self::Text(most) if text::encode(value, language).len() > most => Err(Refusal {
                code: ReturnCode::TOO_LONG,
                ..Refusal::field(key, format_args!("is longer than {most} bytes"))
            }),
            Self::Text(_) => Ok(()),
            Self::Pin => {
                Pin::new(value).map(drop).map_err(|invalid| Refusal::field(key, invalid.why))
            }
            Self::Time if LocalTime::parse(value).is_none() => {
                refuse("is not a time of the form YYYY-MM-DD hh:mm:ss".into())
            }
            Self::Time => Ok(()),
            Self::Hhmm if digits(4) && two(0) < Some(24) && two(2) < Some(60) => Ok(()),
            Self::Hhmm => refuse("is not a time of the form hhmm".into()),
            Self::Mmdd if digits(4) && matches!((two(0), two(2)), (Some(1..=12), Some(1..=31))) => {
                Ok(())
            }
            Self::Mmdd => refuse("is not a date of the form MMDD".into()),
            Self::Numbers(least, most) => {
                let parts: Vec<_> =
                    value.split(';').map(|part| part.trim().parse::<u16>()).collect();
                let fits = (least..=most).contains(&parts.len()) && parts.iter().all(Result::is_ok);
                if fits {
                    Ok(())
                } else {
                    refuse(format!("is not {least} to {most} numbers separated by ;"))
                }
            }
            Self::Times(most) => {
                let times: Vec<&str> = value.split(';').filter(|time| !time.is_empty()).collect();
                let fits = times.len() <= most && times.iter().all(|time| clock(time));
                if fits {
                    Ok(())
                } else {
                    refuse(format!("is not up to {most} times hh:mm separated by ;"))
                }
            }
            Self::Base64(most) => sized(key, value, fields, most),
        }
    }
}

/// Checks base64. `Size` may count its characters or its bytes: the document says only "size".
fn sized(key: &'static str, value: &str, fields: &Fields, most: usize) -> Result<(), Refusal> {
    if value.len() > most / 3 * 4 {
        return Err(Refusal {
            code: ReturnCode::TOO_LONG,
            ..Refusal::field(key, format_args!("is longer than {most} bytes"))
        });
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(value)
        .map_err(|error| Refusal::field(key, format_args!("is not base64: {error}")))?;
    match fields.number::<usize>("size")? {
        Some(size) if size != value.len() && size != bytes.len() => Err(Refusal {
            code: ReturnCode::PHOTO_SIZE,
            ..Refusal::field("size", format_args!("is {size}, but there are {} bytes", bytes.len()))
        }),
        _ => Ok(()),
    }
}
