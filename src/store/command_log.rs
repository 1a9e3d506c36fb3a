//! The command log: the commands of the server, their results, and the replies that it has not
//! taken yet. It gives the facts by which a command that comes again is told from one that is asked
//! anew; `commands` decides.

use rusqlite::{OptionalExtension, params};

use super::askings::{self, Askings};
use super::db::Db;
use super::error::Result;
use crate::protocol::codes::ReturnCode;
use crate::protocol::reply::Reply;

/// How many answered commands are remembered, to know one that is sent again.
const REMEMBERED: i64 = 10_000;

/// Most bytes of content that are looked at together.
const BYTES_AT_ONCE: usize = 64 << 10;
/// Longest content that is kept once the server has it.
const LONGEST_KEPT: usize = 1024;

/// Whether replies wait that were never refused alone, and whether others do. What the partial index asks
/// for stands last: SQLite begins at the first bound, and would read all that wait.
const HAS_REPLIES: &str = "SELECT EXISTS (SELECT 1 FROM command WHERE due = 1 AND due > 0)";
const HAS_REFUSED: &str = "SELECT EXISTS (SELECT 1 FROM command WHERE due > 1 AND due > 0)";

/// What the log knows of a command that came before, by its id and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCommand {
    /// Its row in the command log.
    pub row: i64,
    /// How far it is.
    pub state: CommandState,
    /// The number of the list in which it came last, or that was the last when its reply was taken.
    pub list: i64,
    /// When it was begun, by the log's time.
    pub begun_at: i64,
    /// When it came last.
    pub seen_at: i64,
}

/// How far a command is that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandState {
    /// It was begun so many times and never came to an end.
    CutOff {
        /// How many times.
        attempts: u32,
    },
    /// It goes on in the background.
    GoesOn,
    /// It has a result that the server has not taken.
    Due,
    /// The server took its result.
    Taken {
        /// The result.
        code: ReturnCode,
        /// Some of its records were done, and some were not.
        is_partly_done: bool,
    },
}

/// A reply that the server has not taken yet.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its row in the command log.
    pub row: i64,
    /// How often it did not get through by itself.
    pub refusals: u32,
    /// What goes up.
    pub reply: Reply,
}

/// The command log.
#[derive(Clone, Copy)]
pub struct CommandLog<'a> {
    db: &'a Db,
}

