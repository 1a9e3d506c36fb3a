//! Unpacks a tgz into a directory: all of it or nothing.
//!
//! The first pass checks the whole archive and writes nothing. The second pass writes all files
//! into a temporary directory inside the target and syncs them. Then each file is moved into
//! place. A power cut before that changes no file, and leaves the temporary directory, which the
//! next call removes. A power cut during the moves leaves some files new and some old, each of
//! them whole.

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::rules::{self, CheckedMember, Totals};
use super::{ArchiveLimits, ConfinedPath, FileError, YieldNow, tree};

/// Unpacks `archive` into the directory `into`. Returns the bytes of its files. Files that were
/// there before are replaced. Modes become 0755 or 0644; owner and time are those of punchd.
pub fn unpack(
    archive: &Path,
    into: &ConfinedPath,
    limits: &ArchiveLimits,
    yield_now: &mut YieldNow<'_>,
) -> Result<u64, FileError> {
    let dir = into.dir()?;
    let failed = |error| FileError::io("write", into.path(), error);
    tree::sweep(dir).map_err(failed)?;
    let totals =
        rules::each_member(archive, limits, yield_now, &mut |member, _| check_target(dir, member))?;
    check_room(into, &totals, limits)?;
    let done = extract(archive, into, limits, yield_now);
    // If that fails, the next call does it.
    let _ = tree::sweep(dir);
    done.map(|()| totals.bytes)
}

fn extract(
    archive: &Path,
    into: &ConfinedPath,
    limits: &ArchiveLimits,
    yield_now: &mut YieldNow<'_>,
) -> Result<(), FileError> {
    let failed = |error| FileError::io("write", into.path(), error);
    let dir = into.dir()?;
    rustix::fs::mkdirat(dir, tree::STAGING, Mode::from_raw_mode(0o700)).map_err(failed)?;
    let staging = tree::open_dir(dir, tree::STAGING).map_err(failed)?;
    let yield_now = RefCell::new(yield_now);
    rules::each_member(
        archive,
        limits,
        &mut || yield_now.borrow_mut()(),
        &mut |member, contents| {
            write(staging.as_fd(), member, contents, &into.path().join(member.path))?;
            // Small files are many, and each is synced.
            yield_now.borrow_mut()().map_err(|_| FileError::Stopped)
        },
    )?;
    tree::move_all(staging.as_fd(), dir, into.path(), yield_now.into_inner())
}

/// Checks that a member can be moved into place: its parents are directories or missing, and it
/// replaces nothing, or something of its own kind.
fn check_target(dir: BorrowedFd<'_>, member: &CheckedMember<'_>) -> Result<(), FileError> {
    let refused = |why: &str| Err(FileError::member(member.path, why));
    let mut at = None;
    for (nth, name) in member.names.iter().enumerate() {
        let is_file = nth + 1 == member.names.len() && !member.is_directory;
        let here = at.as_ref().map_or(dir, AsFd::as_fd);
        let found = tree::kind(here, *name);
        match found.map_err(|error| FileError::io("look for", Path::new(member.path), error))? {
            None => return Ok(()),
            Some(FileType::Symlink) => {
                return refused("would be written through a symbolic link in the directory");
            }
            Some(FileType::Directory) if is_file => {
                return refused("would replace a directory by a file");
            }
            Some(FileType::Directory) => {
                let opened = tree::open_dir(here, *name);
                at = Some(
                    opened.map_err(|error| FileError::io("open", Path::new(member.path), error))?,
                );
            }
            Some(FileType::RegularFile) if is_file => {}
            Some(FileType::RegularFile) => {
                return refused("would replace a file by a directory");
            }
            Some(_) => return refused("would replace a device, a FIFO or a socket"),
        }
    }
    Ok(())
}

fn check_room(
    into: &ConfinedPath,
    totals: &Totals,
    limits: &ArchiveLimits,
) -> Result<(), FileError> {
    let disk = rustix::fs::fstatvfs(into.dir()?)
        .map_err(|error| FileError::io("get the free space of", into.path(), error))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // Every file leaves a part of its last block unused.
    let blocks = totals.names.saturating_mul(disk.f_frsize);
    let wanted = totals.bytes.saturating_add(blocks).saturating_add(limits.free);
    let at = into.path().display();
    if wanted > free {
        return Err(FileError::NoRoom(format!(
            "{at}: unpacking needs {wanted} bytes, with {} that must stay free, and {free} are free",
            limits.free
        )));
    }
    // Some file systems count no inodes.
    if disk.f_files > 0 && totals.names > disk.f_favail {
        let names = totals.names;
        return Err(FileError::NoRoom(format!("{at}: there is no room for {names} more files")));
    }
    Ok(())
}

