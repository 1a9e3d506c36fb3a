//! The users on the terminal.

use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::biometrics::Biometrics;
use super::db::Db;
use super::error::{Result, StoreError};
use super::novelty;
use super::readers::{USER, user};
use super::retention::Retention;
use super::rows::{Origin, Seq};
use super::tombstones::Tombstones;
use crate::protocol::file::SyncTable;
use crate::protocol::record::{Pin, User};
use crate::protocol::stream::Stream;

/// The stream of users that the server does not know.
const NEW: Option<Stream> = Some(Stream::NewUsers);

/// The people.
#[derive(Clone, Copy)]
pub struct People<'a> {
    db: &'a Db,
}

impl<'a> People<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// The user with this PIN.
    pub fn get(&self, pin: &Pin) -> Result<Option<User>> {
        self.find_user("pin", pin.as_str())
    }

    /// The user whose main or second card has this number.
    pub fn by_card(&self, card: &str) -> Result<Option<User>> {
        if card.is_empty() {
            return Ok(None);
        }
        match self.find_user("card", card)? {
            Some(user) => Ok(Some(user)),
            None => self.find_user("vice_card", card),
        }
    }

    fn find_user(&self, column: &str, value: &str) -> Result<Option<User>> {
        // `<> ''` lets SQLite see that the partial indexes hold all there is to find.
        let sql = format!(
            "SELECT changed, NULL, {USER} FROM user WHERE {column} = ?1 AND {column} <> '' LIMIT 1"
        );
        Ok(self.db.prepare_cached(&sql)?.query_row([value], user).optional()?.flatten())
    }

    /// Writes a user as a whole. A change that waits for its upload still does. A guest becomes
    /// a resident.
    ///
    /// # Errors
    /// [`StoreError::TooManyUsers`] for one more than the limit; then nothing is written.
    pub fn put(&self, user: &User, origin: Origin) -> Result<Seq> {
        if self.has_most()? && self.get(&user.pin)?.is_none() {
            return Err(self.too_many());
        }
        self.put_unlimited(user, origin)
    }

    /// The same while a table is replaced, whose old rows go only afterwards:
    /// [`People::require_within_limit`] is to follow.
    pub fn put_unlimited(&self, user: &User, origin: Origin) -> Result<Seq> {
        Retention::new(self.db).require_room_for_rest(origin, user.name.len())?;
        let seq = self.db.next_change();
        self.forget_guest(user.pin.as_str())?;
        let values = params![
            user.pin.as_str(),
            user.name,
            user.privilege,
            user.password,
            user.card,
            user.group,
            user.time_zones,
            user.verify,
            user.vice_card,
            seq,
            user.validity.start,
            user.validity.end,
            user.validity.expires
        ];
        let insert = format!(
            "INSERT OR IGNORE INTO user (pin, name, privilege, password, card, grp, time_zones, verify,
                vice_card, changed, valid_from, valid_until, expires, local, is_new)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, {})",
            novelty::of_inserted(origin, NEW, "?10")
        );
        if self.db.prepare_cached(&insert)?.execute(values)? > 0 {
            self.db.counts.users.set(self.db.counts.users.get().map(|count| count + 1));
            return Ok(seq);
        }
        let update = format!(
            "UPDATE user SET name = ?2, privilege = ?3, password = ?4, card = ?5, grp = ?6,
                time_zones = ?7, verify = ?8, vice_card = ?9, changed = ?10, valid_from = ?11,
                valid_until = ?12, expires = ?13, {} WHERE pin = ?1",
            novelty::of_updated(origin, "user", NEW, "?10")
        );
        self.db.prepare_cached(&update)?.execute(values)?;
        Ok(seq)
    }

    /// Deletes a user with templates and pictures. Returns whether the user existed.
    pub fn delete(&self, pin: &Pin) -> Result<bool> {
        let mut delete = self.db.prepare_cached("DELETE FROM user WHERE pin = ?1")?;
        let was_there = delete.execute([pin.as_str()])? > 0;
        let had_some = Biometrics::new(self.db).delete_all_of(pin)?;
        self.forget_guest(pin.as_str())?;
        if was_there || had_some {
            Tombstones::new(self.db).add(&json!({"pin": pin.as_str()}))?;
        }
        if was_there {
            self.db.counts.users.set(self.db.counts.users.get().map(|count| count - 1));
        }
        Ok(was_there)
    }

    /// Deletes the row that makes this person a guest.
    pub(super) fn forget_guest(&self, pin: &str) -> Result<()> {
        // Usually there are none, and users come by the thousand.
        if self.db.counted(&self.db.counts.guests, "SELECT count(*) FROM guest")? > 0 {
            self.db.prepare_cached("DELETE FROM guest WHERE pin = ?1")?.execute([pin])?;
            self.db.counts.guests.set(None);
        }
        Ok(())
    }

    /// The number of the last change of what a table holds of a person.
    pub fn last_changed(&self, table: SyncTable, pin: &Pin) -> Result<Option<Seq>> {
        let sql = match table {
            SyncTable::Users => "SELECT max(changed) FROM user WHERE pin = ?1",
            SyncTable::Fingerprints => {
                "SELECT max(changed) FROM template WHERE pin = ?1 AND kind = 0"
            }
            SyncTable::Faces => "SELECT max(changed) FROM template WHERE pin = ?1 AND kind = 1",
        };
        Ok(self.db.prepare_cached(sql)?.query_row([pin.as_str()], |row| row.get(0))?)
    }

    /// Deletes the rows of a table that were written at `high_water_mark` or before
    /// ([`Store::high_water_mark`](super::Store::high_water_mark)).
    pub fn delete_unchanged(&self, table: SyncTable, high_water_mark: Seq) -> Result<()> {
        let kind = match table {
            SyncTable::Users => {
                // Guests stay for their time, whatever the table holds.
                let unchanged = "changed <= ?1 AND pin NOT IN (SELECT pin FROM guest)";
                for sql in [
                    format!(
                        "DELETE FROM template WHERE pin IN (SELECT pin FROM user WHERE {unchanged})"
                    ),
                    format!(
                        "DELETE FROM picture WHERE pin IN (SELECT pin FROM user WHERE {unchanged})"
                    ),
                    format!("DELETE FROM user WHERE {unchanged}"),
                ] {
                    self.db.prepare_cached(&sql)?.execute([high_water_mark])?;
                }
                self.db.counts.users.set(None);
                return Tombstones::new(self.db).forget_all();
            }
            SyncTable::Fingerprints => 0,
            SyncTable::Faces => 1,
        };
        let sql = "DELETE FROM template WHERE kind = ?1 AND changed <= ?2
                   AND pin NOT IN (SELECT pin FROM guest)";
        self.db.prepare_cached(sql)?.execute([kind, high_water_mark])?;
        Tombstones::new(self.db).forget_all()
    }

    /// # Errors
    /// [`StoreError::TooManyUsers`] if there is no room for another user.
    pub fn require_room(&self) -> Result<()> {
        if self.has_most()? { Err(self.too_many()) } else { Ok(()) }
    }

    /// # Errors
    /// [`StoreError::TooManyUsers`] if there are more users than may be.
    pub fn require_within_limit(&self) -> Result<()> {
        if self.count()? > self.db.limits.users { Err(self.too_many()) } else { Ok(()) }
    }

    fn has_most(&self) -> Result<bool> {
        Ok(self.count()? >= self.db.limits.users)
    }

    fn too_many(&self) -> StoreError {
        StoreError::TooManyUsers { most: self.db.limits.users }
    }

    /// How many users there are.
    pub fn count(&self) -> Result<u64> {
        self.db.counted(&self.db.counts.users, "SELECT count(*) FROM user")
    }
}
