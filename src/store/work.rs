//! The work of SQLite between two looks at the drivers, in builds with `debug_assertions`: a driver
//! waits that long. What is more than the budget is an error in the log, and fails the tests
//! (`tests/terminal/harness/terminal.rs`). Counts are the same on every machine, times are not.
//!
//! Steps of its virtual machine are counted as statements end. Some of them take long (`count(*)`
//! without a condition, `DELETE` of a whole table, a commit): pages that are looked up are counted,
//! too, in memory or not.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use rusqlite::{CachedStatement, Connection, StatementStatus, ffi};

use super::db_status;

/// Most steps of the virtual machine: somewhat more than a fast machine takes in a time slice of 10 ms.
const MOST_STEPS: u64 = 1_000_000;
/// Most pages that are looked up.
const MOST_PAGES: u64 = 300_000;

/// The work since drivers were looked at.
#[derive(Default)]
pub(super) struct Work {
    steps: Cell<u64>,
}

impl Work {
    /// Steps of the statements that ended since the last call.
    pub(super) fn take_steps(&self) -> u64 {
        self.steps.take()
    }

    /// Drivers are looked at now.
    pub(super) fn end(&self, connection: &Connection) {
        let (steps, pages) = (self.take_steps(), take_pages(connection));
        if steps > MOST_STEPS || pages > MOST_PAGES {
            log::error!(
                "drivers waited for {steps} steps of SQLite and {pages} pages, more than \
                 {MOST_STEPS} and {MOST_PAGES}"
            );
        }
        if steps > MOST_STEPS / 50 || pages > MOST_PAGES / 50 {
            log::debug!("drivers waited for {steps} steps of SQLite and {pages} pages");
        }
    }
}

/// The pages that were looked up since the last call.
fn take_pages(connection: &Connection) -> u64 {
    let take = |what| u64::from(db_status::take(connection, what));
    take(ffi::SQLITE_DBSTATUS_CACHE_HIT) + take(ffi::SQLITE_DBSTATUS_CACHE_MISS)
}

/// A statement whose steps are counted.
pub(super) struct Counted<'a> {
    statement: CachedStatement<'a>,
    work: &'a Work,
}

impl<'a> Counted<'a> {
    pub(super) fn new(statement: CachedStatement<'a>, work: &'a Work) -> Self {
        Self { statement, work }
    }
}

impl<'a> Deref for Counted<'a> {
    type Target = CachedStatement<'a>;

    fn deref(&self) -> &Self::Target {
        &self.statement
    }
}

impl DerefMut for Counted<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.statement
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let steps = self.statement.reset_status(StatementStatus::VmStep);
        self.work.steps.set(self.work.steps.get() + u64::from(steps.unsigned_abs()));
    }
}
