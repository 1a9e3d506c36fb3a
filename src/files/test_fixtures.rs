//! Test fixtures: a directory for one test, and archives made byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::{ArchiveLimits, ConfinedPath, FileError, unpack};

/// Limits for archives of tests.
pub(super) const LIMITS: ArchiveLimits =
    ArchiveLimits { members: 1_000, bytes: 64 * 1024 * 1024, ratio: 100, free: 0 };

/// A directory with `in/` (listed) and `out/secret`. It is removed after the test.
pub(super) struct TestDir(PathBuf);

impl TestDir {
    pub(super) fn new() -> Self {
        Self::at(&std::env::temp_dir())
    }

    /// With symbolic links out of and within `in/`, and a FIFO.
    pub(super) fn with_links() -> Self {
        let test_dir = Self::new();
        symlink("../out", test_dir.path("in/link")).unwrap();
        symlink("old", test_dir.path("in/inner")).unwrap();
        symlink("../out/secret", test_dir.path("in/filelink")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, test_dir.path("in/pipe"), fifo, mode, 0).unwrap();
        test_dir
    }

    pub(super) fn at(above: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = above.join(format!("punchd-files-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("in/old")).unwrap();
        fs::create_dir(dir.join("out")).unwrap();
        fs::write(dir.join("in/old/file"), "old").unwrap();
        fs::write(dir.join("out/secret"), "secret").unwrap();
        Self(dir)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(super) fn find(&self, name: &str) -> Result<ConfinedPath, FileError> {
        ConfinedPath::find(&[self.path("in")], &self.text(name))
    }

    /// Writes a download. Returns its path.
    pub(super) fn part(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("1.part");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Unpacks into `in/`.
    pub(super) fn unpack(&self, tgz: &[u8], limits: &ArchiveLimits) -> Result<u64, FileError> {
        unpack(&self.part(tgz), &self.find("in/")?, limits, &mut || Ok(()))
    }

    /// Kind, mode and contents of all files except the download, by path.
    pub(super) fn listing(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut dirs = vec![self.0.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let about = fs::symlink_metadata(&path).unwrap();
                let kind = about.file_type();
                let mode = about.mode() & 0o7777;
                let message = if kind.is_dir() {
                    dirs.push(path.clone());
                    format!("dir {mode:o}")
                } else if kind.is_symlink() {
                    format!("link {:?}", fs::read_link(&path).unwrap())
                } else if kind.is_fifo() {
                    "fifo".into()
                } else {
                    format!("{mode:o} {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
                };
                found.insert(path, message);
            }
        }
        found.retain(|path, _| !path.ends_with("1.part"));
        found
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A member with exactly this name and size, whether they are allowed or not.
pub(super) fn member(name: &[u8], kind: EntryType, size: u64, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o4640);
    header.set_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(super) fn file(name: &str, contents: &str) -> Vec<u8> {
    let size = contents.len() as u64;
    member(name.as_bytes(), EntryType::Regular, size, contents.as_bytes())
}

/// An archive of these members, with its end marker.
pub(super) fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_of(|gzip| gzip.write_all(bytes))
}

pub(super) fn gzip_of(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    write(&mut gzip).unwrap();
    gzip.finish().unwrap()
}

pub(super) fn tgz(members: &[Vec<u8>]) -> Vec<u8> {
    gzip(&tar(members))
}
