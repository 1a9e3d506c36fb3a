//! What is known of the server's stamps (§6); `client/stamps.rs` has the rules.

use rusqlite::{OptionalExtension, params};

use super::db::Db;
use super::error::Result;
use super::rows::Seq;
use crate::protocol::stream::Table;

/// What is known of a server's stamps for one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The server has sent another stamp than 0 since the last upload from the start.
    pub nonzero: bool,
    /// A stamp that came back exactly as it was sent, or 0.
    pub proof: Seq,
    /// Two different ones did: this server keeps stamps.
    pub proven: bool,
    /// The last stamp that went up, if it was that of a row sent again; else 0.
    pub resent: Seq,
}

/// What is known of the server's stamps.
#[derive(Clone, Copy)]
pub struct Stamps<'a> {
    db: &'a Db,
}

impl<'a> Stamps<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// What is known of the server's stamps for a table.
    pub fn get(&self, table: Table) -> Result<Stamp> {
        let found = self
            .db
            .prepare_cached("SELECT nonzero, proof, proven, again FROM stamp WHERE name = ?1")?
            .query_row([table.name()], |row| {
                Ok(Stamp {
                    nonzero: row.get(0)?,
                    proof: row.get(1)?,
                    proven: row.get(2)?,
                    resent: row.get(3)?,
                })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Remembers what is known of the server's stamps for a table.
    pub fn set(&self, table: Table, stamp: Stamp) -> Result<()> {
        if self.get(table)? == stamp {
            return Ok(());
        }
        self.db
            .prepare_cached("INSERT OR REPLACE INTO stamp VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                table.name(),
                stamp.nonzero,
                stamp.proof,
                stamp.proven,
                stamp.resent
            ])?;
        Ok(())
    }

    /// New rows were sent: the last stamp is that of the cursor once more. Writes nothing if
    /// it was already.
    pub(super) fn clear_resent(&self, table: Table) -> Result<()> {
        self.db
            .prepare_cached("UPDATE stamp SET again = 0 WHERE name = ?1 AND again <> 0")?
            .execute([table.name()])?;
        Ok(())
    }
}
