//! The outbox: which rows the server has, which wait, and what it wants resent.
//!
//! A row leaves the pending set only by [`Outbox::acknowledge`] for the request that carried
//! it. New rows and rows that are resent have cursors of their own, so that a re-upload of
//! years of history never holds up a new punch and continues after a restart.

use std::time::Duration;

use super::backlog;
use super::cursors::{Cursor, Cursors, MOST_BYTES};
use super::db::Db;
use super::error::Result;
use super::quarantine::Quarantine;
use super::rows::{Backlog, Batch, Pass, PendingRow, Seq};
use super::source::Source;
use super::stamps::{Stamp, Stamps};
use crate::protocol::stream::{Stream, Table};

/// The rows that go up.
#[derive(Clone, Copy)]
pub struct Outbox<'a> {
    db: &'a Db,
}

impl<'a> Outbox<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    fn cursors(&self) -> Cursors<'a> {
        Cursors::new(self.db)
    }

    fn stamps(&self) -> Stamps<'a> {
        Stamps::new(self.db)
    }

    fn quarantine(&self) -> Quarantine<'a> {
        Quarantine::new(self.db)
    }

    /// Whether rows of these streams wait that can go up now.
    pub fn has_rows(&self, streams: &[Stream]) -> Result<bool> {
        for stream in streams {
            let cursor = self.cursors().get(*stream)?;
            if self.cursors().has_row_to_send(*stream, Pass::New, cursor.sent, Seq::MAX)? {
                return Ok(true);
            }
            if let Some((after, until)) = cursor.resend
                && self.cursors().has_row_to_send(*stream, Pass::Resend, after, until)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next rows of these streams, which share a table; new ones first. `None` when
    /// nothing waits. Rows that are held for want of a clock hold up what comes after them.
    pub fn next_batch(&self, streams: &[Stream], most: usize) -> Result<Option<Batch>> {
        for pass in [Pass::New, Pass::Resend] {
            let (mut rows, mut until_row) = (Vec::new(), Seq::MAX);
            for stream in streams {
                let cursor = self.cursors().get(*stream)?;
                let range = match pass {
                    Pass::New => Some((cursor.sent, Seq::MAX)),
                    Pass::Resend | Pass::Retry => cursor.resend,
                };
                let Some((after, until)) = range else { continue };
                let found = self.cursors().rows(*stream, pass, after, until, most)?;
                if found.is_empty() && pass == Pass::Resend {
                    self.cursors().set(*stream, Cursor { resend: None, ..cursor })?;
                }
                // Where one stream was cut off for its size, the others end too: a table is
                // uploaded in the order of its numbers.
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
        Ok(None)
    }

    /// The server took these rows of a table, which were the next.
    pub fn acknowledge(&self, table: Table, pass: Pass, rows: &[PendingRow]) -> Result<()> {
        self.db.atomically(|| self.acknowledge_within(table, pass, rows))
    }

    /// The same within a transaction of the caller's.
    pub fn acknowledge_within(&self, table: Table, pass: Pass, rows: &[PendingRow]) -> Result<()> {
        // A row that is sent once more is not in quarantine any longer.
        if pass != Pass::New {
            rows.iter().try_for_each(|row| self.quarantine().release(row.stream, row.seq))?;
        }
        if pass == Pass::Retry {
            return Ok(());
        }
        for stream in table.streams() {
            let last = rows.iter().rev().find(|row| row.stream == stream).map(|row| row.seq);
            if let Some(last) = last {
                self.cursors().advance(stream, pass, last)?;
            }
        }
        match (pass, rows.last()) {
            (Pass::Resend, Some(row)) => {
                self.stamps().set(table, Stamp { resent: row.seq, ..self.stamps().get(table)? })
            }
            _ => self.stamps().clear_resent(table),
        }
    }

    /// Everything after `from` that was sent goes up again, in the background.
    pub fn resend(&self, stream: Stream, from: Seq) -> Result<()> {
        let cursor = self.cursors().get(stream)?;
        // Changes by the server are resent too; their numbers may be above `sent`.
        let until =
            if Source::of(stream).changes_in_place() { self.db.last_seq() } else { cursor.sent };
        // A range without rows would never be finished.
        let has_rows = self.cursors().has_row_to_send(stream, Pass::Resend, from, until)?;
        self.cursors().set(stream, Cursor { resend: has_rows.then_some((from, until)), ..cursor })
    }

    /// Whether an upload from the start, or part of one, is under way for a table.
    pub fn is_resending(&self, table: Table) -> Result<bool> {
        for stream in table.streams() {
            // The rest of a range may have been deleted since.
            if let Some((after, until)) = self.cursors().get(stream)?.resend
                && self.cursors().has_row_to_send(stream, Pass::Resend, after, until)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How much of a stream waits. Costs the same for one row and for a million.
    pub fn backlog(&self, stream: Stream) -> Result<Backlog> {
        let counts = backlog::Backlog::new(self.db);
        Ok(Backlog {
            new: counts.waiting(stream, Pass::New)?,
            resend: counts.waiting(stream, Pass::Resend)?,
            sent: self.cursors().get(stream)?.sent,
        })
    }

    /// Counts what waits, for about so long. Whether everything is counted: [`Outbox::backlog`]
    /// counts on until it is.
    pub fn count_backlog(&self, time: Duration) -> Result<bool> {
        backlog::Backlog::new(self.db).count_for(time)
    }

    /// The number of the last row that the server acknowledged for a table: what its stamp
    /// should be.
    pub fn acknowledged(&self, table: Table) -> Result<Seq> {
        let resent = self.stamps().get(table)?.resent;
        if resent != 0 {
            return Ok(resent);
        }
        let mut highest = 0;
        for stream in table.streams() {
            highest = highest.max(self.cursors().get(stream)?.sent);
        }
        Ok(highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::{Pin, User};
    use crate::protocol::stream::Stream;
    use crate::store::{Limits, Origin, Store};

    #[test]
    fn an_upload_from_the_start_comes_to_an_end_in_every_stream() {
        let path = std::env::temp_dir().join(format!("punchd-stamp-{}.db", std::process::id()));
        let store = Store::open(&path, Limits::default()).unwrap();
        let pin = Pin::new("7").unwrap();
        store.people().put(&User::new(pin.clone()), Origin::Server).unwrap();
        // Of all streams of the table only the users have a row.
        for stream in Table::Operlog.streams() {
            store.outbox().resend(stream, 0).unwrap();
        }
        assert!(store.outbox().is_resending(Table::Operlog).unwrap());
        store.people().delete(&pin).unwrap();
        assert!(!store.outbox().is_resending(Table::Operlog).unwrap());
        store.outbox().resend(Stream::Operations, 0).unwrap();
        assert!(!store.outbox().is_resending(Table::Operlog).unwrap());
        drop(store);
        for suffix in ["", "-wal"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
