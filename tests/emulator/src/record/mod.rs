//! The records a terminal uploads (chapter 11), one file a topic.
//!
//! Each parser takes one row without its line end and gives the typed record, or says what is wrong
//! with it. They know nothing of requests, sessions or servers. Binary data arrives decoded, its
//! `Size` checked.

pub mod attlog;
pub mod attphoto;
pub mod errorlog;
pub mod idcard;
pub mod oplog;
pub mod options;
pub mod photo;
pub mod template;
pub mod user;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::deviation::{Flaw, Kind};
use crate::text::Charset;

/// A row of the table OPERLOG, which carries more than operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operlog {
    /// `OPLOG …`
    Oplog(oplog::Oplog),
    /// `USER …`
    User(user::User),
    /// `FP …`, `FACE …`, `FVEIN …`
    Template(template::Template),
    /// `USERPIC …`, `BIOPHOTO …`
    Photo(photo::Photo),
}

/// Reads a row of the table OPERLOG by its keyword.
pub fn operlog(row: &str, charset: Charset) -> Result<Operlog, Flaw> {
    match word(row) {
        "OPLOG" => oplog::parse(row).map(Operlog::Oplog),
        "USER" => user::parse(row, charset).map(Operlog::User),
        "FP" => template::fp(row).map(Operlog::Template),
        "FACE" => template::face(row).map(Operlog::Template),
        "FVEIN" => template::fvein(row).map(Operlog::Template),
        "USERPIC" => photo::userpic(row).map(Operlog::Photo),
        "BIOPHOTO" => photo::biophoto(row).map(Operlog::Photo),
        other => Err(Flaw::new(
            Kind::UnknownRow,
            format!("a row of OPERLOG does not begin with {other:?}"),
        )),
    }
}

/// The keyword at the start of a row.
fn word(row: &str) -> &str {
    row.split([' ', '\t']).next().unwrap_or("")
}

/// What follows the keyword and one blank.
fn after<'a>(row: &'a str, word: &str) -> Result<&'a str, Flaw> {
    let rest = row.strip_prefix(word).and_then(|rest| rest.strip_prefix(' '));
    rest.ok_or_else(|| {
        Flaw::new(Kind::UnknownRow, format!("the row does not begin with {word:?} and one blank"))
    })
}

/// The values of `key=value` joined by TAB, when the keys are exactly these in exactly this order.
fn keyed<'a, const N: usize>(text: &'a str, keys: [&str; N]) -> Result<[&'a str; N], Flaw> {
    let pairs: Vec<(&str, &str)> =
        text.split('\t').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    if pairs.iter().map(|(key, _)| *key).ne(keys)
        || text.split('\t').any(|pair| !pair.contains('='))
    {
        let found: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
        return Err(Flaw::new(Kind::Keys, format!("the keys are {found:?}, not {keys:?}")));
    }
    let mut values = pairs.into_iter().map(|(_, value)| value);
    Ok(std::array::from_fn(|_| values.next().unwrap_or("")))
}

/// The bytes of base64 text whose length is in `size`.
fn sized(size: &str, text: &str) -> Result<Vec<u8>, Flaw> {
    if size != text.len().to_string() {
        return Err(Flaw::new(
            Kind::Size,
            format!("Size is {size}, but there are {} characters of base64", text.len()),
        ));
    }
    if text.is_empty() {
        return Err(Flaw::new(Kind::Base64, "there is no data"));
    }
    base64("the data", text)
}

/// The bytes of base64 text, padding included.
fn base64(field: &str, text: &str) -> Result<Vec<u8>, Flaw> {
    STANDARD
        .decode(text)
        .map_err(|error| Flaw::new(Kind::Base64, format!("{field} is not base64: {error}")))
}

/// Binary data as JSON shows it.
pub(crate) fn as_base64<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    STANDARD.encode(data).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_exact() {
        assert_eq!(keyed("PIN=1\tTMP=ab==", ["PIN", "TMP"]).unwrap(), ["1", "ab=="]);
        for bad in [
            "PIN=1",
            "TMP=ab\tPIN=1",
            "Pin=1\tTMP=ab",
            "PIN=1\tTMP",
            "PIN=1 TMP=ab",
            "PIN=1\tTMP=a\tX=1",
            "PIN=1\tTMP=a\t",
            "",
        ] {
            assert_eq!(
                keyed(bad, ["PIN", "TMP"]).map_err(|flaw| flaw.kind),
                Err(Kind::Keys),
                "{bad}"
            );
        }
    }

    #[test]
    fn operlog_goes_by_the_first_word() {
        assert!(matches!(
            operlog("OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0", Charset::Utf8),
            Ok(Operlog::Oplog(_))
        ));
        for bad in ["", "oplog 4", "BIODATA Pin=1", "USER\tPIN=1", "USERS PIN=1"] {
            assert_eq!(
                operlog(bad, Charset::Utf8).map_err(|flaw| flaw.kind),
                Err(Kind::UnknownRow),
                "{bad}"
            );
        }
    }
}
