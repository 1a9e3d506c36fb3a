//! Downloads, each a file in a directory that only punchd uses.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::cooperative_reader::CooperativeReader;
use super::{FileError, YieldNow};

/// The directory of downloads. The caller gives each download a key.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Opens the directory, or creates it. Other users cannot read it.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        let named = |error| named("make the directory", &dir, error);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(named)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(named)?;
        Ok(Self { dir })
    }

    /// The path of a download.
    pub fn part(&self, key: i64) -> PathBuf {
        self.dir.join(file_name(key))
    }

    /// Opens a download to continue behind its first `offset` bytes; bytes behind them are
    /// removed. With 0 it starts from the beginning. If the file is shorter, the error is
    /// `UnexpectedEof`, and the caller must start from the beginning.
    pub fn open_part(&self, key: i64, offset: u64) -> io::Result<File> {
        let path = self.part(key);
        let mut flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if offset == 0 {
            flags |= OFlags::CREATE;
        }
        let open = || -> io::Result<File> {
            let file = rustix::fs::openat(CWD, &path, flags, Mode::from_raw_mode(0o600))?;
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is not a regular file",
                ));
            }
            if u64::try_from(stat.st_size).unwrap_or(0) < offset {
                return Err(io::ErrorKind::NotFound.into());
            }
            let mut file = File::from(file);
            file.set_len(offset)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        open().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if offset > 0 => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} has fewer than {offset} bytes", path.display()),
            ),
            _ => named("open", &path, error),
        })
    }

    /// The path of a finished download that got a name by [`Spool::name`].
    pub fn named(&self, key: i64, name: &str) -> PathBuf {
        self.dir_of(key).join(name)
    }

    /// Gives a finished download a name, durably. It may have the name already.
    pub fn name(&self, key: i64, name: &str) -> io::Result<()> {
        let (path, place) = (self.part(key), self.named(key, name));
        let failed = |error| named("rename", &path, error);
        DirBuilder::new().recursive(true).mode(0o700).create(self.dir_of(key)).map_err(failed)?;
        match fs::rename(&path, &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && place.exists() => {}
            done => done.map_err(failed)?,
        }
        for dir in [self.dir_of(key), self.dir.clone()] {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    /// Removes a download and its named copy. It need not exist.
    pub fn remove(&self, key: i64) -> io::Result<()> {
        let (part, dir) = (self.part(key), self.dir_of(key));
        for (path, done) in [(&part, fs::remove_file(&part)), (&dir, fs::remove_dir_all(&dir))] {
            match done {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(named("remove", path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes all downloads except those with a key in `keep`.
    pub fn sweep(&self, keep: &[i64]) -> io::Result<()> {
        let read = |error| named("read", &self.dir, error);
        for entry in fs::read_dir(&self.dir).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            let key = name.to_str().and_then(key_of);
            if let Some(key) = key.filter(|key| !keep.contains(key)) {
                self.remove(key)?;
            }
        }
        Ok(())
    }

    /// The bytes that punchd can still write to the disk.
    pub fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.dir)
            .map_err(|error| named("get the free space of", &self.dir, error.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// The MD5 digest of a download.
    pub fn digest_md5(&self, key: i64, yield_now: &mut YieldNow<'_>) -> io::Result<[u8; 16]> {
        let (file, _) =
            CooperativeReader::open(&self.part(key), yield_now).map_err(io::Error::other)?;
        md5_of(file)
    }

    /// Reads a finished download that got a name by [`Spool::name`].
    pub fn read<'y, 'n: 'y>(
        &self,
        key: i64,
        name: &str,
        yield_now: &'y mut YieldNow<'n>,
    ) -> Result<impl Read + use<'y, 'n>, FileError> {
        Ok(CooperativeReader::open(&self.named(key, name), yield_now)?.0)
    }

    fn dir_of(&self, key: i64) -> PathBuf {
        self.dir.join(format!("{key}.d"))
    }
}

fn file_name(key: i64) -> String {
    format!("{key}.part")
}

/// The key in a file name; `None` if the file is not a download.
fn key_of(name: &str) -> Option<i64> {
    let key = name.strip_suffix(".part").or_else(|| name.strip_suffix(".d"))?;
    key.parse().ok().filter(|number: &i64| number.to_string() == key)
}

/// An error of the same kind whose message has the action and the path.
fn named(what: &'static str, path: &Path, error: io::Error) -> io::Error {
    let kind = error.kind();
    io::Error::new(kind, FileError::io(what, path, error))
}

/// The MD5 digest of all that is left to read.
pub fn md5_of(mut file: impl Read) -> io::Result<[u8; 16]> {
    let mut digest = Md5::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(digest.finalize().into());
        }
        digest.update(&chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::files::test_fixtures::TestDir;

    #[test]
    fn a_download_continues_at_its_offset() {
        let test_dir = TestDir::new();
        let spool = Spool::open(test_dir.path("spool/inner")).unwrap();
        let mode = fs::metadata(test_dir.path("spool/inner")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        for (offset, more, whole) in
            [(0, "abcdef", "abcdef"), (6, "ghi", "abcdefghi"), (2, "X", "abX"), (0, "new", "new")]
        {
            spool.open_part(7, offset).unwrap().write_all(more.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(spool.part(7)).unwrap(), whole);
        }
        for (key, offset) in [(7, 4), (8, 1)] {
            let error = spool.open_part(key, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
        assert!(!spool.part(8).exists());
        assert_eq!(fs::read_to_string(spool.part(7)).unwrap(), "new");
        assert!(spool.free().unwrap() > 0);
        let digest = spool.digest_md5(7, &mut || Ok(())).unwrap();
        assert_eq!(digest[..4], [0x22, 0xaf, 0x64, 0x5d]);
        spool.remove(7).unwrap();
        spool.remove(7).unwrap();
        assert!(spool.digest_md5(7, &mut || Ok(())).is_err());
    }

    #[test]
    fn only_regular_files_are_opened_and_only_downloads_are_removed() {
        let test_dir = TestDir::new();
        let spool = Spool::open(test_dir.path("in")).unwrap();
        symlink(test_dir.path("out/secret"), spool.part(1)).unwrap();
        fs::create_dir(spool.part(2)).unwrap();
        for key in [1, 2] {
            let error = spool.open_part(key, 0).unwrap_err().to_string();
            assert!(error.contains(&format!("{key}.part")), "{error}");
        }
        fs::remove_dir(spool.part(2)).unwrap();
        for key in [3, -4, 5] {
            spool.open_part(key, 0).unwrap();
        }
        fs::write(test_dir.path("in/05.part"), "not ours").unwrap();
        fs::write(test_dir.path("in/x.part"), "not ours").unwrap();
        spool.sweep(&[3, 9]).unwrap();
        let mut names: Vec<_> = fs::read_dir(test_dir.path("in"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["05.part", "3.part", "old", "x.part"]);
        assert_eq!(fs::read_to_string(test_dir.path("out/secret")).unwrap(), "secret");
    }

    #[test]
    fn a_digest_yields_and_can_be_stopped() {
        let test_dir = TestDir::new();
        let spool = Spool::open(test_dir.path("spool")).unwrap();
        spool.open_part(1, 0).unwrap().write_all(&vec![0; 1_000_000]).unwrap();
        let mut yields = 0;
        let mut yield_now = || {
            yields += 1;
            Ok(())
        };
        spool.digest_md5(1, &mut yield_now).unwrap();
        assert_eq!(yields, 3);
        let stop = spool.digest_md5(1, &mut || Err(io::ErrorKind::Interrupted.into()));
        assert!(matches!(FileError::from(stop.unwrap_err()), FileError::Stopped));
    }
}
