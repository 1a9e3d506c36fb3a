//! A gzip file as the bytes in it, with an end to how many they may be.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::cooperative_reader::CooperativeReader;
use super::{ArchiveLimits, FileError};

/// Below this much unpacked, the ratio says nothing: a small file of zeros is no bomb.
const JUDGED: u64 = 1024 * 1024;
/// How many parts of a gzip file may be empty in a row: each costs more work than bytes.
const EMPTY: u32 = 16;
/// To begin a part is as much work as this many bytes.
const PART: usize = 32 * 1024;

/// The bytes of all parts (gzip files may stand behind one another; zeros may follow).
pub(super) struct Gunzip<B> {
    part: Option<GzDecoder<BufReader<CooperativeReader<B>>>>,
    packed: u64,
    unpacked: u64,
    empty: u32,
    limits: ArchiveLimits,
}

impl<B: FnMut() -> io::Result<()>> Gunzip<B> {
    pub(super) fn open(
        path: &Path,
        limits: &ArchiveLimits,
        yield_now: B,
    ) -> Result<Self, FileError> {
        let (file, packed) = CooperativeReader::open(path, yield_now)?;
        let part = Some(GzDecoder::new(BufReader::with_capacity(32 * 1024, file)));
        Ok(Self { part, packed, unpacked: 0, empty: 0, limits: *limits })
    }

    /// Goes on to the next part, if there is one.
    fn next_part(&mut self) -> io::Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let mut packed = part.into_inner();
        match packed.fill_buf()?.first() {
            None => Ok(()),
            Some(0) => only_zeros(&mut packed).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => garbage(),
                _ => error,
            }),
            Some(0x1f) if self.empty == EMPTY => {
                Err(io::Error::other(FileError::archive("it has many parts without a byte")))
            }
            Some(0x1f) => {
                self.empty += 1;
                packed.get_mut().processed(PART)?;
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
        if self.unpacked > JUDGED && self.unpacked > self.packed.saturating_mul(ratio) {
            return too_large(format!("the archive unpacks to more than {ratio} times its size"));
        }
        match &mut self.part {
            Some(part) => part.get_mut().get_mut().processed(bytes),
            None => Ok(()),
        }
    }
}

impl<B: FnMut() -> io::Result<()>> Read for Gunzip<B> {
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

/// Reads to the end. InvalidData, if something else than zeros comes.
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
    io::Error::other(FileError::archive("something else follows behind its end"))
}
