//! A file that is read with pauses for others.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::FileError;

/// How many bytes are processed in one breath.
const BREATH: usize = 256 * 1024;

/// A file of ours, read with pauses. Its errors are [`FileError`]s within the io::Error.
pub(super) struct CooperativeReader<B> {
    file: File,
    path: PathBuf,
    since: usize,
    yield_now: B,
}

impl<B: FnMut() -> io::Result<()>> CooperativeReader<B> {
    /// Opens a regular file and says how long it is.
    pub(super) fn open(path: &Path, yield_now: B) -> Result<(Self, u64), FileError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| FileError::io("open", path, error))?;
        let stat =
            rustix::fs::fstat(&file).map_err(|error| FileError::io("look at", path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FileError::NotAFile {
                path: path.display().to_string(),
                why: "no regular file",
            });
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok((Self::new(file, path, yield_now), size))
    }

    /// A file that is open already.
    pub(super) fn new(file: OwnedFd, path: &Path, yield_now: B) -> Self {
        Self { file: file.into(), path: path.to_owned(), since: 0, yield_now }
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Counts bytes that were processed, and pauses when it is time.
    pub(super) fn processed(&mut self, bytes: usize) -> io::Result<()> {
        self.since = self.since.saturating_add(bytes);
        if self.since < BREATH {
            return Ok(());
        }
        self.since = 0;
        (self.yield_now)().map_err(|_| io::Error::other(FileError::Stopped))
    }
}

impl<B: FnMut() -> io::Result<()>> Read for CooperativeReader<B> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(BREATH);
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
