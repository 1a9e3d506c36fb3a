//! A path from the server, confined to the directories that the owner lists.
//!
//! Each directory of the path is opened relative to the one before and may not be a symbolic
//! link. So neither `..` nor a link, old or created meanwhile, leads out of the listed
//! directories. openat2(2) would do it in one call, but kernels before 5.6 do not have it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::cooperative_reader::CooperativeReader;
use super::{FileError, YieldNow, name, tree};

/// A directory beneath a listed one, or a name in such a directory. Operations use the open
/// directory and never resolve the path again.
#[derive(Debug)]
pub struct ConfinedPath {
    dir: OwnedFd,
    /// `None` for the directory itself.
    name: Option<String>,
    path: PathBuf,
}

impl ConfinedPath {
    /// Resolves an absolute path beneath one of `dirs`. All directories must exist, the last name
    /// need not. A path that ends with `/` is that of a directory.
    pub fn find(dirs: &[PathBuf], path: &str) -> Result<Self, FileError> {
        Self::walk(dirs, path, |at, name| tree::open_dir(at, name))
    }

    /// Resolves a path to write to, and creates missing directories beneath the listed one. The
    /// listed one must exist: if a disk is not mounted, nothing may be written in its place.
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
            .ok_or_else(|| {
                outside(
                    "it is not beneath one of the directories that the configuration lists".into(),
                )
            })?;
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

    /// The path as text, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for reading. Returns its length, too.
    pub fn open(&self) -> Result<(File, u64), FileError> {
        let failed = |error| FileError::io("open", &self.path, error);
        let name = self.name()?;
        // Checked before it is opened: opening a device can have an effect.
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

    /// Moves a finished download to this path, durably, and replaces the file that was there.
    /// Returns its length. If this fails, `part` still exists.
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
        tree::move_into_place((CWD, part), (dir, name), (part, &self.path), yield_now)?;
        tree::sync(dir).map_err(failed)?;
        Ok(size)
    }

    /// The directory, if the path is that of one.
    pub(super) fn dir(&self) -> Result<BorrowedFd<'_>, FileError> {
        match self.name {
            None => Ok(self.dir.as_fd()),
            Some(_) => Err(FileError::NotAFile { path: self.message(), why: "not a directory" }),
        }
    }

    fn name(&self) -> Result<&str, FileError> {
        let directory = || FileError::NotAFile { path: self.message(), why: "a directory" };
        self.name.as_deref().ok_or_else(directory)
    }

    fn not_a_file(&self) -> FileError {
        FileError::NotAFile { path: self.message(), why: "not a regular file" }
    }

    fn message(&self) -> String {
        self.path.display().to_string()
    }
}

