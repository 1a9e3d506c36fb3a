//! A recording of the store, and what it held after each step.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ledger::{Ledger, Rows};
use crate::client::simulation::random::Random;
use crate::protocol::stream::Table;
use crate::store::marker::End;
use crate::store::recorded_disk::{Image, Recording, Tape};
use crate::store::{Limits, Result, Store};

/// The name of the store in its directory.
pub(super) const NAME: &str = "punchd.db";

/// A directory in memory, if there is one for that; it goes away with the test.
pub(super) struct TestDir(pub(super) PathBuf);

impl TestDir {
    pub(super) fn new(name: &str) -> Self {
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        static NTH: AtomicU64 = AtomicU64::new(0);
        let nth = NTH.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("punchd-image-{}-{nth}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(super) fn store(&self) -> PathBuf {
        self.0.join(NAME)
    }

    fn empty(&self) {
        fs::remove_dir_all(&self.0).unwrap();
        fs::create_dir_all(&self.0).unwrap();
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a power cut is looked for in.
pub(super) struct Recorded {
    pub(super) tape: Tape,
    pub(super) ledger: Ledger,
    pub(super) limits: Limits,
    /// What the marker has to say from a position on.
    pub(super) marks: Vec<(usize, End)>,
}

/// A load under way.
pub(super) struct Session {
    dir: TestDir,
    recording: Option<Recording>,
    ledger: Ledger,
    store: Option<Store>,
    marks: Vec<(usize, End)>,
    pub(super) limits: Limits,
    /// What `PRAGMA synchronous` is set to, for faults.
    pub(super) synchronous: Option<&'static str>,
    pub(super) random: Random,
}

impl Session {
    /// Begins with these files, as an earlier run left them. What a start finds in them was acknowledged.
    pub(super) fn begin(name: &str, files: Option<&Image>, seed: u64) -> Self {
        let dir = TestDir::new(name);
        let write = || files.iter().for_each(|files| files.write(&dir.0));
        write();
        let mut ledger = Ledger::default();
        let (store, _) = Store::open_marked(&dir.store(), Limits::default()).unwrap();
        ledger.note(&Rows::read(store.db.connection()).unwrap(), 0);
        drop(store);
        dir.empty();
        write();
        let recording = Some(Recording::start(&dir.0));
        let random = Random::new(seed);
        let limits = Limits::default();
        let marks = Vec::new();
        Self { dir, recording, ledger, store: None, marks, limits, synchronous: None, random }
    }

    /// Starts as the daemon does.
    pub(super) fn open(&mut self) {
        let (store, loss) = Store::open_marked(&self.dir.store(), self.limits).unwrap();
        assert_eq!(loss, None);
        if let Some(synchronous) = self.synchronous {
            let sql = format!("PRAGMA synchronous = {synchronous}");
            store.db.connection().execute_batch(&sql).unwrap();
        }
        self.store = Some(store);
        self.marks.push((self.position(), End::Open));
        self.note();
        self.store().fill_log();
        self.note();
    }

    pub(super) fn close(&mut self) {
        self.note();
        self.store = None;
        self.marks.push((self.position(), End::Closed));
    }

    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Where on the tape.
    fn position(&self) -> usize {
        self.recording.as_ref().unwrap().position()
    }

    /// What the store holds now is acknowledged.
    fn note(&mut self) {
        let position = self.position();
        let rows = Rows::read(self.store().db.connection()).unwrap();
        self.ledger.note(&rows, position);
    }

    /// Does something that is one transaction, of which the caller is told when it is done.
    pub(super) fn step<T>(&mut self, work: impl FnOnce(&Store, &mut Random) -> Result<T>) -> T {
        let mut random = std::mem::replace(&mut self.random, Random::new(0));
        let value = work(self.store(), &mut random).unwrap();
        self.random = random;
        self.note();
        value
    }

    /// The server takes a batch of a table. Whether there was one.
    pub(super) fn upload(&mut self, table: Table, most: usize) -> bool {
        let streams: Vec<_> = table.streams().map(Into::into).collect();
        let batch = self.step(|store, _| store.outbox().next_batch(&streams, most));
        let Some(batch) = batch else { return false };
        self.step(|store, _| store.outbox().acknowledge(table, batch.pass, &batch.rows));
        true
    }

    /// The power goes now.
    pub(super) fn power_cut(mut self) -> Image {
        let recording = self.recording.take().unwrap();
        let mut random = std::mem::replace(&mut self.random, Random::new(0));
        let image = recording.power_cut(&mut random);
        self.store = None;
        image
    }

    pub(super) fn end(mut self) -> Recorded {
        if self.store.is_some() {
            self.close();
        }
        let tape = self.recording.take().unwrap().end();
        Recorded {
            tape,
            ledger: std::mem::take(&mut self.ledger),
            limits: self.limits,
            marks: std::mem::take(&mut self.marks),
        }
    }
}
