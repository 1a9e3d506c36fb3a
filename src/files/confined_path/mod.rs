//! A path from the server, confined to the directories that the owner lists.
//!
//! Each directory of the path is opened relative to the one before and may not be a symbolic
//! link. So neither `..` nor a link, old or created meanwhile, leads out of the listed
//! directories. openat2(2) would do it in one call, but kernels before 5.6 do not have it.

mod file;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{FileError, name, tree};

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
    use crate::files::test_fixtures::TestDir;
    use crate::files::{ConfinedPath, FileError};

    #[test]
    fn a_path_is_confined_to_the_listed_directories() {
        let test_dir = TestDir::with_links();
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
}
