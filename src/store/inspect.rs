//! A look at a store of which no punchd runs: whose it is, whether it is whole, its version. Nothing is
//! written, neither into the store nor beside it.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::error::{Result, StoreError};
use super::files::beside;
use super::options::ZONE;
use super::{capacity, open, schema};

/// What is known of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Its version, and that of this program: a start brings an older one up to date.
    pub version: (i64, i64),
    /// Bytes of the file and its log.
    pub bytes: u64,
    /// The time zone that the server named last, as [`ZONE`] has it.
    pub zone: Option<String>,
}

/// Looks at a store that no process uses; nothing if there is none yet.
///
/// # Errors
/// It cannot be read, is damaged, is of another program or of a later version.
pub fn inspect(path: &Path) -> Result<Option<Inspection>> {
    match path.metadata() {
        Ok(file) if file.len() == 0 => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::Open { path: path.into(), why: error.to_string() }),
    }
    let log = beside(path, "-wal").metadata().map_or(0, |log| log.len());
    let failed = |error| open::classify(error, path);
    let db = connection(path, log > 0).map_err(failed)?;
    let version = open::examine(&db, path, false)?;
    let zone = db
        .query_row("SELECT value FROM option WHERE key = ?1", [ZONE], |row| row.get(0))
        .optional()
        .unwrap_or_default(); // an early version has no such table
    let bytes = path.metadata().map_or(0, |file| file.len()) + log;
    Ok(Some(Inspection { version: (version, schema::VERSION), bytes, zone }))
}

/// Bytes that are free on the file system of a store, for who runs punchd; none if the system does
/// not say.
pub fn free_bytes(store: &Path) -> Option<u64> {
    Some(capacity::Disk::of(store).free).filter(|free| *free != u64::MAX)
}

/// A connection that reads. With a log: it is read into memory (`locking_mode`), under no lock, for
/// which a file that is only read would not do (`unix-none`). Without one SQLite would make an empty
/// log, unless the file cannot change (`immutable`).
fn connection(path: &Path, has_log: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = match has_log {
        true => Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?,
        false => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(format!("file:{}?immutable=1", escaped(path)), flags)?
        }
    };
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = 1;")?;
    Ok(db)
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut uri, byte| {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push((*byte).into()),
            byte if byte.is_ascii_alphanumeric() => uri.push((*byte).into()),
            // Writing to a String cannot fail.
            byte => drop(write!(uri, "%{byte:02X}")),
        }
        uri
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::store::{Limits, Store};

    /// A directory that goes away with the test.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("punchd inspect?{name}%20-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn store(&self) -> PathBuf {
            self.0.join("punchd.db")
        }

        /// Every file, with its bytes.
        fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
            let paths = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
            paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_store_is_looked_at_and_no_byte_changes() {
        let dir = Dir::new("whole");
        assert_eq!(inspect(&dir.store()).unwrap(), None);
        assert!(dir.files().is_empty());
        // While it is open, all of it is in the log; as after a power cut.
        let limits = Limits { users: 10, punches: 10, bytes: 1 << 20, free: 0 };
        let store = Store::open(&dir.store(), limits).unwrap();
        store.options().set(ZONE, "3600").unwrap();
        let cut = Dir::new("cut");
        for (path, bytes) in dir.files() {
            fs::write(cut.0.join(path.file_name().unwrap()), bytes).unwrap();
        }
        drop(store);
        assert!(cut.files().contains_key(&cut.0.join("punchd.db-wal")));
        assert!(!dir.files().contains_key(&dir.0.join("punchd.db-wal")));
        for dir in [&dir, &cut] {
            let before = dir.files();
            let found = inspect(&dir.store()).unwrap().unwrap();
            assert_eq!(found.version, (schema::VERSION, schema::VERSION));
            assert_eq!(found.zone.as_deref(), Some("3600"));
            assert_eq!(dir.files(), before);
        }
        assert!(free_bytes(&dir.store()).is_some());
    }

    #[test]
    fn what_is_no_whole_store_is_told() {
        let dir = Dir::new("damaged");
        fs::write(dir.store(), "no database, and long enough to be read as one".repeat(100))
            .unwrap();
        assert!(matches!(inspect(&dir.store()), Err(StoreError::Damaged { .. })));
        fs::remove_file(dir.store()).unwrap();
        let other = Connection::open(dir.store()).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        let before = dir.files();
        assert!(matches!(inspect(&dir.store()), Err(StoreError::Foreign { .. })));
        assert_eq!(dir.files(), before);
    }
}
