//! The write-ahead log: its preallocation, and when it is written into the file of the store
//! (checkpoint).

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::{Connection, ffi};

use super::db_status;

/// Bytes of the log: SQLite begins anew at its start after a thousand pages.
pub(super) const ROOM: u64 = 1100 << 10;

/// Makes the log of the store at `path` as large as it gets between two checkpoints. A commit
/// then writes into blocks that are there, and the file system has nothing of its own to write:
/// a file that grows costs its journal several blocks a punch. SQLite does not read what lies
/// behind the last frame; zeros are no frame to it.
pub(super) fn make_room(path: &Path) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = OpenOptions::new().write(true).open(log)?;
    let mut size = log.metadata()?.len();
    while size < ROOM {
        let most = ZEROS.len().min((ROOM - size) as usize);
        size += log.write_at(&ZEROS[..most], size)? as u64;
    }
    log.sync_all()
}

/// Pages of a transaction from which on it is a step of long work, and not the punches of one round.
const LARGE: u32 = 16;
/// Pages that such steps write between two checkpoints.
const MOST_PAGES: u32 = 150;

/// When SQLite writes the log into the file, after a thousand pages, a driver waits. Where drivers
/// punch, these are some pages again and again, and few are written into the file. The steps of long work
/// write other pages each time: after them it is done sooner, so that each time is short.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// Pages that steps wrote since the last one.
    pages: Cell<u32>,
    /// Pages that were written at the last commit, since the start.
    written: Cell<u32>,
}

impl Checkpoints {
    /// To be called after each commit.
    pub(super) fn after_commit(&self, connection: &Connection) {
        let all = db_status::count(connection, ffi::SQLITE_DBSTATUS_CACHE_WRITE);
        let written = all.wrapping_sub(self.written.replace(all));
        let pages = self.pages.get() + if written < LARGE { 0 } else { written };
        // One that fails, or while a row is read, is done at the next occasion, at the latest after a
        // thousand pages.
        let is_done = pages >= MOST_PAGES && checkpoint(connection).is_ok();
        self.pages.set(if is_done { 0 } else { pages });
    }
}

/// Writes the log into the file, as far as nothing reads it.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::protocol::record::{Pin, User};
    use crate::protocol::time::LocalTime;
    use crate::store::{Limits, Moment, NewPunch, Origin, Store, StoreError};

    const PAGE: usize = 1024;

    struct TestDir(PathBuf);

    impl TestDir {
        fn new(name: &str) -> Self {
            let name = format!("punchd-wal-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn store(&self) -> PathBuf {
            self.0.join("punchd.db")
        }

        fn log(&self) -> PathBuf {
            self.0.join("punchd.db-wal")
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn punch(store: &Store, nth: u32) {
        let punch = NewPunch::of(
            &nth.to_string(),
            Moment::At(LocalTime::from_seconds(1_800_000_000).unwrap()),
        );
        store.journal().add_punch(&punch).unwrap();
    }

    /// What a power cut leaves, but for the last bytes of the last frame that was written.
    fn cut(from: &TestDir, to: &TestDir, torn: usize) -> u64 {
        fs::copy(from.store(), to.store()).unwrap();
        let mut log = fs::read(from.log()).unwrap();
        let salts = log[16..24].to_vec();
        let frames = log[32..].chunks_exact(24 + PAGE).take_while(|frame| frame[8..16] == salts);
        let end = 32 + frames.count() * (24 + PAGE);
        log[end - torn..end].fill(0);
        fs::write(to.log(), log).unwrap();
        let store = Store::open(&to.store(), Limits::default()).unwrap();
        store.fill_log();
        store.journal().count_punches().unwrap()
    }

    #[test]
    fn the_log_does_not_grow_while_punches_come() {
        let dir = TestDir::new("grow");
        let store = Store::open(&dir.store(), Limits::default()).unwrap();
        store.fill_log();
        assert!(fs::metadata(dir.log()).unwrap().len() >= ROOM);
        let before = fs::metadata(dir.log()).unwrap().len();
        for nth in 1..3000 {
            punch(&store, nth);
        }
        assert_eq!(fs::metadata(dir.log()).unwrap().len(), before);
    }

    #[test]
    fn long_work_makes_the_log_no_longer_than_a_step_of_it() {
        let dir = TestDir::new("long");
        let store = Store::open(&dir.store(), Limits::default()).unwrap();
        for nth in 0..100 {
            store
                .atomically(|| {
                    for pin in nth * 100..nth * 100 + 100 {
                        let user = User::new(Pin::new(&(pin + 1).to_string()).unwrap());
                        store.people().put_unlimited(&user, Origin::Server)?;
                    }
                    Ok::<_, StoreError>(())
                })
                .unwrap();
        }
        let pages = fs::metadata(dir.log()).unwrap().len() / PAGE as u64;
        assert!(pages < 2 * u64::from(MOST_PAGES), "{pages} pages");
    }

    #[test]
    fn a_cut_at_any_commit_leaves_all_that_was_committed_and_no_more() {
        let (dir, copy) = (TestDir::new("cut"), TestDir::new("copy"));
        let store = Store::open(&dir.store(), Limits::default()).unwrap();
        store.fill_log();
        // Round the log more than once: what lies behind the end are zeros at first, and then
        // frames of the round before.
        for nth in 1..=2500 {
            punch(&store, nth);
            if nth % 83 == 0 || (990..1010).contains(&nth) {
                assert_eq!(cut(&dir, &copy, 0), u64::from(nth));
                assert_eq!(cut(&dir, &copy, 700), u64::from(nth - 1), "torn");
            }
        }
    }
}
