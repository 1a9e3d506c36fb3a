//! The store: one SQLite file with the journals, the cursors, the people and the commands.
//!
//! Write-ahead log with `synchronous=FULL`: what a method has returned for is on disk. Each
//! method is one statement or is called inside [`Store::atomically`], and none is ever open
//! across a wait.

mod audit;
mod biometrics;
mod changes;
mod commands;
mod cursor;
mod documents;
mod entries;
mod error;
mod guests;
mod jobs;
mod journal;
pub mod options;
mod people;
mod quarantine;
mod query;
mod retention;
mod schema;
mod source;
mod stamp;
mod wal;

pub use audit::Audit;
pub use biometrics::{FORMS, TemplateKey};
pub use changes::Change;
pub use commands::{Begun, Due};
pub use cursor::{Batch, Content, Pass, Pending, PendingRow};
pub use documents::NewPhoto;
pub use error::{Result, StoreError};
pub use guests::Stay;
pub use jobs::{Download, Job, Lane, Stage};
pub use journal::{Moment, NewOperation, NewPunch, WithCard};
pub use people::Origin;
pub use quarantine::Quarantined;
pub use query::{Asked, Query};
pub use retention::{Limits, Room};
pub use stamp::Stamp;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

/// The number of a row in the store's one sequence.
pub type Seq = i64;

/// Bytes of a database page. A punch changes one page or two, and each is written whole
/// (see `docs/architecture.md` for the measured choice).
const PAGE_SIZE: u32 = 1024;
/// KiB of pages kept in memory.
const CACHE_KIB: i32 = 256;
/// Largest file that is checked whole at start; a larger one is checked as it is read.
const CHECKED_AT_START: u64 = 32 << 20;

/// The store. Used by one thread; every method takes `&self`.
pub struct Store {
    db: Connection,
    path: PathBuf,
    last_seq: Cell<Seq>,
    last_change: Cell<Seq>,
    counts: Counts,
    limits: Limits,
    /// Streams in which nothing was found between two numbers.
    looked: RefCell<BTreeMap<&'static str, (Seq, Seq)>>,
    /// Why no new punch can be taken, while none can.
    full: RefCell<Option<String>>,
    /// Whether that was told.
    alarmed: Cell<bool>,
    /// Why nothing can be written, while that is so.
    failing: RefCell<Option<String>>,
}

/// Counts that would cost a scan each time; `None` until they are asked for.
#[derive(Default)]
struct Counts {
    users: Cell<Option<u64>>,
    punches: Cell<Option<u64>>,
    jobs: Cell<Option<u64>>,
    errors: Cell<Option<u64>>,
    guests: Cell<Option<u64>>,
    gone: Cell<Option<u64>>,
}

impl Counts {
    fn forget(&self) {
        let Self { users, punches, jobs, errors, guests, gone } = self;
        [users, punches, jobs, errors, guests, gone].into_iter().for_each(|count| count.set(None));
    }
}

