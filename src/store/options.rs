//! Options: what the server set by `SET OPTION`, and state of punchd that survives a restart.

use super::db::Db;
use super::error::Result;
use rusqlite::OptionalExtension;

/// The zone that the server last named, as an offset in seconds; `none` if it never named one.
pub const ZONE: &str = "punchd.zone";
/// Set while a `CHECK` waits for the handshake that it asks for.
pub const CHECK: &str = "punchd.check";
/// Set from the moment a `REBOOT` is accepted until the system is asked for it.
pub const REBOOT: &str = "punchd.reboot";
/// Set while a long list of commands is carried out: one that is found set was cut off.
pub const LIST: &str = "punchd.list";
/// Set while the server wants to be asked about everybody who is verified (§12.11.3). Kept,
/// so that a terminal that starts without its server does not let everybody pass.
pub const VERIFICATION: &str = "punchd.verification";
/// The server (URL) that the cursors and stamps are of.
pub const SERVER: &str = "punchd.server";

/// The options.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    db: &'a Db,
}

impl<'a> Options<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// The value of an option.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        Ok(self
            .db
            .prepare_cached("SELECT value FROM option WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?)
    }

    /// Sets an option.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO option VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2
                 WHERE value <> ?2",
            )?
            .execute([key, value])?;
        Ok(())
    }

    /// Forgets an option.
    pub fn clear(&self, key: &str) -> Result<()> {
        self.db.prepare_cached("DELETE FROM option WHERE key = ?1")?.execute([key])?;
        Ok(())
    }

    /// The options that a server set, in the order of their names.
    pub fn all(&self) -> Result<Vec<(String, String)>> {
        let sql = "SELECT key, value FROM option WHERE key NOT LIKE 'punchd.%' ORDER BY key";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
