//! Rows that the server refuses, passed over so that they block no others. The row stays in its
//! journal.
//!
//! A *suspect* was refused while the server took others; it stays pending and is offered again
//! soon. After some refusals it is *set aside* (quarantine): it is offered from time to time, until
//! the server takes it or a person drops it. Rows of both kinds are never deleted by retention.

use rusqlite::{OptionalExtension, Row, params};

use super::cursors::Cursors;
use super::db::Db;
use super::error::Result;
use super::rows::{NewRows, Outgoing, Pass, PendingRow, Seq};
use crate::protocol::stream::Stream;

/// A row that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Whose row.
    pub stream: Stream,
    /// Its number.
    pub seq: Seq,
    /// The server's message.
    pub message: String,
    /// When it was refused first, in seconds since 1970.
    pub first: i64,
    /// On how many occasions.
    pub refusals: u32,
    /// When it is offered again, in seconds since 1970.
    pub offer_at: i64,
    /// Whether it is set aside; a suspect otherwise.
    pub is_aside: bool,
    /// A person wants it to be sent now.
    pub retry: bool,
    /// What kind of refusal it was.
    pub cause: Cause,
    /// It was refused at its last offer, and nothing shows whether that was its fault.
    pub is_unclear: bool,
}

/// How a server refuses a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// By its answer, or by ending the connection.
    #[default]
    Answer,
    /// It does not count the row.
    Count,
    /// It finds the row too large.
    Size,
    /// It gives no answer, for a long time.
    Silence,
}

impl Cause {
    fn code(self) -> i64 {
        match self {
            Self::Answer => 0,
            Self::Count => 1,
            Self::Size => 2,
            Self::Silence => 3,
        }
    }

    fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Count,
            2 => Self::Size,
            3 => Self::Silence,
            _ => Self::Answer,
        }
    }
}

const COLUMNS: &str = "stream, seq, words, at, refusals, offer_at, aside, retry, cause, unclear";
/// Longest time until an offer: one that is later was set by a wrong clock.
const LONGEST: i64 = 90_000;

/// The rows that the server refuses.
#[derive(Clone, Copy)]
pub struct Quarantine<'a> {
    db: &'a Db,
}

