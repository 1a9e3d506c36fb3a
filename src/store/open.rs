//! Opening the file: whose it is, whether it is whole, and its settings.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::error::{Result, StoreError};
use super::schema;

/// Bytes of a database page. A punch changes one page or two, and each is written whole
/// (`docs/measurements.md` has the measured choice).
const PAGE_SIZE: u32 = 1024;
/// KiB of pages kept in memory.
const CACHE_KIB: i32 = 256;
/// Largest file that is checked whole at start; a larger one is checked as it is read.
const CHECKED_AT_START: u64 = 32 << 20;

/// Opens the file, makes it if it is not there, and brings it to this version.
///
/// # Errors
/// A file that is damaged, foreign, in use or of a later version is left untouched.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let failed =
        |error: rusqlite::Error| StoreError::Open { path: path.into(), why: error.to_string() };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // Nothing is written before it is known whose file this is. That is read with little
    // memory, too: SQLite's own default is 2 MB.
    let first = format!("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -{CACHE_KIB};");
    connection.execute_batch(&first).map_err(|error| classify(error, path))?; // reads the file
    let version = examine(&connection, path)?;
    prepare(&connection, path).map_err(|error| classify(error, path))?;
    if version < schema::VERSION {
        schema::migrate(&connection, version).map_err(|error| classify(error, path))?;
    }
    Ok(connection)
}

/// Renames a damaged store and what belongs to it. Returns the new name of the file.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
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

/// Settings of the connection. The exclusive lock keeps a second punchd away, and makes the
/// write-ahead log work on file systems without shared memory.
fn prepare(db: &Connection, path: &Path) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        db.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_SIZE}; PRAGMA auto_vacuum = INCREMENTAL;"
        ))?;
    }
    // A large transaction makes the log large; afterwards it is cut to its usual size.
    db.execute_batch(&format!("PRAGMA journal_size_limit = {};", super::wal::ROOM))?;
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

pub(super) fn classify(error: rusqlite::Error, path: &Path) -> StoreError {
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
