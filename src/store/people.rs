//! The users on the terminal.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Value, json};

use super::biometrics::Biometrics;
use super::card_owner;
use super::db::Db;
use super::error::{Result, StoreError};
use super::id_cards::IdCards;
use super::novelty;
use super::readers::{USER, user};
use super::retention::Retention;
use super::rows::{LastChange, Origin, Seq};
use super::tables::Tables;
use super::tombstones::Tombstones;
use crate::protocol::record::{Pin, User};
use crate::protocol::stream::Stream;

/// The stream of users that the server does not know.
const NEW: Option<Stream> = Some(Stream::NewUsers);

/// The people.
#[derive(Clone, Copy)]
pub struct People<'a> {
    pub(super) db: &'a Db,
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
        // `<> ''` lets SQLite see that the partial indexes hold all there is to find. In a store of
        // an earlier version two users may have one card.
        let sql = format!(
            "SELECT changed, NULL, {USER} FROM user WHERE {column} = ?1 AND {column} <> ''
             ORDER BY changed DESC LIMIT 1"
        );
        Ok(self.db.prepare_cached(&sql)?.query_row([value], user).optional()?.flatten())
    }

    /// Writes a user as a whole. A change that waits for its upload still does. A guest becomes
    /// a resident. Cards of the user that others have are taken from them.
    ///
    /// # Errors
    /// [`StoreError::TooManyUsers`] for one more than the limit; then nothing is written.
    pub fn put(&self, user: &User, origin: Origin) -> Result<Seq> {
        if self.has_most()? && !self.is_resident(&user.pin)? {
            return Err(self.too_many());
        }
        self.put_guest(user, origin)
    }

    /// The same for somebody who is about to become a guest: guests are not counted as users.
    pub fn put_guest(&self, user: &User, origin: Origin) -> Result<Seq> {
        Retention::new(self.db).require_room_for_rest(origin, user.name.len())?;
        let (seq, losses) = self.write(user, origin)?;
        losses.iter().try_for_each(|loss| card_owner::report(self.db, loss))?;
        Ok(seq)
    }

    /// The same while a table is replaced, whose old rows go only afterwards: there is room for it.
    pub fn put_unlimited(&self, user: &User, origin: Origin) -> Result<Seq> {
        Ok(self.write(user, origin)?.0)
    }

    /// Takes cards from a user: the main one, the second one, or both. Nothing new is stored, so
    /// this needs no room.
    pub fn remove_cards(&self, user: &User, main: bool, second: bool) -> Result<Seq> {
        let mut user = user.clone();
        for (is_removed, card) in [(main, &mut user.card), (second, &mut user.vice_card)] {
            if is_removed {
                card.clear();
            }
        }
        Ok(self.write(&user, Origin::Terminal)?.0)
    }

    /// Writes a user. The number of the change, and which cards others lost by it.
    fn write(&self, user: &User, origin: Origin) -> Result<(Seq, Vec<String>)> {
        let losses = card_owner::take(self.db, user)?;
        let seq = self.db.next_change("user");
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
            return Ok((seq, losses));
        }
        let update = format!(
            "UPDATE user SET name = ?2, privilege = ?3, password = ?4, card = ?5, grp = ?6,
                time_zones = ?7, verify = ?8, vice_card = ?9, changed = ?10, valid_from = ?11,
                valid_until = ?12, expires = ?13, written = NULL, {} WHERE pin = ?1",
            novelty::of_updated(origin, "user", NEW, "?10")
        );
        self.db.prepare_cached(&update)?.execute(values)?;
        Ok((seq, losses))
    }

    /// Deletes a user and all that hangs on the PIN: templates, pictures, short messages to them,
    /// identity cards. Never punches. Returns whether there was anything.
    pub fn delete(&self, pin: &Pin) -> Result<bool> {
        let mut delete = self.db.prepare_cached("DELETE FROM user WHERE pin = ?1")?;
        let was_there = delete.execute([pin.as_str()])? > 0;
        let mut had_some = Biometrics::new(self.db).delete_all_of(pin)?;
        had_some |= Tables::new(self.db).delete_messages_to(pin)? > 0;
        had_some |= IdCards::new(self.db).delete(Some(pin), None)? > 0;
        self.forget_guest(pin.as_str())?;
        if was_there || had_some {
            Tombstones::new(self.db).add(&of_person(pin))?;
        }
        if was_there {
            self.db.counts.users.set(self.db.counts.users.get().map(|count| count - 1));
        }
        Ok(was_there || had_some)
    }

    /// Whether the person was deleted after a number ([`super::Store::high_water_mark`]), or may have
    /// been: who has the PIN now may be somebody else.
    pub fn may_be_another_since(&self, pin: &Pin, since: Seq) -> Result<bool> {
        Tombstones::new(self.db).may_have_since(&of_person(pin), since)
    }

    /// Whether it is known that the person was deleted after a number.
    pub(super) fn was_deleted_since(&self, pin: &Pin, since: Seq) -> Result<bool> {
        Tombstones::new(self.db).has_since(&of_person(pin).to_string(), since)
    }

    /// Deletes the row that makes this person a guest.
    pub(super) fn forget_guest(&self, pin: &str) -> Result<()> {
        // Usually there are none, and users come by the thousand.
        if self.count_guests()? > 0
            && self.db.prepare_cached("DELETE FROM guest WHERE pin = ?1")?.execute([pin])? > 0
        {
            let guests = &self.db.counts.guests;
            guests.set(guests.get().map(|count| count - 1));
            // What was recorded of the guest may go up now.
            self.db.looked.borrow_mut().clear();
        }
        Ok(())
    }

    /// The last writing of a user, if there is one with this PIN.
    pub fn last_change(&self, pin: &Pin) -> Result<Option<LastChange>> {
        let sql = "SELECT coalesce(written, changed), local FROM user WHERE pin = ?1";
        let read = |row: &Row<'_>| Ok(LastChange { at: row.get(0)?, local: row.get(1)?, bytes: 0 });
        Ok(self.db.prepare_cached(sql)?.query_row([pin.as_str()], read).optional()?)
    }

    /// How many users were written after a number. Guests are not counted.
    pub fn count_changed_after(&self, after: Seq) -> Result<u64> {
        let sql = "SELECT count(*) FROM user WHERE changed > ?1 AND coalesce(written, changed) > ?1
                   AND pin NOT IN (SELECT pin FROM guest)";
        Ok(self.db.prepare_cached(sql)?.query_row([after], |row| row.get(0))?)
    }

    /// # Errors
    /// [`StoreError::TooManyUsers`] if there is no room for another user.
    pub fn require_room(&self) -> Result<()> {
        if self.has_most()? { Err(self.too_many()) } else { Ok(()) }
    }

    /// # Errors
    /// [`StoreError::TooManyUsers`] if these are more users than may be.
    pub fn require_within_limit(&self, users: u64) -> Result<()> {
        if users > self.db.limits.users { Err(self.too_many()) } else { Ok(()) }
    }

    fn has_most(&self) -> Result<bool> {
        Ok(self.count()? >= self.db.limits.users)
    }

    fn too_many(&self) -> StoreError {
        StoreError::TooManyUsers { most: self.db.limits.users }
    }

    /// How many users there are. Guests are not counted.
    pub fn count(&self) -> Result<u64> {
        let all = self.db.counted(&self.db.counts.users, "SELECT count(*) FROM user")?;
        Ok(all.saturating_sub(self.count_guests()?))
    }

    /// How many guests there are.
    pub(super) fn count_guests(&self) -> Result<u64> {
        self.db.counted(&self.db.counts.guests, "SELECT count(*) FROM guest")
    }

    fn is_resident(&self, pin: &Pin) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM user WHERE pin = ?1)
                   AND NOT EXISTS (SELECT 1 FROM guest WHERE pin = ?1)";
        Ok(self.db.prepare_cached(sql)?.query_row([pin.as_str()], |row| row.get(0))?)
    }
}

/// What the tombstone of a person says.
fn of_person(pin: &Pin) -> Value {
    json!({"pin": pin.as_str()})
}
