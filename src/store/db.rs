//! The connection to the SQLite file: transactions, the sequence of numbers, the counts that are
//! kept in memory. Every subject of the store works over one [`Db`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::Connection;

use super::cursor::Cursor;
use super::error::{Result, StoreError};
use super::open::failure;
use super::rows::Seq;
use super::touched::Touched;
use super::wal::Checkpoints;
#[cfg(debug_assertions)]
use super::{
    plan_check::PlanCheck,
    work::{Counted, Work},
};
use crate::protocol::stream::Stream;

/// Numbers of the sequence that are counted together (`tally`).
pub(super) const CHUNK: Seq = 256;

/// A statement that is kept for the next time.
#[cfg(not(debug_assertions))]
type Counted<'a> = rusqlite::CachedStatement<'a>;

/// What the store may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Users on the terminal; as many guests besides.
    pub users: u64,
    /// Punches that are kept.
    pub punches: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that stay free on the file's disk.
    pub free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { users: 100_000, punches: 500_000, bytes: 512 << 20, free: 8 << 20 }
    }
}

/// The connection, used by one thread.
pub(super) struct Db {
    connection: Connection,
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
    last_seq: Cell<Seq>,
    last_change: Cell<Seq>,
    /// The last number that a row of each SQL table was given; of others it is not after `opened_at`.
    last_of_tables: RefCell<Vec<(&'static str, Seq)>>,
    /// The last number when the store was opened.
    opened_at: Seq,
    pub(super) counts: Counts,
    /// The cursors, as they are in the store; `None` until they are read.
    pub(super) cursors: RefCell<Option<[Cursor; Stream::ALL.len()]>>,
    /// Streams in which nothing was found between two numbers.
    pub(super) looked: RefCell<BTreeMap<Stream, (Seq, Seq)>>,
    /// What may be written before the room is measured again.
    pub(super) unmeasured: Unmeasured,
    /// Whether it was said that what is no punch is refused.
    pub(super) rest_refused: Cell<bool>,
    /// Whether it was said that no more commands may be under way.
    pub(super) jobs_refused: Cell<bool>,
    /// What the server does not ask for, of each of those streams.
    pub(super) withheld: RefCell<BTreeMap<Stream, Withheld>>,
    /// Why no new punch can be taken, while none can.
    pub(super) full: RefCell<Option<String>>,
    /// Whether that was reported.
    pub(super) full_reported: Cell<bool>,
    /// Rows of commands whose last attempt does not count, which could not be written.
    pub(super) unvoided: RefCell<Vec<i64>>,
    /// Why nothing can be written, while that is so.
    write_failure: RefCell<Option<String>>,
    /// How often a statement was asked for.
    #[cfg(test)]
    pub(super) asked_for: Cell<u64>,
    checkpoints: Checkpoints,
    /// Whether the journals were all tallied once since the start (`tally`).
    pub(super) is_tallied: Cell<bool>,
    /// What was done since drivers were looked at.
    #[cfg(debug_assertions)]
    pub(super) work: Work,
    #[cfg(debug_assertions)]
    pub(super) plans: PlanCheck,
}

/// Bytes that may be written before the room is measured again.
#[derive(Default)]
pub(super) struct Unmeasured {
    pub(super) punches: Cell<u64>,
    pub(super) rest: Cell<u64>,
}

/// Rows of a stream that do not go up: what was counted of them.
#[derive(Clone, Copy, Default)]
pub(super) struct Withheld {
    /// The cursor when the count began.
    pub(super) from: Seq,
    /// The last row that was counted.
    pub(super) until: Seq,
    /// The bytes of the counted rows.
    pub(super) bytes: u64,
    /// All rows are counted.
    pub(super) is_whole: bool,
}

/// Counts that would cost a scan each time; `None` until they are asked for.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) users: Cell<Option<u64>>,
    /// What the jobs touch.
    pub(super) touched: RefCell<Option<Touched>>,
    pub(super) errors: Cell<Option<u64>>,
    pub(super) guests: Cell<Option<u64>>,
    pub(super) tombstones: Cell<Option<u64>>,
    pub(super) refused_rows: Cell<Option<u64>>,
    /// Punches of all streams.
    pub(super) punches: Cell<Option<u64>>,
    /// The number up to which the journals are tallied.
    pub(super) tallied_to: Cell<Option<Seq>>,
    /// The chunk of the sequence in which that was last looked at.
    pub(super) caught_up_in: Cell<Option<Seq>>,
    /// With the number of the last change that drivers load.
    pub(super) fingerprints: Cell<Option<(Seq, u64)>>,
    pub(super) faces: Cell<Option<(Seq, u64)>>,
}

