//! A value that breaks a rule, and the rule for text in rows.

use std::fmt;

use crate::protocol::fields::Refusal;
use crate::protocol::text;

/// Which field breaks a rule, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as drivers and servers name it.
    pub field: &'static str,
    /// What is wrong; a sentence that goes on from the name of the field.
    pub why: String,
}

impl Invalid {
    pub(crate) fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// The answer to a command that carried the value.
impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::field(invalid.field, invalid.why)
    }
}

/// Checks a text of up to `longest` characters that will be written between TABs.
pub(super) fn clean(field: &'static str, value: &str, longest: usize) -> Result<String, Invalid> {
    if !text::is_clean(value) {
        return Err(Invalid::new(field, "has a control character such as TAB or LF"));
    }
    if value.chars().count() > longest {
        return Err(Invalid::new(field, format!("is longer than {longest} characters")));
    }
    Ok(value.to_owned())
}
