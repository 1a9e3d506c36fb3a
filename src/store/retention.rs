//! Retention: at a limit, the oldest uploaded rows are deleted in small batches, so that drivers
//! do not wait. Rows that were not uploaded stay, with three exceptions, all counted in `status`: of
//! what the server does not ask for the oldest is deleted (`withheld`), of errors only the newest are
//! kept (`error_log`), and where a punch would be refused, anything else goes before it. Punches that were not uploaded are never deleted, nor is
//! a row that the server refused (`quarantine`).

use rusqlite::params;

use super::capacity::{Capacity, PUNCH_BYTES, measure};
use super::cursors::Cursors;
use super::db::Db;
use super::error::Result;
use super::rows::Seq;
use super::source::Source;
use super::tally::Tally;
use super::wal::checkpoint;
use crate::protocol::stream::Stream;

/// Rows that are dropped in one batch.
const BATCH: usize = 200;
/// Bytes after which a batch ends, whatever its rows: photos are many pages each.
const BATCH_BYTES: u64 = 64 << 10;
/// Pages that are given back to the file system in one batch.
const PAGES: usize = 256;
/// Answered commands that are still known while there is no room for more.
const COMMANDS_KNOWN: i64 = 1000;

/// What is dropped when bytes are short, in this order. Punches come last.
pub(super) const RECORDS: [Stream; 5] =
    [Stream::Photos, Stream::IdPhotos, Stream::Errors, Stream::IdCards, Stream::Operations];
pub(super) const PUNCHES: [Stream; 3] =
    [Stream::Punches, Stream::IdPunches, Stream::IdVerifications];

/// How much is kept.
#[derive(Clone, Copy)]
pub struct Retention<'a> {
    pub(super) db: &'a Db,
}

