//! A disk that is recorded, for tests: what a directory could look like after a power cut.
//!
//! A [`Recording`] notes each change that its thread makes to the files of one directory: creations,
//! writes, truncations, syncs, renames, deletions, syncs of the directory itself. The files are real, and
//! whatever writes them is the program's own code, SQLite's or the standard library's: `libc` stands
//! before the functions of the C library that all of them call. From the notes ([`Tape`]) a [`Disk`] is
//! made as it was at any moment, which knows what was synced and what was not. [`Disk::image`] gives the
//! files as a power cut at that moment could leave them.
//!
//! ```ignore
//! let recording = Recording::start(&directory);   // an empty directory, or files that are synced
//! let store = Store::open(&directory.join("punchd.db"), limits)?;
//! …
//! let image = recording.power_cut(&mut random);   // now; to be opened in another directory
//! image.write(&other);
//! recording.set_full(true);                       // from now on no file grows: ENOSPC
//! let tape = recording.end();                     // for images of every earlier moment
//! ```
//!
//! What it does not see: files in directories below, calls of `rustix` (which needs no C library), memory
//! maps, `copy_file_range`. [`Recording::end`] compares the directory with the tape, so that a change that
//! was not noted fails the test.

mod disk;
mod libc;
mod tape;
#[cfg(test)]
mod tests;

pub(crate) use disk::Image;
use tape::Recorder;
pub(crate) use tape::{Change, Tape};

use std::marker::PhantomData;
use std::path::Path;

use crate::client::simulation::random::Random;

/// The recording of what this thread does to the files of a directory. One at a time for each thread.
pub(crate) struct Recording {
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl Recording {
    /// Begins. What is in the directory counts as synced.
    pub(crate) fn start(directory: &Path) -> Self {
        let directory = directory.canonicalize().unwrap();
        let recorder = Recorder::new(directory);
        let before = libc::RECORDER.replace(Some(recorder));
        assert!(before.is_none(), "this thread records already");
        Self { _thread: PhantomData }
    }

    /// How many changes were noted so far: the moment between what was done and what comes.
    pub(crate) fn position(&self) -> usize {
        self.with(|recorder| recorder.tape.changes.len())
    }

    /// Files do not grow from now on, or do again: each write that would make one longer, and each
    /// creation, fails with ENOSPC, as on a full disk.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.with(|recorder| recorder.is_full = is_full);
    }

    /// The files as a power cut at this moment could leave them. Forgets the changes that were noted so
    /// far, so that a long recording takes little memory: earlier positions are no longer valid.
    pub(crate) fn power_cut(&self, random: &mut Random) -> Image {
        self.with(|recorder| {
            recorder.tape.settle();
            recorder.tape.start.image(random)
        })
    }

    /// Forgets the changes that were noted so far, but for what they made of the disk.
    pub(crate) fn settle(&self) {
        self.with(|recorder| recorder.tape.settle());
    }

    /// Ends the recording.
    pub(crate) fn end(self) -> Tape {
        let recorder = libc::RECORDER.take().expect("it was begun by `start`");
        recorder.compare();
        recorder.tape
    }

    fn with<T>(&self, act: impl FnOnce(&mut Recorder) -> T) -> T {
        libc::RECORDER
            .with_borrow_mut(|recorder| act(recorder.as_mut().expect("it was begun by `start`")))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        libc::RECORDER.take();
    }
}
