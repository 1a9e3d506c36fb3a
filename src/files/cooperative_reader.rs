//! A reader that calls `yield_now` after each chunk.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::FileError;

/// Bytes that are processed between two calls of `yield_now`.
const CHUNK: usize = 256 * 1024;

/// Reads one of punchd's own files. Its errors are [`FileError`]s within the `io::Error`.
pub(super) struct CooperativeReader<Y> {
    file: File,
    path: PathBuf,
    since_yield: usize,
    yield_now: Y,
}

impl<Y: FnMut() -> io::Result<()>> CooperativeReader<Y> {
    /// Opens a regular file. Returns its length, too.
    pub(super) fn open(path: &Path, yield_now: Y) -> Result<(Self, u64), FileError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| FileError::io("open", path, error))?;
        let stat = rustix::fs::fstat(&file)
            .map_err(|error| FileError::io("get the size of", path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FileError::NotAFile {
                path: path.display().to_string(),
                why: "not a regular file",
            });
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok((Self::new(file, path, yield_now), size))
    }

    /// Reads a file that is open already; `path` is for messages.
    pub(super) fn new(file: OwnedFd, path: &Path, yield_now: Y) -> Self {
        Self { file: file.into(), path: path.to_owned(), since_yield: 0, yield_now }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Counts bytes that were processed, and calls `yield_now` after each chunk.
    pub(super) fn processed(&mut self, bytes: usize) -> io::Result<()> {
        self.since_yield = self.since_yield.saturating_add(bytes);
        if self.since_yield < CHUNK {
            return Ok(());
        }
        self.since_yield = 0;
        (self.yield_now)().map_err(|_| io::Error::other(FileError::Stopped))
    }
}

impl<Y: FnMut() -> io::Result<()>> Read for CooperativeReader<Y> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(CHUNK);
        let count = loop {
            match self.file.read(&mut into[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(io::Error::other(FileError::io("read", &self.path, error)));
                }
                Ok(count) => break count,
            }
        };
        self.processed(count)?;
        Ok(count)
    }
}
