//! The store: one SQLite file with the journals, the cursors, the people and the commands.
//!
//! Write-ahead log with `synchronous=FULL`: what a method has returned for is on disk. Each
//! method is one statement or is called inside [`Store::atomically`], and no transaction is ever
//! open across a wait. [`Store`] hands out one type for each subject; all of them work over one
//! connection.

mod askings;
mod audit_log;
mod biometrics;
mod capacity;
mod card_owner;
mod changes;
mod clear;
mod command_log;
#[cfg(test)]
mod crash_images;
mod cursor;
mod cursors;
mod db;
mod db_status;
mod error;
mod error_log;
mod files;
#[cfg(test)]
mod flat_costs;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guests;
mod id_cards;
mod inspect;
mod job_order;
mod jobs;
mod journal;
mod lane;
mod marker;
mod notice;
mod novelty;
#[cfg(test)]
pub(crate) mod on_statement;
mod open;
pub mod options;
mod outbox;
mod people;
#[cfg(debug_assertions)]
mod plan_check;
mod quarantine;
mod queries;
#[cfg(test)]
mod query_plans;
mod read_failure;
mod readers;
#[cfg(test)]
pub(crate) mod recorded_disk;
mod replacement;
mod retention;
mod room;
mod rows;
mod schema;
mod source;
mod stamps;
mod tables;
mod tally;
#[cfg(test)]
mod tally_model;
mod tombstones;
mod touched;
mod trial;
mod undated;
mod wal;
mod withheld;
#[cfg(debug_assertions)]
mod work;

pub use askings::{AnswerKind, Askings, ClockReading};
pub use audit_log::{Audit, AuditLog};
pub use biometrics::{Biometrics, TemplateKey};
pub use capacity::Capacity;
pub use changes::{Change, Changes};
pub use clear::{Cleared, Clearing};
pub use command_log::{CommandLog, CommandState, Due, KnownCommand};
pub use db::Limits;
pub use error::{Result, StoreError};
pub use error_log::{ErrorRows, MOST_ERRORS};
pub(crate) use files::{replace, sync_directory};
pub use guests::{Guests, Stay};
pub use id_cards::IdCards;
pub use inspect::{Inspection, free_bytes, inspect};
pub use jobs::{Download, Job, Jobs};
pub use journal::Journal;
pub use lane::{Lane, Stage};
pub use options::Options;
pub use outbox::Outbox;
pub use people::People;
pub use quarantine::{Cause, Quarantine, RefusedRow};
pub use queries::{Asked, Queries, Query};
pub use replacement::Replacement;
pub use retention::Retention;
pub use room::Room;
pub use rows::{
    Backlog, Batch, Content, LastChange, Moment, NewOperation, NewPhoto, NewPunch, NewRows, Origin,
    Outgoing, Pass, PendingRow, Seq, WithCard,
};
pub use schema::{READABLE_FROM, VERSION as SCHEMA_VERSION};
pub use stamps::{Stamp, Stamps};
pub use tables::Tables;
pub use trial::{Trial, TrialState};
pub use undated::{Known, Undated};

use std::path::{Path, PathBuf};
use std::time::Duration;

use db::Db;
use marker::{End, Marker};
use tally::Tally;

/// How long rows of an earlier version are tallied when the store is opened: nearly always that is all.
const TALLIED_AT_START: Duration = Duration::from_millis(10);

/// The store. Used by one thread; every method takes `&self`.
pub struct Store {
    db: Db,
    /// Whether the marker beside the store says how it was closed.
    is_marked: bool,
}

/// What was lost of the store that ran before, for people.
pub type Loss = String;

/// A store that is closed has no log. The marker says so first: a log that is missing later is none
/// that was lost.
impl Drop for Store {
    fn drop(&mut self) {
        if self.is_marked {
            let end = if error::damage_seen() { End::Damaged } else { End::Closed };
            marker::mark_end(&self.db, end);
        }
    }
}

