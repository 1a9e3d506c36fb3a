//! How many rows of the journals lie between two numbers, for the same cost whatever they are.
//!
//! The sequence is divided into chunks of [`CHUNK`] numbers. When it has left a chunk, the number of
//! rows of each stream in it is written into the table `tally`, within a transaction that writes
//! anyway: no punch costs a commit more. Each [`FAN`] chunks have a row of the next level once all of
//! them were left, and so on. So the rows between two numbers are
//! the sum of a few rows of `tally`, and of the rows at both ends, which are counted.
//!
//! Journals grow only at the end, so a chunk that was left changes only when rows are deleted:
//! [`Tally::rows_dropped`] keeps it, in the same transaction. Chunks without rows have no row. What
//! was not written yet (a store of an earlier version, a write that failed) is counted row by row:
//! it takes longer, and the count is right. Rows that change in place (people) have no tally.

use std::time::{Duration, Instant};

use rusqlite::{params, params_from_iter};

use super::db::{CHUNK, Db};
use super::error::Result;
use super::rows::Seq;
use super::source::Source;
use crate::protocol::stream::{Stream, Table};

/// How many rows of a level have one row of the next.
pub(super) const FAN: Seq = 8;
/// Levels of the table; the first is that of the chunks.
pub(super) const LEVELS: usize = 4;

/// Most chunks that are written down at once, on a fast machine.
const MOST_CHUNKS: usize = 200;

