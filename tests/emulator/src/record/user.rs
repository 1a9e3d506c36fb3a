//! Users (§11.5): `USER`, a blank, nine keys, and in newer firmware two more for the time of
//! validity.

use serde::Serialize;

use super::{after, keyed};
use crate::deviation::{Flaw, Kind};
use crate::text::{self, Charset};

/// A person the terminal knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the names are the document's
pub struct User {
    pub pin: String,
    pub name: String,
    pub pri: i64,
    pub passwd: String,
    pub card: String,
    pub grp: String,
    pub tz: String,
    pub verify: String,
    pub vice_card: String,
    /// `StartDatetime` and `EndDatetime`, where they are sent.
    pub validity: Option<(String, String)>,
    /// `Expires`, where it is sent.
    pub expires: Option<String>,
}

const KEYS: [&str; 9] = ["PIN", "Name", "Pri", "Passwd", "Card", "Grp", "TZ", "Verify", "ViceCard"];
/// The document has 24; terminals and servers in use send names whole.
const NAME_BYTES: usize = 255;

/// Reads a row; the encoding determines how many bytes the name had on the wire.
pub fn parse(row: &str, charset: Charset) -> Result<User, Flaw> {
    let mut rest = after(row, "USER")?;
    let (mut validity, mut expires) = (None, None);
    if let Some(at) = rest.find("\tStartDatetime=") {
        let end_of_row = &rest[at + 1..];
        let (start, end) = if end_of_row.contains("\tExpires=") {
            let keys = ["StartDatetime", "EndDatetime", "Expires"];
            let [start, end, value] = keyed(end_of_row, keys)?;
            text::number("Expires", value, 0..=3)?;
            expires = Some(value.to_owned());
            (start, end)
        } else {
            let [start, end] = keyed(end_of_row, ["StartDatetime", "EndDatetime"])?;
            (start, end)
        };
        validity = Some((validity_time(start)?, validity_time(end)?));
        rest = &rest[..at];
    }
    let [pin, name, pri, passwd, card, grp, tz, verify, vice_card] = keyed(rest, KEYS)?;
    let bytes = charset.encode(name).len();
    if bytes > NAME_BYTES {
        return Err(Flaw::new(
            Kind::NameLength,
            format!("the name {name:?} has {bytes} bytes, more than {NAME_BYTES}"),
        ));
    }
    Ok(User {
        pin: text::pin(pin)?,
        name: name.to_owned(),
        pri: privilege(pri)?,
        passwd: passwd.to_owned(),
        card: card_number("Card", card)?,
        grp: optional_number("Grp", grp, 0..=i64::MAX)?,
        tz: time_zones(tz)?,
        verify: optional_number("Verify", verify, -1..=255)?,
        vice_card: optional_number("ViceCard", vice_card, 0..=i64::MAX)?,
        validity,
        expires,
    })
}

/// 0, another number of up to 14 digits, or a date with or without a time.
fn validity_time(text: &str) -> Result<String, Flaw> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let is_number = (1..=14).contains(&shape.len()) && shape.bytes().all(|byte| byte == b'0');
    let dates = ["0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00"];
    if is_number || dates.contains(&shape.as_str()) {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(Kind::Value, format!("the time of validity {text:?} is no number and no date")))
}

fn privilege(text: &str) -> Result<i64, Flaw> {
    let pri = text::integer("Pri", text)?;
    if [0, 2, 6, 10, 14].contains(&pri) {
        Ok(pri)
    } else {
        Err(Flaw::new(Kind::Value, format!("Pri is {pri}, not one of 0, 2, 6, 10, 14")))
    }
}

/// Decimal digits, or four bytes as `[15CD5B07]`, or nothing.
fn card_number(field: &str, text: &str) -> Result<String, Flaw> {
    let hex = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match hex {
        Some(hex) if hex.len() == 8 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(text.to_owned())
        }
        Some(_) => Err(Flaw::new(
            Kind::Value,
            format!("{field} is {text:?}, not eight hexadecimal digits in brackets"),
        )),
        None => optional_number(field, text, 0..=i64::MAX),
    }
}

fn optional_number(
    field: &str,
    text: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<String, Flaw> {
    if !text.is_empty() {
        text::number(field, text, range)?;
    }
    Ok(text.to_owned())
}

fn time_zones(text: &str) -> Result<String, Flaw> {
    if text.is_empty() || (text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(Kind::Value, format!("TZ is {text:?}, not 16 digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "USER PIN=36234\tName=36234\tPri=0\tPasswd=\tCard=133440\tGrp=1\tTZ=0001000000000000\tVerify=-1\tViceCard=";

    #[test]
    fn the_documents_form_and_the_fields() {
        let user = parse(GOOD, Charset::Utf8).unwrap();
        assert_eq!(
            (user.pin.as_str(), user.card.as_str(), user.validity),
            ("36234", "133440", None)
        );
        let user =
            parse(&format!("{GOOD}\tStartDatetime=0\tEndDatetime=0"), Charset::Utf8).unwrap();
        assert_eq!(user.validity, Some(("0".into(), "0".into())));
        let end = "\tStartDatetime=2026-01-01 00:00:00\tEndDatetime=20270101\tExpires=1";
        let user = parse(&format!("{GOOD}{end}"), Charset::Utf8).unwrap();
        assert_eq!(user.expires.as_deref(), Some("1"));
        assert!(parse(&GOOD.replace("133440", "[15CD5B07]"), Charset::Utf8).is_ok());
    }

    #[test]
    fn a_name_has_255_bytes_of_its_encoding() {
        let row = GOOD.replace("Name=36234", &format!("Name={}", "张".repeat(127)));
        assert!(parse(&row, Charset::Gbk).is_ok());
        assert_eq!(parse(&row, Charset::Utf8).unwrap_err().kind, Kind::NameLength);
    }

    #[test]
    fn what_is_wrong() {
        for (from, to, kind) in [
            ("PIN=36234", "PIN=", Kind::Pin),
            ("PIN=", "Pin=", Kind::Keys),
            ("\tViceCard=", "", Kind::Keys),
            ("\tVerify=-1\tViceCard=", "", Kind::Keys),
            ("\t", " ", Kind::Keys),
            ("Pri=0", "Pri=1", Kind::Value),
            ("Card=133440", "Card=[15CD5B]", Kind::Value),
            ("Card=133440", "Card=abc", Kind::Value),
            ("TZ=0001000000000000", "TZ=1", Kind::Value),
            ("Verify=-1", "Verify=-2", Kind::Value),
        ] {
            assert_eq!(
                parse(&GOOD.replace(from, to), Charset::Utf8).map_err(|flaw| flaw.kind),
                Err(kind),
                "{to}"
            );
        }
        for (end, kind) in [
            ("\tStartDatetime=0", Kind::Keys),
            ("\tExpires=1", Kind::Keys),
            ("\tStartDatetime=0\tExpires=1\tEndDatetime=0", Kind::Keys),
            ("\tStartDatetime=0\tEndDatetime=", Kind::Value),
            ("\tStartDatetime=soon\tEndDatetime=0", Kind::Value),
            ("\tStartDatetime=0\tEndDatetime=0\tExpires=4", Kind::Value),
        ] {
            let row = format!("{GOOD}{end}");
            assert_eq!(parse(&row, Charset::Utf8).unwrap_err().kind, kind, "{end}");
        }
    }
}
