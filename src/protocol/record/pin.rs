//! The PIN: the number or name of a user.

use std::fmt;

use super::Invalid;
use crate::protocol::fields::{Fields, Refusal};

/// A PIN: up to 24 letters, digits, dots, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(String);

impl Pin {
    /// Most characters.
    pub const LONGEST: usize = 24;

    /// Checks a PIN. An error names the field `pin`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("pin", "is empty"));
        }
        if text.len() > Self::LONGEST {
            return Err(Invalid::new("pin", "is longer than 24 characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err(Invalid::new(
                "pin",
                "has a character that is not a letter, a digit or one of . _ -",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The `PIN` of a record that must have one.
    pub(crate) fn from_fields(fields: &Fields) -> Result<Self, Refusal> {
        Ok(Self::new(fields.required("pin")?)?)
    }

    /// The PIN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