/// The error if a directory could not be opened; `found` is what was found instead.
fn failed(at: &Path, error: Errno, found: Option<FileType>) -> FileError {
    let path = at.display().to_string();
    match (error, found) {
        (_, Some(FileType::Symlink)) => {
            FileError::Outside { path, why: "it is a symbolic link".into() }
        }
        (Errno::NOENT, _) => FileError::Missing(path),
        (Errno::NOTDIR, _) => FileError::NotAFile { path, why: "not a directory" },
        (error, _) => FileError::io("open", at, error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Read};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use crate::files::test_fixtures::TestDir;
    use crate::files::{ConfinedPath, FileError};

    fn test_dir() -> TestDir {
        let test_dir = TestDir::new();
        symlink("../out", test_dir.path("in/link")).unwrap();
        symlink("old", test_dir.path("in/inner")).unwrap();
        symlink("../out/secret", test_dir.path("in/filelink")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, test_dir.path("in/pipe"), fifo, mode, 0).unwrap();
        test_dir
    }

    #[test]
    fn a_path_is_confined_to_the_listed_directories() {
        let test_dir = test_dir();
        let before = test_dir.listing();
        for (name, message) in [
            ("", "not beneath one of the directories"),
            ("out/secret", "not beneath one of the directories"),
            ("inside", "not beneath one of the directories"),
            ("in/../out/secret", ". or .."),
            ("in//old", "empty"),
            ("in/old\0", "control"),
            ("in/link/secret", "in/link: it is a symbolic link"),
            ("in/link/", "symbolic link"),
            ("in/inner/file", "symbolic link"),
            ("in/filelink", "symbolic link"),
            ("in/none/file", "in/none does not exist"),
            ("in/none/", "does not exist"),
            ("in/old/file/x", "not a directory"),
            ("in/old/file/", "not a directory"),
            ("in/pipe/", "not a directory"),
        ] {
            let error = test_dir.find(name).unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
            if message != "in/none does not exist" && message != "does not exist" {
                let made = ConfinedPath::find_or_make(&[test_dir.path("in")], &test_dir.text(name));
                assert!(made.is_err(), "{name}");
            }
        }
        assert_eq!(test_dir.listing(), before);
        assert!(matches!(
            ConfinedPath::find(&["in".into()], "in/x"),
            Err(FileError::Outside { .. })
        ));
        assert!(matches!(ConfinedPath::find(&[], "/etc/passwd"), Err(FileError::Outside { .. })));
    }

    #[test]
    fn only_regular_files_are_read() {
        let test_dir = test_dir();
        let (mut file, size) = test_dir.find("in/old/file").unwrap().open().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), size), ("old", 3));
        for (name, message) in [
            ("in", "is a directory"),
            ("in/old", "is a directory"),
            ("in/old/", "is a directory"),
            ("in/pipe", "not a regular file"),
            ("in/old/none", "in/old/none does not exist"),
        ] {
            let error = test_dir.find(name).unwrap().open().unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
        let null = ConfinedPath::find(&["/dev".into()], "/dev/null").unwrap();
        assert!(matches!(null.open(), Err(FileError::NotAFile { .. })));
        // A listed directory may be a link. Of two listed directories the inner one counts.
        let dirs = ["/".into(), test_dir.path("in/link")];
        let path = ConfinedPath::find(&dirs, &test_dir.text("in/link/secret")).unwrap();
        assert_eq!(path.open().unwrap().1, 6);
    }

    #[test]
    fn a_download_replaces_a_file_as_a_whole() {
        let test_dir = test_dir();
        let dirs = [test_dir.path("in")];
        for name in ["in/old/file", "in/new", "in/a/b/c"] {
            let part = test_dir.part(b"download");
            let path = ConfinedPath::find_or_make(&dirs, &test_dir.text(name)).unwrap();
            assert_eq!(path.put(&part, &mut || Ok(())).unwrap(), 8, "{name}");
            assert_eq!(fs::read_to_string(test_dir.path(name)).unwrap(), "download");
            assert_eq!(fs::metadata(test_dir.path(name)).unwrap().mode() & 0o7777, 0o644);
            assert!(!part.exists());
        }
        assert_eq!(fs::metadata(test_dir.path("in/a/b")).unwrap().mode() & 0o7777, 0o755);
        assert!(
            ConfinedPath::find_or_make(&dirs, &test_dir.text("in/d/e/")).unwrap().dir().is_ok()
        );
        let missing =
            ConfinedPath::find_or_make(&[test_dir.path("none")], &test_dir.text("none/a"));
        assert!(matches!(missing, Err(FileError::Missing(_))));

        let part = test_dir.part(b"download");
        let before = test_dir.listing();
        for name in ["in/old", "in/pipe"] {
            let error = test_dir.find(name).unwrap().put(&part, &mut || Ok(())).unwrap_err();
            assert!(matches!(error, FileError::NotAFile { .. }), "{name}: {error}");
        }
        let path = test_dir.find("in/later").unwrap();
        symlink("../out/secret", test_dir.path("in/later")).unwrap();
        path.put(&part, &mut || Ok(())).unwrap_err();
        fs::remove_file(test_dir.path("in/later")).unwrap();
        assert_eq!(test_dir.listing(), before);
        assert!(part.exists());
    }

    #[test]
    fn a_download_on_another_disk_is_copied_and_leaves_no_partial_file() {
        let shm = Path::new("/dev/shm");
        let test_dir = test_dir();
        let device = |path: &Path| fs::metadata(path).ok().map(|about| about.dev());
        if device(shm).is_none() || device(shm) == device(&test_dir.path("in")) {
            return;
        }
        let other = TestDir::at(shm);
        let part = other.part(&vec![7; 3_000_000]);
        fs::write(test_dir.path("in/old/.punchd-put"), "of a crash").unwrap();
        let path = test_dir.find("in/old/file").unwrap();
        let stop = &mut || Err(io::ErrorKind::Interrupted.into());
        assert!(matches!(path.put(&part, stop), Err(FileError::Stopped)));
        assert_eq!(fs::read_to_string(test_dir.path("in/old/file")).unwrap(), "old");
        assert_eq!(fs::read_dir(test_dir.path("in/old")).unwrap().count(), 1);
        let mut yields = 0;
        let yield_now = &mut || {
            yields += 1;
            Ok(())
        };
        assert_eq!(path.put(&part, yield_now).unwrap(), 3_000_000);
        assert!(yields >= 11 && !part.exists());
        let about = fs::metadata(test_dir.path("in/old/file")).unwrap();
        assert_eq!((about.len(), about.permissions().mode() & 0o777), (3_000_000, 0o644));
        assert_eq!(fs::read_dir(test_dir.path("in/old")).unwrap().count(), 1);
    }
}
