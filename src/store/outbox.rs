//! The outbox: which rows the server has, which wait, and what it wants resent.
//!
//! A row leaves the pending set only by [`Outbox::acknowledge`] for the request that carried
//! it. New rows and rows that are resent have cursors of their own, so that a re-upload of
//! years of history never holds up a new punch and continues after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cursor::Cursor;
use super::cursors::{Cursors, MOST_BYTES};
use super::db::Db;
use super::error::Result;
use super::quarantine::Quarantine;
use super::rows::{Backlog, Batch, NewRows, Outgoing, Pass, PendingRow, Seq};
use super::source::Source;
use super::stamps::{Stamp, Stamps};
use super::tally::{self, Tally};
use crate::protocol::stream::{Stream, Table};

/// Most rows that are counted of a stream whose rows change in place.
const MOST_COUNTED: u64 = 100;

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
    pub fn has_rows(&self, streams: &[Outgoing]) -> Result<bool> {
        for pass in [Pass::New, Pass::Resend] {
            for (stream, (after, until)) in self.ranges(streams, pass)? {
                if self.cursors().has_row_to_send(stream, pass, after, until)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The next rows of these streams, which share a table; new ones first. `None` when
    /// nothing waits. Rows that are held for want of a clock hold up what comes after them.
    pub fn next_batch(&self, streams: &[Outgoing], most: usize) -> Result<Option<Batch>> {
        for pass in [Pass::New, Pass::Resend] {
            let (mut rows, mut until_row) = (Vec::new(), Seq::MAX);
            for (stream, (after, until)) in self.ranges(streams, pass)? {
                let found = self.cursors().rows(stream, pass, after, until, most)?;
                if found.is_empty() && pass == Pass::Resend {
                    let cursor = self.cursors().get(stream)?;
                    self.cursors().set(stream, Cursor { resend: None, ..cursor })?;
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

    /// Where the rows of a pass are: the streams, and after which number and up to which.
    fn ranges(&self, streams: &[Outgoing], pass: Pass) -> Result<Vec<(Stream, (Seq, Seq))>> {
        if pass == Pass::New {
            let range = |outgoing: &Outgoing| {
                let cursor = self.cursors().get(outgoing.stream)?;
                let range = cursor.range_of_new(outgoing.new_rows);
                Ok(range.map(|range| (outgoing.stream, range)))
            };
            return streams.iter().filter_map(|outgoing| range(outgoing).transpose()).collect();
        }
        let streams: BTreeSet<Stream> =
            streams.iter().map(|outgoing| outgoing.stream.resent_as()).collect();
        let range = |stream: Stream| {
            let cursor = self.cursors().get(stream)?;
            Ok(cursor.resend.map(|range| (stream, range)))
        };
        streams.into_iter().filter_map(|stream| range(stream).transpose()).collect()
    }

    /// These punches with an identity card are about to go up as plain punches. Sent again, they have
    /// the same bytes, whatever version the server speaks then.
    pub fn send_as_plain(&self, rows: &[Seq]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.db.atomically(|| {
            let mut update = self.db.prepare_cached("UPDATE punch SET plain = 1 WHERE seq = ?1")?;
            rows.iter().try_for_each(|seq| update.execute([seq]).map(drop))?;
            Ok(())
        })
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

    /// The server asks for what waits in these streams: it goes up once, although `TransFlag` does not
    /// name it. Later rows wait again. Writes nothing where nothing waits.
    pub fn ask_for(&self, streams: impl IntoIterator<Item = Stream>) -> Result<()> {
        for stream in streams {
            let cursor = self.cursors().get(stream)?;
            let after = cursor.sent.max(cursor.asked);
            if let Some(asked) = self.cursors().last_new(stream, after)? {
                self.cursors().set(stream, Cursor { asked, ..cursor })?;
            }
        }
        Ok(())
    }

    /// Everything after `from` that was sent goes up again, in the background.
    pub fn resend(&self, stream: Stream, from: Seq) -> Result<()> {
        let stream = stream.resent_as();
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

    /// Whether a stamp belongs to another table than this one: it is the last that went up with the
    /// other, or the number of a row of it.
    pub fn is_of_another_table(&self, table: Table, stamp: Seq) -> Result<bool> {
        for other in Table::ALL.into_iter().filter(|other| *other != table) {
            if self.acknowledged(other)? == stamp {
                return Ok(true);
            }
            for stream in other.streams() {
                if self.cursors().has_row(stream, stamp)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// How much of a stream waits, for the same cost whether that is one row or a million: of rows that
    /// change in place no more than `MOST_COUNTED` are counted.
    pub fn backlog(&self, stream: Stream) -> Result<Backlog> {
        let cursor = self.cursors().get(stream)?;
        let new = self.count(stream, Pass::New, (cursor.sent, Seq::MAX))?;
        let asked = match cursor.range_of_new(NewRows::Asked) {
            Some(range) => self.count(stream, Pass::New, range)?,
            None => 0,
        };
        // Rows of some streams are resent by another.
        let resend = match cursor.resend.filter(|_| stream.resent_as() == stream) {
            Some(range) => self.count(stream, Pass::Resend, range)?,
            None => 0,
        };
        let is_at_least = !tally::is_tallied(stream) && new.max(resend) >= MOST_COUNTED;
        Ok(Backlog { new, asked, resend, is_at_least, sent: cursor.sent })
    }

    fn count(&self, stream: Stream, pass: Pass, (after, until): (Seq, Seq)) -> Result<u64> {
        match tally::is_tallied(stream) {
            true => Tally::new(self.db).count(stream, after, until),
            false => self.cursors().count(stream, pass, (after, until), MOST_COUNTED),
        }
    }

    /// Tallies rows of an earlier version, for about so long, once since the start. Whether all are:
    /// until then [`Outbox::backlog`] counts them one by one.
    pub fn count_backlog(&self, time: Duration) -> bool {
        self.db.is_tallied.get() || Tally::new(self.db).catch_up_for(time)
    }

    /// How far the rows of a table are that are resent; it grows while they go.
    pub fn resend_position(&self, table: Table) -> Result<Seq> {
        let mut position = 0;
        for stream in table.streams() {
            position += self.cursors().get(stream)?.resend.map_or(0, |(after, _)| after);
        }
        Ok(position)
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
    use crate::store::{Limits, Moment, NewPunch, Origin, Store};

    #[test]
    fn what_the_server_asked_for_goes_once_and_asking_for_nothing_writes_nothing() {
        let store = Store::in_memory(Limits::default());
        let (outbox, streams) = (store.outbox(), [Stream::NewUsers]);
        let asked = streams.map(|stream| Outgoing { stream, new_rows: NewRows::Asked });
        let put = |pin| {
            store.people().put(&User::new(Pin::new(pin).unwrap()), Origin::Terminal).unwrap();
        };
        let writes = || store.db.connection().total_changes();
        put("1");
        assert!(!outbox.has_rows(&asked).unwrap());
        outbox.ask_for(Stream::ALL).unwrap();
        put("2");
        let before = writes();
        let batch = outbox.next_batch(&asked, 10).unwrap().unwrap();
        assert_eq!(batch.rows.len(), 1);
        assert_eq!(writes(), before);
        assert_eq!(outbox.backlog(Stream::NewUsers).unwrap().asked, 1);
        outbox.acknowledge(Table::Operlog, Pass::New, &batch.rows).unwrap();
        assert!(!outbox.has_rows(&asked).unwrap());
        // The flag comes on: the other goes, also where nothing was found before.
        assert!(outbox.has_rows(&streams.map(Outgoing::from)).unwrap());
        outbox.ask_for(Stream::ALL).unwrap();
        let before = writes();
        outbox.ask_for(Stream::ALL).unwrap();
        assert_eq!(writes(), before);
        let batch = outbox.next_batch(&asked, 10).unwrap().unwrap();
        outbox.acknowledge(Table::Operlog, Pass::New, &batch.rows).unwrap();
        let before = writes();
        outbox.ask_for(Stream::ALL).unwrap();
        assert_eq!(writes(), before);
    }

    #[test]
    fn punches_that_the_server_asked_for_again_are_not_deleted_before_they_went() {
        let limits = Limits { punches: 2, ..Limits::default() };
        let store = Store::in_memory(limits);
        let (outbox, streams) = (store.outbox(), [Stream::Punches.into()]);
        let punch = |pin| {
            let time = crate::protocol::time::LocalTime::parse("2026-11-10 08:00:00").unwrap();
            store.journal().add_punch(&NewPunch::of(pin, Moment::At(time)))
        };
        punch("1").unwrap();
        punch("2").unwrap();
        let batch = outbox.next_batch(&streams, 10).unwrap().unwrap();
        outbox.acknowledge(Table::Attlog, Pass::New, &batch.rows).unwrap();
        outbox.resend(Stream::Punches, 0).unwrap();
        // A third has no room, and deletes none of them.
        punch("3").unwrap_err();
        store.retention().make_room().unwrap();
        let again = outbox.next_batch(&streams, 10).unwrap().unwrap();
        assert_eq!((again.pass, again.rows.len()), (Pass::Resend, 2));
        // When the first went again, it makes room.
        outbox.acknowledge(Table::Attlog, Pass::Resend, &again.rows[..1]).unwrap();
        punch("3").unwrap();
        let new = outbox.next_batch(&streams, 10).unwrap().unwrap();
        assert_eq!((new.pass, new.rows.len()), (Pass::New, 1));
        outbox.acknowledge(Table::Attlog, Pass::New, &new.rows).unwrap();
        let again = outbox.next_batch(&streams, 10).unwrap().unwrap();
        assert_eq!((again.pass, again.rows.len()), (Pass::Resend, 1));
    }

    #[test]
    fn a_look_for_rows_asks_for_what_was_written_since_and_for_nothing_else() {
        let store = Store::in_memory(Limits::default());
        for (place, stream) in Stream::ALL.into_iter().enumerate() {
            assert_eq!(stream as usize, place);
        }
        let all = Stream::ALL.map(Outgoing::from);
        let statements_of_a_look = || {
            let before = store.db.asked_for.get();
            let found = store.outbox().has_rows(&all).unwrap();
            (found, store.db.asked_for.get() - before)
        };
        statements_of_a_look();
        assert_eq!(statements_of_a_look(), (false, 0));
        let user = User::new(Pin::new("7").unwrap());
        store.people().put(&user, Origin::Server).unwrap();
        let streams_of_users = 2;
        assert_eq!(statements_of_a_look(), (false, streams_of_users));
        assert_eq!(statements_of_a_look(), (false, 0));
        store.people().put(&user, Origin::Terminal).unwrap();
        assert_eq!(statements_of_a_look(), (true, 1));
        let batch = store.outbox().next_batch(&all, 10).unwrap().unwrap();
        store.outbox().acknowledge(Table::Operlog, Pass::New, &batch.rows).unwrap();
        assert!(!statements_of_a_look().0);
        assert_eq!(statements_of_a_look(), (false, 0));
        // What failed is forgotten.
        let failed: Result<()> = store.atomically(|| {
            store.outbox().resend(Stream::Users, 0)?;
            assert!(store.outbox().has_rows(&all)?);
            Err(crate::store::StoreError::TooManyUsers { most: 0 })
        });
        failed.unwrap_err();
        assert!(!statements_of_a_look().0);
    }

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
