//! Retention: at a limit, the oldest uploaded rows are deleted in small batches, so that drivers
//! do not wait. Rows that were not uploaded are never deleted: new punches are refused instead.

use rusqlite::params;
use rustix::fs::statvfs;

use super::backlog::Backlog;
use super::cursors::Cursors;
use super::db::Db;
use super::error::{Result, StoreError};
use super::error_log::ErrorRows;
use super::source::Source;
use super::tombstones::Tombstones;
use crate::protocol::record::{ErrorCode, ErrorLog, Invalid};
use crate::protocol::stream::Stream;

/// Whether there is room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// There was not, and a batch was deleted; look again soon.
    Making,
    /// There is not, and nothing may be deleted. Which limit is reached.
    None(String),
}

/// Rows that are dropped in one batch.
const BATCH: usize = 200;
/// Pages that are given back to the file system in one batch.
const PAGES: usize = 256;

/// What is dropped when bytes are short, in this order, and the table it is in.
const ALL: [(Stream, &str); 7] = [
    (Stream::Photos, "photo"),
    (Stream::IdPhotos, "photo"),
    (Stream::Errors, "error"),
    (Stream::Operations, "operation"),
    (Stream::Punches, "punch"),
    (Stream::IdPunches, "punch"),
    (Stream::IdVerifications, "punch"),
];
/// What is dropped when there are too many punches.
const PUNCHES: [(Stream, &str); 3] =
    [(Stream::Punches, "punch"), (Stream::IdPunches, "punch"), (Stream::IdVerifications, "punch")];

/// How much is kept.
#[derive(Clone, Copy)]
pub struct Retention<'a> {
    db: &'a Db,
}

