//! Options: what the server set by `SET OPTION`, and state of punchd that survives a restart.

use super::db::Db;
use super::error::Result;
use super::tombstones::Tombstones;
use crate::protocol::device::is_same_option;
use crate::protocol::option_rule::{MOST_OPTION_BYTES, MOST_OPTIONS};
use rusqlite::{OptionalExtension, params};
use serde_json::json;

/// The zone that the server last named, as an offset in seconds; `none` if it never named one.
pub const ZONE: &str = "punchd.zone";
/// Set while a `CHECK` waits for the handshake that it asks for.
pub const CHECK: &str = "punchd.check";
/// Set from the moment a `REBOOT` is accepted until the system is asked for it.
pub const REBOOT: &str = "punchd.reboot";
/// The MD5 of the firmware that was installed last, and the version of punchd that confirmed it.
pub const UPGRADED: &str = "punchd.upgraded";
/// The trial of an upgrade that is under way ([`super::Trial`]).
pub(super) const TRIAL: &str = "punchd.trial";
/// The digest of the program that is on trial.
pub(super) const TRIAL_PROGRAM: &str = "punchd.trial-program";
/// Why the last upgrade was not installed.
pub const UPGRADE_FAILED: &str = "punchd.upgrade-failed";
/// Set while a long list of commands is carried out: one that is found set was cut off.
pub const LIST: &str = "punchd.list";
/// Set while the server wants to be asked about everybody who is verified (§12.11.3). Kept,
/// so that a terminal that starts without its server does not let everybody pass.
pub const VERIFICATION: &str = "punchd.verification";
/// Which table is being replaced, and how far that is ([`super::Replacement`]).
pub(super) const REPLACEMENT: &str = "punchd.replacement";
/// The server (URL) that the cursors and stamps are of.
pub const SERVER: &str = "punchd.server";

/// The options.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    db: &'a Db,
}

impl<'a> Options<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// The value of an option.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        Ok(self
            .db
            .prepare_cached("SELECT value FROM option WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?)
    }

    /// Sets an option.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        if self.get(key)?.is_some_and(|now| now == value) {
            return Ok(());
        }
        let changed = (!is_of_punchd(key)).then(|| self.db.next_change("option"));
        self.db
            .prepare_cached(
                "INSERT INTO option (key, value, changed) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET value = ?2, changed = ?3",
            )?
            .execute(params![key, value, changed])?;
        Ok(())
    }

    /// Forgets an option.
    pub fn clear(&self, key: &str) -> Result<()> {
        let sql = "DELETE FROM option WHERE key = ?1";
        if self.db.prepare_cached(sql)?.execute([key])? > 0 && !is_of_punchd(key) {
            Tombstones::new(self.db).add(&json!({"option": key}))?;
        }
        Ok(())
    }

    /// A job ends: nothing is left of the replacement of a table that was its work.
    pub(super) fn forget_replacement(&self, job: i64) -> Result<()> {
        let sql = "DELETE FROM option WHERE key = ?1 AND value LIKE ?2 || ' %'";
        self.db.prepare_cached(sql)?.execute(params![REPLACEMENT, job])?;
        Ok(())
    }

    /// Sets an option in place of every other spelling of its name. `false` if there is no room for it.
    pub fn put(&self, name: &str, value: &str) -> Result<bool> {
        let all = self.all()?;
        let (same, others): (Vec<_>, Vec<_>) =
            all.iter().partition(|(other, _)| is_same_option(other, name));
        let bytes: usize = others.iter().map(|(name, value)| name.len() + value.len()).sum();
        if others.len() >= MOST_OPTIONS || bytes + name.len() + value.len() > MOST_OPTION_BYTES {
            return Ok(false);
        }
        for (other, _) in same.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name)) {
            self.clear(other)?;
        }
        self.set(name, value)?;
        Ok(true)
    }

    /// Numbers the options that an earlier version set.
    pub(super) fn number_all(&self) -> Result<()> {
        let sql = "SELECT key FROM option WHERE changed IS NULL AND key NOT LIKE 'punchd.%'";
        let mut statement = self.db.prepare_cached(sql)?;
        let keys: Vec<String> =
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for key in keys {
            self.db
                .prepare_cached("UPDATE option SET changed = ?2 WHERE key = ?1")?
                .execute(params![key, self.db.next_change("option")])?;
        }
        Ok(())
    }

    /// The options that a server or a driver set, in the order of their names.
    pub fn all(&self) -> Result<Vec<(String, String)>> {
        let sql = "SELECT key, value FROM option WHERE key NOT LIKE 'punchd.%' ORDER BY key";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Whether an option is state of punchd itself.
fn is_of_punchd(key: &str) -> bool {
    key.starts_with("punchd.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Limits, Store};

    fn store() -> Store {
        Store::in_memory(Limits::default())
    }

    #[test]
    fn so_many_options_have_room_and_so_many_bytes_and_no_more() {
        let store = store();
        let options = store.options();
        // State of punchd takes no room.
        options.set(SERVER, "http://server").unwrap();
        store
            .atomically(|| (0..500).try_for_each(|nth| options.set(&format!("o{nth}"), "1")))
            .unwrap();
        assert!(!options.put("one more", "1").unwrap());
        assert!(options.put("o7", "2").unwrap());
        options.clear("o8").unwrap();
        assert!(options.put("one more", "1").unwrap());
        for (key, _) in options.all().unwrap() {
            options.clear(&key).unwrap();
        }
        // A name of three bytes with its value, and a second one.
        assert!(options.put("one", &"x".repeat((64 << 10) - 3 - 8)).unwrap());
        assert!(!options.put("two", "123456").unwrap());
        assert!(options.put("two", "12345").unwrap());
        // What is replaced makes room.
        assert!(options.put("~TWO", "1234").unwrap());
        assert_eq!(options.all().unwrap().len(), 2);
    }

    #[test]
    fn options_of_an_earlier_version_are_numbered_once_and_state_of_punchd_is_not() {
        let store = store();
        let options = store.options();
        let old = "INSERT INTO option (key, value) VALUES ('Volume', '1'), ('punchd.zone', '0'), ('Mac', '2')";
        store.db.connection().execute_batch(old).unwrap();
        let numbered = || -> Vec<String> {
            options.number_all().unwrap();
            let sql =
                "SELECT key || ' ' || changed FROM option WHERE changed NOT NULL ORDER BY key";
            let mut statement = store.db.connection().prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<rusqlite::Result<_>>().unwrap()
        };
        let first = numbered();
        assert_eq!(first, ["Mac 1", "Volume 2"]);
        assert_eq!(numbered(), first);
    }

    #[test]
    fn the_end_of_a_job_forgets_its_replacement_and_no_other() {
        let store = store();
        let options = store.options();
        options.set(REPLACEMENT, "17 users 5").unwrap();
        for (job, is_left) in [(7, true), (1, true), (171, true), (17, false)] {
            options.forget_replacement(job).unwrap();
            assert_eq!(options.get(REPLACEMENT).unwrap().is_some(), is_left, "{job}");
        }
    }
}
