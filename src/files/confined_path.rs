//! A path from the server, found without leaving the directories that the owner lists.
//!
//! Each directory on the way is opened from the one before and may not be a link, so that
//! neither `..` nor a link, an old one or one that appears meanwhile, leads anywhere else.
//! openat2(2) would do it in one call, but kernels before 5.6 do not have it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::cooperative_reader::CooperativeReader;
use super::{FileError, YieldNow, name, tree};

/// A place beneath a listed directory: a directory, or a name in one. Whatever is done
/// there goes by the open directory, not by the path once more.
#[derive(Debug)]
pub struct ConfinedPath {
    dir: OwnedFd,
    /// None for the directory itself.
    name: Option<String>,
    path: PathBuf,
}

impl ConfinedPath {
    /// Finds an absolute path beneath one of `dirs`. The last name may be missing; the
    /// directories before it may not. A path that ends with `/` is that of a directory.
    pub fn find(dirs: &[PathBuf], path: &str) -> Result<Self, FileError> {
        Self::walk(dirs, path, |at, name| tree::open_dir(at, name))
    }

    /// Finds a place to write to: missing directories beneath the listed one are made. The
    /// listed one is not: where a disk is not mounted, its files are not to land elsewhere.
    pub fn find_or_make(dirs: &[PathBuf], path: &str) -> Result<Self, FileError> {
        Self::walk(dirs, path, |at, name| {
            let is_new = tree::kind(at, name)?.is_none();
            let dir = tree::make_dir(at, name)?;
            if is_new {
                tree::sync(at)?;
            }
            Ok(dir)
        })
    }

    fn walk(
        dirs: &[PathBuf],
        path: &str,
        open: fn(BorrowedFd<'_>, &str) -> rustix::io::Result<OwnedFd>,
    ) -> Result<Self, FileError> {
        let outside = |why: String| FileError::Outside { path: path.to_owned(), why };
        let names = name::of_path(path).map_err(|why| outside(format!("it {why}")))?;
        let listed = dirs
            .iter()
            .filter(|dir| dir.is_absolute() && Path::new(path).starts_with(dir))
            .max_by_key(|dir| dir.components().count())
            .ok_or_else(|| outside("it lies in none of the directories opened to it".into()))?;
        let mut below = &names[(listed.components().count() - 1).min(names.len())..];
        let mut last = None;
        if let (false, Some((name, before))) = (path.ends_with('/'), below.split_last()) {
            (last, below) = (Some(*name), before);
        }

        let mut at = listed.clone();
        // The owner may list a link.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut dir = rustix::fs::open(listed, flags, Mode::empty())
            .map_err(|error| failed(&at, error, None))?;
        for name in below {
            at.push(name);
            dir = open(dir.as_fd(), name).map_err(|error| {
                failed(&at, error, tree::kind(dir.as_fd(), *name).ok().flatten())
            })?;
        }
        let Some(name) = last else {
            return Ok(Self { dir, name: None, path: at });
        };
        at.push(name);
        match tree::kind(dir.as_fd(), name).map_err(|error| failed(&at, error, None))? {
            Some(FileType::Symlink) => Err(failed(&at, Errno::LOOP, Some(FileType::Symlink))),
            Some(FileType::Directory) => {
                let dir =
                    tree::open_dir(dir.as_fd(), name).map_err(|error| failed(&at, error, None))?;
                Ok(Self { dir, name: None, path: at })
            }
            _ => Ok(Self { dir, name: Some(name.to_owned()), path: at }),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file there for reading, and says how long it is.
    pub fn open(&self) -> Result<(File, u64), FileError> {
        let failed = |error| FileError::io("open", &self.path, error);
        let name = self.name()?;
        // Looked at before it is opened: to open a device can be to set it going.
        match tree::kind(self.dir.as_fd(), name).map_err(failed)? {
            None => return Err(FileError::Missing(self.message())),
            Some(FileType::RegularFile) => {}
            Some(_) => return Err(self.not_a_file()),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file.into(), u64::try_from(stat.st_size).unwrap_or(0))),
            _ => Err(self.not_a_file()),
        }
    }

    /// Puts a finished download there for good, in place of the file that was there, and
    /// says how long it is. `part` is gone then; if this fails, it is still there.
    pub fn put(&self, part: &Path, yield_now: &mut YieldNow<'_>) -> Result<u64, FileError> {
        let failed = |error| FileError::io("write", &self.path, error);
        let (name, dir) = (self.name()?, self.dir.as_fd());
        match tree::kind(dir, name).map_err(failed)? {
            None | Some(FileType::RegularFile) => {}
            Some(_) => return Err(self.not_a_file()),
        }
        let (file, size) = CooperativeReader::open(part, || Ok(()))?;
        let part_failed = |error| FileError::io("write", part, error);
        rustix::fs::fchmod(file.file(), Mode::from_raw_mode(0o644)).map_err(part_failed)?;
        rustix::fs::fsync(file.file()).map_err(part_failed)?;
        tree::sweep(dir).map_err(failed)?;
        tree::place((CWD, part), (dir, name), (part, &self.path), yield_now)?;
        tree::sync(dir).map_err(failed)?;
        Ok(size)
    }

    /// The directory that it is.
    pub(super) fn dir(&self) -> Result<BorrowedFd<'_>, FileError> {
        match self.name {
            None => Ok(self.dir.as_fd()),
            Some(_) => Err(FileError::NotAFile { path: self.message(), why: "no directory" }),
        }
    }

