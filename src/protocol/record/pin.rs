//! The number or name by which a person is known on the terminal.

use std::fmt;

use super::Invalid;

/// A PIN: up to 24 letters, digits, dots, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(String);

impl Pin {
    /// Longest PIN in characters.
    pub const LONGEST: usize = 24;

    /// Checks a PIN.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("pin", "is empty"));
        }
        if text.len() > Self::LONGEST {
            return Err(Invalid::new("pin", "is longer than 24 characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err(Invalid::new("pin", "holds something else than letters, digits and . _ -"));
        }
        Ok(Self(text.to_owned()))
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
