//! Identity cards (§11.6).

use rusqlite::params;
use serde_json::json;

use super::db::Db;
use super::error::Result;
use super::retention::Retention;
use super::rows::{Origin, Seq};
use super::tombstones::Tombstones;
use crate::protocol::record::{IdCard, IdNumber, Pin};
use crate::protocol::stream::Stream;

/// The identity cards.
#[derive(Clone, Copy)]
pub struct IdCards<'a> {
    db: &'a Db,
}

impl<'a> IdCards<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Writes an identity card; one of the same number is replaced. It is kept in the form in
    /// which it travels.
    pub fn put(&self, card: &IdCard, origin: Origin) -> Result<Seq> {
        let mut record = Vec::new();
        card.write(&mut record);
        let retention = Retention::new(self.db);
        match origin {
            Origin::Server => retention.require_room_for_rest(origin, record.len())?,
            Origin::Terminal => {
                retention.require_room_for_row(Stream::IdCards, record.len())?;
                retention.forget_card(card.id_num.as_str())?;
            }
        }
        let seq = self.db.next_change("card");
        let local = if origin == Origin::Terminal { seq } else { 0 };
        self.db
            .prepare_cached(
                "INSERT INTO card (id_num, pin, record, changed, local) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id_num) DO UPDATE SET pin = ?2, record = ?3, changed = ?4,
                    local = max(local, ?5)",
            )?
            .execute(params![
                card.id_num.as_str(),
                card.pin.as_ref().map(Pin::as_str),
                record,
                seq,
                local
            ])?;
        Ok(seq)
    }

    /// Deletes the identity cards of this person, of this number, or both. How many. With neither,
    /// nothing is deleted.
    pub fn delete(&self, pin: Option<&Pin>, number: Option<&IdNumber>) -> Result<usize> {
        let values = [pin.map(Pin::as_str), number.map(IdNumber::as_str)];
        let condition = match (pin, number) {
            (None, None) => return Ok(0),
            (Some(_), None) => "pin = ?1 AND ?2 IS NULL",
            (None, Some(_)) => "id_num = ?2 AND ?1 IS NULL",
            (Some(_), Some(_)) => "id_num = ?2 AND pin = ?1",
        };
        let sql = format!("SELECT id_num FROM card WHERE {condition}");
        let mut found = self.db.prepare_cached(&sql)?;
        let numbers = found.query_map(values, |row| row.get(0))?;
        let numbers: Vec<String> = numbers.collect::<rusqlite::Result<_>>()?;
        for number in &numbers {
            Retention::new(self.db).forget_card(number)?;
            self.db.prepare_cached("DELETE FROM card WHERE id_num = ?1")?.execute([number])?;
            Tombstones::new(self.db).add(&json!({"idcard": number}))?;
        }
        Ok(numbers.len())
    }
}
