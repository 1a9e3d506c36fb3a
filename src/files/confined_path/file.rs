//! Reading and replacing the file at a confined path.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::ConfinedPath;
use crate::files::cooperative_reader::CooperativeReader;
use crate::files::{FileError, YieldNow, tree};

impl ConfinedPath {
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
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Read};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use crate::files::test_fixtures::TestDir;
    use crate::files::{ConfinedPath, FileError};

    #[test]
    fn only_regular_files_are_read() {
        let test_dir = TestDir::with_links();
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
        let test_dir = TestDir::with_links();
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
        let test_dir = TestDir::with_links();
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