impl<'a> Retention<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// How many punches are kept. After a start, while they are not all counted, some fewer.
    pub(super) fn kept_punches(&self) -> Result<u64> {
        Tally::new(self.db).kept_punches_at_least()
    }

    /// Deletes a batch of what makes room for everything but punches. How many rows.
    pub(super) fn drop_for_rest(&self, capacity: &Capacity) -> Result<usize> {
        let mut dropped = self.drop_uploaded(&RECORDS)?;
        // Uploaded punches are kept within their reserve.
        if dropped == 0 && self.kept_punches()? * PUNCH_BYTES > capacity.reserve {
            dropped = self.drop_uploaded(&PUNCHES)?;
        }
        if dropped == 0 {
            dropped = self.forget_commands()?;
        }
        Ok(dropped)
    }

    /// Deletes a batch of anything that is no punch that the server does not have, and that is no
    /// person's. How many rows.
    pub(super) fn drop_for_punches(&self, capacity: &Capacity) -> Result<usize> {
        let mut dropped = self.drop_for_rest(capacity)?;
        if dropped == 0 {
            dropped = self.drop_uploaded(&PUNCHES)?;
        }
        if dropped == 0 {
            dropped = self.drop_withheld()?;
        }
        for stream in RECORDS {
            if dropped > 0 {
                break;
            }
            dropped = self.drop_pending(stream)?;
            if dropped > 0 {
                log::error!(
                    "{dropped} {} that the server does not have were deleted: punches would be refused",
                    stream.name()
                );
            }
        }
        Ok(dropped)
    }

    /// Deletes a batch of the oldest rows that the server has, of the first of these streams that
    /// has any. How many.
    pub(super) fn drop_uploaded(&self, streams: &[Stream]) -> Result<usize> {
        for stream in streams {
            let until = Cursors::new(self.db).uploaded_up_to(*stream)?;
            let dropped = self.drop_batch(*stream, 0, until)?.0;
            if dropped > 0 {
                log::debug!("{dropped} uploaded rows of the {} were dropped", stream.name());
                return Ok(dropped);
            }
        }
        Ok(0)
    }

    /// Deletes a batch of the oldest rows of a stream that the server does not have, and counts
    /// them. How many.
    pub(super) fn drop_pending(&self, stream: Stream) -> Result<usize> {
        let sent = Cursors::new(self.db).get(stream)?.sent;
        let (dropped, bytes) = self.drop_batch(stream, sent, Seq::MAX)?;
        if let Some(counted) = self.db.withheld.borrow_mut().get_mut(&stream) {
            counted.bytes = counted.bytes.saturating_sub(bytes);
        }
        self.count_dropped(stream, dropped)?;
        Ok(dropped)
    }

    /// Deletes a batch of the oldest errors: those that the server has, or else others. How many of
    /// the others.
    pub(super) fn drop_errors(&self) -> Result<usize> {
        match self.drop_uploaded(&[Stream::Errors])? {
            0 => self.drop_pending(Stream::Errors),
            _ => Ok(0),
        }
    }

    /// Adds to the number of rows of a stream that were deleted and that the server does not have.
    fn count_dropped(&self, stream: Stream, rows: usize) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        self.db
            .prepare_cached(
                "INSERT INTO dropped VALUES (?1, ?2) ON CONFLICT (stream) DO UPDATE SET rows = rows + ?2",
            )?
            .execute(params![stream.code(), rows as i64])?;
        Ok(())
    }

    /// How many rows of a stream were deleted that the server does not have.
    pub fn dropped(&self, stream: Stream) -> Result<u64> {
        let sql = "SELECT coalesce(max(rows), 0) FROM dropped WHERE stream = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([stream.code()], |row| row.get(0))?)
    }

    /// Deletes a batch of the first rows of a stream after a number and up to another. How many
    /// rows, and their bytes.
    fn drop_batch(&self, stream: Stream, after: Seq, until: Seq) -> Result<(usize, u64)> {
        let source = Source::of(stream);
        let sql = format!(
            "SELECT {}, {} FROM {} WHERE {} ORDER BY 1 LIMIT ?4",
            source.new,
            size_of(source.table),
            source.table,
            deletable(&source)
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, until, stream.code(), BATCH as i64])?;
        let (mut last, mut bytes) = (after, 0);
        while bytes < BATCH_BYTES
            && let Some(row) = rows.next()?
        {
            last = row.get(0)?;
            bytes += row.get::<_, u64>(1)?;
        }
        drop(rows);
        Ok(if bytes > 0 { (self.drop_rows(stream, after, last)?, bytes) } else { (0, 0) })
    }

    /// Deletes the rows of a stream after a number and up to another, but for those that the
    /// server refused. How many.
    pub(super) fn drop_rows(&self, stream: Stream, after: Seq, until: Seq) -> Result<usize> {
        let source = Source::of(stream);
        let Source { table, new, .. } = source;
        let range = deletable(&source);
        let values = params![after, until, stream.code()];
        let first = format!("SELECT min({new}) FROM {table} WHERE {range}");
        let delete = format!("DELETE FROM {table} WHERE {range}");
        let dropped = self.db.within_transaction(|| {
            let first = self.db.prepare_cached(&first)?.query_row(values, |row| row.get(0))?;
            let Some(first) = first else { return Ok(0) };
            let dropped = self.db.prepare_cached(&delete)?.execute(values)?;
            Tally::new(self.db).rows_dropped(stream, first, until)?;
            Ok(dropped)
        })?;
        if table == "error" {
            self.db.counts.errors.set(None);
        }
        Ok(dropped)
    }

    /// Forgets the oldest answered commands but for the last ones. How many.
    fn forget_commands(&self) -> Result<usize> {
        let sql = "DELETE FROM command WHERE row IN (SELECT row FROM command
                   WHERE due = 0 AND code IS NOT NULL
                   AND row <= (SELECT max(row) FROM command) - ?1 ORDER BY row LIMIT ?2)";
        Ok(self.db.prepare_cached(sql)?.execute([COMMANDS_KNOWN, BATCH as i64])?)
    }

    /// Gives a batch of free pages back to the file system if a file of so many bytes has room
    /// then, or after some more batches. Whether a batch was given back.
    pub fn make_room_for_file(&self, bytes: u64) -> Result<bool> {
        let capacity = measure(self.db)?;
        let (lacking, kept) = (bytes.saturating_sub(capacity.files()), capacity.kept_pages());
        if lacking == 0 || self.free_bytes()? < kept.saturating_add(lacking) {
            return Ok(false);
        }
        let is_given_back = self.give_back(kept)?;
        // Only a checkpoint makes the file of the store smaller.
        checkpoint(self.db.connection())?;
        Ok(is_given_back)
    }

    /// Gives a batch of free pages back to the file system, but for so many bytes that punches
    /// may need. Whether there were any.
    pub(super) fn give_back(&self, keep: u64) -> Result<bool> {
        if self.free_bytes()? <= keep {
            return Ok(false);
        }
        // Each step of the statement frees one page.
        let mut vacuum =
            self.db.connection().prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
        Ok(true)
    }

    /// Bytes of free pages inside the file of the store.
    fn free_bytes(&self) -> Result<u64> {
        let pragma = |name: &str| -> Result<u64> {
            let sql = format!("PRAGMA {name}");
            Ok(self.db.connection().query_row(&sql, [], |row| row.get(0))?)
        };
        Ok(pragma("freelist_count")? * pragma("page_size")?)
    }
}

/// Which rows of a stream after `?1` and up to `?2` may be deleted: not those of the quarantine.
fn deletable(source: &Source) -> String {
    let Source { filter, new, resend, .. } = source;
    let refused = "(SELECT seq FROM quarantine WHERE stream = ?3)";
    format!(
        "{new} > ?1 AND {new} > 0 AND {new} <= ?2 AND {filter}
         AND {new} NOT IN {refused} AND {resend} NOT IN {refused}"
    )
}

/// The bytes of a row, as SQL. The length of a blob is known without reading it.
pub(super) fn size_of(table: &str) -> &'static str {
    match table {
        "photo" => "length(data) + 128",
        "card" => "length(record) + 128",
        "error" => "length(message) + coalesce(length(additional), 0) + 128",
        "operation" => "length(who) + length(v1) + length(v2) + length(v3) + 128",
        _ => "128",
    }
}
