//! The tape: the changes of a directory in the order in which they were made.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::disk::Disk;

/// A file of the recording, whatever its name is.
pub(crate) type FileId = usize;

/// A change of the directory or of a file in it.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A name for an empty file.
    Create { name: String, file: FileId },
    /// Bytes from an offset on.
    Write { file: FileId, offset: u64, bytes: Vec<u8> },
    /// The file is cut, or grows by zeros.
    Truncate { file: FileId, size: u64 },
    /// What was written to the file before is on the disk.
    Sync { file: FileId },
    /// Another name; what had that name before is lost.
    Rename { from: String, to: String, file: FileId },
    /// The name goes.
    Delete { name: String },
    /// The names are on the disk.
    SyncDirectory,
    /// A sync that a disk reported and did not do.
    Nothing,
}

impl Change {
    /// The change without the bytes of a write, for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Write { file, offset, bytes } => {
                format!("Write {{ file: {file}, offset: {offset}, {} bytes }}", bytes.len())
            }
            change => format!("{change:?}"),
        }
    }
}

/// The changes, and what was there before them.
pub(crate) struct Tape {
    /// The directory when the recording began.
    pub(crate) start: Disk,
    pub(crate) changes: Vec<Change>,
}

impl Tape {
    /// Makes the changes part of the start.
    pub(super) fn settle(&mut self) {
        self.changes.drain(..).for_each(|change| self.start.change(&change));
    }
}

/// What is noted of the files while they are used.
pub(crate) struct Recorder {
    directory: PathBuf,
    pub(super) tape: Tape,
    /// Whether files may not grow.
    pub(super) is_full: bool,
    names: BTreeMap<String, FileId>,
    sizes: Vec<u64>,
    open: BTreeMap<c_int, Opened>,
}

/// What a descriptor stands for.
#[derive(Clone, Copy)]
enum Opened {
    File(FileId),
    Directory,
}

impl Recorder {
    pub(super) fn new(directory: PathBuf) -> Self {
        let files = read_all(&directory);
        let names = files.keys().cloned().zip(0..).collect();
        let sizes = files.values().map(|content| content.len() as u64).collect();
        let tape = Tape { start: Disk::new(files), changes: Vec::new() };
        Self { directory, tape, is_full: false, names, sizes, open: BTreeMap::new() }
    }

    /// The name of a file that is recorded.
    fn name(&self, path: &Path) -> Option<String> {
        let name = path.file_name().filter(|_| path.parent() == Some(&self.directory))?;
        Some(name.to_string_lossy().into_owned())
    }

    pub(super) fn refuses_open(&self, path: &Path, flags: OFlags) -> bool {
        let is_new = |name| !self.names.contains_key(&name);
        self.is_full && flags.contains(OFlags::CREATE) && self.name(path).is_some_and(is_new)
    }

    pub(super) fn opened(&mut self, path: &Path, flags: OFlags, fd: c_int) {
        self.open.remove(&fd);
        if path == self.directory {
            self.open.insert(fd, Opened::Directory);
        }
        let Some(name) = self.name(path) else { return };
        let file = match self.names.get(&name) {
            Some(file) => *file,
            None => {
                let file = self.sizes.len();
                self.sizes.push(0);
                self.names.insert(name.clone(), file);
                self.tape.changes.push(Change::Create { name, file });
                file
            }
        };
        self.open.insert(fd, Opened::File(file));
        if flags.contains(OFlags::TRUNC) && self.sizes[file] > 0 {
            self.truncated(fd, 0);
        }
    }

    pub(super) fn closed(&mut self, fd: c_int) {
        self.open.remove(&fd);
    }

    fn file(&self, fd: c_int) -> Option<FileId> {
        match self.open.get(&fd) {
            Some(Opened::File(file)) => Some(*file),
            _ => None,
        }
    }

    /// Whether a file may not become as large as this.
    pub(super) fn refuses_growth(&self, fd: c_int, size: u64) -> bool {
        self.is_full && self.file(fd).is_some_and(|file| self.sizes[file] < size)
    }

    pub(super) fn wrote(&mut self, fd: c_int, offset: impl FnOnce() -> u64, bytes: &[u8]) {
        let Some(file) = self.file(fd) else { return };
        let offset = offset();
        self.sizes[file] = self.sizes[file].max(offset + bytes.len() as u64);
        self.tape.changes.push(Change::Write { file, offset, bytes: bytes.to_vec() });
    }

    pub(super) fn truncated(&mut self, fd: c_int, size: u64) {
        let Some(file) = self.file(fd) else { return };
        self.sizes[file] = size;
        self.tape.changes.push(Change::Truncate { file, size });
    }

    pub(super) fn synced(&mut self, fd: c_int) {
        match self.open.get(&fd) {
            Some(Opened::File(file)) => self.tape.changes.push(Change::Sync { file: *file }),
            Some(Opened::Directory) => self.tape.changes.push(Change::SyncDirectory),
            None => {}
        }
    }

    pub(super) fn renamed(&mut self, from: &Path, to: &Path) {
        let (Some(from), Some(to)) = (self.name(from), self.name(to)) else { return };
        if let Some(file) = self.names.remove(&from) {
            self.names.insert(to.clone(), file);
            self.tape.changes.push(Change::Rename { from, to, file });
        }
    }

    pub(super) fn deleted(&mut self, path: &Path) {
        let Some(name) = self.name(path) else { return };
        if self.names.remove(&name).is_some() {
            self.tape.changes.push(Change::Delete { name });
        }
    }

    /// The directory is what the changes make of it.
    pub(super) fn compare(&self) {
        let mut disk = self.tape.start.clone();
        self.tape.changes.iter().for_each(|change| disk.change(change));
        let (noted, found) = (disk.whole().files, read_all(&self.directory));
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&noted), names(&found), "a change of the directory was not noted");
        for (name, content) in &noted {
            assert!(found[name] == *content, "a change of {name} was not noted");
        }
    }
}

/// The files of a directory.
pub(super) fn read_all(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let file = |entry: fs::DirEntry| {
        (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap())
    };
    files.map(file).collect()
}
