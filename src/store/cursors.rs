//! The cursors: up to which row of each stream the server has everything, and what it wants
//! resent; and the rows that stand behind them.

use rusqlite::{OptionalExtension, params};

use super::db::Db;
use super::error::Result;
use super::rows::{NewRows, Pass, PendingRow, Seq};
use super::source::Source;
use crate::protocol::stream::Stream;

/// Most bytes of one stream that are looked at together; one row may be more.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// How far a stream is.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    pub(super) sent: Seq,
    pub(super) resend: Option<(Seq, Seq)>,
    /// New rows up to this number go up, although `TransFlag` does not name them.
    pub(super) asked: Seq,
}

impl Cursor {
    /// After which number, and up to which, new rows are to go up; `None` if none are.
    pub(super) fn range_of_new(&self, new_rows: NewRows) -> Option<(Seq, Seq)> {
        match new_rows {
            NewRows::All => Some((self.sent, Seq::MAX)),
            NewRows::Asked => (self.asked > self.sent).then_some((self.sent, self.asked)),
        }
    }
}

/// The cursors of all streams.
#[derive(Clone, Copy)]
pub(super) struct Cursors<'a> {
    db: &'a Db,
}

impl<'a> Cursors<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    pub(super) fn get(&self, stream: Stream) -> Result<Cursor> {
        let found = self
            .db
            .prepare_cached("SELECT sent, again, again_end, asked FROM cursor WHERE stream = ?1")?
            .query_row([stream.code()], |row| {
                let resend: Option<Seq> = row.get(1)?;
                let until: Option<Seq> = row.get(2)?;
                Ok(Cursor { sent: row.get(0)?, resend: resend.zip(until), asked: row.get(3)? })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    pub(super) fn set(&self, stream: Stream, cursor: Cursor) -> Result<()> {
        let (resend, until) = cursor.resend.unzip();
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO cursor (stream, sent, again, again_end, asked)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![stream.code(), cursor.sent, resend, until, cursor.asked])?;
        Ok(())
    }

    pub(super) fn advance(&self, stream: Stream, pass: Pass, last: Seq) -> Result<()> {
        let cursor = self.get(stream)?;
        let moved = match pass {
            Pass::New => Cursor { sent: last.max(cursor.sent), ..cursor },
            Pass::Resend | Pass::Retry => Cursor {
                resend: cursor
                    .resend
                    .map(|(_, until)| (last, until))
                    .filter(|(after, until)| after < until),
                ..cursor
            },
        };
        self.set(stream, moved)
    }

    /// The number up to which the server has a stream, and does not want it again.
    pub(super) fn uploaded_up_to(&self, stream: Stream) -> Result<Seq> {
        let cursor = self.get(stream)?;
        Ok(cursor.resend.map_or(cursor.sent, |(after, _)| after.min(cursor.sent)))
    }

    /// Whether the first row of a range is there, and not held.
    pub(super) fn has_row_to_send(
        &self,
        stream: Stream,
        pass: Pass,
        after: Seq,
        until: Seq,
    ) -> Result<bool> {
        let source = Source::of(stream);
        let start = self.start(stream, pass, after);
        let held = if source.can_await_clock { "held IS NULL" } else { "TRUE" };
        let sql = format!(
            "SELECT {held} FROM {} WHERE {} ORDER BY {} LIMIT 1",
            source.table,
            source.range(pass),
            source.column(pass)
        );
        let first =
            self.db.prepare_cached(&sql)?.query_row([start, until], |row| row.get(0)).optional()?;
        if first.is_none() && pass == Pass::New {
            let looked = (after, until.min(self.db.last_seq()));
            self.db.looked.borrow_mut().insert(stream, looked);
        }
        Ok(first.unwrap_or(false))
    }

    /// Where to begin to look for rows after `after`. A stream that shares an SQL table with
    /// another would look through all of the other's rows each time; what was looked through
    /// once and held nothing is passed over.
    fn start(&self, stream: Stream, pass: Pass, after: Seq) -> Seq {
        match self.db.looked.borrow().get(&stream) {
            Some((from, to)) if pass == Pass::New && *from == after => *to,
            _ => after,
        }
    }

    /// Whether a row of a stream has this number, for its first upload or for another.
    pub(super) fn has_row(&self, stream: Stream, seq: Seq) -> Result<bool> {
        let source = Source::of(stream);
        let part = |pass| format!("SELECT 1 FROM {} WHERE {}", source.table, source.range(pass));
        let sql = format!("SELECT EXISTS ({} UNION ALL {})", part(Pass::New), part(Pass::Resend));
        Ok(self.db.prepare_cached(&sql)?.query_row([seq - 1, seq], |row| row.get(0))?)
    }

    /// How many rows of a pass a stream has after one number and up to another; `most` at most.
    pub(super) fn count(
        &self,
        stream: Stream,
        pass: Pass,
        (after, until): (Seq, Seq),
        most: u64,
    ) -> Result<u64> {
        let source = Source::of(stream);
        // Nearly always nobody changed people on the terminal.
        if pass == Pass::New && source.changes_in_place() {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE local > 0)", source.table);
            if !self.db.prepare_cached(&sql)?.query_row([], |row| row.get::<_, bool>(0))? {
                return Ok(0);
            }
        }
        let range = source.range(pass);
        let sql =
            format!("SELECT count(*) FROM (SELECT 1 FROM {} WHERE {range} LIMIT ?3)", source.table);
        let values = params![after, until, most as i64];
        Ok(self.db.prepare_cached(&sql)?.query_row(values, |row| row.get(0))?)
    }

    /// The number of the last new row of a stream after a number.
    pub(super) fn last_new(&self, stream: Stream, after: Seq) -> Result<Option<Seq>> {
        let source = Source::of(stream);
        let sql = format!(
            "SELECT max({}) FROM {} WHERE {}",
            source.new,
            source.table,
            source.range(Pass::New)
        );
        Ok(self.db.prepare_cached(&sql)?.query_row([after, Seq::MAX], |row| row.get(0))?)
    }

    pub(super) fn rows(
        &self,
        stream: Stream,
        pass: Pass,
        after: Seq,
        until: Seq,
        most: usize,
    ) -> Result<Vec<PendingRow>> {
        let source = Source::of(stream);
        let column = source.column(pass);
        let held = if source.can_await_clock { "held" } else { "NULL" };
        let sql = format!(
            "SELECT {column}, {held}, {} FROM {} WHERE {} ORDER BY {column} LIMIT ?3",
            source.columns,
            source.table,
            source.range(pass)
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let start = self.start(stream, pass, after);
        let mut found = statement.query(params![start, until, most as i64])?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let held: Option<String> = row.get(1)?;
            if held.is_some() {
                break;
            }
            let content = (source.read)(row)?;
            let row = PendingRow { seq: row.get(0)?, stream, content };
            bytes += row.size();
            rows.push(row);
            // Never less than two: the row after a refused one shows whose fault it is.
            if bytes > MOST_BYTES && rows.len() > 1 {
                break;
            }
        }
        Ok(rows)
    }
}