impl Store {
    /// Opens the store, makes it if it is not there, and brings it to this version.
    ///
    /// # Errors
    /// A file that is damaged, foreign, in use or of a later version is left untouched.
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        let store = Self::open_checked(path, limits, false)?;
        open::keeps_log(store.db.connection(), false)?;
        Ok(store)
    }

    /// The same for the daemon: compares the store with the one that ran before, and returns what was
    /// lost since then. That is in the notice, too.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_marked(path: &Path, limits: Limits) -> Result<(Self, Option<Loss>)> {
        let marker = Marker::read(path);
        let loss = marker::look(path, marker.as_ref());
        // Damage that was found while punchd ran may be where a start does not look.
        let check_all = marker.as_ref().is_some_and(|marker| marker.end() == End::Damaged);
        let mut store = Self::open_checked(path, limits, check_all)?;
        let loss = match (loss, &marker) {
            (None, Some(marker)) => marker::compare(&store.db, marker)?,
            (loss, _) => loss,
        };
        if let Some(loss) = &loss {
            // Once the store is marked, nothing else would show it to a start after a power cut.
            Self::add_notice(path, loss);
        }
        marker::mark_open(&store.db)?;
        open::keeps_log(store.db.connection(), false)?;
        store.is_marked = true;
        Ok((store, loss))
    }

    /// An empty one in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(limits: Limits) -> Self {
        Self::open(Path::new(":memory:"), limits).expect("memory can be had")
    }

    fn open_checked(path: &Path, limits: Limits, check_all: bool) -> Result<Self> {
        let connection = open::open(path, check_all)?;
        // The indexes of a large store, which was not checked as a whole, are first read here.
        let db = Db::new(connection, path.into(), limits)?;
        Tally::new(&db).catch_up_for(TALLIED_AT_START);
        let store = Self { db, is_marked: false };
        if let Err(error) = store.atomically(|| store.options().number_all()) {
            // Drivers do not load them by `changes` then; the next start tries it again.
            log::warn!("options of an earlier version were not numbered: {error}");
        }
        Ok(store)
    }

    /// Makes the log as large as it gets, so that punches need not. For who will write much, and
    /// not before it is known that they will: it writes 1.1 MB to the flash each time.
    pub fn fill_log(&self) {
        if let Err(error) = wal::make_room(&self.db.path) {
            // The log then grows as it is written, which costs more writes.
            log::debug!("the write-ahead log was not made to its full size: {error}");
        }
    }

    /// Renames a damaged store and what belongs to it. Returns the new name of the file.
    pub fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
        open::set_aside(path)
    }

    /// How many stores were set aside beside this one.
    pub fn count_set_aside(path: &Path) -> usize {
        open::count_set_aside(path)
    }

    /// Whether SQLite found damage while the store was in use, and not only a read at which the disk
    /// failed.
    pub fn is_damaged(&self) -> bool {
        error::damage_seen() && read_failure::last(self.db.connection()).is_none()
    }

    /// Adds a loss to the file beside the store at `path` that says what was lost, which stays until a
    /// person removes it.
    pub fn add_notice(path: &Path, loss: &str) {
        if let Err(error) = notice::add(path, loss) {
            log::error!("the notice of what was lost cannot be written: {error}");
        }
    }

    /// The losses in the file that a person has not removed yet, and its name.
    pub fn notice(&self) -> Option<(String, PathBuf)> {
        let losses = notice::read(&self.db.path)?;
        Some((losses.lines().collect::<Vec<_>>().join("; "), notice::file(&self.db.path)))
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.db.path
    }

    /// Runs `work` in one transaction: all of it is on disk when this returns `Ok`, none of
    /// it otherwise.
    pub fn atomically<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.db.atomically(|| {
            let before = self.db.connection().total_changes();
            let value = work()?;
            if self.db.connection().total_changes() > before {
                Tally::new(&self.db).catch_up_for(Duration::ZERO);
            }
            Ok(value)
        })
    }

    /// Drivers are looked at now: a piece of work that took longer than the budget is an error in the
    /// log.
    #[cfg(debug_assertions)]
    pub fn end_work(&self) {
        self.db.end_work();
    }

    /// Why nothing can be written, as long as nothing was since that failed.
    pub fn write_failure(&self) -> Option<String> {
        self.db.write_failure()
    }

    /// The last number that was given: what changes from now on has a higher one.
    pub fn high_water_mark(&self) -> Seq {
        self.db.last_seq()
    }

    /// Punches, operations and attendance photos as they happened.
    pub fn journal(&self) -> Journal<'_> {
        Journal::new(&self.db)
    }

    /// Rows that wait for the clock or the zone.
    pub fn undated(&self) -> Undated<'_> {
        Undated::new(&self.db)
    }

    /// The error log (§11.16).
    pub fn error_log(&self) -> ErrorRows<'_> {
        ErrorRows::new(&self.db)
    }

    /// The users.
    pub fn people(&self) -> People<'_> {
        People::new(&self.db)
    }

    /// Their templates and pictures.
    pub fn biometrics(&self) -> Biometrics<'_> {
        Biometrics::new(&self.db)
    }

    /// Who is here for some time only (§14).
    pub fn guests(&self) -> Guests<'_> {
        Guests::new(&self.db)
    }

    /// The identity cards (§11.6).
    pub fn id_cards(&self) -> IdCards<'_> {
        IdCards::new(&self.db)
    }

    /// The small tables of §12.2.9 to §12.2.18.
    pub fn tables(&self) -> Tables<'_> {
        Tables::new(&self.db)
    }

    /// What sensors have to load.
    pub fn changes(&self) -> Changes<'_> {
        Changes::new(&self.db)
    }

    /// What goes up to the server.
    pub fn outbox(&self) -> Outbox<'_> {
        Outbox::new(&self.db)
    }

    /// What is known of the server's stamps.
    pub fn stamps(&self) -> Stamps<'_> {
        Stamps::new(&self.db)
    }

    /// The rows that the server refuses.
    pub fn quarantine(&self) -> Quarantine<'_> {
        Quarantine::new(&self.db)
    }

    /// The queries that are being answered (§12.4).
    pub fn queries(&self) -> Queries<'_> {
        Queries::new(&self.db)
    }

    /// From now on the file grows no more, as on a full disk; or as it likes again.
    #[cfg(test)]
    pub(crate) fn set_full(&self, is_full: bool) {
        let most = if is_full { 1 } else { u32::MAX - 1 };
        let sql = format!("PRAGMA max_page_count = {most}");
        self.db.connection().query_row(&sql, [], |_| Ok(())).unwrap();
    }

    /// How many rows were written since the store was opened, those of triggers included.
    #[cfg(test)]
    pub(crate) fn rows_written(&self) -> u64 {
        self.db.connection().total_changes()
    }

    /// What was asked, and what the server still has to be told.
    pub fn command_log(&self) -> CommandLog<'_> {
        CommandLog::new(&self.db)
    }

    /// What was asked that matters to the owner.
    pub fn audit_log(&self) -> AuditLog<'_> {
        AuditLog::new(&self.db)
    }

    /// Commands that go on beyond their command list.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs::new(&self.db)
    }

    /// Options, and the little that must survive a restart.
    pub fn options(&self) -> Options<'_> {
        Options::new(&self.db)
    }

    /// How much is kept.
    pub fn retention(&self) -> Retention<'_> {
        Retention::new(&self.db)
    }
}
