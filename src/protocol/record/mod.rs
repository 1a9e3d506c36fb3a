//! Rows that go up: what they hold, what is allowed in them, their bytes (§11).

mod attlog;
mod oplog;
mod pin;
mod user;

pub use attlog::{Punch, Status, WorkCode};
pub use oplog::{Operand, Operation};
pub use pin::Pin;
pub use user::{User, UserChange};

use super::codes::Language;

/// A row of any stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// §11.2.
    Punch(Punch),
    /// §11.4.
    Operation(Operation),
    /// §11.5.
    User(User),
}

impl Record {
    /// Writes the row with its final LF, as it goes on the wire.
    pub fn write(&self, out: &mut Vec<u8>, language: Language) {
        match self {
            Self::Punch(punch) => punch.write(out),
            Self::Operation(operation) => operation.write(out),
            Self::User(user) => user.write(out, language),
        }
        out.push(b'\n');
    }
}

/// A value that breaks a rule: which field, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as drivers and servers name it.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Invalid {
    /// A complaint about a field.
    pub fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Checks a text of up to `longest` characters that will stand between TABs.
fn clean(field: &'static str, value: &str, longest: usize) -> Result<String, Invalid> {
    if !super::text::is_clean(value) {
        return Err(Invalid::new(field, "holds a control character such as TAB or LF"));
    }
    if value.chars().count() > longest {
        return Err(Invalid::new(field, format!("is longer than {longest} characters")));
    }
    Ok(value.to_owned())
}
