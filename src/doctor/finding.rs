//! What one check found.

use std::fmt;

use serde_json::{Value, json};

/// Where findings go, as they are made: a look-up can take long.
pub type Report<'a> = &'a mut dyn FnMut(Finding);

/// What one check found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked. These names do not change.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// For a person: what was found, where.
    pub message: String,
    /// What to do; messages of failures say it themselves.
    pub remedy: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and something may be wrong.
    Warning,
    /// It does not work.
    Fault,
}

impl Finding {
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), remedy: None }
    }

    pub(super) fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::ok(check, message) }
    }

    pub(super) fn fault(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Fault, ..Self::ok(check, message) }
    }

    /// The same with what to do about it.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// As `punchd doctor --json` prints it.
    pub fn to_json(&self) -> Value {
        let Self { check, level, message, remedy } = self;
        let mut object = json!({"check": check, "level": level.name(), "message": message});
        if let Some(remedy) = remedy {
            object["remedy"] = json!(remedy);
        }
        object
    }
}

impl Level {
    /// The name in both forms of the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, level, message, remedy } = self;
        write!(f, "{:<8}{check:<14}{message}", level.name())?;
        remedy.iter().try_for_each(|remedy| write!(f, ": {remedy}"))
    }
}
