//! The error log (§11.16), which keeps the newest errors only: servers before 2.4.1 never take
//! any. An error that is deleted before the server has it is counted, and named in the log if the
//! server could have taken it.

use rusqlite::params;
use serde_json::Value;

use super::db::Db;
use super::error::Result;
use super::retention::Retention;
use super::rows::{Seq, bytes_of};
use crate::protocol::record::ErrorLog;
use crate::protocol::stream::Stream;

/// Errors that are kept.
pub const MOST_ERRORS: u64 = 5000;

/// The error log.
#[derive(Clone, Copy)]
pub struct ErrorRows<'a> {
    db: &'a Db,
}

impl<'a> ErrorRows<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Writes an error of a driver's.
    ///
    /// # Errors
    /// If there is no room.
    pub fn add_from_driver(&self, error: &ErrorLog) -> Result<Seq> {
        Retention::new(self.db).require_room_for_row(Stream::Errors, bytes_of(error))?;
        self.add(error)
    }

    /// Writes an error into the error log, which keeps the last `MOST_ERRORS`: servers
    /// before 2.4.1 never take any. Where there is no room, the oldest go.
    pub fn add(&self, error: &ErrorLog) -> Result<Seq> {
        let retention = Retention::new(self.db);
        // Counted in memory and dropped in batches, since errors can come by the thousand.
        let count = self.db.counted(&self.db.counts.errors, "SELECT count(*) FROM error")?;
        if count >= MOST_ERRORS || (count > 0 && !retention.has_room_for_rest(bytes_of(error))?) {
            let dropped = retention.drop_errors()?;
            if dropped > 0 && !retention.is_withheld(Stream::Errors) {
                let why = match count >= MOST_ERRORS {
                    true => format!("only the newest {MOST_ERRORS} are kept"),
                    false => "there is no room for a new one".to_owned(),
                };
                log::warn!(
                    "{dropped} errors of ERRORLOG that the server does not have were deleted: {why}"
                );
            }
        }
        let count = self.db.counted(&self.db.counts.errors, "SELECT count(*) FROM error")?;
        self.db.counts.errors.set(Some(count + 1));
        let seq = self.db.next_seq("error");
        let additional = error.additional().map(|object| Value::Object(object.clone()).to_string());
        self.db.prepare_cached("INSERT INTO error VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            params![seq, error.code().as_str(), error.message(), error.command(), additional],
        )?;
        Ok(seq)
    }
}
