//! Rows that the server does not ask for, or that are newer than its version: they have a part of
//! the store, and the oldest of them go when it is used up. Punches are no part of it, and neither
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

/// Rows that are counted at once.
const ROWS: i64 = 2000;

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
        if self.is_withheld(stream) {
            self.bound_withheld(&measure(self.db)?, bytes)?;
        }
        self.require_room_for_rest(Origin::Terminal, bytes)
    }

    /// Deletes the oldest of what does not go up, until it and so many bytes are within its part.
    /// How many rows.
    pub(super) fn bound_withheld(&self, capacity: &Capacity, more: usize) -> Result<usize> {
        let part = capacity.withheld_part().saturating_sub(more as u64);
        let mut dropped = 0;
        while self.count_withheld()? > part {
            let batch = self.drop_withheld()?;
            if batch == 0 {
                break;
            }
            dropped += batch;
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

    /// The bytes of what does not go up. Counts what was added since.
    fn count_withheld(&self) -> Result<u64> {
        let mut withheld = self.db.withheld.borrow_mut();
        for (stream, counted) in withheld.iter_mut() {
            let sent = Cursors::new(self.db).get(*stream)?.sent;
            if counted.from != sent {
                *counted = Withheld { from: sent, until: sent, bytes: 0 };
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
        loop {
            let (rows, last, bytes): (i64, Seq, u64) = statement
                .query_row(params![counted.until, Seq::MAX, ROWS], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            if rows > 0 {
                counted.until = last;
                counted.bytes += bytes;
            }
            if rows < ROWS {
                return Ok(());
            }
        }
    }

    /// Cards were deleted together: those that do not go up are counted anew.
    pub(super) fn count_cards_again(&self) {
        if let Some(counted) = self.db.withheld.borrow_mut().get_mut(&Stream::IdCards) {
            *counted = Default::default();
        }
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
