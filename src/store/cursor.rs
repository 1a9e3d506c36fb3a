//! The cursors: what of each stream the server has, and what goes up again.
//!
//! A row leaves the pending set only by [`Store::acknowledge`] for the request that carried
//! it. New rows and rows that go up *again* have cursors of their own, so that a re-upload
//! of years of history never holds up a new punch and goes on after a restart.

use rusqlite::{OptionalExtension, params};

use super::source::Source;
use super::{Result, Seq, Stamp, Store};
use crate::protocol::record::{AttPhoto, Record};
use crate::protocol::stream::{Stream, Table};

/// Which of a stream's two cursors rows belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Rows that never went up.
    New,
    /// Rows that the server wants once more.
    Again,
    /// A row that was set aside and is tried once more.
    Retry,
}

/// Rows of one table that are pending, in the order of their numbers, whatever their streams.
#[derive(Debug)]
pub struct Batch {
    /// By which cursors.
    pub pass: Pass,
    /// The rows; never empty.
    pub rows: Vec<PendingRow>,
}

/// A row that is pending.
#[derive(Debug)]
pub struct PendingRow {
    /// Its number.
    pub seq: Seq,
    /// Whose it is.
    pub stream: Stream,
    /// What it says; `None` if this version cannot read it: it is passed over, and said so.
    pub content: Option<Content>,
}

impl PendingRow {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        self.content.as_ref().map_or(0, Content::size)
    }
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A row among others of its table.
    Record(Record),
    /// A photo, which is a request of its own.
    Photo(AttPhoto),
}

impl Content {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        match self {
            Self::Photo(photo) => photo.photo().as_bytes().len(),
            Self::Record(Record::Template(template)) => template.data.as_bytes().len(),
            Self::Record(Record::UserPic(picture)) => picture.photo.as_bytes().len(),
            Self::Record(Record::BioPhoto(picture)) => picture.photo.as_bytes().len(),
            Self::Record(Record::IdCard(card)) => {
                let fingerprints = card.fingerprints.iter().map(|data| data.as_bytes().len());
                card.photo.as_bytes().len() + fingerprints.sum::<usize>() + 500
            }
            Self::Record(Record::ErrorLog(error)) => {
                error.additional().map_or(0, |object| 100 * object.len())
                    + error.message().len()
                    + 100
            }
            Self::Record(_) => 100,
        }
    }
}

/// Most bytes of one stream that are looked at together; one row may be more.
const MOST_BYTES: usize = 64 << 10;

/// How much of a stream waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Rows that never went up.
    pub new: u64,
    /// Rows that go up again.
    pub again: u64,
    /// The number up to which everything was acknowledged.
    pub sent: Seq,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    pub(super) sent: Seq,
    pub(super) again: Option<(Seq, Seq)>,
}

impl Store {
    /// Whether rows of these streams wait that can go up now.
    pub fn has_rows(&self, streams: &[Stream]) -> Result<bool> {
        for stream in streams {
            let cursor = self.cursor(*stream)?;
            if self.can_go(*stream, Pass::New, cursor.sent, Seq::MAX)? {
                return Ok(true);
            }
            if let Some((after, until)) = cursor.again
                && self.can_go(*stream, Pass::Again, after, until)?
            {
                return Ok(true);
            }
        }
        Ok(self.row_to_retry(streams)?.is_some())
    }

    /// Whether the first row of a range is there, and not held.
    pub(super) fn can_go(
        &self,
        stream: Stream,
        pass: Pass,
        after: Seq,
        until: Seq,
    ) -> Result<bool> {
        let source = Source::of(stream);
        let start = self.start(stream, pass, after);
        let held = if source.held { "held IS NULL" } else { "TRUE" };
        let sql = format!(
            "SELECT {held} FROM {} WHERE {} ORDER BY {} LIMIT 1",
            source.table,
            source.range(pass),
            source.column(pass)
        );
        let first =
            self.db.prepare_cached(&sql)?.query_row([start, until], |row| row.get(0)).optional()?;
        if first.is_none() && pass == Pass::New {
            self.looked.borrow_mut().insert(stream.name(), (after, self.last_seq.get()));
        }
        Ok(first.unwrap_or(false))
    }

    /// Where to begin to look for rows after `after`. A stream that shares an SQL table with
    /// another would look through all of the other's rows each time; what was looked through
    /// once and held nothing is passed over.
    fn start(&self, stream: Stream, pass: Pass, after: Seq) -> Seq {
        match self.looked.borrow().get(stream.name()) {
            Some((from, to)) if pass == Pass::New && *from == after => *to,
            _ => after,
        }
    }

