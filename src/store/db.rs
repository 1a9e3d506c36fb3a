//! The connection to the SQLite file: transactions, the sequence of numbers, the counts that are
//! kept in memory. Every subject of the store works over one [`Db`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rusqlite::Connection;

use super::error::{Result, StoreError};
use super::rows::Seq;
use super::source::Source;
use super::touched::Touched;
#[cfg(debug_assertions)]
use super::work::{Counted, Work};
use crate::protocol::stream::Stream;

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
    pub(super) counts: Counts,
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
    /// What was done since drivers were looked at.
    #[cfg(debug_assertions)]
    work: Work,
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
    /// With the number of the last change that drivers load.
    pub(super) fingerprints: Cell<Option<(Seq, u64)>>,
    pub(super) faces: Cell<Option<(Seq, u64)>>,
}

impl Counts {
    pub(super) fn forget(&self) {
        let Self { users, touched, errors, guests, tombstones, refused_rows, fingerprints, faces } =
            self;
        fingerprints.set(None);
        faces.set(None);
        touched.replace(None);
        for count in [users, errors, guests, tombstones, refused_rows] {
            count.set(None);
        }
    }
}

impl Db {
    /// Takes a connection to a store of this version, and finds the last number of it.
    pub(super) fn new(connection: Connection, path: PathBuf, limits: Limits) -> Result<Self> {
        let last = highest_seq(&connection)?;
        Ok(Self {
            connection,
            path,
            limits,
            last_seq: Cell::new(last),
            last_change: Cell::new(last),
            counts: Counts::default(),
            looked: RefCell::default(),
            unmeasured: Unmeasured::default(),
            rest_refused: Cell::new(false),
            jobs_refused: Cell::new(false),
            withheld: RefCell::default(),
            full: RefCell::default(),
            full_reported: Cell::new(false),
            unvoided: RefCell::default(),
            write_failure: RefCell::default(),
            #[cfg(debug_assertions)]
            work: Work::default(),
        })
    }

    /// Runs `work` in one transaction: all of it is on disk when this returns `Ok`, none of
    /// it otherwise.
    pub(super) fn atomically<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.begin_or_commit("BEGIN IMMEDIATE")?;
        let before = self.connection.total_changes();
        let done = work().and_then(|value| {
            self.begin_or_commit("COMMIT")?;
            if self.connection.total_changes() > before {
                self.write_failure.take();
            }
            Ok(value)
        });
        if done.is_err() {
            self.counts.forget();
            // A full disk rolls back by itself; a second ROLLBACK would be an error.
            if !self.connection.is_autocommit() {
                self.run("ROLLBACK")?;
            }
        }
        done
    }

    /// Why nothing can be written, as long as nothing was since that failed.
    pub(super) fn write_failure(&self) -> Option<String> {
        self.write_failure.borrow().clone()
    }

    /// A statement, kept for the next time.
    pub(super) fn prepare_cached(&self, sql: &str) -> rusqlite::Result<Counted<'_>> {
        let statement = self.connection.prepare_cached(sql)?;
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

    /// The next number of the sequence. Held in memory and found again at start, so that
    /// counting costs no write; a number given to a row that was never committed may be
    /// given again.
    pub(super) fn next_seq(&self) -> Seq {
        self.last_seq.set(self.last_seq.get() + 1);
        self.last_seq.get()
    }

    /// The last number that was given.
    pub(super) fn last_seq(&self) -> Seq {
        self.last_seq.get()
    }

    /// The next number, for something that drivers load.
    pub(super) fn next_change(&self) -> Seq {
        self.last_change.set(self.next_seq());
        self.last_change.get()
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

    fn run(&self, sql: &str) -> Result<()> {
        Ok(self.prepare_cached(sql)?.execute([]).map(drop)?)
    }
}

/// The highest number that any row has, or had when it was acknowledged.
pub(super) fn highest_seq(connection: &Connection) -> rusqlite::Result<Seq> {
    let streams = Stream::ALL.map(Source::of).map(|source| (source.table, source.resend));
    let others =
        [("entry", "changed"), ("gone", "changed"), ("option", "changed"), ("job", "mark")];
    let columns: BTreeSet<(&str, &str)> = streams.into_iter().chain(others).collect();
    let highest = |(table, column)| format!("(SELECT coalesce(max({column}), 0) FROM {table})");
    let highest: Vec<String> = columns.into_iter().map(highest).collect();
    let sql = format!(
        "SELECT max({}, (SELECT coalesce(max(max(sent, coalesce(again_end, 0))), 0) FROM cursor))",
        highest.join(", ")
    );
    connection.query_row(&sql, [], |row| row.get(0))
}