/// Rows that have an index of their own in the journals of punches and photos.
const WITH_CARD: &str = "id_num IS NOT NULL";

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
        let Source { table, filter, .. } = Source::of(stream);
        // Nearly always most journals have no row there.
        let rows = if filter.starts_with(WITH_CARD) { WITH_CARD } else { "TRUE" };
        let newest = format!("SELECT max(seq) FROM {table} WHERE {rows}");
        let newest: Option<Seq> =
            self.db.prepare_cached(&newest)?.query_row([], |row| row.get(0))?;
        if newest < Some(from) {
            return Ok(0);
        }
        // Whole chunks lie from `first` to before `end`; the rows at both ends are counted.
        let first = from.saturating_add(CHUNK - 1) / CHUNK;
        let end = (to.min(self.tallied_to()?) / CHUNK).max(first);
        let mut ranges = vec![from, to.min(first * CHUNK), from.max(end * CHUNK), to];
        let rows =
            format!("(SELECT count(*) FROM {table} WHERE {filter} AND seq >= ? AND seq < ?)");
        let mut sum = format!("{rows} + {rows}");
        for (level, (from, to)) in parts(first, end).into_iter().enumerate() {
            sum += &format!(
                " + (SELECT coalesce(sum(\"{}\"), 0) FROM tally
                   WHERE level = {} AND chunk >= ? AND chunk < ?)",
                stream.code(),
                level / 2
            );
            ranges.extend([from, to]);
        }
        let mut statement = self.db.prepare_cached(&format!("SELECT {sum}"))?;
        Ok(statement.query_row(params_from_iter(ranges), |row| row.get(0))?)
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

    /// Writes down the chunks that were left, one at least, and more for about so long, up to
    /// [`MOST_CHUNKS`]. Whether all are. What fails here is tried again in the next chunk, and must not fail what else is in the
    /// transaction.
    pub(super) fn catch_up_for(&self, time: Duration) -> bool {
        self.is_caught_up() || self.db.within_transaction(|| self.catch_up(time)).unwrap_or(true)
    }

    fn catch_up(&self, time: Duration) -> Result<bool> {
        let begun = Instant::now();
        self.db.run("SAVEPOINT tally")?;
        let mut count = 0;
        let is_done = loop {
            count += 1;
            match self.tally_next() {
                Ok(true) if count < MOST_CHUNKS && begun.elapsed() < time => {}
                Ok(has_more) => break !has_more,
                Err(error) => {
                    log::debug!("rows were not tallied: {error}");
                    self.db.run("ROLLBACK TO tally")?;
                    self.db.counts.tallied_to.set(None);
                    self.db.counts.caught_up_in.set(Some(self.current()));
                    break true;
                }
            }
        };
        self.db.run("RELEASE tally")?;
        Ok(is_done)
    }

    /// Rows of a stream were deleted whose numbers are from one up to another.
    pub(super) fn rows_dropped(&self, stream: Stream, from: Seq, to: Seq) -> Result<()> {
        if !is_tallied(stream) {
            return Ok(());
        }
        let Source { table, filter, .. } = Source::of(stream);
        let column = format!("\"{}\"", stream.code());
        let (mut first, mut last) = (from / CHUNK, to.min(self.tallied_to()?) / CHUNK);
        let count = format!(
            "SELECT count(*) FROM {table} WHERE {filter}
             AND seq >= chunk * {CHUNK} AND seq < (chunk + 1) * {CHUNK}"
        );
        let sum = format!(
            "SELECT coalesce(sum({column}), 0) FROM tally AS part WHERE level = ?3 - 1
             AND chunk >= tally.chunk * {FAN} AND chunk < (tally.chunk + 1) * {FAN}"
        );
        let empty = "DELETE FROM tally WHERE level = ?3 AND chunk BETWEEN ?1 AND ?2
            AND punch + \"id-punch\" + \"id-verification\" + operation + error + photo + \"id-photo\" = 0";
        for level in 0..LEVELS {
            let rows = if level == 0 { &count } else { &sum };
            let update = format!(
                "UPDATE tally SET {column} = ({rows}) WHERE level = ?3 AND chunk BETWEEN ?1 AND ?2 AND {column} > 0"
            );
            let values = params![first, last, level as i64];
            self.db.prepare_cached(&update)?.execute(values)?;
            self.db.prepare_cached(empty)?.execute(values)?;
            (first, last) = (first / FAN, last / FAN);
        }
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
    fn is_caught_up(&self) -> bool {
        self.db.counts.caught_up_in.get() == Some(self.current())
    }

    /// The chunk that the sequence is in.
    fn current(&self) -> Seq {
        self.db.last_seq() / CHUNK
    }

    /// Writes down the next chunk that was left and has rows. Whether there was one.
    fn tally_next(&self) -> Result<bool> {
        let tallied = self.tallied_to()?;
        let sql = "SELECT min((SELECT coalesce(min(seq), ?2) FROM punch WHERE seq >= ?1),
                (SELECT coalesce(min(seq), ?2) FROM operation WHERE seq >= ?1),
                (SELECT coalesce(min(seq), ?2) FROM error WHERE seq >= ?1),
                (SELECT coalesce(min(seq), ?2) FROM photo WHERE seq >= ?1))";
        let first: Seq =
            self.db.prepare_cached(sql)?.query_row([tallied, Seq::MAX], |row| row.get(0))?;
        let chunk = first / CHUNK;
        if chunk >= self.current() {
            self.db.counts.caught_up_in.set(Some(self.current()));
            self.db.is_tallied.set(true);
            return Ok(false);
        }
        let mut insert = "INSERT OR REPLACE INTO tally SELECT 0, ?1".to_owned();
        for stream in Stream::ALL.into_iter().filter(|stream| is_tallied(*stream)) {
            let Source { table, filter, .. } = Source::of(stream);
            let range = "seq >= ?2 AND seq < ?3";
            insert += &format!(", (SELECT count(*) FROM {table} WHERE {filter} AND {range})");
        }
        self.db.prepare_cached(&insert)?.execute([chunk, chunk * CHUNK, (chunk + 1) * CHUNK])?;
        // Of what is complete now, only the first and the last can have rows.
        let (mut first, mut end) = (tallied / CHUNK, chunk + 1);
        for level in 1..LEVELS {
            (first, end) = (first / FAN, end / FAN);
            if first < end {
                self.add_up(level, first)?;
                self.add_up(level, end - 1)?;
            }
        }
        self.db.counts.tallied_to.set(Some((chunk + 1) * CHUNK));
        Ok(true)
    }

    /// Writes a row of a level, the sum of its rows of the level below.
    fn add_up(&self, level: usize, chunk: Seq) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO tally
            SELECT ?1, ?2, sum(punch), sum(\"id-punch\"), sum(\"id-verification\"), sum(operation),
                sum(error), sum(photo), sum(\"id-photo\")
            FROM tally WHERE level = ?1 - 1 AND chunk >= ?3 AND chunk < ?4 HAVING count(*) > 0";
        let values = [level as Seq, chunk, chunk * FAN, (chunk + 1) * FAN];
        self.db.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

/// The rows of the table that make up the chunks from one to before another: two ranges a level, at
/// the start and at the end of what the next level has.
fn parts(first: Seq, end: Seq) -> [(Seq, Seq); 2 * LEVELS] {
    let (mut first, mut end) = (first, end);
    let mut parts = [(0, 0); 2 * LEVELS];
    for level in 0..LEVELS {
        let (above, above_end) = ((first + FAN - 1) / FAN, end / FAN);
        if level + 1 == LEVELS || above >= above_end {
            parts[2 * level] = (first, end);
            break;
        }
        parts[2 * level] = (first, above * FAN);
        parts[2 * level + 1] = (above_end * FAN, end);
        (first, end) = (above, above_end);
    }
    parts
}

/// Whether the rows of a stream are in the table: those of the journals.
pub(super) fn is_tallied(stream: Stream) -> bool {
    !Source::of(stream).changes_in_place()
}
