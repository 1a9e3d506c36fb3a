//! Opening the file: whose it is, whether it is whole, and its settings.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::time::{ClockId, clock_gettime};

use super::error::{Result, StoreError};
use super::files::{beside, sync_directory};
use super::{read_failure, schema};

/// Bytes of a database page. A punch changes one page or two, and each is written whole
/// (`docs/measurements.md` has the measured choice).
const PAGE_SIZE: u32 = 1024;
/// KiB of pages kept in memory.
const CACHE_KIB: i32 = 256;
/// Largest file that is checked whole at start; a larger one is checked as it is read.
const CHECKED_AT_START: u64 = 32 << 20;

/// Opens the file, makes it if it is not there, and brings it to this version. A large file is checked
/// if `check_all`.
///
/// # Errors
/// A file that is damaged, foreign, in use, or of a later version that this one cannot go on with, is left untouched.
pub(super) fn open(path: &Path, check_all: bool) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    make_private(path)?;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| classify(error, path))?;
    let failed = |error| failure(error, &connection, path);
    // A start that fails leaves the log: without it the next one would take it for lost.
    keeps_log(&connection, true).map_err(failed)?;
    // Nothing is written before it is known whose file this is. That is read with little
    // memory, too: SQLite's own default is 2 MB.
    let first = format!("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -{CACHE_KIB};");
    connection.execute_batch(&first).map_err(failed)?; // reads the file
    let version = examine(&connection, path, check_all)?;
    prepare(&connection, path).map_err(failed)?;
    if version < schema::VERSION {
        schema::migrate(&connection, version).map_err(failed)?;
    }
    Ok(connection)
}

/// Makes the file if it is not there: nobody but its owner can read a new one, nor the files that SQLite
/// puts beside it, which have the same mode.
fn make_private(path: &Path) -> Result<()> {
    if path == Path::new(":memory:") {
        return Ok(());
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::Open { path: path.into(), why: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Whether the log stays when the connection is closed.
pub(super) fn keeps_log(connection: &Connection, keeps: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps).map(drop)
}

/// Renames a damaged store and what belongs to it. Returns the new name of the file. The log goes
/// first: SQLite would delete a log without a store.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let damaged = free_name(path).ok_or_else(|| io::Error::other("no name is free for it"))?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::rename(beside(path, suffix), beside(&damaged, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, &damaged)?;
    sync_directory(path)?;
    Ok(damaged)
}

/// A name for a store that is set aside, which no file has.
pub(super) fn free_name(path: &Path) -> Option<PathBuf> {
    let seconds = clock_gettime(ClockId::Realtime).tv_sec.max(0);
    let names = (0..100).map(|more| beside(path, &format!(".damaged-{}", seconds + more)));
    let is_free = |name: &PathBuf| !name.exists() && !beside(name, "-wal").exists();
    names.into_iter().find(is_free)
}

/// How many stores are set aside beside this one.
pub(super) fn count_set_aside(path: &Path) -> usize {
    let Some(name) = path.file_name() else { return 0 };
    let start = format!("{}.damaged-", name.to_string_lossy());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let files = std::fs::read_dir(parent.unwrap_or(Path::new("."))).into_iter().flatten();
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let stores: BTreeSet<String> = names
        .filter(|name| name.starts_with(&start))
        .map(|name| name.trim_end_matches("-wal").trim_end_matches("-shm").to_owned())
        .collect();
    stores.len()
}

/// Settings of the connection. The exclusive lock keeps a second punchd away, and makes the
/// write-ahead log work on file systems without shared memory.
fn prepare(db: &Connection, path: &Path) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    // Otherwise SQLite parses a statement anew with each value that is compared with a partial index.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        db.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_SIZE}; PRAGMA auto_vacuum = INCREMENTAL;"
        ))?;
    }
    // A large transaction makes the log large; afterwards it is cut to its usual size.
    db.execute_batch(&format!("PRAGMA journal_size_limit = {};", super::wal::ROOM))?;
    use_log(db)?;
    db.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         BEGIN IMMEDIATE; COMMIT;",
    )
}

