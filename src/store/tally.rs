//! How many rows of the journals lie between two numbers, for the same cost whatever they are.
//!
//! The sequence is divided into chunks of [`CHUNK`] numbers. When it has left a chunk, the number of
//! rows of each stream in it is written into the table `tally`, within a transaction that writes
//! anyway: no punch costs a commit more. [`BLOCK`] chunks are a block, which has a row as well. So
//! the rows between two numbers are the sum of a few rows of `tally`, and of the rows at both ends,
//! which are counted.
//!
//! Journals grow only at the end, so a chunk that was left changes only when rows are deleted:
//! [`Tally::rows_dropped`] keeps it, in the same transaction. Chunks without rows have no row. What
//! was not written yet (a store of an earlier version, a write that failed) is counted row by row:
//! it takes longer, and the count is right. Rows that change in place (people) have no tally.

use std::time::{Duration, Instant};

use super::db::{CHUNK, Db};
use super::error::Result;
use super::rows::Seq;
use super::source::Source;
use crate::protocol::stream::{Stream, Table};

/// Chunks in a block.
pub(super) const BLOCK: Seq = 64;

/// The counts.
#[derive(Clone, Copy)]
pub(super) struct Tally<'a> {
    db: &'a Db,
}

impl<'a> Tally<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// How many rows of a journal have a number above `after` and up to `until`.
    pub(super) fn count(&self, stream: Stream, after: Seq, until: Seq) -> Result<u64> {
        let (from, to) = (after.saturating_add(1), until.saturating_add(1));
        // Whole chunks, and among them whole blocks.
        let first = from.saturating_add(CHUNK - 1) / CHUNK;
        let end = (to.min(self.tallied_to()?) / CHUNK).max(first);
        let first_block = (first + BLOCK - 1) / BLOCK;
        let end_block = (end / BLOCK).max(first_block);
        let Source { table, filter, .. } = Source::of(stream);
        let rows = format!("(SELECT count(*) FROM {table} WHERE {filter} AND seq");
        let sum = format!("(SELECT coalesce(sum(\"{}\"), 0) FROM tally WHERE level", stream.code());
        let sql = format!(
            "SELECT {rows} >= ?1 AND seq < ?2) + {rows} >= ?3 AND seq < ?4)
             + {sum} = 0 AND chunk >= ?5 AND chunk < ?6) + {sum} = 0 AND chunk >= ?7 AND chunk < ?8)
             + {sum} = 1 AND chunk >= ?9 AND chunk < ?10)"
        );
        let ranges = [
            (from, to.min(first * CHUNK)),
            (from.max(end * CHUNK), to),
            (first, end.min(first_block * BLOCK)),
            (first.max(end_block * BLOCK), end),
            (first_block, end_block),
        ];
        let values = ranges.into_iter().flat_map(|(from, to)| [from, to]);
        let mut statement = self.db.prepare_cached(&sql)?;
        let values = rusqlite::params_from_iter(values);
        Ok(statement.query_row(values, |row| row.get(0))?)
    }

    /// How many punches are kept, of all streams.
    pub(super) fn kept_punches(&self) -> Result<u64> {
        let known = &self.db.counts.punches;
        if let Some(kept) = known.get() {
            return Ok(kept);
        }
        let kept = self.punches_up_to(Seq::MAX)?;
        known.set(Some(kept));
        Ok(kept)
    }

    /// The same, or fewer as long as the store of an earlier version is not all tallied.
    pub(super) fn kept_punches_at_least(&self) -> Result<u64> {
        match self.db.is_tallied.get() {
            true => self.kept_punches(),
            false => self.punches_up_to(self.tallied_to()? - 1),
        }
    }

    fn punches_up_to(&self, until: Seq) -> Result<u64> {
        Table::Attlog.streams().map(|stream| self.count(stream, 0, until)).sum()
    }

    /// Writes down the chunks that were left, one at least, and more for about so long. Whether all
    /// are. What fails here is tried again in the next chunk, and must not fail what else is in the
    /// transaction.
    pub(super) fn settle_for(&self, time: Duration) -> bool {
        self.is_settled() || self.db.within_transaction(|| self.settle(time)).unwrap_or(true)
    }

    fn settle(&self, time: Duration) -> Result<bool> {
        let begun = Instant::now();
        self.db.run("SAVEPOINT tally")?;
        let settled = loop {
            match self.settle_next() {
                Ok(true) if begun.elapsed() < time => {}
                Ok(has_more) => break !has_more,
                Err(error) => {
                    log::debug!("rows were not tallied: {error}");
                    self.db.run("ROLLBACK TO tally")?;
                    self.db.counts.tallied_to.set(None);
                    self.db.counts.settled_at.set(Some(self.current()));
                    break true;
                }
            }
        };
        self.db.run("RELEASE tally")?;
        Ok(settled)
    }

    /// Rows of a stream were deleted whose numbers are from one up to another.
    pub(super) fn rows_dropped(&self, stream: Stream, from: Seq, to: Seq) -> Result<()> {
        if !is_tallied(stream) {
            return Ok(());
        }
        let Source { table, filter, .. } = Source::of(stream);
        let column = format!("\"{}\"", stream.code());
        let chunks = [from / CHUNK, to.min(self.tallied_to()?) / CHUNK];
        let blocks = chunks.map(|chunk| chunk / BLOCK);
        let is_concerned = "chunk BETWEEN ?1 AND ?2";
        let update = |level, rows: String| {
            format!(
                "UPDATE tally SET {column} = ({rows})
                 WHERE level = {level} AND {is_concerned} AND {column} > 0"
            )
        };
        let in_chunk = update(
            0,
            format!(
                "SELECT count(*) FROM {table} WHERE {filter}
                 AND seq >= chunk * {CHUNK} AND seq < (chunk + 1) * {CHUNK}"
            ),
        );
        let in_block = update(
            1,
            format!(
                "SELECT coalesce(sum({column}), 0) FROM tally AS part WHERE level = 0
                 AND chunk >= tally.chunk * {BLOCK} AND chunk < (tally.chunk + 1) * {BLOCK}"
            ),
        );
        let empty = format!(
            "DELETE FROM tally WHERE level = ?3 AND {is_concerned} AND {} = 0",
            columns().join(" + ")
        );
        let [first, last] = chunks;
        self.db.prepare_cached(&in_chunk)?.execute([first, last])?;
        self.db.prepare_cached(&in_block)?.execute(blocks)?;
        let mut empty = self.db.prepare_cached(&empty)?;
        empty.execute([first, last, 0])?;
        empty.execute([blocks[0], blocks[1], 1])?;
        self.db.counts.punches.set(None);
        Ok(())
    }

    /// The number up to which, itself not included, all rows are in the table.
    fn tallied_to(&self) -> Result<Seq> {
        let known = &self.db.counts.tallied_to;
        if let Some(number) = known.get() {
            return Ok(number);
        }
        let sql = "SELECT coalesce(max(chunk) + 1, 0) FROM tally WHERE level = 0";
        let chunks: Seq = self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        known.set(Some(chunks * CHUNK));
        Ok(chunks * CHUNK)
    }

    /// Whether nothing was left since the last look.
    fn is_settled(&self) -> bool {
        self.db.counts.settled_at.get() == Some(self.current())
    }

    /// The chunk that the sequence is in.
    fn current(&self) -> Seq {
        self.db.last_seq() / CHUNK
    }

    /// Writes down the next chunk that was left and has rows. Whether there was one.
    fn settle_next(&self) -> Result<bool> {
        let tallied = self.tallied_to()?;
        let first = |stream| {
            format!("(SELECT coalesce(min(seq), ?2) FROM {} WHERE seq >= ?1)", Source::of(stream).table)
        };
        let first = tallied_streams().map(first).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT min({first})");
        let first: Seq =
            self.db.prepare_cached(&sql)?.query_row([tallied, Seq::MAX], |row| row.get(0))?;
        let chunk = first / CHUNK;
        if chunk >= self.current() {
            self.db.counts.settled_at.set(Some(self.current()));
            self.db.is_tallied.set(true);
            return Ok(false);
        }
        let count = |stream| {
            let Source { table, filter, .. } = Source::of(stream);
            format!("(SELECT count(*) FROM {table} WHERE {filter} AND seq >= ?2 AND seq < ?3)")
        };
        let counts = tallied_streams().map(count).collect::<Vec<_>>().join(", ");
        let insert = format!(
            "INSERT OR REPLACE INTO tally (level, chunk, {}) SELECT 0, ?1, {counts}",
            columns().join(", ")
        );
        self.db.prepare_cached(&insert)?.execute([chunk, chunk * CHUNK, (chunk + 1) * CHUNK])?;
        // The block that was left before, and that which ends here.
        let (left, now) = (tallied / CHUNK / BLOCK, (chunk + 1) / BLOCK);
        if left < now {
            self.settle_block(left)?;
            self.settle_block(now - 1)?;
        }
        self.db.counts.tallied_to.set(Some((chunk + 1) * CHUNK));
        Ok(true)
    }

    fn settle_block(&self, block: Seq) -> Result<()> {
        let columns = columns();
        let sums: Vec<String> = columns.iter().map(|column| format!("sum({column})")).collect();
        let sql = format!(
            "INSERT OR REPLACE INTO tally (level, chunk, {}) SELECT 1, ?1, {} FROM tally
             WHERE level = 0 AND chunk >= ?2 AND chunk < ?3 HAVING count(*) > 0",
            columns.join(", "),
            sums.join(", ")
        );
        let values = [block, block * BLOCK, (block + 1) * BLOCK];
        self.db.prepare_cached(&sql)?.execute(values).map(drop)?;
        Ok(())
    }
}

/// Whether the rows of a stream are in the table: those of the journals.
pub(super) fn is_tallied(stream: Stream) -> bool {
    !Source::of(stream).changes_in_place()
}

fn tallied_streams() -> impl Iterator<Item = Stream> {
    Stream::ALL.into_iter().filter(|stream| is_tallied(*stream))
}

/// The columns are named by the codes of the streams.
fn columns() -> Vec<String> {
    tallied_streams().map(|stream| format!("\"{}\"", stream.code())).collect()
}
