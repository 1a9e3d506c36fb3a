//! What `scripts/fuzz` calls with any bytes as an archive (built only with `--cfg fuzzing`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::name::OURS;
use super::{ArchiveLimits, ConfinedPath, FileError, unpack};

const LIMITS: ArchiveLimits = ArchiveLimits { members: 50, bytes: 256 << 10, ratio: 100, free: 0 };
/// Bytes of a block of tar, and where its checksum is.
const BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// An archive of `PutFile` (§12.8.2), unpacked into a directory that has files, links out of it, and a
/// file beside it. Nothing outside changes; what is refused changes nothing inside either, and what is
/// unpacked is within the limits.
///
/// The first byte says what the others are: a gzip file, or a tar file (whose checksums are put right, so
/// that more than the first header is read).
pub fn archive(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let packed = match first % 4 {
        0 => bytes.to_vec(),
        1 => gzip(bytes),
        _ => gzip(&with_checksums(bytes)),
    };
    let place = Place::new();
    place.fill(&packed);
    let before = place.listing();
    let into = format!("{}/in/", place.0.display());
    let into = ConfinedPath::find(&[place.0.join("in")], &into).expect("it was made");
    let done = unpack(&place.0.join("part"), &into, &LIMITS, &mut || Ok(()));
    let after = place.listing();
    let inside = |path: &Path| path.starts_with(place.0.join("in"));
    for (path, content) in before.iter().filter(|(path, _)| !inside(path)) {
        assert_eq!(after.get(path), Some(content), "{}", path.display());
    }
    match done {
        Ok(bytes) => {
            let new: Vec<_> =
                after.iter().filter(|(path, _)| !before.contains_key(*path)).collect();
            assert!(new.iter().all(|(path, _)| inside(path)), "{new:?}");
            assert!(bytes <= LIMITS.bytes && new.len() as u64 <= LIMITS.members, "{bytes} {new:?}");
            let is_own = |name: &OsStr| name.as_encoded_bytes().starts_with(OURS.as_bytes());
            let is_left = |(path, _): &(&PathBuf, _)| path.iter().any(is_own);
            assert!(!new.iter().any(is_left), "{new:?}");
        }
        Err(FileError::Io { .. }) => panic!("{done:?}"),
        Err(_) => assert_eq!(after, before, "{done:?}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(bytes).expect("a Vec takes all");
    gzip.finish().expect("a Vec takes all")
}

/// Each block with the checksum of a header in it: in the data of a member it is eight other bytes.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    for block in tar.chunks_exact_mut(BLOCK).filter(|block| block[0] != 0) {
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// A directory in memory, made anew for each archive.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(PathBuf::from(format!("/dev/shm/punchd-archive-{}", std::process::id())))
    }

    fn fill(&self, packed: &[u8]) {
        let fill = || {
            let _ = fs::remove_dir_all(&self.0);
            fs::create_dir_all(self.0.join("in/old"))?;
            fs::create_dir(self.0.join("out"))?;
            fs::write(self.0.join("in/old/file"), "old")?;
            fs::write(self.0.join("out/secret"), "secret")?;
            symlink("../out", self.0.join("in/link"))?;
            symlink("../out/secret", self.0.join("in/filelink"))?;
            fs::write(self.0.join("part"), packed)
        };
        fill().expect("there is room in memory");
    }

    /// Every file by its path, with what it holds.
    fn listing(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut directories) = (BTreeMap::new(), vec![self.0.clone()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let (path, kind) = (entry.path(), entry.file_type().expect("it is there"));
                let content = match kind {
                    kind if kind.is_dir() => {
                        directories.push(path.clone());
                        Vec::new()
                    }
                    kind if kind.is_symlink() => b"link".to_vec(),
                    _ => fs::read(&path).expect("it can be read"),
                };
                found.insert(path, content);
            }
        }
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
