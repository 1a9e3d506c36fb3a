//! The text of the protocol: its two encodings, its times, its numbers.

use encoding_rs::{GBK, UTF_8};
use serde::Serialize;

use crate::deviation::{Flaw, Kind};

/// How a terminal writes names: GB2312 (of which GBK is the superset in use) when its language is
/// 83, else UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Charset {
    /// UTF-8.
    #[default]
    Utf8,
    /// GB2312, read as GBK.
    Gbk,
}

impl Charset {
    /// The encoding of a terminal of that language (appendix 2).
    pub fn of_language(language: Option<&str>) -> Charset {
        if language == Some("83") { Charset::Gbk } else { Charset::Utf8 }
    }

    /// The text, if these bytes are text in this encoding.
    pub fn decode(self, bytes: &[u8]) -> Result<String, Flaw> {
        let encoding = if self == Charset::Gbk { GBK } else { UTF_8 };
        match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            Some(text) => Ok(text.into_owned()),
            None => Err(Flaw::new(
                Kind::Encoding,
                format!("{:?} is not {}", String::from_utf8_lossy(bytes), self.name()),
            )),
        }
    }

    /// The bytes of a text in this encoding.
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Charset::Utf8 => text.as_bytes().to_vec(),
            Charset::Gbk => GBK.encode(text).0.into_owned(),
        }
    }

    fn name(self) -> &'static str {
        if self == Charset::Gbk { "GB2312" } else { "UTF-8" }
    }
}

/// A PIN as the document allows it: not blank, at most 24 bytes, printable.
pub(crate) fn pin(text: &str) -> Result<String, Flaw> {
    let wrong = |why: &str| Err(Flaw::new(Kind::Pin, format!("the PIN {text:?} {why}")));
    match text {
        _ if text.trim().is_empty() => wrong("is blank"),
        _ if text.len() > 24 => wrong("is longer than 24 bytes"),
        _ if text.contains(|c: char| c.is_control() || c.is_whitespace()) => wrong("holds a blank"),
        _ => Ok(text.to_owned()),
    }
}

/// A number in `range`, under the name of its field.
pub(crate) fn number(
    field: &str,
    text: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<i64, Flaw> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(n) if plain && range.contains(&n) => Ok(n),
        _ if range == (i64::MIN..=i64::MAX) => {
            Err(Flaw::new(Kind::Value, format!("{field} is {text:?}, not a number")))
        }
        _ => Err(Flaw::new(
            Kind::Value,
            format!("{field} is {text:?}, not a number from {} to {}", range.start(), range.end()),
        )),
    }
}

/// Any whole number.
pub(crate) fn integer(field: &str, text: &str) -> Result<i64, Flaw> {
    number(field, text, i64::MIN..=i64::MAX)
}

/// A time as the document writes it, `2015-07-29 11:11:11`, that a calendar has, of a clock that
/// was set.
pub(crate) fn time(text: &str) -> Result<String, Flaw> {
    let wrong = |why: &str| Err(Flaw::new(Kind::Time, format!("the time {text:?} {why}")));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape != "0000-00-00 00:00:00" {
        return wrong("is not of the form YYYY-MM-DD hh:mm:ss");
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    compact_time(&digits).map(|()| text.to_owned()).or_else(|why| wrong(&why))
}

/// The same for `20150729111111`.
pub(crate) fn compact_time(digits: &str) -> Result<(), String> {
    if digits.len() != 14 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not of the form YYYYMMDDhhmmss".into());
    }
    date(&digits[..8])?;
    let part = |range: std::ops::Range<usize>| digits[range].parse::<u32>().unwrap_or(u32::MAX);
    if part(8..10) > 23 || part(10..12) > 59 || part(12..14) > 59 {
        return Err("is impossible".into());
    }
    if part(0..4) < 2015 {
        return Err("is from before 2015: the clock was not set".into());
    }
    Ok(())
}

/// A day of the calendar, `20150729`.
pub(crate) fn date(digits: &str) -> Result<(), String> {
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not of the form YYYYMMDD".into());
    }
    let part = |range: std::ops::Range<usize>| digits[range].parse::<u32>().unwrap_or(u32::MAX);
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    if day == 0 || day > days { Err("is impossible".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for good in ["2015-07-29 11:11:11", "2024-02-29 00:00:00", "2000-02-29 00:00:00"] {
            assert_eq!(time(good).is_ok(), !good.starts_with("2000"), "{good}");
        }
        for bad in [
            "",
            "2015-7-29 11:11:11",
            "2015-07-29T11:11:11",
            "2015-07-29 11:11:11 ",
            "2015-02-29 11:11:11",
            "2100-02-29 11:11:11",
            "2015-13-01 00:00:00",
            "2015-00-01 00:00:00",
            "2015-04-31 00:00:00",
            "2015-07-00 00:00:00",
            "2015-07-29 24:00:00",
            "2015-07-29 23:60:00",
            "2015-07-29 23:59:60",
            "2014-12-31 23:59:59",
            "1971--10--29 -23:-27:-54",
        ] {
            assert_eq!(time(bad).map_err(|flaw| flaw.kind), Err(Kind::Time), "{bad}");
        }
    }

    #[test]
    fn pins() {
        assert!(pin("123456789012345678901234").is_ok() && pin("abc123").is_ok());
        for bad in ["", " ", "1234567890123456789012345", "12 3", "12\r"] {
            assert_eq!(pin(bad).map_err(|flaw| flaw.kind), Err(Kind::Pin), "{bad:?}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(integer("Pri", "14").ok(), Some(14));
        assert_eq!(integer("Verify", "-1").ok(), Some(-1));
        for bad in ["", "+1", "1.0", "-", "x", "99999999999999999999"] {
            assert!(integer("Pri", bad).is_err(), "{bad}");
        }
        assert_eq!(
            number("FID", "10", 0..=9).unwrap_err().text,
            "FID is \"10\", not a number from 0 to 9"
        );
    }

    #[test]
    fn encodings() {
        let zhang = Charset::Gbk.encode("张三");
        assert_eq!(zhang.len(), 4);
        assert_eq!(Charset::Gbk.decode(&zhang).unwrap(), "张三");
        assert!(Charset::Utf8.decode(&zhang).is_err());
        assert!(Charset::Gbk.decode(b"\xff\xff").is_err());
    }
}
