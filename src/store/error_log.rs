//! The error log (§11.16), which keeps the last errors only: servers before 2.4.1 never take
//! any.

use rusqlite::params;
use serde_json::Value;

use super::db::Db;
use super::error::Result;
use super::rows::Seq;
use crate::protocol::record::ErrorLog;

/// Errors that are kept.
const MOST_ERRORS: u64 = 5000;
/// Errors that are dropped together.
const ERRORS_A_BATCH: i64 = 100;

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
