//! Tombstones: what of people and tables was deleted, for the sensors that have loaded it. Only
//! the last ones are kept; the horizon says up to which number deletions are not known any more.

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::db::Db;
use super::error::Result;
use super::retention::Retention;
use super::rows::Seq;

/// Tombstones that are kept.
pub(super) const MOST_TOMBSTONES: u64 = 5000;
pub(super) const BATCH: i64 = 1000;
/// Bytes of a tombstone, with its index.
const TOMBSTONE_BYTES: usize = 256;
/// The key of the row that holds the horizon.
const HORIZON: &str = "";

/// The tombstones, in the SQL table `gone`.
#[derive(Clone, Copy)]
pub(super) struct Tombstones<'a> {
    db: &'a Db,
}

impl<'a> Tombstones<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Records that something was deleted that sensors may have loaded.
    pub(super) fn add(&self, what: &Value) -> Result<()> {
        if !Retention::new(self.db).has_room_for_rest(TOMBSTONE_BYTES)? {
            // A deletion goes also where nothing can be added.
            return self.forget_all();
        }
        let changed = self.db.next_change("gone");
        self.db
            .prepare_cached("INSERT OR REPLACE INTO gone VALUES (?1, ?2)")?
            .execute(params![what.to_string(), changed])?;
        let mut count = self.db.counted(&self.db.counts.tombstones, "SELECT count(*) FROM gone")?;
        if count >= MOST_TOMBSTONES {
            // Counted again, since what is gone a second time takes no more room.
            self.db.counts.tombstones.set(None);
            count = self.db.counted(&self.db.counts.tombstones, "SELECT count(*) FROM gone")?;
        }
        if count >= MOST_TOMBSTONES {
            let sql = "SELECT changed FROM gone ORDER BY changed LIMIT 1 OFFSET ?1";
            let last: Seq = self.db.prepare_cached(sql)?.query_row([BATCH], |row| row.get(0))?;
            self.forget_until(last)?;
        } else {
            self.db.counts.tombstones.set(Some(count + 1));
        }
        Ok(())
    }

    /// Forgets all deletions: sensors load everything from the start.
    pub(super) fn forget_all(&self) -> Result<()> {
        let now = self.db.next_change("gone");
        self.forget_until(now)
    }

    fn forget_until(&self, until: Seq) -> Result<()> {
        self.db.prepare_cached("DELETE FROM gone WHERE changed <= ?1")?.execute([until])?;
        self.db
            .prepare_cached("INSERT OR REPLACE INTO gone VALUES (?1, ?2)")?
            .execute(params![HORIZON, until])?;
        self.db.counts.tombstones.set(None);
        Ok(())
    }

    /// Whether this was deleted after a number, or may have been.
    pub(super) fn may_have_since(&self, what: &Value, since: Seq) -> Result<bool> {
        Ok(self.has_since(&what.to_string(), since)? || self.has_since(HORIZON, since)?)
    }

    /// Whether it is known of this that it was deleted after a number.
    pub(super) fn has_since(&self, what: &str, since: Seq) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM gone WHERE what = ?1 AND changed > ?2)";
        Ok(self.db.prepare_cached(sql)?.query_row(params![what, since], |row| row.get(0))?)
    }

    /// The number up to which deletions are not known any more.
    pub(super) fn horizon(&self) -> Result<Seq> {
        let sql = "SELECT changed FROM gone WHERE what = ?1";
        let found = self.db.prepare_cached(sql)?.query_row([HORIZON], |row| row.get(0));
        Ok(found.optional()?.unwrap_or(0))
    }
}