impl Counts {
    pub(super) fn forget(&self) {
        let Self { users, touched, errors, guests, tombstones, refused_rows, punches, .. } = self;
        self.fingerprints.set(None);
        self.faces.set(None);
        touched.replace(None);
        for count in [users, errors, guests, tombstones, refused_rows, punches] {
            count.set(None);
        }
        for number in [&self.tallied_to, &self.caught_up_in] {
            number.set(None);
        }
    }
}

impl Db {
    /// Takes a connection to a store of this version, and finds the last number of it.
    pub(super) fn new(connection: Connection, path: PathBuf, limits: Limits) -> Result<Self> {
        let last = highest_seq(&connection).map_err(|error| failure(error, &connection, &path))?;
        Ok(Self {
            connection,
            path,
            limits,
            last_seq: Cell::new(last),
            last_change: Cell::new(last),
            last_of_tables: RefCell::default(),
            opened_at: last,
            counts: Counts::default(),
            cursors: RefCell::default(),
            looked: RefCell::default(),
            unmeasured: Unmeasured::default(),
            rest_refused: Cell::new(false),
            jobs_refused: Cell::new(false),
            withheld: RefCell::default(),
            full: RefCell::default(),
            full_reported: Cell::new(false),
            unvoided: RefCell::default(),
            write_failure: RefCell::default(),
            #[cfg(test)]
            asked_for: Cell::default(),
            checkpoints: Checkpoints::default(),
            is_tallied: Cell::new(false),
            #[cfg(debug_assertions)]
            work: Work::default(),
            #[cfg(debug_assertions)]
            plans: PlanCheck::default(),
        })
    }

    /// Runs `work` in one transaction: all of it is on disk when this returns `Ok`, none of
    /// it otherwise.
    pub(super) fn atomically<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let before = self.begin()?;
        let done = work().and_then(|value| {
            self.commit(before)?;
            Ok(value)
        });
        if done.is_err() {
            self.roll_back()?;
        }
        done
    }

    // What follows is not in `atomically`, of which there is a copy for each type of its work.

    /// How many rows were written before the transaction.
    #[inline(never)]
    fn begin(&self) -> Result<u64> {
        self.begin_or_commit("BEGIN IMMEDIATE")?;
        Ok(self.connection.total_changes())
    }

    #[inline(never)]
    fn commit(&self, before: u64) -> Result<()> {
        self.begin_or_commit("COMMIT")?;
        if self.connection.total_changes() > before {
            self.write_failure.take();
            self.checkpoints.after_commit(&self.connection);
        }
        Ok(())
    }

    #[inline(never)]
    fn roll_back(&self) -> Result<()> {
        self.counts.forget();
        self.cursors.take();
        // A full disk rolls back by itself; a second ROLLBACK would be an error.
        if !self.connection.is_autocommit() {
            self.run("ROLLBACK")?;
        }
        Ok(())
    }

    /// Runs `work` in the transaction that is open, or in one of its own.
    pub(super) fn within_transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.connection.is_autocommit() {
            true => self.atomically(work),
            false => work(),
        }
    }

    /// Why nothing can be written, as long as nothing was since that failed.
    pub(super) fn write_failure(&self) -> Option<String> {
        self.write_failure.borrow().clone()
    }

    /// A statement, kept for the next time.
    pub(super) fn prepare_cached(&self, sql: &str) -> rusqlite::Result<Counted<'_>> {
        #[cfg(test)]
        {
            self.asked_for.set(self.asked_for.get() + 1);
            super::on_statement::call();
        }
        let statement = self.connection.prepare_cached(sql)?;
        #[cfg(debug_assertions)]
        self.plans.look(&self.connection, sql);
        #[cfg(debug_assertions)]
        let statement = Counted::new(statement, &self.work);
        Ok(statement)
    }

    /// Drivers are looked at now.
    #[cfg(debug_assertions)]
    pub(super) fn end_work(&self) {
        self.work.end(&self.connection);
    }

    /// The connection itself, for what is asked once.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The next number of the sequence, for a row of an SQL table. Held in memory and found again
    /// at start, so that counting costs no write; a number given to a row that was never committed
    /// may be given again.
    pub(super) fn next_seq(&self, table: &'static str) -> Seq {
        let next = self.last_seq.get() + 1;
        self.last_seq.set(next);
        let mut last = self.last_of_tables.borrow_mut();
        match last.iter_mut().find(|(name, _)| *name == table) {
            Some((_, seq)) => *seq = next,
            None => last.push((table, next)),
        }
        next
    }

    /// A number that no row of an SQL table is after.
    pub(super) fn last_of_table(&self, table: &str) -> Seq {
        let last = self.last_of_tables.borrow();
        last.iter().find(|(name, _)| *name == table).map_or(self.opened_at, |(_, seq)| *seq)
    }

    /// The last of the next numbers of a table that are looked at together, so that drivers are served
    /// between: after one number and up to another. `None` if no row comes any more. `> 0` lets SQLite
    /// see that the partial indexes hold all there is to find.
    pub(super) fn window(
        &self,
        table: &str,
        filter: &str,
        column: &str,
        (after, until): (Seq, Seq),
        numbers: Seq,
    ) -> Result<Option<Seq>> {
        let sql = format!(
            "SELECT min({column}) FROM {table} WHERE {filter} AND {column} > ?1 AND {column} > 0"
        );
        let first: Option<Seq> = self.prepare_cached(&sql)?.query_row([after], |row| row.get(0))?;
        let first = first.filter(|first| *first <= until);
        Ok(first.map(|first| until.min(first.saturating_add(numbers - 1))))
    }

    /// The last number that was given.
    pub(super) fn last_seq(&self) -> Seq {
        self.last_seq.get()
    }

    /// The next number, for a row of an SQL table that drivers load.
    pub(super) fn next_change(&self, table: &'static str) -> Seq {
        let next = self.next_seq(table);
        self.last_change.set(next);
        next
    }

    /// The last number that was given to something that drivers load, or a higher one.
    pub(super) fn last_change(&self) -> Seq {
        self.last_change.get()
    }

    /// A count that is kept in memory; counted by `sql` when it is not known.
    pub(super) fn counted(&self, known: &Cell<Option<u64>>, sql: &str) -> Result<u64> {
        if let Some(count) = known.get() {
            return Ok(count);
        }
        let count = self.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        known.set(Some(count));
        Ok(count)
    }

    /// Begins or ends a transaction; remembers if that failed.
    fn begin_or_commit(&self, sql: &str) -> Result<()> {
        self.run(sql).inspect_err(|error| {
            self.write_failure.replace(Some(error.to_string()));
        })
    }

    /// Runs a statement that begins, marks or ends a transaction.
    pub(super) fn run(&self, sql: &str) -> Result<()> {
        Ok(self.prepare_cached(sql)?.execute([]).map(drop)?)
    }
}

