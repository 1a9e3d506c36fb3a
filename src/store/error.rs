//! Failures of the store, with messages that say what to do.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::ErrorCode;

/// Whether SQLite found the store of this process to be damaged.
static DAMAGE_SEEN: AtomicBool = AtomicBool::new(false);

/// Whether SQLite found the store of this process to be damaged while it ran.
pub(super) fn damage_seen() -> bool {
    DAMAGE_SEEN.load(Ordering::Relaxed)
}

/// A failure of the store.
#[derive(Debug)]
pub enum StoreError {
    /// The file could not be opened or made.
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// Another process holds the file.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a store, or is damaged.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The disk could not be read or written while the file was opened. The file may be whole.
    Disk {
        /// The file.
        path: PathBuf,
        /// What failed.
        why: String,
    },
    /// The file is a database of another program.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version of punchd.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
    },
    /// The disk is full.
    Full,
    /// A limit is reached, and nothing may be dropped for it.
    NoRoom(String),
    /// What is no punch has no room: the rest is kept for punches. Says why.
    PartFull(String),
    /// As many users are on the terminal as may be.
    TooManyUsers {
        /// The limit.
        most: u64,
    },
    /// Any other failure of SQLite.
    Sql(rusqlite::Error),
}

/// The result of asking the store.
pub type Result<T> = std::result::Result<T, StoreError>;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                DAMAGE_SEEN.store(true, Ordering::Relaxed);
                Self::Sql(error)
            }
            _ => Self::Sql(error),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, why } => write!(
                f,
                "cannot open the store {}: {why}. Its directory has to be there and writable for the user \
                 that punchd runs as, its disk mounted, writable and not full. Do not rename the store",
                path.display()
            ),
            Self::Disk { path, why } => write!(
                f,
                "the disk failed while the store {} was opened: {why}. The store may be undamaged: do \
                 not rename or delete it. `dmesg` says more; check the disk and its file system, then \
                 start punchd again",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is a database of some other program. It was not touched: set store in punchd.toml \
                 to another file",
                path.display()
            ),
            Self::InUse { path } => {
                write!(f, "the store {} is in use: another punchd runs on it", path.display())
            }
            Self::Damaged { path, why } => write!(
                f,
                "the store {path} is damaged ({why}). It was not touched, for the punches in it may still be \
                 rescued. Copy it away; then start once with `punchd run --set-aside-damaged-store`, which \
                 renames it to {path}.damaged-<time> and begins an empty one",
                path = path.display()
            ),
            Self::Newer { path, found } => write!(
                f,
                "the store {} has schema version {found}, which is later than this punchd knows: install the \
                 punchd that wrote it, or a later one",
                path.display()
            ),
            Self::Full => f.write_str("the disk is full"),
            Self::NoRoom(shortage) => write!(f, "{shortage}, and nothing of it was uploaded yet"),
            Self::PartFull(message) => f.write_str(message),
            Self::TooManyUsers { most } => {
                write!(f, "the terminal holds at most {most} users ([limits] users)")
            }
            Self::Sql(error) if is_of_the_disk(error) => {
                write!(
                    f,
                    "the store failed: {error}. Is its disk there, and not read-only? `dmesg` may say more"
                )
            }
            Self::Sql(error) => write!(f, "the store failed: {error}"),
        }
    }
}

fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(SystemIoFailure | ReadOnly | CannotOpen))
}

impl std::error::Error for StoreError {}
