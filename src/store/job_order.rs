//! Which job waits for which: a command waits for those before it that touch the same.
//!
//! How many jobs touch each thing is counted in memory, so that a command that nothing gets in the
//! way of is found without a look at the jobs. A job that waits holds the last command that it waits
//! for; when that ends, the job is looked at again.

use rusqlite::{OptionalExtension, Row, params};

use super::db::Db;
use super::error::Result;
use super::lane::Lane;
use super::touched::Touched;
use crate::protocol::touches::{Also, Things, Touches};

/// The order of the jobs.
#[derive(Clone, Copy)]
pub(super) struct JobOrder<'a> {
    db: &'a Db,
}

impl<'a> JobOrder<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    pub(super) fn count(self) -> Result<u64> {
        Ok(self.touched()?.jobs)
    }

    /// How many jobs there are in a lane, by its number.
    pub(super) fn in_lane(self, lane: u8) -> Result<u32> {
        Ok(self.touched()?.lanes[usize::from(lane)])
    }

    pub(super) fn bytes(self) -> Result<u64> {
        Ok(self.touched()?.bytes)
    }

    /// The last command before `turn` that gets in the way of one that touches these.
    pub(super) fn blocker(self, touches: &Touches, turn: Option<i64>) -> Result<Option<i64>> {
        let mut touched = self.touched()?;
        if touched.jobs == 0 {
            return Ok(None);
        }
        let before = turn.unwrap_or(i64::MAX);
        if touches.also == Also::All {
            let sql =
                "SELECT command FROM job WHERE turn < ?1 AND lane <> ?2 ORDER BY turn DESC LIMIT 1";
            let mut statement = self.db.prepare_cached(sql)?;
            let values = [before, Lane::Door as i64];
            return Ok(statement.query_row(values, |row| row.get(0)).optional()?);
        }
        if turn.is_some() {
            // It is counted itself.
            touched.add(u8::MAX, touches, 0, -1);
        }
        let (read, written) = touches.obstacles();
        let mut found: Option<(i64, i64)> = None;
        if touched.has(read, written) {
            let sql = "SELECT turn, command FROM job
                       WHERE turn < ?1 AND (reads & ?2 <> 0 OR writes & ?3 <> 0)
                       ORDER BY turn DESC LIMIT 1";
            let mut statement = self.db.prepare_cached(sql)?;
            found = statement.query_row(params![before, read.0, written.0], pair).optional()?;
        }
        if let Some(pin) = &touches.pin {
            let sql = "SELECT turn, command FROM job
                       WHERE pin = ?1 AND turn < ?2 AND (?3 OR writes & 1 <> 0)
                       ORDER BY turn DESC LIMIT 1";
            let writes = touches.writes.meets(Things::PERSON);
            let mut statement = self.db.prepare_cached(sql)?;
            let same = statement.query_row(params![pin, before, writes], pair).optional()?;
            found = found.max(same);
        }
        Ok(found.map(|(_, command)| command))
    }

    /// A command ended: those that waited for it are looked at again.
    pub(super) fn release(self, command: i64) -> Result<()> {
        let sql = "UPDATE job SET after = 0 WHERE after = ?1";
        self.db.prepare_cached(sql)?.execute([command]).map(drop)?;
        Ok(())
    }

    pub(super) fn added(self, lane: u8, touches: &Touches, bytes: usize) {
        self.change(lane, touches, bytes, 1);
    }

    pub(super) fn removed(self, lane: u8, touches: &Touches, bytes: usize) {
        self.change(lane, touches, bytes, -1);
    }

    fn change(self, lane: u8, touches: &Touches, bytes: usize, by: i32) {
        if let Some(touched) = self.db.counts.touched.borrow_mut().as_mut() {
            touched.add(lane, touches, bytes as u64, by);
        }
    }

    fn touched(self) -> Result<Touched> {
        if let Some(touched) = *self.db.counts.touched.borrow() {
            return Ok(touched);
        }
        let mut touched = Touched::default();
        let sql = "SELECT length(text), reads, writes, pin, also, lane FROM job";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let bytes: i64 = row.get(0)?;
            touched.add(row.get(5)?, &touches(row, 1)?, bytes.unsigned_abs(), 1);
        }
        self.db.counts.touched.replace(Some(touched));
        Ok(touched)
    }
}

/// What a row says that its job touches; the first of the four columns is `first`.
pub(super) fn touches(row: &Row<'_>, first: usize) -> rusqlite::Result<Touches> {
    let also: u8 = row.get(first + 3)?;
    Ok(Touches {
        reads: Things(row.get(first)?),
        writes: Things(row.get(first + 1)?),
        pin: row.get(first + 2)?,
        also: Also::ALL.get(usize::from(also)).copied().unwrap_or_default(),
    })
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(i64, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}