/// Switches to the write-ahead log. The answer, a row, comes before the commit: whether that failed is known
/// after the row only, and if it did, the connection goes on with another journal.
fn use_log(db: &Connection) -> rusqlite::Result<()> {
    let mut switch = db.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = switch.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Whose file it is, and of which version. Looks before anything is written.
pub(super) fn examine(db: &Connection, path: &Path, check_all: bool) -> Result<i64> {
    let pragma = |name: &str| -> Result<i64> {
        db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
            .map_err(|error| failure(error, db, path))
    };
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let damaged = |why: String| StoreError::Damaged { path: path.into(), why };
    let is_empty = pragma("schema_version")? == 0;
    if !is_empty && application != schema::APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.into() });
    }
    if version < 0 {
        return Err(damaged(format!("its version is {version}")));
    }
    if version > schema::VERSION
        && !schema::is_readable(db).map_err(|error| failure(error, db, path))?
    {
        return Err(StoreError::Newer { path: path.into(), found: version });
    }
    if check_all || std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_AT_START) {
        let begun = Instant::now();
        let found: String = db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| failure(error, db, path))?;
        log::info!("the store was checked in {} ms", begun.elapsed().as_millis());
        if found != "ok" {
            return Err(match disk_error(&found, path).or_else(|| read_failure::any(db)) {
                Some(why) => StoreError::Disk { path: path.into(), why },
                None => damaged(found),
            });
        }
    }
    Ok(version)
}

/// What a failure of a connection means while its store is opened.
pub(super) fn failure(error: rusqlite::Error, connection: &Connection, path: &Path) -> StoreError {
    match (classify(error, path), read_failure::last(connection)) {
        (StoreError::Damaged { path, .. }, Some(why)) => StoreError::Disk { path, why },
        (error, _) => error,
    }
}

/// The same where there is no connection.
pub(super) fn classify(error: rusqlite::Error, path: &Path) -> StoreError {
    use rusqlite::ErrorCode::{
        DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase, SystemIoFailure,
    };
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => StoreError::InUse { path: path.into() },
        Some(NotADatabase | DatabaseCorrupt) => match unreadable(path) {
            Some(why) => StoreError::Disk { path: path.into(), why },
            None => StoreError::Damaged { path: path.into(), why },
        },
        Some(SystemIoFailure) => {
            let why = unreadable(path).unwrap_or(why);
            StoreError::Disk { path: path.into(), why }
        }
        _ => StoreError::Open { path: path.into(), why: refused(path).unwrap_or(why) },
    }
}

/// Whether a finding of the check is an error of the disk: it then has the code of an error of
/// input or output in place of a damage.
fn disk_error(found: &str, path: &Path) -> Option<String> {
    const IO_ERROR: u32 = 10;
    let code = found.rsplit_once("code").map(|(_, code)| code.trim_matches([' ', '=', ':']));
    let code: Option<u32> = code.and_then(|code| code.split(' ').next()?.parse().ok());
    let is_io_error = code.is_some_and(|code| code & 0xff == IO_ERROR);
    unreadable(path).or_else(|| is_io_error.then(|| found.to_owned()))
}

/// What keeps the files of the store from being read from the first byte to the last.
fn unreadable(path: &Path) -> Option<String> {
    let read = |file: &Path| -> io::Result<()> {
        let mut file = match File::open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let mut buffer = vec![0; 64 << 10];
        while file.read(&mut buffer)? > 0 {}
        Ok(())
    };
    let files = [path.to_owned(), beside(path, "-wal")];
    files.iter().find_map(|file| {
        let error = read(file).err()?;
        Some(format!("{} cannot be read: {error}", file.display()))
    })
}

/// What the system says when a file of the store is opened for writing.
fn refused(path: &Path) -> Option<String> {
    let files = [path.to_owned(), beside(path, "-wal")];
    files.iter().find_map(|file| {
        let error = OpenOptions::new().read(true).append(true).open(file).err()?;
        match error.kind() {
            io::ErrorKind::NotFound => None,
            _ => Some(format!("{}: {error}", file.display())),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_a_fault_of_the_disk_and_no_damage() {
        let place = std::env::temp_dir().join(format!("punchd-open-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let path = place.join("punchd.db");
        let malformed = "database disk image is malformed";
        fs::write(&path, "these are no pages of SQLite's").unwrap();
        assert!(matches!(open(&path, true), Err(StoreError::Damaged { .. })));
        assert_eq!(disk_error(malformed, &path), None);
        // Nobody can read what is in the place of the log; a bad block is the same to a program.
        let log = beside(&path, "-wal");
        fs::create_dir(&log).unwrap();
        let why = disk_error(malformed, &path);
        fs::remove_dir_all(&place).unwrap();
        let expected = format!("{} cannot be read: Is a directory (os error 21)", log.display());
        assert_eq!(why, Some(expected));
    }
}