impl<'a> Quarantine<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Records a refusal. A row that was the next of its stream by `pass` is passed over.
    pub fn put(&self, pass: Pass, row: &RefusedRow) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO quarantine
                       (stream, seq, words, at, retry, aside, refusals, offer_at, cause, unclear)
                   VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9)";
        let RefusedRow { stream, seq, message, first, refusals, offer_at, is_aside, cause, .. } =
            row;
        let (stream_code, cause) = (stream.code(), cause.code());
        let values = params![
            stream_code,
            seq,
            message,
            first,
            is_aside,
            refusals,
            offer_at,
            cause,
            row.is_unclear
        ];
        self.db.prepare_cached(sql)?.execute(values)?;
        self.db.counts.refused_rows.set(None);
        if pass != Pass::Retry {
            Cursors::new(self.db).advance(*stream, pass, *seq)?;
        }
        Ok(())
    }

    /// The rows that are set aside, or the suspects; the oldest first, at most `most`.
    pub fn list(&self, is_aside: bool, most: usize) -> Result<Vec<RefusedRow>> {
        let sql =
            format!("SELECT {COLUMNS} FROM quarantine WHERE aside = ?1 ORDER BY seq LIMIT ?2");
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map(params![is_aside, most as i64], refused_row)?;
        Ok(rows.filter_map(rusqlite::Result::transpose).collect::<rusqlite::Result<_>>()?)
    }

    /// The first row of a stream that is set aside, or that is a suspect.
    pub fn first(&self, stream: Stream, is_aside: bool) -> Result<Option<RefusedRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM quarantine WHERE stream = ?1 AND aside = ?2 ORDER BY seq LIMIT 1"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let row = statement.query_row(params![stream.code(), is_aside], refused_row).optional()?;
        Ok(row.flatten())
    }

    /// How many rows of a stream are suspects, and how many are set aside.
    pub fn count(&self, stream: Stream) -> Result<(u64, u64)> {
        let sql = "SELECT coalesce(sum(aside = 0), 0), coalesce(sum(aside), 0) FROM quarantine
                   WHERE stream = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        Ok(statement.query_row([stream.code()], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Sends rows once more that are passed over or set aside: the one with this number, or all. How
    /// many.
    pub fn retry(&self, seq: Option<Seq>) -> Result<usize> {
        let sql = "UPDATE quarantine SET retry = 1 WHERE ?1 IS NULL OR seq = ?1";
        Ok(self.db.prepare_cached(sql)?.execute([seq])?)
    }

    /// Gives rows up that are set aside: the one with this number, or all; they stay in the journal. A
    /// row that is passed over still waits, and is not given up. How many.
    pub fn drop_rows(&self, seq: Option<Seq>) -> Result<usize> {
        let sql = "DELETE FROM quarantine WHERE aside = 1 AND (?1 IS NULL OR seq = ?1)";
        let dropped = self.db.prepare_cached(sql)?.execute([seq])?;
        self.db.counts.refused_rows.set(None);
        Ok(dropped)
    }

    /// When a row of these streams is offered next, in seconds since 1970; 0 for one that a person
    /// wants to be sent. `takes_others`: as in [`due`](Self::due).
    pub fn next_offer(
        &self,
        streams: &[Outgoing],
        now: i64,
        takes_others: bool,
    ) -> Result<Option<i64>> {
        // Nearly always there is none, and the loop asks for each table all the time.
        if self.is_empty()? {
            return Ok(None);
        }
        let mut earliest: Option<i64> = None;
        for stream in by_themselves(streams) {
            let sql =
                "SELECT min(iif(retry = 1 OR offer_at > ?2 OR (?3 AND unclear = 1), 0, offer_at))
                       FROM quarantine WHERE stream = ?1";
            let mut statement = self.db.prepare_cached(sql)?;
            let values = params![stream.code(), now + LONGEST, takes_others];
            let found: Option<i64> = statement.query_row(values, |row| row.get(0))?;
            earliest = earliest.into_iter().chain(found).min();
        }
        Ok(earliest)
    }

    /// What the server found too large is offered again now: its limit may have changed.
    pub fn offer_too_large(&self) -> Result<()> {
        if !self.is_empty()? {
            let sql = "UPDATE quarantine SET offer_at = 0 WHERE cause = ?1";
            self.db.prepare_cached(sql)?.execute([Cause::Size.code()])?;
        }
        Ok(())
    }

    /// Suspects of these streams that were refused first after `since` are offered at `at`, if that is
    /// earlier: the server has a bad time. Not where it gives no answer: such an offer holds up
    /// everything.
    pub fn hurry(&self, streams: impl Iterator<Item = Stream>, since: i64, at: i64) -> Result<()> {
        if self.is_empty()? {
            return Ok(());
        }
        for stream in streams {
            let sql = "UPDATE quarantine SET offer_at = ?2
                       WHERE aside = 0 AND at > ?1 AND offer_at > ?2 AND cause <> ?3 AND stream = ?4";
            let values = params![since, at, Cause::Silence.code(), stream.code()];
            self.db.prepare_cached(sql)?.execute(values)?;
        }
        Ok(())
    }

    /// A suspect is offered at this time, in seconds since 1970, and not before.
    pub fn postpone(&self, stream: Stream, seq: Seq, at: i64) -> Result<()> {
        let sql = "UPDATE quarantine SET offer_at = ?3, retry = 0 WHERE stream = ?1 AND seq = ?2";
        self.db.prepare_cached(sql)?.execute(params![stream.code(), seq, at])?;
        Ok(())
    }

    /// The row of these streams whose offer is due, if it is still there. `takes_others`: the server
    /// took others just now, so that a row of which nothing was known is due.
    pub fn due(
        &self,
        streams: &[Outgoing],
        now: i64,
        takes_others: bool,
    ) -> Result<Option<(RefusedRow, PendingRow)>> {
        let streams = if self.is_empty()? { &[] } else { streams };
        for stream in by_themselves(streams) {
            let sql = format!(
                "SELECT {COLUMNS} FROM quarantine
                 WHERE stream = ?1
                     AND (retry = 1 OR offer_at <= ?2 OR offer_at > ?3 OR (?4 AND unclear = 1))
                 ORDER BY retry DESC, offer_at, seq LIMIT 1"
            );
            let mut next = self.db.prepare_cached(&sql)?;
            let values = params![stream.code(), now, now + LONGEST, takes_others];
            while let Some(refused) = next.query_row(values, refused_row).optional()?.flatten() {
                let seq = refused.seq;
                // A row that the server changed last has its number in the other column.
                for pass in [Pass::Resend, Pass::New] {
                    let found = Cursors::new(self.db).rows(stream, pass, seq - 1, seq, 1)?.pop();
                    if let Some(row) = found {
                        return Ok(Some((refused, row)));
                    }
                }
                // The row was changed or deleted since; its successor is uploaded by itself.
                self.release(stream, seq)?;
            }
        }
        Ok(None)
    }

    /// The server took a row after all.
    pub(super) fn release(&self, stream: Stream, seq: Seq) -> Result<()> {
        self.db
            .prepare_cached("DELETE FROM quarantine WHERE stream = ?1 AND seq = ?2")?
            .execute(params![stream.code(), seq])?;
        self.db.counts.refused_rows.set(None);
        Ok(())
    }

    /// Whether no row is set aside or passed over. Nearly always none is.
    pub fn is_empty(&self) -> Result<bool> {
        let sql = "SELECT count(*) FROM quarantine";
        Ok(self.db.counted(&self.db.counts.refused_rows, sql)? == 0)
    }
}

/// The streams of which all rows go up.
fn by_themselves(streams: &[Outgoing]) -> impl Iterator<Item = Stream> {
    let all = streams.iter().filter(|outgoing| outgoing.new_rows == NewRows::All);
    all.map(|outgoing| outgoing.stream)
}

/// A row of the table; `None` for a stream of a later version.
fn refused_row(row: &Row<'_>) -> rusqlite::Result<Option<RefusedRow>> {
    let code: String = row.get(0)?;
    let Some(stream) = Stream::from_code(&code) else { return Ok(None) };
    Ok(Some(RefusedRow {
        stream,
        seq: row.get(1)?,
        message: row.get(2)?,
        first: row.get(3)?,
        refusals: row.get(4)?,
        offer_at: row.get(5)?,
        is_aside: row.get(6)?,
        retry: row.get(7)?,
        cause: Cause::from_code(row.get(8)?),
        is_unclear: row.get(9)?,
    }))
}
