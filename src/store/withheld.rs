//! Rows that the server does not ask for, or that are newer than its version: they have a part of
//! the store, and the oldest of them go when it is used up. What else fills the store deletes none of
//! them, until a punch would be refused; the part is smaller then, and a new row of it replaces the
//! oldest. Punches are no part of it, and neither
//! are people: an enrolment that is deleted is one that has to be made again.

use rusqlite::params;

use super::capacity::{Capacity, measure};
use super::cursors::Cursors;
use super::db::Withheld;
use super::error::Result;
use super::retention::{RECORDS, Retention, size_of};
use super::rows::{Origin, Pass, Seq};
use super::source::Source;
use crate::protocol::stream::Stream;

/// Rows that are counted at once: what is added in between is less.
const ROWS: i64 = 2000;
/// Batches that are deleted at once.
const MOST_BATCHES: usize = 4;

impl Retention<'_> {
    /// What does not go up by itself in this session.
    pub fn set_withheld(&self, streams: &[Stream]) {
        let mut withheld = self.db.withheld.borrow_mut();
        let is_bounded = |stream: &&Stream| RECORDS.contains(stream) && streams.contains(stream);
        withheld.retain(|stream, _| streams.contains(stream));
        for stream in RECORDS.iter().filter(is_bounded) {
            withheld.entry(*stream).or_default();
        }
    }

    /// Whether the rows of a stream do not go up by themselves.
    pub(super) fn is_withheld(&self, stream: Stream) -> bool {
        self.db.withheld.borrow().contains_key(&stream)
    }

    /// Makes room for a row of the terminal's that is no punch, or refuses it.
    pub(super) fn require_room_for_row(&self, stream: Stream, bytes: usize) -> Result<()> {
        if !self.is_withheld(stream) {
            return self.require_room_for_rest(Origin::Terminal, bytes);
        }
        self.bound_withheld(&measure(self.db)?, bytes)?;
        self.require_room(Origin::Terminal, bytes, || self.drop_withheld())
    }

    /// Deletes the oldest of what does not go up, until it and so many bytes are within its part, or a
    /// few batches of it.
    /// How many rows.
    pub(super) fn bound_withheld(&self, capacity: &Capacity, more: usize) -> Result<usize> {
        let part = capacity.withheld_part().saturating_sub(more as u64);
        let mut dropped = 0;
        // Where the part is new, housekeeping goes on with the rest.
        for _ in 0..MOST_BATCHES {
            if self.count_withheld()? <= part {
                break;
            }
            match self.drop_withheld()? {
                0 => break,
                batch => dropped += batch,
            }
        }
        Ok(dropped)
    }

    /// Deletes a batch of the oldest rows that do not go up, of the stream that takes most. How
    /// many.
    pub(super) fn drop_withheld(&self) -> Result<usize> {
        self.count_withheld()?;
        let mut streams: Vec<(u64, Stream)> = {
            let withheld = self.db.withheld.borrow();
            withheld.iter().map(|(stream, counted)| (counted.bytes, *stream)).collect()
        };
        streams.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, stream) in streams {
            let dropped = self.drop_pending(stream)?;
            if dropped > 0 {
                log::debug!("{dropped} {} were deleted: they do not go up", stream.name());
                return Ok(dropped);
            }
        }
        Ok(0)
    }

    /// Whether rows that do not go up are still to be counted.
    pub(super) fn is_counting_withheld(&self) -> bool {
        self.db.withheld.borrow().values().any(|counted| !counted.is_whole)
    }

    /// The bytes of what does not go up. Counts what was added since, up to [`ROWS`] of each stream.
    fn count_withheld(&self) -> Result<u64> {
        let mut withheld = self.db.withheld.borrow_mut();
        for (stream, counted) in withheld.iter_mut() {
            let sent = Cursors::new(self.db).get(*stream)?.sent;
            if counted.from != sent {
                *counted = Withheld { from: sent, until: sent, ..Withheld::default() };
            }
            self.count_more(*stream, counted)?;
        }
        Ok(withheld.values().map(|counted| counted.bytes).sum())
    }

    /// Counts the rows of a stream that come after what was counted.
    fn count_more(&self, stream: Stream, counted: &mut Withheld) -> Result<()> {
        let source = Source::of(stream);
        let sql = format!(
            "SELECT count(*), coalesce(max(number), 0), coalesce(sum(bytes), 0) FROM (
                SELECT {new} AS number, {size} AS bytes FROM {table} WHERE {range}
                ORDER BY {new} LIMIT ?3)",
            new = source.new,
            size = size_of(source.table),
            table = source.table,
            range = source.range(Pass::New),
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let values = params![counted.until, Seq::MAX, ROWS];
        let (rows, last, bytes): (i64, Seq, u64) =
            statement.query_row(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if rows > 0 {
            counted.until = last;
            counted.bytes += bytes;
        }
        counted.is_whole = rows < ROWS;
        Ok(())
    }

    /// A card that does not go up is about to be replaced: it is counted no longer.
    pub(super) fn forget_card(&self, number: &str) -> Result<()> {
        if let Some(counted) = self.db.withheld.borrow_mut().get_mut(&Stream::IdCards) {
            let sql = format!(
                "SELECT coalesce(sum({}), 0) FROM card WHERE id_num = ?1 AND local > ?2",
                size_of("card")
            );
            let bytes: u64 = self
                .db
                .prepare_cached(&sql)?
                .query_row(params![number, counted.from], |row| row.get(0))?;
            counted.bytes = counted.bytes.saturating_sub(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::record::{Jpeg, Pin, User};
    use crate::protocol::stream::Stream;
    use crate::protocol::time::LocalTime;
    use crate::store::{Limits, Moment, NewPhoto, NewPunch, Origin, Room, Store, StoreError};

    const PHOTOS: u64 = 5;

    fn pin(nth: u64) -> Pin {
        Pin::new(&nth.to_string()).unwrap()
    }

    /// A small store with photos, and all that the server may put into it. `withheld`: what does not go up.
    fn full_store(withheld: &[Stream]) -> Store {
        let limits = Limits { bytes: 1 << 20, free: 0, ..Limits::default() };
        let store = Store::in_memory(limits);
        store.retention().set_withheld(withheld);
        let jpeg = [&[0xff, 0xd8, 0xff, 0xe0][..], &vec![7; 30_000], &[0xff, 0xd9]].concat();
        for nth in 0..PHOTOS {
            let time = LocalTime::from_seconds(1_800_000_000).unwrap();
            let photo = Jpeg::new("photo", jpeg.clone()).unwrap();
            let photo = NewPhoto { pin: pin(nth), moment: Moment::At(time), card: None, photo };
            store.journal().add_photo(&photo).unwrap();
        }
        let user = |nth| User { name: "n".repeat(255), ..User::new(pin(nth)) };
        let full = (0..).map(|nth| store.people().put(&user(nth), Origin::Server));
        let error = full.take(10_000).find_map(Result::err);
        assert!(matches!(error, Some(StoreError::PartFull(_))), "{error:?}");
        store
    }

    /// How many punches were taken, up to the first that was refused.
    fn punch_until_refused(store: &Store) -> u64 {
        let time = LocalTime::from_seconds(1_800_000_000).unwrap();
        let punch = NewPunch::of("1", Moment::At(time));
        (0..50_000).take_while(|_| store.journal().add_punch(&punch).is_ok()).count() as u64
    }

    #[test]
    fn only_a_punch_that_would_be_refused_deletes_what_does_not_go_up() {
        let store = full_store(&[Stream::Photos]);
        let dropped = || store.retention().dropped(Stream::Photos).unwrap();
        for _ in 0..20 {
            assert_eq!(store.retention().make_room().unwrap(), Room::Enough);
        }
        assert_eq!(dropped(), 0);
        let taken = punch_until_refused(&store);
        assert_eq!(dropped(), PHOTOS, "after {taken} punches");
    }

    #[test]
    fn a_punch_that_would_be_refused_deletes_photos_that_wait_and_no_punch() {
        let store = full_store(&[]);
        let taken = punch_until_refused(&store);
        assert_eq!(store.retention().dropped(Stream::Photos).unwrap(), PHOTOS);
        assert_eq!(store.outbox().backlog(Stream::Punches).unwrap().new, taken);
    }
}
