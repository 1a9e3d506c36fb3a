//! What has changed of people and tables since a number: what sensors load (`changes`).
//!
//! Each row carries the number of its last change. Deletions stand in the table `gone`, back to
//! the horizon; a sensor that has loaded less than that loads everything from the start.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;

use super::db::Db;
use super::error::Result;
use super::readers::{self, CARD, PICTURE, TEMPLATE, USER};
use super::rows::{Content, Seq};
use super::tombstones::Tombstones;
use crate::protocol::record::{Entry, Record};

/// Something that has changed.
#[derive(Debug)]
pub enum Change {
    /// A user, a template, a picture or an identity card, as it is now.
    Record(Record),
    /// An entry of a table.
    Entry(String, Entry),
    /// The name and the value of an option.
    Option(String, String),
    /// Something was deleted; what, as an object.
    Gone(Value),
}

/// Where changes are: the tables, each with a condition that lets SQLite go by an index. Users come
/// first: nothing is added to somebody who is deleted.
const PLACES: [(&str, &str); 11] = [
    ("user", "TRUE"),
    ("template", "kind = 0"),
    ("template", "kind = 1"),
    ("template", "kind = 2"),
    ("template", "kind = 3"),
    ("picture", "kind = 0"),
    ("picture", "kind = 1"),
    ("card", "TRUE"),
    ("entry", "TRUE"),
    ("option", "changed IS NOT NULL"),
    ("gone", "what <> ''"),
];
/// Those of people and of small tables.
pub(super) const PEOPLE: &[(&str, &str)] = PLACES.as_slice().split_at(9).0;

/// What has changed.
#[derive(Clone, Copy)]
pub struct Changes<'a> {
    db: &'a Db,
}

