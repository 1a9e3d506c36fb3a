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
}

const KEYS: [&str; 9] = ["PIN", "Name", "Pri", "Passwd", "Card", "Grp", "TZ", "Verify", "ViceCard"];
const NAME_BYTES: usize = 24;

/// Reads a row; the encoding determines how many bytes the name had on the wire.
pub fn parse(row: &str, charset: Charset) -> Result<User, Flaw> {
    let mut rest = after(row, "USER")?;
    let mut validity = None;
    if let Some(at) = rest.find("\tStartDatetime=") {
        let [start, end] = keyed(&rest[at + 1..], ["StartDatetime", "EndDatetime"])?;
        validity = Some((start.to_owned(), end.to_owned()));
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
    })
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
        assert!(parse(&GOOD.replace("133440", "[15CD5B07]"), Charset::Utf8).is_ok());
    }

    #[test]
    fn a_name_has_24_bytes_of_its_encoding() {
        let row = GOOD.replace("Name=36234", "Name=张三李四王五赵六孙七周");
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
        let half = format!("{GOOD}\tStartDatetime=0");
        assert_eq!(parse(&half, Charset::Utf8).unwrap_err().kind, Kind::Keys);
    }
}