/// The highest number that any row has, or had when it was acknowledged.
pub(super) fn highest_seq(connection: &Connection) -> rusqlite::Result<Seq> {
    // By an index each. A chunk that is tallied gets no more rows.
    let sql = format!(
        "SELECT coalesce(max(highest), 0) FROM (
             SELECT max(seq) AS highest FROM punch
             UNION ALL SELECT max(seq) FROM operation
             UNION ALL SELECT max(seq) FROM error
             UNION ALL SELECT max(seq) FROM photo
             UNION ALL SELECT max(changed) FROM user
             UNION ALL SELECT max(changed) FROM template WHERE kind = 0
             UNION ALL SELECT max(changed) FROM template WHERE kind = 1
             UNION ALL SELECT max(changed) FROM template WHERE kind = 2
             UNION ALL SELECT max(changed) FROM template WHERE kind = 3
             UNION ALL SELECT max(changed) FROM picture WHERE kind = 0
             UNION ALL SELECT max(changed) FROM picture WHERE kind = 1
             UNION ALL SELECT max(changed) FROM card
             UNION ALL SELECT max(changed) FROM entry
             UNION ALL SELECT max(changed) FROM gone
             UNION ALL SELECT max(changed) FROM option
             UNION ALL SELECT max(mark) FROM job
             UNION ALL SELECT max(max(sent, coalesce(again_end, 0))) FROM cursor
             UNION ALL SELECT (max(chunk) + 1) * {CHUNK} - 1 FROM tally WHERE level = 0)"
    );
    connection.query_row(&sql, [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use crate::store::{Limits, Store, StoreError};

    #[test]
    fn a_failure_to_write_is_over_with_the_next_write_and_not_before() {
        let store = Store::in_memory(Limits::default());
        // It cannot begin where another transaction is open.
        store.db.run("BEGIN").unwrap();
        let nothing = || store.db.atomically(|| Ok::<_, StoreError>(()));
        assert!(nothing().is_err());
        store.db.run("ROLLBACK").unwrap();
        assert!(store.write_failure().is_some());
        nothing().unwrap();
        assert!(store.write_failure().is_some(), "nothing was written: the disk may still fail");
        store.atomically(|| store.options().set("Own", "1")).unwrap();
        assert_eq!(store.write_failure(), None);
    }
}
