//! The command journal: what was asked, what came of it, and what the server still has to
//! be told. It makes the effect of a command happen once, however often it is sent.

use rusqlite::{OptionalExtension, Row, params};

use super::{Result, Store};
use crate::protocol::codes::ReturnCode;
use crate::protocol::reply::Reply;

/// How many answered commands are remembered, to know one that is sent again.
const REMEMBERED: i64 = 10_000;

/// A command that was just looked up in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// To be carried out. How often it was begun, this time included.
    Now {
        /// Its row in the journal.
        row: i64,
        /// 1 unless an earlier attempt never came to an end.
        attempts: u32,
    },
    /// Carried out before, and its stored result goes up again; or still going on.
    Before,
}

/// A reply that the server has not taken yet.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its row in the journal.
    pub row: i64,
    /// What goes up.
    pub reply: Reply,
}

impl Store {
    /// Writes down that a command, known by the digest of its id and text, is about to be
    /// carried out, or finds that it was.
    pub fn begin_command(&self, digest: &[u8; 16], id: &str, name: &str) -> Result<Begun> {
        let known = self
            .db
            .prepare_cached(
                "SELECT row, attempts, code IS NOT NULL, goes_on FROM command WHERE digest = ?1",
            )?
            .query_row([&digest[..]], |row| {
                let (has_result, goes_on): (bool, bool) = (row.get(2)?, row.get(3)?);
                Ok((row.get(0)?, row.get::<_, u32>(1)?, has_result, goes_on))
            })
            .optional()?;
        match known {
            None => {
                self.db
                    .prepare_cached(
                        "INSERT INTO command (digest, id, name, attempts, due) VALUES (?1, ?2, ?3, 1, 0)",
                    )?
                    .execute(params![&digest[..], id, name])?;
                Ok(Begun::Now { row: self.db.last_insert_rowid(), attempts: 1 })
            }
            Some((_, _, false, true)) => Ok(Begun::Before),
            Some((row, attempts, false, false)) => {
                self.change("UPDATE command SET attempts = attempts + 1 WHERE row = ?1", row)?;
                Ok(Begun::Now { row, attempts: attempts + 1 })
            }
            Some((row, _, true, _)) => {
                self.change("UPDATE command SET due = max(due, 1) WHERE row = ?1", row)?;
                Ok(Begun::Before)
            }
        }
    }

    /// These commands were begun, but could not run through no fault of theirs.
    pub fn attempt_void(&self, rows: &[i64]) -> Result<()> {
        self.atomically(|| {
            rows.iter().try_for_each(|row| {
                self.change("UPDATE command SET attempts = attempts - 1 WHERE row = ?1", *row)
            })
        })
    }

    /// A command goes on in the background; its result comes later.
    pub fn command_goes_on(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET goes_on = 1 WHERE row = ?1", row)
    }

    /// Stores the result of a command; it goes up until the server took it.
    pub fn finish_command(&self, row: i64, code: ReturnCode, rest: &[u8]) -> Result<()> {
        self.db
            .prepare_cached("UPDATE command SET code = ?2, rest = ?3, due = 1 WHERE row = ?1")?
            .execute(params![row, code.0, rest])?;
        Ok(())
    }

    /// The replies that wait, those first that were refused least often.
    pub fn replies_due(&self, most: usize) -> Result<Vec<Due>> {
        let sql = "SELECT row, id, name, code, rest FROM command WHERE due > 0 ORDER BY due, row LIMIT ?1";
        let read = |row: &Row<'_>| {
            let reply = Reply {
                id: row.get(1)?,
                name: row.get(2)?,
                code: ReturnCode(row.get(3)?),
                rest: row.get::<_, Option<_>>(4)?.unwrap_or_default(),
            };
            Ok(Due { row: row.get(0)?, reply })
        };
        let mut statement = self.db.prepare_cached(sql)?;
        let due = statement.query_map([most as i64], read)?;
        Ok(due.collect::<rusqlite::Result<_>>()?)
    }

    /// The server took these replies. The oldest of what is answered is forgotten.
    pub fn replies_taken(&self, rows: &[i64]) -> Result<()> {
        self.atomically(|| {
            for row in rows {
                self.change("UPDATE command SET due = 0 WHERE row = ?1", *row)?;
            }
            self.change(
                "DELETE FROM command WHERE due = 0 AND code IS NOT NULL
                 AND row <= (SELECT max(row) FROM command) - ?1",
                REMEMBERED,
            )
        })
    }

    /// The server refused this reply: others go before it from now on.
    pub fn reply_refused(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET due = due + 1 WHERE row = ?1", row)
    }

    /// Whether replies wait for the server.
    pub fn has_replies(&self) -> Result<bool> {
        Ok(self
            .db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM command WHERE due > 0)")?
            .query_row([], |row| row.get(0))?)
    }

    /// How many replies wait for the server.
    pub fn replies_waiting(&self) -> Result<u64> {
        Ok(self
            .db
            .prepare_cached("SELECT count(*) FROM command WHERE due > 0")?
            .query_row([], |row| row.get(0))?)
    }

    fn change(&self, sql: &str, value: i64) -> Result<()> {
        Ok(self.db.prepare_cached(sql)?.execute([value]).map(drop)?)
    }
}
