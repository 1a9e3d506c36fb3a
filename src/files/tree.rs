//! Operations on files by the descriptor of their directory and a name. No path is resolved that
//! somebody could change meanwhile.

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

/// The temporary name of a file that is being copied.
const COPY: &str = ".punchd-put";
/// The temporary directory into which an archive is unpacked.
pub(super) const STAGING: &str = ".punchd-unpack";

const CHUNK: usize = 64 * 1024;
/// Bytes between two `fdatasync`: a single one at the end would block for long.
const SYNC_EVERY: u64 = 1024 * 1024;
/// Names that are read from a directory at once.
const BATCH: usize = 64;

/// Opens the directory `name`. A symbolic link is refused.
pub(super) fn open_dir(at: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Opens the directory `name`, or creates it.
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

/// The type of the file `name`, which may be a symbolic link; `None` if there is no file.
pub(super) fn kind(at: BorrowedFd<'_>, name: impl Arg) -> Result<Option<FileType>> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a file that other users cannot read yet.
pub(super) fn make_file(at: BorrowedFd<'_>, name: &str) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
}

/// Copies all bytes and syncs them. Returns how many.
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
        if total - synced >= SYNC_EVERY {
            to.sync_data().map_err(write)?;
            synced = total;
        }
    }
    rustix::fs::fchmod(to, mode).map_err(|error| write(error.into()))?;
    to.sync_all().map_err(write)?;
    Ok(total)
}

/// Syncs a directory, if the file system supports that.
pub(super) fn sync(dir: BorrowedFd<'_>) -> Result<()> {
    match rustix::fs::fsync(dir) {
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}

/// Moves a file that is synced, also to another file system. `path` (from) and `target` (to) are
/// for messages.
pub(super) fn move_into_place(
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
    // After a copy the original is removed, after a failure the copy. If that fails, the next
    // sweep does it.
    let _ = match done {
        Ok(()) => rustix::fs::unlinkat(from, name, AtFlags::empty()),
        Err(_) => rustix::fs::unlinkat(to, COPY, AtFlags::empty()),
    };
    done
}

/// Moves all files of `from` into `to` and syncs `to`; `path` is that of `to`. `yield_now` is
/// called, but its error does not end the work: it is short, and half an archive in place would
/// be worse than any delay.
pub(super) fn move_all(
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
                move_all(inner.as_fd(), outer.as_fd(), &path, yield_now)?;
                rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR).map_err(failed)?;
            } else {
                move_into_place((from, name), (to, name), (&path, &path), &mut || {
                    let _ = yield_now();
                    Ok(())
                })?;
            }
        }
        let _ = yield_now();
    }
}

/// Removes the temporary files that an interrupted operation left in a directory.
pub(super) fn sweep(dir: BorrowedFd<'_>) -> Result<()> {
    [COPY, STAGING].into_iter().try_for_each(|name| remove(dir, name, 0))
}

/// Removes `name` with its contents. A symbolic link is removed, not followed.
fn remove(at: BorrowedFd<'_>, name: impl Arg + Copy, depth: u32) -> Result<()> {
    match kind(at, name)? {
        None => return Ok(()),
        Some(FileType::Directory) => {}
        Some(_) => return rustix::fs::unlinkat(at, name, AtFlags::empty()),
    }
    // No accepted archive is as deep.
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

/// The first names in a directory. The caller removes them and asks again.
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