impl Store {
    /// Opens the store, makes it if it is not there, and brings it to this version.
    ///
    /// # Errors
    /// A file that is damaged, foreign, in use or of a later version is left untouched.
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        let open =
            |error: rusqlite::Error| StoreError::Open { path: path.into(), why: error.to_string() };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(open)?;
        // Nothing is written before it is known whose file this is. That is read with little
        // memory, too: SQLite's own measure is 2 MB.
        let first = format!("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -{CACHE_KIB};");
        db.execute_batch(&first).map_err(|error| classify(error, path))?; // reads the file
        let version = examine(&db, path)?;
        prepare(&db, path).map_err(|error| classify(error, path))?;
        if version < schema::VERSION {
            schema::migrate(&db, version).map_err(|error| classify(error, path))?;
        }
        let store = Self {
            db,
            path: path.into(),
            last_seq: Cell::new(0),
            last_change: Cell::new(0),
            counts: Counts::default(),
            limits,
            looked: RefCell::default(),
            full: RefCell::default(),
            alarmed: Cell::new(false),
            failing: RefCell::default(),
        };
        // The indexes of a large store, which was not checked as a whole, are first read here.
        store.last_seq.set(store.highest_seq().map_err(|error| classify(error, path))?);
        store.last_change.set(store.last_seq.get());
        Ok(store)
    }

    /// Makes the log as large as it gets, so that punches need not. For who will write much, and
    /// not before it is known that they will: it is 1.1 MB on the flash each time.
    pub fn fill_log(&self) {
        if let Err(error) = wal::make_room(&self.path) {
            // It grows as it is written, then, which costs more writes.
            log::debug!("the store's log is not made to its size: {error}");
        }
    }

    /// Renames a damaged store and what belongs to it. Returns the new name of the file.
    pub fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let aside = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let damaged = aside(&format!(".damaged-{seconds}"));
        for suffix in ["-wal", "-shm"] {
            let mut to = damaged.clone().into_os_string();
            to.push(suffix);
            match std::fs::rename(aside(suffix), to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(path, &damaged)?;
        Ok(damaged)
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one transaction: all of it is on disk when this returns `Ok`, none of
    /// it otherwise.
    pub fn atomically<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.attempt("BEGIN IMMEDIATE")?;
        let before = self.db.total_changes();
        let done = work().and_then(|value| {
            self.attempt("COMMIT")?;
            if self.db.total_changes() > before {
                self.failing.take();
            }
            Ok(value)
        });
        if done.is_err() {
            self.counts.forget();
            // A full disk rolls back by itself; asking again would be an error of its own.
            if !self.db.is_autocommit() {
                self.run("ROLLBACK")?;
            }
        }
        done
    }

    /// Begins or ends a transaction; remembers if that failed.
    fn attempt(&self, sql: &str) -> Result<()> {
        self.run(sql).inspect_err(|error| {
            self.failing.replace(Some(error.to_string()));
        })
    }

    /// Why nothing can be written, as long as nothing was since that failed.
    pub fn is_failing(&self) -> Option<String> {
        self.failing.borrow().clone()
    }

    fn counted(&self, known: &Cell<Option<u64>>, sql: &str) -> Result<u64> {
        if let Some(count) = known.get() {
            return Ok(count);
        }
        let count = self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        known.set(Some(count));
        Ok(count)
    }

    /// The next number of the sequence. Held in memory and found again at start, so that
    /// counting costs no write; a number given to a row that was never committed may be
    /// given again.
    fn next_seq(&self) -> Seq {
        self.last_seq.set(self.last_seq.get() + 1);
        self.last_seq.get()
    }

    fn highest_seq(&self) -> rusqlite::Result<Seq> {
        self.db.query_row(
            "SELECT max(
                (SELECT coalesce(max(seq), 0) FROM punch),
                (SELECT coalesce(max(seq), 0) FROM operation),
                (SELECT coalesce(max(changed), 0) FROM user),
                (SELECT coalesce(max(changed), 0) FROM template),
                (SELECT coalesce(max(changed), 0) FROM picture),
                (SELECT coalesce(max(changed), 0) FROM card),
                (SELECT coalesce(max(changed), 0) FROM entry),
                (SELECT coalesce(max(changed), 0) FROM gone),
                (SELECT coalesce(max(seq), 0) FROM photo),
                (SELECT coalesce(max(seq), 0) FROM error),
                (SELECT coalesce(max(mark), 0) FROM job),
                (SELECT coalesce(max(max(sent, coalesce(again_end, 0))), 0) FROM cursor))",
            [],
            |row| row.get(0),
        )
    }

    fn run(&self, sql: &str) -> Result<()> {
        Ok(self.db.prepare_cached(sql)?.execute([]).map(drop)?)
    }
}

/// Settings of the connection. The exclusive lock keeps a second punchd away, and makes the
/// write-ahead log work on file systems without shared memory.
fn prepare(db: &Connection, path: &Path) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        db.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_SIZE}; PRAGMA auto_vacuum = INCREMENTAL;"
        ))?;
    }
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         BEGIN IMMEDIATE; COMMIT;",
    )
}

/// Whose file it is, and of which version. Looks before anything is written.
fn examine(db: &Connection, path: &Path) -> Result<i64> {
    let pragma = |name: &str| -> Result<i64> {
        db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
            .map_err(|error| classify(error, path))
    };
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let damaged = |why: String| StoreError::Damaged { path: path.into(), why };
    let is_empty = pragma("schema_version")? == 0;
    if !is_empty && application != schema::APPLICATION_ID {
        return Err(damaged("it is a database of some other program".into()));
    }
    if version > schema::VERSION {
        return Err(StoreError::Newer { path: path.into(), found: version });
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_AT_START) {
        let found: String = db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| classify(error, path))?;
        if found != "ok" {
            return Err(damaged(found));
        }
    }
    Ok(version)
}

fn classify(error: rusqlite::Error, path: &Path) -> StoreError {
    use rusqlite::ErrorCode::{
        DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
    };
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => StoreError::InUse { path },
        Some(NotADatabase | DatabaseCorrupt) => {
            StoreError::Damaged { path, why: error.to_string() }
        }
        Some(DiskFull) => StoreError::Full,
        _ => StoreError::Open { path, why: error.to_string() },
    }
}