impl<'a> CommandLog<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// What the server's answers and ids showed so far.
    pub fn askings(&self) -> Result<Askings> {
        askings::read(self.db)
    }

    /// Keeps what they showed.
    pub fn set_askings(&self, askings: &Askings) -> Result<()> {
        askings::write(self.db, askings)
    }

    /// What is known of a command with this id and the digest of its id and text; the last, if it was
    /// asked several times.
    pub fn find(&self, digest: &[u8; 16], id: &str) -> Result<Option<KnownCommand>> {
        let sql = "SELECT row, attempts, goes_on, code, due, partly, list, begun_at, seen_at
                   FROM command WHERE id = ?1 AND digest = ?2 ORDER BY row DESC LIMIT 1";
        let known = self.db.prepare_cached(sql)?.query_row(params![id, &digest[..]], |row| {
            let (goes_on, code): (bool, Option<i64>) = (row.get(2)?, row.get(3)?);
            let state = match code.map(ReturnCode) {
                None if goes_on => CommandState::GoesOn,
                None => CommandState::CutOff { attempts: row.get(1)? },
                Some(_) if row.get::<_, i64>(4)? > 0 => CommandState::Due,
                Some(code) => CommandState::Taken { code, is_partly_done: row.get(5)? },
            };
            Ok(KnownCommand {
                row: row.get(0)?,
                state,
                list: row.get(6)?,
                begun_at: row.get(7)?,
                seen_at: row.get(8)?,
            })
        });
        Ok(known.optional()?)
    }

    /// Whether a command with this id came with another text.
    pub fn has_other_text(&self, digest: &[u8; 16], id: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM command WHERE id = ?1 AND digest <> ?2)";
        Ok(self.db.prepare_cached(sql)?.query_row(params![id, &digest[..]], |row| row.get(0))?)
    }

    /// Records that a command of this list is about to be executed. Returns its row. `result`: the one
    /// that it most likely gets in this very transaction, so that a command costs one write; it is
    /// taken back by [`CommandLog::has_no_result`].
    pub fn begin(
        &self,
        digest: &[u8; 16],
        id: &str,
        name: &str,
        (list, now): (i64, i64),
        result: Option<ReturnCode>,
    ) -> Result<i64> {
        self.db
            .prepare_cached(
                "INSERT INTO command (digest, id, name, attempts, due, list, begun_at, seen_at, code)
                 VALUES (?1, ?2, ?3, 1, ?6 IS NOT NULL, ?4, ?5, ?5, ?6)",
            )?
            .execute(params![&digest[..], id, name, list, now, result.map(|code| code.0)])?;
        Ok(self.db.connection().last_insert_rowid())
    }

    /// A command has not the result with which it was begun.
    pub fn has_no_result(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET code = NULL, due = 0 WHERE row = ?1", row)
    }

    /// Records that one that was cut off is about to be executed again.
    pub fn begin_again(&self, row: i64, (list, now): (i64, i64)) -> Result<()> {
        self.db
            .prepare_cached(
                "UPDATE command SET attempts = attempts + 1, list = ?2, seen_at = ?3 WHERE row = ?1",
            )?
            .execute([row, list, now])?;
        Ok(())
    }

    /// Records that one came again: a result that there is goes up again.
    pub fn came_again(&self, row: i64, (list, now): (i64, i64)) -> Result<()> {
        self.db
            .prepare_cached(
                "UPDATE command SET due = iif(code IS NULL, due, max(due, 1)), list = ?2, seen_at = ?3
                 WHERE row = ?1",
            )?
            .execute([row, list, now])?;
        Ok(())
    }

    /// Some records of a command were done although its result is a refusal.
    pub fn set_partly_done(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET partly = 1 WHERE row = ?1", row)
    }

    /// Forgets all that an earlier server asked for: its commands, what goes on, and the replies that it
    /// never took. Returns the ids of these, at most `most`, and how many there are.
    pub fn forget_server(&self, most: usize) -> Result<(Vec<String>, u64)> {
        let never_taken = "FROM command WHERE due > 0 OR goes_on AND code IS NULL";
        let sql = format!("SELECT id {never_taken} ORDER BY row LIMIT ?1");
        let mut statement = self.db.prepare_cached(&sql)?;
        let ids = statement.query_map([most as i64], |row| row.get(0))?;
        let ids = ids.collect::<rusqlite::Result<Vec<String>>>()?;
        let count = format!("SELECT count(*) {never_taken}");
        let count = self.db.connection().query_row(&count, [], |row| row.get(0))?;
        // The last row stays, without its meaning: its number is not given again.
        for sql in [
            "DELETE FROM query_row",
            "DELETE FROM query",
            "DELETE FROM job",
            "DELETE FROM command WHERE row < (SELECT max(row) FROM command)",
            "UPDATE command SET digest = x'', id = '', due = 0, goes_on = 0, code = 0, rest = NULL",
        ] {
            self.db.connection().execute(sql, [])?;
        }
        self.db.counts.forget();
        Ok((ids, count))
    }

    /// These attempts do not count: the store failed, not the commands. If that cannot be written
    /// either, it is kept in memory.
    pub fn void_attempts(&self, rows: &[i64]) {
        self.db.unvoided.borrow_mut().extend(rows);
        let _ = self.void_those_before();
    }

    /// Writes which attempts before do not count, as far as that is not written yet. No transaction may
    /// be open.
    pub fn void_those_before(&self) -> Result<()> {
        let rows = self.db.unvoided.borrow().clone();
        if rows.is_empty() {
            return Ok(());
        }
        self.db.atomically(|| {
            rows.iter().try_for_each(|row| {
                self.change("UPDATE command SET attempts = attempts - 1 WHERE row = ?1", *row)
            })
        })?;
        self.db.unvoided.borrow_mut().clear();
        Ok(())
    }

    /// A command continues in the background; its result comes later.
    pub fn set_in_background(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET goes_on = 1 WHERE row = ?1", row)
    }

    /// Stores the result of a command; it goes up until the server took it.
    pub fn finish(&self, row: i64, code: ReturnCode, rest: &[u8]) -> Result<()> {
        self.db
            .prepare_cached(
                "UPDATE command SET code = ?2, rest = ?3, due = 1, file = NULL WHERE row = ?1",
            )?
            .execute(params![row, code.0, rest])?;
        Ok(())
    }

    /// The same, with a file whose content goes up with the result.
    pub fn finish_with_file(
        &self,
        row: i64,
        code: ReturnCode,
        rest: &[u8],
        file: &str,
    ) -> Result<()> {
        self.finish(row, code, rest)?;
        self.db
            .prepare_cached("UPDATE command SET file = ?2 WHERE row = ?1")?
            .execute(params![row, file])
            .map(drop)?;
        Ok(())
    }

    /// The replies that wait and were never refused alone, the oldest first.
    pub fn replies_due(&self, most: usize) -> Result<Vec<Due>> {
        self.replies("due = 1", "row", most)
    }

    /// The reply that was refused, the one least often.
    pub fn refused_reply(&self) -> Result<Option<Due>> {
        Ok(self.replies("due > 1", "due, row", 1)?.pop())
    }

    /// Replies in an order, as many as `most` and as [`BYTES_AT_ONCE`] allow.
    fn replies(&self, which: &str, order: &str, most: usize) -> Result<Vec<Due>> {
        let sql = format!(
            "SELECT row, id, name, code, rest, file, due FROM command WHERE {which} AND due > 0
             ORDER BY {order} LIMIT ?1"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query([most as i64])?;
        let (mut replies, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let rest: Vec<u8> = row.get::<_, Option<_>>(4)?.unwrap_or_default();
            bytes += rest.len();
            if bytes > BYTES_AT_ONCE && !replies.is_empty() {
                break;
            }
            let code = ReturnCode(row.get(3)?);
            let reply = Reply { id: row.get(1)?, name: row.get(2)?, code, rest, file: row.get(5)? };
            let refusals = row.get::<_, u32>(6)?.saturating_sub(1);
            replies.push(Due { row: row.get(0)?, refusals, reply });
        }
        Ok(replies)
    }

    /// The server took these replies. The oldest of what is answered is forgotten, and so is
    /// long content: sent again, such a reply holds the code alone.
    pub fn replies_taken(&self, rows: &[i64]) -> Result<()> {
        let taken = format!(
            "UPDATE command SET due = 0, rest = iif(length(rest) > {LONGEST_KEPT}, NULL, rest), list = ?2
             WHERE row = ?1"
        );
        self.db.atomically(|| {
            let mut askings = self.askings()?;
            let before = askings.list;
            // Only an answer that comes from now on shows that the server stopped to ask.
            let list = askings.current();
            if list != before {
                self.set_askings(&askings)?;
            }
            for row in rows {
                self.db.prepare_cached(&taken)?.execute([*row, list])?;
            }
            // As many as were taken: a search for more would read all replies that are pending.
            self.db
                .prepare_cached(
                    "DELETE FROM command WHERE row IN (SELECT row FROM command
                     WHERE due = 0 AND code IS NOT NULL
                     AND row <= (SELECT max(row) FROM command) - ?1 ORDER BY row LIMIT ?2)",
                )?
                .execute([REMEMBERED, rows.len() as i64])
                .map(drop)?;
            Ok(())
        })
    }

    /// The server refused this reply: others are sent before it from now on.
    pub fn reply_refused(&self, row: i64) -> Result<()> {
        self.change("UPDATE command SET due = due + 1 WHERE row = ?1", row)
    }

    /// Whether replies wait that were never refused alone.
    pub fn has_replies(&self) -> Result<bool> {
        self.exists(HAS_REPLIES)
    }

    /// Whether replies wait that were refused.
    pub fn has_refused_replies(&self) -> Result<bool> {
        self.exists(HAS_REFUSED)
    }

    /// Whether a reply with the content of a file waits.
    pub fn has_file_replies(&self) -> Result<bool> {
        self.exists("SELECT EXISTS (SELECT 1 FROM command WHERE due > 0 AND file IS NOT NULL)")
    }

    /// How many replies the server refused more than once.
    pub fn count_refused_replies(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM command WHERE due > 2 AND due > 0";
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    fn exists(&self, sql: &str) -> Result<bool> {
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// How many replies wait for the server.
    pub fn count_replies(&self) -> Result<u64> {
        Ok(self
            .db
            .prepare_cached("SELECT count(*) FROM command WHERE due > 0")?
            .query_row([], |row| row.get(0))?)
    }

    fn change(&self, sql: &str, value: i64) -> Result<()> {
        Ok(self.db.prepare_cached(sql)?.execute([value]).map(drop)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Limits, Store};

    /// Steps of SQLite's machine in one run of a statement.
    fn steps(log: &CommandLog<'_>, sql: &str) -> u64 {
        log.db.work.take_steps();
        log.exists(sql).unwrap();
        log.db.work.take_steps()
    }

    fn digest(nth: u32) -> [u8; 16] {
        let mut digest = [0; 16];
        digest[..4].copy_from_slice(&nth.to_be_bytes());
        digest
    }

    /// Begins a command, which is done at once. Its row.
    fn begin(log: &CommandLog<'_>, nth: u32) -> i64 {
        let id = nth.to_string();
        log.begin(&digest(nth), &id, "DATA", (1, 0), Some(ReturnCode::DONE)).unwrap()
    }

    #[test]
    fn ten_thousand_commands_are_known_and_one_whose_result_was_not_taken_always() {
        let store = Store::in_memory(Limits::default());
        let log = store.command_log();
        begin(&log, 0);
        for nth in 1..=10_010 {
            let row = begin(&log, nth);
            log.replies_taken(&[row]).unwrap();
        }
        let is_known = |nth: &u32| log.find(&digest(*nth), &nth.to_string()).unwrap().is_some();
        let known: Vec<u32> = (0..=10_010).filter(is_known).collect();
        assert_eq!((known[0], known[1], known.len()), (0, 11, 10_001));
    }

    #[test]
    fn a_look_for_replies_costs_the_same_however_many_wait() {
        let store = Store::in_memory(Limits::default());
        let log = store.command_log();
        for nth in 0..10_000u32 {
            begin(&log, nth);
            assert!(log.has_replies().unwrap() && !log.has_refused_replies().unwrap());
            let steps = [HAS_REPLIES, HAS_REFUSED].map(|sql| steps(&log, sql));
            assert!(
                steps.iter().all(|steps| (1..=25).contains(steps)),
                "{nth} wait: {steps:?} steps"
            );
        }
        log.reply_refused(7).unwrap();
        assert!(log.has_refused_replies().unwrap());
        assert_eq!(log.refused_reply().unwrap().unwrap().row, 7);
    }
}
