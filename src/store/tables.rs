//! The small tables of §12.2.9 to §12.2.18, kept for drivers.

use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::db::Db;
use super::error::Result;
use super::retention::Retention;
use super::rows::{Origin, Seq};
use super::tombstones::Tombstones;
use crate::protocol::record::{Entry, EntryTable, Pin};

/// The terminal's small tables.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    db: &'a Db,
}

impl<'a> Tables<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// An entry of a table by its identity.
    pub fn get(&self, table: &EntryTable, id: &str) -> Result<Option<Entry>> {
        let sql = "SELECT record FROM entry WHERE name = ?1 AND id = ?2";
        let found: Option<String> = self
            .db
            .prepare_cached(sql)?
            .query_row([table.name, id], |row| row.get(0))
            .optional()?;
        Ok(found.map(|text| serde_json::from_str(&text).unwrap_or_default()))
    }

    /// All entries of a table, in the order of their identities.
    pub fn all(&self, table: &EntryTable) -> Result<Vec<Entry>> {
        let sql = "SELECT record FROM entry WHERE name = ?1 ORDER BY id";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([table.name], |row| row.get::<_, String>(0))?;
        let mut entries = Vec::new();
        for text in rows {
            entries.push(serde_json::from_str(&text?).unwrap_or_default());
        }
        Ok(entries)
    }

    /// How many entries a table has.
    pub fn count(&self, table: &EntryTable) -> Result<u64> {
        let sql = "SELECT count(*) FROM entry WHERE name = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([table.name], |row| row.get(0))?)
    }

    /// Writes an entry; what `entry` does not carry stays as it is.
    pub fn put(&self, table: &EntryTable, entry: &Entry) -> Result<Seq> {
        let seq = self.db.next_change("entry");
        let id = table.id_of(entry);
        let mut whole = self.get(table, &id)?.unwrap_or_default();
        whole.extend(entry.clone());
        let record = serde_json::to_string(&whole).unwrap_or_default();
        Retention::new(self.db).require_room_for_rest(Origin::Server, record.len())?;
        self.db
            .prepare_cached("INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![table.name, id, record, seq])?;
        Ok(seq)
    }

    /// Deletes an entry. Whether there was one.
    pub fn delete(&self, table: &EntryTable, id: &str) -> Result<bool> {
        let sql = "DELETE FROM entry WHERE name = ?1 AND id = ?2";
        let was_there = self.db.prepare_cached(sql)?.execute([table.name, id])? > 0;
        if was_there {
            Tombstones::new(self.db)
                .add(&json!({"table": table.name, "record": table.identity(id)}))?;
        }
        Ok(was_there)
    }

    /// Deletes the short messages to a person (`USER_SMS`); the messages themselves stay. How many.
    pub fn delete_messages_to(&self, pin: &Pin) -> Result<usize> {
        let Some(table) = EntryTable::named("USER_SMS") else { return Ok(0) };
        // The identity is the PIN, a TAB and the number of the message.
        let sql =
            "SELECT id FROM entry WHERE name = ?1 AND id > ?2 || char(9) AND id < ?2 || char(10)";
        let mut statement = self.db.prepare_cached(sql)?;
        let ids = statement.query_map([table.name, pin.as_str()], |row| row.get(0))?;
        let ids: Vec<String> = ids.collect::<rusqlite::Result<_>>()?;
        for id in &ids {
            self.delete(table, id)?;
        }
        Ok(ids.len())
    }
}