impl<'a> Changes<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// The number of the last change that sensors may have to load, or a higher one.
    pub fn last(&self) -> Seq {
        self.db.last_change()
    }

    /// The number up to which deletions are not known any more: whoever has loaded less than
    /// that has to load everything from the start.
    pub fn horizon(&self) -> Result<Seq> {
        Tombstones::new(self.db).horizon()
    }

    /// Hands the changes after a number on, up to `most`, in their order, until one is not
    /// taken. The number of the last that was, and whether there are more.
    pub fn after(
        &self,
        after: Seq,
        most: usize,
        mut take: impl FnMut(Change) -> bool,
    ) -> Result<(Option<Seq>, bool)> {
        let mut last = None;
        let changes = self.places_after(after, most + 1)?;
        for (nth, (changed, place)) in changes.iter().enumerate() {
            // A row that this version cannot read is left out.
            let is_taken = match self.change_at(*changed, *place)? {
                _ if nth == most => false,
                Some(change) => take(change),
                None => true,
            };
            if !is_taken {
                return Ok((last, true));
            }
            last = Some(*changed);
        }
        Ok((last, false))
    }

    /// The numbers of the changes, and in which of [`PLACES`] each is.
    fn places_after(&self, after: Seq, most: usize) -> Result<Vec<(Seq, usize)>> {
        let part = |(nth, (table, filter)): (usize, &(&str, &str))| {
            format!("SELECT changed, {nth} FROM {table} WHERE {filter} AND changed > ?1")
        };
        let parts: Vec<String> = PLACES.iter().enumerate().map(part).collect();
        let sql = format!("{} ORDER BY 1 LIMIT ?2", parts.join(" UNION ALL "));
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map(params![after, most as i64], |row| {
            Ok((row.get(0)?, row.get::<_, u8>(1)?.into()))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn change_at(&self, changed: Seq, place: usize) -> Result<Option<Change>> {
        let (table, filter) = PLACES[place];
        let columns = match table {
            "user" => USER,
            "template" => TEMPLATE,
            "picture" => PICTURE,
            "card" => CARD,
            "entry" => "name, record",
            "option" => "key, value",
            _ => "what",
        };
        let sql =
            format!("SELECT changed, NULL, {columns} FROM {table} WHERE {filter} AND changed = ?1");
        let read = |row: &Row<'_>| match table {
            "user" => readers::record(row).map(content),
            "template" => readers::template(row).map(content),
            "picture" => readers::picture(row).map(content),
            "card" => readers::card(row).map(content),
            "entry" => {
                let record: String = row.get(3)?;
                let entry = serde_json::from_str(&record).unwrap_or_default();
                Ok(Some(Change::Entry(row.get(2)?, entry)))
            }
            "option" => Ok(Some(Change::Option(row.get(2)?, row.get(3)?))),
            _ => {
                let what: String = row.get(2)?;
                Ok(serde_json::from_str(&what).ok().map(Change::Gone))
            }
        };
        Ok(self.db.prepare_cached(&sql)?.query_row([changed], read).optional()?.flatten())
    }

    /// The short messages that were written after a number, each with its own, the first
    /// `most`.
    pub fn messages_after(&self, after: Seq, most: usize) -> Result<Vec<(Seq, Entry)>> {
        // `+`: by the index of changes. By the name, each page would read all messages.
        let sql = "SELECT changed, record FROM entry WHERE +name = 'SMS' AND changed > ?1
                   ORDER BY changed LIMIT ?2";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map(params![after, most as i64], |row| {
            let record: String = row.get(1)?;
            Ok((row.get(0)?, serde_json::from_str(&record).unwrap_or_default()))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn content(content: Option<Content>) -> Option<Change> {
    match content {
        Some(Content::Record(record)) => Some(Change::Record(record)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::{EntryTable, Pin, User};
    use crate::store::tombstones::{self, MOST_TOMBSTONES};
    use crate::store::{Cleared, Clearing, Limits, Origin, Store};

    fn store() -> Store {
        Store::in_memory(Limits::default())
    }

    fn pin(nth: u64) -> Pin {
        Pin::new(&nth.to_string()).unwrap()
    }

    fn put(store: &Store, nth: u64) {
        store.people().put(&User::new(pin(nth)), Origin::Server).unwrap();
    }

    /// What changed after a number, in short.
    fn after(store: &Store, after: Seq) -> Vec<String> {
        let mut found = Vec::new();
        let all = |change| {
            found.push(match change {
                Change::Record(Record::User(user)) => user.pin.to_string(),
                Change::Entry(table, _) => table,
                Change::Gone(what) => what.to_string(),
                other => format!("{other:?}"),
            });
            true
        };
        assert!(!store.changes().after(after, 100, all).unwrap().1);
        found
    }

    #[test]
    fn changes_come_in_their_order_and_deletions_with_them() {
        let store = store();
        (1..=3).for_each(|nth| put(&store, nth));
        let sms = EntryTable::named("SMS").unwrap();
        store.tables().put(sms, &Entry::from([("uid".into(), "7".into())])).unwrap();
        let loaded = store.changes().last();
        assert_eq!(after(&store, 0), ["1", "2", "3", "SMS"]);
        put(&store, 1);
        store.people().delete(&pin(2)).unwrap();
        store.people().delete(&pin(2)).unwrap();
        store.tables().delete(sms, "7").unwrap();
        assert_eq!(
            after(&store, loaded),
            ["1", r#"{"pin":"2"}"#, r#"{"record":{"uid":"7"},"table":"SMS"}"#]
        );
        assert_eq!(after(&store, store.changes().last()), [""; 0]);
        assert_eq!(store.changes().horizon().unwrap(), 0);
        // Added and deleted a second time, it is listed once.
        put(&store, 2);
        store.people().delete(&pin(2)).unwrap();
        assert_eq!(after(&store, loaded).len(), 3);
    }

    #[test]
    fn options_that_are_deleted_are_told_and_state_of_punchd_is_not() {
        let store = store();
        let options = store.options();
        for key in ["VOLUME", "MAC", crate::store::options::ZONE] {
            options.set(key, "1").unwrap();
        }
        let loaded = store.changes().last();
        assert_eq!(after(&store, 0), [r#"Option("VOLUME", "1")"#, r#"Option("MAC", "1")"#]);
        for key in ["VOLUME", "VOLUME", "Unheard", crate::store::options::ZONE] {
            options.clear(key).unwrap();
        }
        assert_eq!(after(&store, loaded), [r#"{"option":"VOLUME"}"#]);
        assert_eq!(options.get(crate::store::options::ZONE).unwrap(), None);
        // Another spelling of a name takes its place.
        let loaded = store.changes().last();
        assert!(options.put("~mac", "2").unwrap());
        assert_eq!(after(&store, loaded), [r#"{"option":"MAC"}"#, r#"Option("~mac", "2")"#]);
        // The value that it has is no change.
        let loaded = store.changes().last();
        options.set("~mac", "2").unwrap();
        assert_eq!(after(&store, loaded), [""; 0]);
    }

    #[test]
    fn a_page_ends_where_one_is_not_taken() {
        let store = store();
        (1..=5).for_each(|nth| put(&store, nth));
        let mut count = 0;
        let two = |_| {
            count += 1;
            count <= 2
        };
        let (last, more) = store.changes().after(0, 100, two).unwrap();
        assert_eq!((last, more), (Some(2), true));
        assert_eq!(store.changes().after(2, 3, |_| true).unwrap(), (Some(5), false));
        assert_eq!(store.changes().after(2, 2, |_| true).unwrap(), (Some(4), true));
        assert_eq!(store.changes().after(5, 2, |_| true).unwrap(), (None, false));
    }

    #[test]
    fn deletions_are_bounded_and_what_is_forgotten_is_known() {
        let store = store();
        store
            .atomically(|| {
                (1..=MOST_TOMBSTONES + 10).for_each(|nth| put(&store, nth));
                (1..=MOST_TOMBSTONES + 10)
                    .try_for_each(|nth| store.people().delete(&pin(nth)).map(drop))
            })
            .map_err(|error: crate::store::StoreError| error.to_string())
            .unwrap();
        let kept: u64 = store
            .db
            .connection()
            .query_row("SELECT count(*) FROM gone", [], |row| row.get(0))
            .unwrap();
        assert!(
            kept <= MOST_TOMBSTONES && kept > MOST_TOMBSTONES - tombstones::BATCH as u64,
            "{kept}"
        );
        let horizon = store.changes().horizon().unwrap();
        assert!(horizon > MOST_TOMBSTONES as i64 && horizon < store.changes().last());
        Clearing::new(Cleared::Data, store.high_water_mark()).run(store.retention()).unwrap();
        assert_eq!(store.changes().horizon().unwrap(), store.changes().last());
        // The next start continues after it.
        assert_eq!(
            crate::store::db::highest_seq(store.db.connection()).unwrap(),
            store.changes().last()
        );
    }

    #[test]
    fn changes_are_found_by_an_index() {
        let store = store();
        for (table, filter) in PLACES {
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT changed FROM {table} WHERE {filter} AND changed > 5 ORDER BY 1"
            );
            let plan: String = store.db.connection().query_row(&sql, [], |row| row.get(3)).unwrap();
            assert!(plan.starts_with("SEARCH") && plan.contains("INDEX"), "{table}: {plan}");
        }
    }
}
