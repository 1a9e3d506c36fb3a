//! The values on an identity card.

use std::fmt;

use tz::UtcDateTime;

use crate::protocol::codes::ReturnCode;
use crate::protocol::record::Invalid;
use crate::protocol::record::data::Rules;
use crate::protocol::record::invalid::clean;

/// Most characters of a text. The longest text on a card, the address, has 35.
pub(super) const LONGEST_TEXT: usize = 256;

/// Most bytes of a photo (a card has 1 KB) or of a fingerprint (a card has 512 bytes).
pub const LONGEST_CARD_DATA: usize = 16 * 1024;

pub(super) const RULES: Rules =
    Rules { most: LONGEST_CARD_DATA, size: ReturnCode::PARAMETER, base64: ReturnCode::PARAMETER };

/// The number of a person: 18 characters, 15 on old cards. Numbers of foreigners have letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdNumber(String);

impl IdNumber {
    /// Checks a number. An error names `field`.
    pub fn new(field: &'static str, text: &str) -> Result<Self, Invalid> {
        if matches!(text.len(), 15 | 18) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(field, "is not 15 or 18 letters and digits"))
        }
    }

    /// The 15 or 18 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A date, `19911218`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    /// Reads `yyyyMMdd`. `None` for an impossible date.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, month, day) =
            (text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..].parse().ok()?);
        UtcDateTime::new(i32::from(year), month, day, 0, 0, 0, 0).ok()?;
        Some(Self { year, month, day })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}{:02}", self.year, self.month, self.day)
    }
}

/// A text of a card without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardText(String);

impl CardText {
    /// Checks a text. An error names `field`.
    pub fn new(field: &'static str, text: &str) -> Result<Self, Invalid> {
        clean(field, text, LONGEST_TEXT).map(Self)
    }

    /// The text, perhaps empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CardText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes of a card, perhaps none: the photo, encrypted as it is on the card, or a fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardData(Vec<u8>);

impl CardData {
    /// Checks the number of bytes. An error names `field`.
    pub fn new(field: &'static str, bytes: Vec<u8>) -> Result<Self, Invalid> {
        if !bytes.is_empty() {
            RULES.check(field, &bytes)?;
        }
        Ok(Self(bytes))
    }

    /// The bytes, perhaps none.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
