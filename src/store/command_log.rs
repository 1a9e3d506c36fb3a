//! The command log: the commands of the server, their results, and the replies that it has not
//! taken yet. A command takes effect once, however often the server sends it.

use rusqlite::params;

use super::db::Db;
use super::error::Result;
use crate::protocol::codes::ReturnCode;
use crate::protocol::reply::Reply;

/// How many answered commands are remembered, to know one that is sent again.
const REMEMBERED: i64 = 10_000;

/// Most bytes of content that are looked at together.
const BYTES_AT_ONCE: usize = 64 << 10;
/// Longest content that is kept once the server has it.
const LONGEST_KEPT: usize = 1024;

/// What the log knows of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// To be executed.
    Now {
        /// Its row in the command log.
        row: i64,
        /// 1 unless an earlier attempt never came to an end.
        attempts: u32,
    },
    /// Executed before, and its stored result is sent again; or still in progress.
    Before,
}

/// A reply that the server has not taken yet.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its row in the command log.
    pub row: i64,
    /// How often it did not get through by itself.
    pub refusals: u32,
    /// What goes up.
    pub reply: Reply,
}

/// The command log.
#[derive(Clone, Copy)]
pub struct CommandLog<'a> {
    db: &'a Db,
}

impl<'a> CommandLog<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Records that a command, identified by the digest of its id and text, is about to be
    /// executed, or finds that it was.
    pub fn begin(&self, digest: &[u8; 16], id: &str, name: &str) -> Result<Begun> {
        // Most commands are new: the insert itself shows it.
        let insert = "INSERT OR IGNORE INTO command (digest, id, name, attempts, due) VALUES (?1, ?2, ?3, 1, 0)";
        if self.db.prepare_cached(insert)?.execute(params![&digest[..], id, name])? > 0 {
            return Ok(Begun::Now { row: self.db.connection().last_insert_rowid(), attempts: 1 });
        }
        let known = self
            .db
            .prepare_cached(
                "SELECT row, attempts, code IS NOT NULL, goes_on FROM command WHERE id = ?1 AND digest = ?2",
            )?
            .query_row(params![id, &digest[..]], |row| {
                let (has_result, goes_on): (bool, bool) = (row.get(2)?, row.get(3)?);
                Ok((row.get(0)?, row.get::<_, u32>(1)?, has_result, goes_on))
            })?;
        match known {
            (_, _, false, true) => Ok(Begun::Before),
            (row, attempts, false, false) => {
                self.change("UPDATE command SET attempts = attempts + 1 WHERE row = ?1", row)?;
                Ok(Begun::Now { row, attempts: attempts + 1 })
            }
            (row, _, true, _) => {
                self.change("UPDATE command SET due = max(due, 1) WHERE row = ?1", row)?;
                Ok(Begun::Before)
            }
        }
    }

    /// These attempts do not count: the store failed, not the commands.
    pub fn void_attempts(&self, rows: &[i64]) -> Result<()> {
        self.db.atomically(|| {
            rows.iter().try_for_each(|row| {
                self.change("UPDATE command SET attempts = attempts - 1 WHERE row = ?1", *row)
            })
        })
    }

    /// A command continues in the background; its result comes later.
    pub fn set_in_background(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET goes_on = 1 WHERE row = ?1", row)
    }

    /// Stores the result of a command; it goes up until the server took it.
    pub fn finish(&self, row: i64, code: ReturnCode, rest: &[u8]) -> Result<()> {
        self.db
            .prepare_cached(
                "UPDATE command SET code = ?2, rest = ?3, due = 1, file = NULL WHERE row = ?1",
            )?
            .execute(params![row, code.0, rest])?;
        Ok(())
    }

    /// The same, with a file whose content goes up with the result.
    pub fn finish_with_file(
        &self,
        row: i64,
        code: ReturnCode,
        rest: &[u8],
        file: &str,
    ) -> Result<()> {
        self.finish(row, code, rest)?;
        self.db
            .prepare_cached("UPDATE command SET file = ?2 WHERE row = ?1")?
            .execute(params![row, file])
            .map(drop)?;
        Ok(())
    }

    /// The replies that wait and were never refused alone, the oldest first.
    pub fn replies_due(&self, most: usize) -> Result<Vec<Due>> {
        self.replies("due = 1 ORDER BY row", most)
    }

    /// The reply that was refused, the one least often.
    pub fn refused_reply(&self) -> Result<Option<Due>> {
        Ok(self.replies("due > 1 ORDER BY due, row", 1)?.pop())
    }

    /// Replies in an order, as many as `most` and as [`BYTES_AT_ONCE`] allow.
    fn replies(&self, which: &str, most: usize) -> Result<Vec<Due>> {
        let sql = format!(
            "SELECT row, id, name, code, rest, file, due FROM command WHERE due > 0 AND {which} LIMIT ?1"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query([most as i64])?;
        let (mut replies, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let rest: Vec<u8> = row.get::<_, Option<_>>(4)?.unwrap_or_default();
            bytes += rest.len();
            if bytes > BYTES_AT_ONCE && !replies.is_empty() {
                break;
            }
            let code = ReturnCode(row.get(3)?);
            let reply = Reply { id: row.get(1)?, name: row.get(2)?, code, rest, file: row.get(5)? };
            let refusals = row.get::<_, u32>(6)?.saturating_sub(1);
            replies.push(Due { row: row.get(0)?, refusals, reply });
        }
        Ok(replies)
    }

    /// The server took these replies. The oldest of what is answered is forgotten, and so is
    /// long content: sent again, such a reply holds the code alone.
    pub fn replies_taken(&self, rows: &[i64]) -> Result<()> {
        let taken = format!(
            "UPDATE command SET due = 0, rest = iif(length(rest) > {LONGEST_KEPT}, NULL, rest) WHERE row = ?1"
        );
        self.db.atomically(|| {
            for row in rows {
                self.change(&taken, *row)?;
            }
            // As many as were taken: a search for more would read all replies that are pending.
            self.db
                .prepare_cached(
                    "DELETE FROM command WHERE row IN (SELECT row FROM command
                     WHERE due = 0 AND code IS NOT NULL
                     AND row <= (SELECT max(row) FROM command) - ?1 ORDER BY row LIMIT ?2)",
                )?
                .execute([REMEMBERED, rows.len() as i64])
                .map(drop)?;
            Ok(())
        })
    }

    /// The server refused this reply: others are sent before it from now on.
    pub fn reply_refused(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET due = due + 1 WHERE row = ?1", row)
    }

    /// Whether replies wait that were never refused alone.
    pub fn has_replies(&self) -> Result<bool> {
        self.exists("SELECT EXISTS (SELECT 1 FROM command WHERE due > 0 AND due = 1)")
    }

    /// Whether replies wait that were refused.
    pub fn has_refused_replies(&self) -> Result<bool> {
        self.exists("SELECT EXISTS (SELECT 1 FROM command WHERE due > 0 AND due > 1)")
    }

    /// Whether a reply with the content of a file waits.
    pub fn has_file_replies(&self) -> Result<bool> {
        self.exists("SELECT EXISTS (SELECT 1 FROM command WHERE due > 0 AND file IS NOT NULL)")
    }

    /// Whether a command was begun and has no result.
    pub fn is_unfinished(&self, digest: &[u8; 16], id: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM command
                   WHERE id = ?1 AND digest = ?2 AND code IS NULL AND goes_on = 0)";
        Ok(self.db.prepare_cached(sql)?.query_row(params![id, &digest[..]], |row| row.get(0))?)
    }

    fn exists(&self, sql: &str) -> Result<bool> {
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// How many replies wait for the server.
    pub fn count_replies(&self) -> Result<u64> {
        Ok(self
            .db
            .prepare_cached("SELECT count(*) FROM command WHERE due > 0")?
            .query_row([], |row| row.get(0))?)
    }

    fn change(&self, sql: &str, value: i64) -> Result<()> {
        Ok(self.db.prepare_cached(sql)?.execute([value]).map(drop)?)
    }
}