/// Writes a member into the temporary directory.
fn write(
    staging: BorrowedFd<'_>,
    member: &CheckedMember<'_>,
    contents: &mut dyn Read,
    path: &Path,
) -> Result<(), FileError> {
    let failed = |error: Errno| FileError::io("write", path, error);
    let Some((name, parents)) = member.names.split_last() else { return Ok(()) };
    let mut at = None;
    for parent in parents {
        let here = at.as_ref().map_or(staging, AsFd::as_fd);
        at = Some(tree::make_dir(here, *parent).map_err(failed)?);
    }
    let here = at.as_ref().map_or(staging, AsFd::as_fd);
    if member.is_directory {
        return tree::make_dir(here, *name).map(drop).map_err(failed);
    }
    let file = tree::make_file(here, name).map_err(failed)?;
    let mode = Mode::from_raw_mode(if member.is_executable { 0o755 } else { 0o644 });
    tree::copy(contents, &file, mode, path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::unix::fs::PermissionsExt;

    use tar::{EntryType, Header};

    use crate::files::test_fixtures::{LIMITS, TestDir, file, gzip, tgz};
    use crate::files::{FileError, unpack};

    #[test]
    fn a_good_archive_is_unpacked_and_replaces_what_was_there() {
        let test_dir = TestDir::new();
        let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, mode, kind, contents: &str| {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(contents.len() as u64);
            tar.append_data(&mut header, name, contents.as_bytes()).unwrap();
        };
        add("./old/file", 0o7600, EntryType::Regular, "new");
        add("./a/b/c/run.sh", 0o4755, EntryType::Regular, "run");
        add("./a/b", 0o700, EntryType::Directory, "");
        add("./empty/", 0o700, EntryType::Directory, "");
        add(&long, 0o600, EntryType::Regular, "long");
        let mut tar = tar.into_inner().unwrap();
        tar.truncate(tar.len() - 1_024);
        let pax = format!("{} path=pax/{}\n", 218, "p".repeat(204));
        tar.extend(crate::files::test_fixtures::member(
            b"pax",
            EntryType::XHeader,
            pax.len() as u64,
            pax.as_bytes(),
        ));
        tar.extend(file("short", "pax"));
        tar.extend([0; 10_240]);

        assert_eq!(test_dir.unpack(&gzip(&tar), &LIMITS).unwrap(), 3 + 3 + 4 + 3);
        for (name, mode, contents) in [
            ("old/file", 0o644, "new"),
            ("a/b/c/run.sh", 0o755, "run"),
            (&long, 0o644, "long"),
            (&format!("pax/{}", "p".repeat(204)), 0o644, "pax"),
        ] {
            let path = test_dir.path("in").join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), contents, "{name}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{name}");
        }
        let about = fs::metadata(test_dir.path("in/empty")).unwrap();
        assert!(about.is_dir() && about.permissions().mode() & 0o7777 == 0o755);
        assert_eq!(fs::read_dir(test_dir.path("in")).unwrap().count(), 5);
    }

    #[test]
    fn many_files_in_one_directory_are_all_unpacked() {
        let test_dir = TestDir::new();
        let members: Vec<_> = (0..500).map(|nth| file(&format!("many/{nth}"), "x")).collect();
        assert_eq!(test_dir.unpack(&tgz(&members), &LIMITS).unwrap(), 500);
        assert_eq!(fs::read_dir(test_dir.path("in/many")).unwrap().count(), 500);
    }

    #[test]
    fn temporary_files_of_a_crash_are_removed() {
        let test_dir = TestDir::new();
        fs::create_dir_all(test_dir.path("in/.punchd-unpack/a/b")).unwrap();
        fs::write(test_dir.path("in/.punchd-unpack/a/b/c"), "half").unwrap();
        std::os::unix::fs::symlink("../out", test_dir.path("in/.punchd-unpack/link")).unwrap();
        fs::write(test_dir.path("in/.punchd-put"), "half").unwrap();
        test_dir.unpack(&tgz(&[file("a", "1")]), &LIMITS).unwrap();
        let mut names: Vec<_> = fs::read_dir(test_dir.path("in"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a", "old"]);
        assert!(test_dir.path("out/secret").exists());
    }

    #[test]
    fn unpacking_yields_and_a_stop_changes_nothing() {
        let test_dir = TestDir::new();
        let contents: String = (0..400_000u64).map(|nth| format!("{}", nth * 7_919)).collect();
        let part = test_dir.part(&tgz(&[file("old/file", &contents)]));
        let into = test_dir.find("in/").unwrap();
        let before = test_dir.listing();
        let yields = |stop: usize| {
            let mut count = 0;
            let done = unpack(&part, &into, &LIMITS, &mut || {
                count += 1;
                if count == stop { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
            });
            (count, done)
        };
        let all = 2 * contents.len() / (256 * 1024);
        for stop in [1, all / 2 + 1, all] {
            let (_, done) = yields(stop);
            assert!(matches!(done, Err(FileError::Stopped)), "{stop}: {done:?}");
            assert_eq!(test_dir.listing(), before, "{stop}");
        }
        let (count, done) = yields(0);
        assert_eq!(done.unwrap(), contents.len() as u64);
        assert!(count >= all, "{count} of {all}");
        assert!(matches!(
            unpack(&part, &test_dir.find("in/new").unwrap(), &LIMITS, &mut || Ok(())),
            Err(FileError::NotAFile { .. })
        ));
    }
}