    fn name(&self) -> Result<&str, FileError> {
        let directory = || FileError::NotAFile { path: self.message(), why: "a directory" };
        self.name.as_deref().ok_or_else(directory)
    }

    fn not_a_file(&self) -> FileError {
        FileError::NotAFile { path: self.message(), why: "no regular file" }
    }

    fn message(&self) -> String {
        self.path.display().to_string()
    }
}

/// Why a directory could not be opened, where `found` stands.
fn failed(at: &Path, error: Errno, found: Option<FileType>) -> FileError {
    let path = at.display().to_string();
    match (error, found) {
        (_, Some(FileType::Symlink)) => {
            FileError::Outside { path, why: "it is a symbolic link".into() }
        }
        (Errno::NOENT, _) => FileError::Missing(path),
        (Errno::NOTDIR, _) => FileError::NotAFile { path, why: "no directory" },
        (error, _) => FileError::io("open", at, error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Read};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use crate::files::test_fixtures::Scratch;
    use crate::files::{ConfinedPath, FileError};

    fn scratch() -> Scratch {
        let scratch = Scratch::new();
        symlink("../out", scratch.path("in/link")).unwrap();
        symlink("old", scratch.path("in/inner")).unwrap();
        symlink("../out/secret", scratch.path("in/filelink")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, scratch.path("in/pipe"), fifo, mode, 0).unwrap();
        scratch
    }

    #[test]
    fn a_path_leads_only_beneath_the_listed_directories() {
        let scratch = scratch();
        let before = scratch.listing();
        for (name, message) in [
            ("", "none of the directories"),
            ("out/secret", "none of the directories"),
            ("inside", "none of the directories"),
            ("in/../out/secret", ". or .."),
            ("in//old", "empty"),
            ("in/old\0", "control"),
            ("in/link/secret", "in/link: it is a symbolic link"),
            ("in/link/", "symbolic link"),
            ("in/inner/file", "symbolic link"),
            ("in/filelink", "symbolic link"),
            ("in/none/file", "in/none does not exist"),
            ("in/none/", "does not exist"),
            ("in/old/file/x", "no directory"),
            ("in/old/file/", "no directory"),
            ("in/pipe/", "no directory"),
        ] {
            let error = scratch.find(name).unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
            if message != "in/none does not exist" && message != "does not exist" {
                let made = ConfinedPath::find_or_make(&[scratch.path("in")], &scratch.text(name));
                assert!(made.is_err(), "{name}");
            }
        }
        assert_eq!(scratch.listing(), before);
        assert!(matches!(
            ConfinedPath::find(&["in".into()], "in/x"),
            Err(FileError::Outside { .. })
        ));
        assert!(matches!(ConfinedPath::find(&[], "/etc/passwd"), Err(FileError::Outside { .. })));
    }

    #[test]
    fn files_are_read_and_nothing_else() {
        let scratch = scratch();
        let (mut file, size) = scratch.find("in/old/file").unwrap().open().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), size), ("old", 3));
        for (name, message) in [
            ("in", "is a directory"),
            ("in/old", "is a directory"),
            ("in/old/", "is a directory"),
            ("in/pipe", "no regular file"),
            ("in/old/none", "in/old/none does not exist"),
        ] {
            let error = scratch.find(name).unwrap().open().unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
        let null = ConfinedPath::find(&["/dev".into()], "/dev/null").unwrap();
        assert!(matches!(null.open(), Err(FileError::NotAFile { .. })));
        // What the owner lists may be a link, and of two directories the inner one counts.
        let dirs = ["/".into(), scratch.path("in/link")];
        let place = ConfinedPath::find(&dirs, &scratch.text("in/link/secret")).unwrap();
        assert_eq!(place.open().unwrap().1, 6);
    }

    #[test]
    fn a_download_is_put_in_place_whole() {
        let scratch = scratch();
        let dirs = [scratch.path("in")];
        for name in ["in/old/file", "in/new", "in/a/b/c"] {
            let part = scratch.part(b"download");
            let place = ConfinedPath::find_or_make(&dirs, &scratch.text(name)).unwrap();
            assert_eq!(place.put(&part, &mut || Ok(())).unwrap(), 8, "{name}");
            assert_eq!(fs::read_to_string(scratch.path(name)).unwrap(), "download");
            assert_eq!(fs::metadata(scratch.path(name)).unwrap().mode() & 0o7777, 0o644);
            assert!(!part.exists());
        }
        assert_eq!(fs::metadata(scratch.path("in/a/b")).unwrap().mode() & 0o7777, 0o755);
        assert!(ConfinedPath::find_or_make(&dirs, &scratch.text("in/d/e/")).unwrap().dir().is_ok());
        let missing = ConfinedPath::find_or_make(&[scratch.path("none")], &scratch.text("none/a"));
        assert!(matches!(missing, Err(FileError::Missing(_))));

        let part = scratch.part(b"download");
        let before = scratch.listing();
        for name in ["in/old", "in/pipe"] {
            let error = scratch.find(name).unwrap().put(&part, &mut || Ok(())).unwrap_err();
            assert!(matches!(error, FileError::NotAFile { .. }), "{name}: {error}");
        }
        let place = scratch.find("in/later").unwrap();
        symlink("../out/secret", scratch.path("in/later")).unwrap();
        place.put(&part, &mut || Ok(())).unwrap_err();
        fs::remove_file(scratch.path("in/later")).unwrap();
        assert_eq!(scratch.listing(), before);
        assert!(part.exists());
    }

    #[test]
    fn a_download_on_another_disk_is_copied_and_leaves_nothing_half() {
        let shm = Path::new("/dev/shm");
        let scratch = scratch();
        let device = |path: &Path| fs::metadata(path).ok().map(|about| about.dev());
        if device(shm).is_none() || device(shm) == device(&scratch.path("in")) {
            return;
        }
        let other = Scratch::at(shm);
        let part = other.part(&vec![7; 3_000_000]);
        fs::write(scratch.path("in/old/.punchd-put"), "of a crash").unwrap();
        let place = scratch.find("in/old/file").unwrap();
        let stop = &mut || Err(io::ErrorKind::Interrupted.into());
        assert!(matches!(place.put(&part, stop), Err(FileError::Stopped)));
        assert_eq!(fs::read_to_string(scratch.path("in/old/file")).unwrap(), "old");
        assert_eq!(fs::read_dir(scratch.path("in/old")).unwrap().count(), 1);
        let mut breaths = 0;
        let yield_now = &mut || {
            breaths += 1;
            Ok(())
        };
        assert_eq!(place.put(&part, yield_now).unwrap(), 3_000_000);
        assert!(breaths >= 11 && !part.exists());
        let about = fs::metadata(scratch.path("in/old/file")).unwrap();
        assert_eq!((about.len(), about.permissions().mode() & 0o777), (3_000_000, 0o644));
        assert_eq!(fs::read_dir(scratch.path("in/old")).unwrap().count(), 1);
    }
}
