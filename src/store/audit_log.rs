//! The audit log: commands that the owner wants to know of, and their results.

use rusqlite::params;

use super::db::Db;
use super::error::Result;
use crate::protocol::codes::ReturnCode;

/// Entries that are kept.
const MOST: i64 = 1000;

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When it was asked, in seconds since 1970; `None` if the clock was not set.
    pub at: Option<i64>,
    /// Which server asked.
    pub server: String,
    /// The server's id of the command.
    pub id: String,
    /// The command.
    pub what: String,
    /// What was answered; `None` while it goes on.
    pub result: Option<i64>,
}

/// The audit log.
#[derive(Clone, Copy)]
pub struct AuditLog<'a> {
    db: &'a Db,
}

impl<'a> AuditLog<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Records a command; `row` is its row in the command log.
    pub fn record(&self, row: i64, audit: &Audit) -> Result<()> {
        let Audit { at, server, id, what, result } = audit;
        self.db
            .prepare_cached("INSERT OR REPLACE INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![row, at, server, id, what, result])?;
        Ok(())
    }

    /// Records the result of a command that continued in the background.
    pub fn set_result(&self, row: i64, code: ReturnCode) -> Result<()> {
        self.db
            .prepare_cached("UPDATE audit SET result = ?2 WHERE seq = ?1")?
            .execute(params![row, code.0])?;
        Ok(())
    }

    /// Adds to a command why it failed.
    pub fn add_reason(&self, row: i64, why: &str) -> Result<()> {
        self.db
            .prepare_cached("UPDATE audit SET what = what || ': ' || ?2 WHERE seq = ?1")?
            .execute(params![row, why])?;
        Ok(())
    }

    /// Deletes the oldest entries, so that `MOST` are left.
    pub fn trim(&self) -> Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM audit WHERE seq < (SELECT seq FROM audit ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
            )?
            .execute([MOST - 1])?;
        Ok(())
    }

    /// The last entries, the newest first.
    pub fn latest(&self, most: usize) -> Result<Vec<Audit>> {
        let mut statement = self.db.prepare_cached(
            "SELECT at, server, id, what, result FROM audit ORDER BY seq DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([most as i64], |row| {
            Ok(Audit {
                at: row.get(0)?,
                server: row.get(1)?,
                id: row.get(2)?,
                what: row.get(3)?,
                result: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
    }
}
