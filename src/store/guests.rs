//! Guests: people who were fetched for remote attendance (§14) and stay for some time.
//!
//! A guest is a user with a row in `guest` that says until when. `People::put` deletes that row:
//! whoever writes a user makes them a resident. Guests are never uploaded: they came from the
//! server. They are not counted as users; there are at most as many guests as there may be users.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::biometrics::Biometrics;
use super::db::Db;
use super::error::{Result, StoreError};
use super::people::People;
use super::rows::Seq;
use crate::protocol::record::Pin;

/// Guests that are removed in one transaction.
const BATCH: i64 = 50;
/// In place of a moment: the stay begins when the clock is set.
const NOT_BEGUN: i64 = 0;

/// A person's stay on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Until when, in seconds since 1970; none while the clock is not set: the time counts
    /// from when it is.
    pub until: Option<i64>,
}

impl Stay {
    /// Whether it is over. While the clock is not set, none is.
    pub fn is_over(&self, now: Option<i64>) -> bool {
        self.until.zip(now).is_some_and(|(until, now)| until <= now)
    }
}

/// The guests.
#[derive(Clone, Copy)]
pub struct Guests<'a> {
    db: &'a Db,
}

impl<'a> Guests<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// # Errors
    /// [`StoreError::TooManyUsers`] if there is no room for another guest.
    pub fn require_room(&self) -> Result<()> {
        let most = self.db.limits.users;
        let count = People::new(self.db).count_guests()?;
        if count >= most { Err(StoreError::TooManyUsers { most }) } else { Ok(()) }
    }

    /// A user who is here becomes a guest, or a guest stays for longer. `now` is unknown while
    /// the clock is not set.
    pub fn put(&self, pin: &Pin, now: Option<i64>, stay: Duration) -> Result<()> {
        let until = now.map_or(NOT_BEGUN, |now| now.saturating_add(seconds(stay)));
        self.db
            .prepare_cached("INSERT OR REPLACE INTO guest (pin, until) VALUES (?1, ?2)")?
            .execute(params![pin.as_str(), until])?;
        self.db.counts.guests.set(None);
        Ok(())
    }

    /// Deletes what was fetched of a guest, who is about to be fetched again. What came by commands
    /// of the server stays: it lives as long as the guest.
    pub fn delete_fetched(&self, pin: &Pin) -> Result<()> {
        let mut delete = self.db.prepare_cached("DELETE FROM user WHERE pin = ?1")?;
        let deleted = delete.execute([pin.as_str()])? as u64;
        let users = &self.db.counts.users;
        users.set(users.get().map(|count| count - deleted));
        Biometrics::new(self.db).delete_fetched(pin)
    }

    /// What was written of a guest after a number was fetched.
    pub fn mark_fetched(&self, pin: &Pin, after: Seq) -> Result<()> {
        Biometrics::new(self.db).mark_fetched(pin, after)
    }

    /// The stay of this guest; none for whoever is here for good, or not at all.
    pub fn get(&self, pin: &Pin) -> Result<Option<Stay>> {
        let until: Option<i64> = self
            .db
            .prepare_cached("SELECT until FROM guest WHERE pin = ?1")?
            .query_row([pin.as_str()], |row| row.get(0))
            .optional()?;
        Ok(until.map(|until| Stay { until: Some(until).filter(|until| *until != NOT_BEGUN) }))
    }

    /// Deletes guests whose time is over, at most `BATCH` at a time; how many. To be called when
    /// the clock is set. A stay that has not begun, or that a wrong clock made too long, begins
    /// now.
    pub fn remove_expired(&self, now: i64, stay: Duration) -> Result<usize> {
        let latest = now.saturating_add(seconds(stay));
        let sql = "SELECT EXISTS (SELECT 1 FROM guest WHERE until <= ?1 OR until > ?2)";
        if !self.db.prepare_cached(sql)?.query_row([now, latest], |row| row.get(0))? {
            return Ok(0);
        }
        self.db.atomically(|| {
            self.db
                .prepare_cached("UPDATE guest SET until = ?1 WHERE until = ?2 OR until > ?1")?
                .execute([latest, NOT_BEGUN])?;
            let mut over =
                self.db.prepare_cached("SELECT pin FROM guest WHERE until <= ?1 LIMIT ?2")?;
            let pins = over.query_map([now, BATCH], |row| row.get(0))?;
            let pins: Vec<String> = pins.collect::<rusqlite::Result<_>>()?;
            for pin in &pins {
                match Pin::new(pin) {
                    Ok(pin) => drop(People::new(self.db).delete(&pin)?),
                    Err(_) => People::new(self.db).forget_guest(pin)?,
                }
            }
            Ok(pins.len())
        })
    }
}

