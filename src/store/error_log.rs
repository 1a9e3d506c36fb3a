//! The error log (§11.16), which keeps the last errors only: servers before 2.4.1 never take
//! any.

use rusqlite::{Row, params};
use serde_json::Value;

use super::db::Db;
use super::error::Result;
use super::rows::{Content, Seq};
use crate::protocol::record::{ErrorCode, ErrorLog, Record};

/// Errors that are kept.
const MOST_ERRORS: u64 = 5000;
/// Errors that are dropped together.
const ERRORS_A_BATCH: i64 = 100;

/// The columns that [`error`] reads, after the number and `held`.
pub(super) const ERROR: &str = "code, message, command, additional";

/// The error log.
#[derive(Clone, Copy)]
pub struct ErrorRows<'a> {
    db: &'a Db,
}

impl<'a> ErrorRows<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Writes an error into the error log, which keeps the last `MOST_ERRORS`: servers
    /// before 2.4.1 never take any.
    pub fn add(&self, error: &ErrorLog) -> Result<Seq> {
        // Counted in memory and dropped in batches, since errors can come by the thousand.
        let mut count = self.db.counted(&self.db.counts.errors, "SELECT count(*) FROM error")?;
        if count >= MOST_ERRORS {
            let sql =
                "DELETE FROM error WHERE seq IN (SELECT seq FROM error ORDER BY seq LIMIT ?1)";
            count -= self.db.prepare_cached(sql)?.execute([ERRORS_A_BATCH])? as u64;
        }
        self.db.counts.errors.set(Some(count + 1));
        let seq = self.db.next_seq();
        let additional = error.additional().map(|object| Value::Object(object.clone()).to_string());
        self.db.prepare_cached("INSERT INTO error VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            params![seq, error.code().as_str(), error.message(), error.command(), additional],
        )?;
        Ok(seq)
    }
}

/// An error from its columns; `None` if it breaks a rule of this version.
pub(super) fn error(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let (code, message): (String, String) = (row.get(2)?, row.get(3)?);
    let (command, additional): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
    let additional = additional.map_or(Some(Value::Null), |text| serde_json::from_str(&text).ok());
    let read = || {
        let code = ErrorCode::new(&code).ok()?;
        ErrorLog::new(code, &message, command.as_deref(), additional?).ok()
    };
    Ok(read().map(|error| Content::Record(Record::ErrorLog(error))))
}