    /// The next rows of these streams, which share a table; new ones first. `None` when
    /// nothing waits. Rows that are held for want of a clock hold up what comes after them.
    pub fn next_batch(&self, streams: &[Stream], most: usize) -> Result<Option<Batch>> {
        for pass in [Pass::New, Pass::Again] {
            let (mut rows, mut until_row) = (Vec::new(), Seq::MAX);
            for stream in streams {
                let cursor = self.cursor(*stream)?;
                let range = match pass {
                    Pass::New => Some((cursor.sent, Seq::MAX)),
                    Pass::Again | Pass::Retry => cursor.again,
                };
                let Some((after, until)) = range else { continue };
                let found = self.rows(*stream, pass, after, until, most)?;
                if found.is_empty() && pass == Pass::Again {
                    self.set_cursor(*stream, Cursor { again: None, ..cursor })?;
                }
                // Where a stream was cut off for its size, the others end too: a table goes up
                // in the order of its numbers.
                if found.len() < most
                    && found.iter().map(PendingRow::size).sum::<usize>() > MOST_BYTES
                {
                    until_row = until_row.min(found.last().map_or(Seq::MAX, |row| row.seq));
                }
                rows.extend(found);
            }
            if !rows.is_empty() {
                rows.retain(|row: &PendingRow| row.seq <= until_row);
                rows.sort_by_key(|row| row.seq);
                rows.truncate(most);
                return Ok(Some(Batch { pass, rows }));
            }
        }
        Ok(self.row_to_retry(streams)?.map(|row| Batch { pass: Pass::Retry, rows: vec![row] }))
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
        let held = if source.held { "held" } else { "NULL" };
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
            // Never less than two: a row that is refused is judged by the one after it.
            if bytes > MOST_BYTES && rows.len() > 1 {
                break;
            }
        }
        Ok(rows)
    }

    /// The server took these rows of a table, which were the next.
    pub fn acknowledge(&self, table: Table, pass: Pass, rows: &[PendingRow]) -> Result<()> {
        self.atomically(|| {
            // What goes once more is not set aside any longer.
            if pass != Pass::New {
                rows.iter().try_for_each(|row| self.release_quarantined(row.stream, row.seq))?;
            }
            if pass == Pass::Retry {
                return Ok(());
            }
            for stream in table.streams() {
                let last = rows.iter().rev().find(|row| row.stream == stream).map(|row| row.seq);
                if let Some(last) = last {
                    self.move_cursor(stream, pass, last)?;
                }
            }
            match (pass, rows.last()) {
                (Pass::Again, Some(row)) => {
                    self.set_stamp(table, Stamp { again: row.seq, ..self.stamp(table)? })
                }
                _ => self.forget_again(table),
            }
        })
    }

    pub(super) fn move_cursor(&self, stream: Stream, pass: Pass, last: Seq) -> Result<()> {
        let cursor = self.cursor(stream)?;
        let moved = match pass {
            Pass::New => Cursor { sent: last.max(cursor.sent), ..cursor },
            Pass::Again | Pass::Retry => Cursor {
                again: cursor
                    .again
                    .map(|(_, until)| (last, until))
                    .filter(|(after, until)| after < until),
                ..cursor
            },
        };
        self.set_cursor(stream, moved)
    }

    /// Everything after `from` that was sent goes up again, in the background.
    pub fn send_again(&self, stream: Stream, from: Seq) -> Result<()> {
        let cursor = self.cursor(stream)?;
        // What the server changed counts too, and its number may be above `sent`.
        let until =
            if Source::of(stream).again == "changed" { self.last_seq.get() } else { cursor.sent };
        // A range without rows would never be worked off, and stand for ever.
        let has_rows = self.can_go(stream, Pass::Again, from, until)?;
        self.set_cursor(stream, Cursor { again: has_rows.then_some((from, until)), ..cursor })
    }

    /// The number up to which the server has a stream, and does not want it again.
    pub(super) fn uploaded_up_to(&self, stream: Stream) -> Result<Seq> {
        let cursor = self.cursor(stream)?;
        Ok(cursor.again.map_or(cursor.sent, |(after, _)| after.min(cursor.sent)))
    }

    /// How much of a stream waits.
    pub fn pending(&self, stream: Stream) -> Result<Pending> {
        let cursor = self.cursor(stream)?;
        let count = |pass, after: Seq, until: Seq| -> Result<u64> {
            let source = Source::of(stream);
            let sql = format!("SELECT count(*) FROM {} WHERE {}", source.table, source.range(pass));
            Ok(self.db.prepare_cached(&sql)?.query_row([after, until], |row| row.get(0))?)
        };
        let again = match cursor.again {
            Some((after, until)) => count(Pass::Again, after, until)?,
            None => 0,
        };
        Ok(Pending { new: count(Pass::New, cursor.sent, Seq::MAX)?, again, sent: cursor.sent })
    }

    pub(super) fn cursor(&self, stream: Stream) -> Result<Cursor> {
        let found = self
            .db
            .prepare_cached("SELECT sent, again, again_end FROM cursor WHERE stream = ?1")?
            .query_row([stream.name()], |row| {
                let again: Option<Seq> = row.get(1)?;
                let until: Option<Seq> = row.get(2)?;
                Ok(Cursor { sent: row.get(0)?, again: again.zip(until) })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    fn set_cursor(&self, stream: Stream, cursor: Cursor) -> Result<()> {
        let (again, until) = cursor.again.unzip();
        self.db
            .prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![stream.name(), cursor.sent, again, until])?;
        Ok(())
    }
}
