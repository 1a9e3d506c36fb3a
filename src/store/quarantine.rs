//! Quarantine: rows that the server refuses, set aside with its message so that they block no
//! others. The row stays in its journal, and `punchd quarantine retry` sends it again.

use rusqlite::{OptionalExtension, params};

use super::cursors::Cursors;
use super::db::Db;
use super::error::Result;
use super::rows::{Pass, PendingRow, Seq};
use crate::protocol::stream::Stream;

/// A row that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Whose row.
    pub stream: Stream,
    /// Its number.
    pub seq: Seq,
    /// The server's message.
    pub message: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// It is to be sent once more.
    pub retry: bool,
}

/// The rows that were set aside.
#[derive(Clone, Copy)]
pub struct Quarantine<'a> {
    db: &'a Db,
}

impl<'a> Quarantine<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Sets rows aside that were the next of a table, with the server's message.
    pub fn set_aside(&self, pass: Pass, rows: &[PendingRow], message: &str, at: i64) -> Result<()> {
        for row in rows {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO quarantine VALUES (?1, ?2, ?3, ?4, 0)")?
                .execute(params![row.stream.code(), row.seq, message, at])?;
            if pass != Pass::Retry {
                Cursors::new(self.db).advance(row.stream, pass, row.seq)?;
            }
        }
        Ok(())
    }

    /// What was set aside, the oldest first; at most `most`.
    pub fn list(&self, most: usize) -> Result<Vec<Quarantined>> {
        let sql = "SELECT stream, seq, words, at, retry FROM quarantine ORDER BY seq LIMIT ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([most as i64], |row| {
            let code: String = row.get(0)?;
            Ok(Stream::from_code(&code)
                .map(|stream| (stream, row.get(1), row.get(2), row.get(3), row.get(4))))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let Some((stream, seq, message, at, retry)) = row? else { continue };
            found.push(Quarantined {
                stream,
                seq: seq?,
                message: message?,
                at: at?,
                retry: retry?,
            });
        }
        Ok(found)
    }

    /// How many rows of a stream are set aside.
    pub fn count(&self, stream: Stream) -> Result<u64> {
        let sql = "SELECT count(*) FROM quarantine WHERE stream = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([stream.code()], |row| row.get(0))?)
    }

    /// Sends rows once more: the one with this number, or all. How many.
    pub fn retry(&self, seq: Option<Seq>) -> Result<usize> {
        let sql = "UPDATE quarantine SET retry = 1 WHERE ?1 IS NULL OR seq = ?1";
        Ok(self.db.prepare_cached(sql)?.execute([seq])?)
    }

    /// Takes rows out of the quarantine without sending them; they stay in the journal. How many.
    pub fn drop_rows(&self, seq: Option<Seq>) -> Result<usize> {
        let sql = "DELETE FROM quarantine WHERE ?1 IS NULL OR seq = ?1";
        Ok(self.db.prepare_cached(sql)?.execute([seq])?)
    }

    /// The next row of a table that goes up once more, if it is still there.
    pub(super) fn next_to_retry(&self, streams: &[Stream]) -> Result<Option<PendingRow>> {
        for stream in streams {
            let sql =
                "SELECT seq FROM quarantine WHERE stream = ?1 AND retry = 1 ORDER BY seq LIMIT 1";
            let mut next = self.db.prepare_cached(sql)?;
            while let Some(seq) =
                next.query_row([stream.code()], |row| row.get::<_, Seq>(0)).optional()?
            {
                // A row that the server changed last has its number in the other column.
                for pass in [Pass::Resend, Pass::New] {
                    if let Some(row) =
                        Cursors::new(self.db).rows(*stream, pass, seq - 1, seq, 1)?.pop()
                    {
                        return Ok(Some(row));
                    }
                }
                // The row was changed or deleted since; its successor is uploaded by itself.
                self.release(*stream, seq)?;
            }
        }
        Ok(None)
    }

    /// A row is not set aside any more.
    pub(super) fn release(&self, stream: Stream, seq: Seq) -> Result<()> {
        self.db
            .prepare_cached("DELETE FROM quarantine WHERE stream = ?1 AND seq = ?2")?
            .execute(params![stream.code(), seq])?;
        Ok(())
    }
}
