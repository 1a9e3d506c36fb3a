//! What is done in directories, each found by a descriptor and a name: no path is walked
//! that somebody could bend meanwhile.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

use super::cooperative_reader::CooperativeReader;
use super::{FileError, YieldNow};

/// A copy on its way to its place.
const COPY: &str = ".punchd-put";
/// An archive on its way to its place.
pub(super) const STAGING: &str = ".punchd-unpack";

const CHUNK: usize = 64 * 1024;
/// How much is written before the disk is waited for: one fsync of much would be one long wait.
const SYNCED: u64 = 1024 * 1024;
/// How many names are read from a directory at once.
const BATCH: usize = 64;

/// The directory `name`, if it is one itself.
pub(super) fn open_dir(at: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// The directory `name`, made if there is nothing.
pub(super) fn make_dir(at: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OwnedFd> {
    match open_dir(at, name) {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))?;
            let made = open_dir(at, name)?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
            Ok(made)
        }
        found => found,
    }
}

/// What stands at `name`; a link counts as itself.
pub(super) fn kind(at: BorrowedFd<'_>, name: impl Arg) -> Result<Option<FileType>> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A new file, which nobody else may see until it is done.
pub(super) fn make_file(at: BorrowedFd<'_>, name: &str) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
}

/// Copies to the end, onto the disk.
pub(super) fn copy(
    from: &mut dyn Read,
    mut to: &File,
    mode: Mode,
    path: &Path,
) -> std::result::Result<u64, FileError> {
    let write = |error| FileError::io("write", path, error);
    let mut chunk = vec![0; CHUNK];
    let (mut total, mut synced) = (0, 0);
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        to.write_all(&chunk[..count]).map_err(write)?;
        total += count as u64;
        if total - synced >= SYNCED {
            to.sync_data().map_err(write)?;
            synced = total;
        }
    }
    rustix::fs::fchmod(to, mode).map_err(|error| write(error.into()))?;
    to.sync_all().map_err(write)?;
    Ok(total)
}

/// Waits until a directory is on the disk, where the file system can do that.
pub(super) fn sync(dir: BorrowedFd<'_>) -> Result<()> {
    match rustix::fs::fsync(dir) {
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}

/// Moves a file that is on the disk to its place, also to another file system. `path` is
/// where it comes from, `target` where it goes, for who reads of a failure.
pub(super) fn place(
    (from, name): (BorrowedFd<'_>, impl Arg + Copy),
    (to, new): (BorrowedFd<'_>, impl Arg + Copy),
    (path, target): (&Path, &Path),
    yield_now: &mut YieldNow<'_>,
) -> std::result::Result<(), FileError> {
    let failed = |error: Errno| FileError::io("write", target, error);
    match rustix::fs::renameat(from, name, to, new) {
        Err(Errno::XDEV) => {}
        other => return other.map_err(failed),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(from, name, flags, Mode::empty()).map_err(failed)?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&file).map_err(failed)?.st_mode & 0o777);
    let mut file = CooperativeReader::new(file, path, yield_now);
    let copy = make_file(to, COPY).map_err(failed)?;
    let done = self::copy(&mut file, &copy, mode, target)
        .and_then(|_| rustix::fs::renameat(to, COPY, to, new).map_err(failed));
    // Behind a copy, what it was copied from; a failure leaves it to the next sweep.
    let _ = match done {
        Ok(()) => rustix::fs::unlinkat(from, name, AtFlags::empty()),
        Err(_) => rustix::fs::unlinkat(to, COPY, AtFlags::empty()),
    };
    done
}

/// Moves all that stands in `from` into `to`, and onto the disk; `from` is empty then.
/// `path` is that of `to`. Others are served meanwhile, but the work is not given up:
/// it is short, and half of an archive would be the worst of all.
pub(super) fn settle(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    path: &Path,
    yield_now: &mut YieldNow<'_>,
) -> std::result::Result<(), FileError> {
    loop {
        let names = names(from).map_err(|error| FileError::io("read", path, error))?;
        if names.is_empty() {
            return sync(to).map_err(|error| FileError::io("write", path, error));
        }
        for name in &names {
            let path = path.join(name.to_string_lossy().as_ref());
            let failed = |error: Errno| FileError::io("write", &path, error);
            let name = name.as_c_str();
            if kind(from, name).map_err(failed)? == Some(FileType::Directory) {
                let inner = open_dir(from, name).map_err(failed)?;
                let outer = make_dir(to, name).map_err(failed)?;
                settle(inner.as_fd(), outer.as_fd(), &path, yield_now)?;
                rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR).map_err(failed)?;
            } else {
                place((from, name), (to, name), (&path, &path), &mut || {
                    let _ = yield_now();
                    Ok(())
                })?;
            }
        }
        let _ = yield_now();
    }
}

/// Removes what an interrupted work of ours left in a directory.
pub(super) fn sweep(dir: BorrowedFd<'_>) -> Result<()> {
    [COPY, STAGING].into_iter().try_for_each(|name| remove(dir, name, 0))
}

/// Removes `name`, with all that stands in it. A link is removed, not followed.
fn remove(at: BorrowedFd<'_>, name: impl Arg + Copy, depth: u32) -> Result<()> {
    match kind(at, name)? {
        None => return Ok(()),
        Some(FileType::Directory) => {}
        Some(_) => return rustix::fs::unlinkat(at, name, AtFlags::empty()),
    }
    // Deeper than any archive that was let in.
    if depth > 64 {
        return Err(Errno::NAMETOOLONG);
    }
    let dir = open_dir(at, name)?;
    loop {
        let names = names(dir.as_fd())?;
        if names.is_empty() {
            return rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR);
        }
        names.iter().try_for_each(|name| remove(dir.as_fd(), name.as_c_str(), depth + 1))?;
    }
}

/// The first names in a directory; as they are taken away, the next come.
fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
        if names.len() == BATCH {
            break;
        }
    }
    Ok(names)
}
