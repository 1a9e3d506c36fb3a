//! A gzip file, unpacked within limits.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::cooperative_reader::CooperativeReader;
use super::{ArchiveLimits, FileError};

/// The ratio is not checked before this many bytes are unpacked: a small file of zeros is no
/// attack.
const RATIO_FREE: u64 = 1024 * 1024;
/// Most empty parts of a gzip file in a row: an empty part costs more work than its bytes.
const MOST_EMPTY: u32 = 16;
/// Starting a part costs as much work as this many bytes.
const PART_COST: usize = 32 * 1024;

/// The bytes of all parts: gzip files may be concatenated, and zeros may follow.
pub(super) struct Gunzip<Y> {
    part: Option<GzDecoder<BufReader<CooperativeReader<Y>>>>,
    packed: u64,
    unpacked: u64,
    empty: u32,
    limits: ArchiveLimits,
}

impl<Y: FnMut() -> io::Result<()>> Gunzip<Y> {
    pub(super) fn open(
        path: &Path,
        limits: &ArchiveLimits,
        yield_now: Y,
    ) -> Result<Self, FileError> {
        let (file, packed) = CooperativeReader::open(path, yield_now)?;
        let part = Some(GzDecoder::new(BufReader::with_capacity(32 * 1024, file)));
        Ok(Self { part, packed, unpacked: 0, empty: 0, limits: *limits })
    }

    /// Starts the next part, if there is one.
    fn next_part(&mut self) -> io::Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let mut packed = part.into_inner();
        match packed.fill_buf()?.first() {
            None => Ok(()),
            Some(0) => only_zeros(&mut packed).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => garbage(),
                _ => error,
            }),
            Some(0x1f) if self.empty == MOST_EMPTY => {
                Err(io::Error::other(FileError::archive("it has too many parts without a byte")))
            }
            Some(0x1f) => {
                self.empty += 1;
                packed.get_mut().processed(PART_COST)?;
                self.part = Some(GzDecoder::new(packed));
                Ok(())
            }
            Some(_) => Err(garbage()),
        }
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.empty = 0;
        self.unpacked = self.unpacked.saturating_add(bytes as u64);
        let ArchiveLimits { bytes: most, ratio, .. } = self.limits;
        let too_large = |why: String| Err(io::Error::other(FileError::TooLarge(why)));
        if self.unpacked > most {
            return too_large(format!("the archive unpacks to more than {most} bytes"));
        }
        if self.unpacked > RATIO_FREE && self.unpacked > self.packed.saturating_mul(ratio) {
            return too_large(format!("the archive unpacks to more than {ratio} times its size"));
        }
        match &mut self.part {
            Some(part) => part.get_mut().get_mut().processed(bytes),
            None => Ok(()),
        }
    }
}

impl<Y: FnMut() -> io::Result<()>> Read for Gunzip<Y> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(part) = &mut self.part {
            match part.read(into) {
                Ok(0) => self.next_part()?,
                Ok(bytes) => {
                    self.count(bytes)?;
                    return Ok(bytes);
                }
                Err(error) => return Err(io::Error::other(FileError::from(error))),
            }
        }
        Ok(0)
    }
}

/// Reads to the end. The error is `InvalidData` if there are other bytes than zeros.
pub(super) fn only_zeros(stream: &mut impl Read) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        if chunk[..count].iter().any(|byte| *byte != 0) {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn garbage() -> io::Error {
    io::Error::other(FileError::archive("there is other data behind its end"))
}