impl<'a> Retention<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Checks the limits, and deletes a batch if one is reached. Runs in a transaction of its
    /// own, in a few milliseconds.
    pub fn make_room(&self) -> Result<Room> {
        let Some(shortage) = self.limit_reached()? else {
            self.db.full.take();
            self.db.full_reported.set(false);
            return Ok(Room::Enough);
        };
        // Free pages are given back before more rows are deleted.
        let given_back = self.give_back()?;
        let dropped = if given_back { 0 } else { self.db.atomically(|| self.drop_uploaded())? };
        if dropped > 0 || given_back {
            self.db.full.take();
            return Ok(Room::Making);
        }
        self.db.full.replace(Some(shortage.clone()));
        if !self.db.full_reported.replace(true) {
            log::error!("new punches are refused: {shortage}, and nothing of it was uploaded");
            ErrorRows::new(self.db).add(&alarm(&shortage)?)?;
        }
        Ok(Room::None(shortage))
    }

    /// Whether punches are refused, and this was not reported yet.
    pub fn is_full_and_unreported(&self) -> bool {
        self.db.full.borrow().is_some() && !self.db.full_reported.get()
    }

    /// Why no new punch can be taken, if none can.
    pub fn shortage(&self) -> Option<String> {
        self.db.full.borrow().clone()
    }

    /// Refuses new rows while there is no room for them, and nothing may be deleted.
    pub(super) fn require_room(&self) -> Result<()> {
        let at_limit = self.has_too_many_punches()?;
        if !at_limit && self.db.full.borrow().is_none() {
            return Ok(());
        }
        if self.drop_uploaded()? > 0 {
            self.db.full.take();
            return Ok(());
        }
        let shortage = match self.shortage() {
            Some(shortage) => shortage,
            None => format!("{} punches are kept", self.db.limits.punches),
        };
        self.db.full.replace(Some(shortage.clone()));
        Err(StoreError::NoRoom(shortage))
    }

    /// Refuses what comes from drivers besides punches while the store is full.
    pub(super) fn require_not_full(&self) -> Result<()> {
        match self.shortage() {
            Some(shortage) => Err(StoreError::NoRoom(shortage)),
            None => Ok(()),
        }
    }

    /// Whether there are as many punches as may be kept. After a start, while they are not all
    /// counted, some more may come.
    fn has_too_many_punches(&self) -> Result<bool> {
        let kept = Backlog::new(self.db).kept_punches_at_least()?;
        Ok(kept >= self.db.limits.punches)
    }

    /// Which limit is reached, as text.
    fn limit_reached(&self) -> Result<Option<String>> {
        let limits = self.db.limits;
        let pragma = |name: &str| -> Result<u64> {
            Ok(self
                .db
                .prepare_cached(&format!("PRAGMA {name}"))?
                .query_row([], |row| row.get(0))?)
        };
        if self.has_too_many_punches()? {
            return Ok(Some(format!("{} punches are kept", limits.punches)));
        }
        let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
        if used >= limits.bytes {
            return Ok(Some(format!("the store holds {} MiB", limits.bytes >> 20)));
        }
        let directory = self.db.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let disk = statvfs(directory.unwrap_or(std::path::Path::new(".")));
        let free = disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Ok((free < limits.free)
            .then(|| format!("less than {} MiB of the disk are free", limits.free >> 20)))
    }

    /// Drops the oldest rows that the server has. How many.
    fn drop_uploaded(&self) -> Result<usize> {
        let too_many = self.has_too_many_punches()?;
        let order = if too_many { &PUNCHES[..] } else { &ALL };
        for (stream, table) in order {
            let filter = Source::of(*stream).filter;
            let sql = format!(
                "DELETE FROM {table} WHERE seq IN (
                    SELECT seq FROM {table} WHERE seq <= ?1 AND {filter}
                    AND seq NOT IN (SELECT seq FROM quarantine WHERE stream = ?2)
                    ORDER BY seq LIMIT ?3)"
            );
            let until = Cursors::new(self.db).uploaded_up_to(*stream)?;
            let dropped = self.db.prepare_cached(&sql)?.execute(params![
                until,
                stream.code(),
                BATCH as i64
            ])?;
            if dropped > 0 {
                self.db.counts.forget();
                log::debug!("{dropped} uploaded rows of the {} were dropped", stream.name());
                return Ok(dropped);
            }
        }
        Ok(0)
    }

    /// Deletes all rows of these streams that the server has. The others stay, whatever the
    /// server says: each is somebody's wage.
    pub fn clear_uploaded(&self, streams: &[Stream]) -> Result<usize> {
        let mut dropped = 0;
        for stream in streams {
            let source = Source::of(*stream);
            let sql = format!(
                "DELETE FROM {} WHERE {} AND seq <= ?1
                 AND seq NOT IN (SELECT seq FROM quarantine WHERE stream = ?2)",
                source.table, source.filter
            );
            let until = Cursors::new(self.db).uploaded_up_to(*stream)?;
            dropped += self.db.prepare_cached(&sql)?.execute(params![until, stream.code()])?;
        }
        self.db.counts.forget();
        Ok(dropped)
    }

    /// Deletes all people, the small tables, and the rows of the journals that the server has.
    /// Rows that were not uploaded stay.
    pub fn clear_data(&self) -> Result<()> {
        for table in ["user", "template", "picture", "card", "entry", "query", "guest"] {
            self.db.prepare_cached(&format!("DELETE FROM {table}"))?.execute([])?;
        }
        self.db.counts.forget();
        Tombstones::new(self.db).forget_all()?;
        let journals: Vec<Stream> = ALL.iter().map(|(stream, _)| *stream).collect();
        self.clear_uploaded(&journals).map(drop)
    }

    /// Gives free pages back to the file system. Whether there were any.
    fn give_back(&self) -> Result<bool> {
        let free: u64 =
            self.db.connection().query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > 0 {
            // Each step of the statement frees one page.
            let mut vacuum =
                self.db.connection().prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        Ok(free > 0)
    }
}

/// What the error log says of a full store: an error of the PUSH module, as App. 9 builds its
/// codes.
fn alarm(shortage: &str) -> Result<ErrorLog> {
    let impossible = |invalid: Invalid| StoreError::NoRoom(invalid.to_string());
    let code = ErrorCode::new("D01E1002").map_err(impossible)?;
    let message = format!("new punches are refused: {shortage}");
    ErrorLog::new(code, &message, None, serde_json::Value::Null).map_err(impossible)
}