fn seconds(stay: Duration) -> i64 {
    i64::try_from(stay.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::User;
    use crate::protocol::stream::{Stream, Table};
    use crate::store::{Limits, Origin, Store};

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW: i64 = 1_793_500_000;

    fn with_guest(now: Option<i64>) -> (Store, Pin) {
        let store = Store::in_memory(Limits::default());
        let pin = Pin::new("1001").unwrap();
        store.people().put(&User::new(pin.clone()), Origin::Server).unwrap();
        store.guests().put(&pin, now, HOUR).unwrap();
        (store, pin)
    }

    #[test]
    fn a_guest_leaves_when_the_time_is_over_and_not_before() {
        let (store, pin) = with_guest(Some(NOW));
        assert_eq!(store.guests().get(&pin).unwrap(), Some(Stay { until: Some(NOW + 3600) }));
        assert_eq!(store.guests().remove_expired(NOW + 3599, HOUR).unwrap(), 0);
        assert_eq!(store.guests().remove_expired(NOW + 3600, HOUR).unwrap(), 1);
        assert_eq!(
            (store.people().get(&pin).unwrap(), store.guests().get(&pin).unwrap()),
            (None, None)
        );
        assert_eq!(store.people().count().unwrap(), 0);
    }

    #[test]
    fn without_a_clock_nobody_leaves_and_the_time_begins_when_it_is_set() {
        let (store, pin) = with_guest(None);
        assert_eq!(store.guests().get(&pin).unwrap(), Some(Stay { until: None }));
        assert!(!store.guests().get(&pin).unwrap().unwrap().is_over(None));
        assert_eq!(store.guests().remove_expired(NOW, HOUR).unwrap(), 0);
        assert_eq!(store.guests().get(&pin).unwrap(), Some(Stay { until: Some(NOW + 3600) }));
    }

    #[test]
    fn a_clock_that_was_years_ahead_keeps_nobody_for_years() {
        let (store, pin) = with_guest(Some(NOW + 1_000_000_000));
        assert_eq!(store.guests().remove_expired(NOW, HOUR).unwrap(), 0);
        assert_eq!(store.guests().get(&pin).unwrap(), Some(Stay { until: Some(NOW + 3600) }));
    }

    #[test]
    fn a_change_of_a_user_does_not_count_all_guests() {
        let (store, pin) = with_guest(Some(NOW));
        let guests =
            "WITH RECURSIVE n (n) AS (SELECT 2001 UNION ALL SELECT n + 1 FROM n WHERE n < 4999)
                      INSERT INTO guest SELECT n, 1893456000 FROM n";
        store.db.connection().execute(guests, []).unwrap();
        store.db.counts.forget();
        let user = User::new(Pin::new("5000").unwrap());
        store.people().put(&user, Origin::Server).unwrap();
        store.db.plans.kept.replace(Some(Vec::new()));
        store.people().put(&user, Origin::Server).unwrap();
        let plans = store.db.plans.kept.take().unwrap();
        assert!(!plans.is_empty() && !plans.contains(&"SCAN guest".to_owned()), "{plans:?}");
        // One guest less, and one user less: the counts that are kept are right.
        store.guests().delete_fetched(&pin).unwrap();
        store.people().delete(&pin).unwrap();
        let counts = &store.db.counts;
        assert_eq!((counts.guests.get(), counts.users.get()), (Some(2999), Some(1)));
    }

    #[test]
    fn guests_never_go_up_and_who_is_written_is_a_guest_no_longer() {
        let (store, pin) = with_guest(Some(NOW));
        let again = || {
            store.outbox().resend(Stream::Users, 0).unwrap();
            let streams: Vec<_> = Table::Operlog.streams().map(Into::into).collect();
            store.outbox().has_rows(&streams).unwrap()
        };
        assert!(!again());
        store.people().put(&User::new(pin.clone()), Origin::Server).unwrap();
        assert_eq!(store.guests().get(&pin).unwrap(), None);
        assert!(again());
        assert_eq!(store.guests().remove_expired(NOW + 9999, HOUR).unwrap(), 0);
    }
}
