//! The members of a tar stream, one after another.
//!
//! The crate `tar` reads the headers, but not the stream: it reads long names of any length into
//! memory, and accepts a member that is cut short.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

use super::FileError;
use super::gunzip::only_zeros;

const BLOCK: usize = 512;
/// Most bytes of an extension header, such as a long name.
const LONGEST_EXTENSION: u64 = 64 * 1024;

/// A tar stream. Reading it gives the contents of the current member.
pub(super) struct Members<R> {
    stream: R,
    left: u64,
    padding: u64,
    seen: u64,
    most: u64,
    ended: bool,
}

/// The headers of a member, not checked.
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryType,
    pub(super) size: u64,
    pub(super) is_executable: bool,
}

/// What the extension headers say about the next member.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

impl<R: Read> Members<R> {
    /// More than `most` members are an error.
    pub(super) fn new(stream: R, most: u64) -> Self {
        Self { stream, left: 0, padding: 0, seen: 0, most, ended: false }
    }

    /// The next member. The rest of the current one is skipped. `None` means that the stream was
    /// read to its end and is complete.
    pub(super) fn next(&mut self) -> Result<Option<Member>, FileError> {
        let mut extensions = Extensions::default();
        let (mut has_long, mut has_pax) = (false, false);
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return match has_long || has_pax {
                    true => Err(FileError::archive("a member is cut off at its end")),
                    false => Ok(None),
                };
            };
            let size = header.entry_size()?;
            self.left = size;
            self.padding = size.wrapping_neg() % BLOCK as u64;
            match header.entry_type() {
                EntryType::GNULongName if !has_long => {
                    has_long = true;
                    let mut name = self.extension()?;
                    if name.last() == Some(&0) {
                        name.pop();
                    }
                    extensions.set_name(name)?;
                }
                EntryType::XHeader if !has_pax => {
                    has_pax = true;
                    extensions.add_pax(&self.extension()?)?;
                }
                EntryType::GNULongName | EntryType::XHeader => {
                    return Err(FileError::archive("a member has two headers of one kind"));
                }
                EntryType::XGlobalHeader => {
                    self.count()?;
                    let mut of_all = Extensions::default();
                    of_all.add_pax(&self.extension()?)?;
                    if of_all.name.is_some() || of_all.size.is_some() || of_all.is_sparse {
                        return Err(FileError::archive("a global header names a file"));
                    }
                }
                _ => {
                    self.count()?;
                    return member(&header, size, extensions).map(Some);
                }
            }
        }
    }

    fn count(&mut self) -> Result<(), FileError> {
        self.seen += 1;
        if self.seen > self.most {
            let most = self.most;
            return Err(FileError::TooLarge(format!("the archive has more than {most} members")));
        }
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), FileError> {
        let mut chunk = [0; 4096];
        while self.read(&mut chunk)? > 0 {}
        let padding = usize::try_from(self.padding).unwrap_or(0);
        self.stream.read_exact(&mut chunk[..padding])?;
        self.padding = 0;
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, FileError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let begun = if self.ended { 0 } else { self.stream.read(block)? };
        if begun == 0 {
            self.ended = true;
            return Ok(None);
        }
        self.stream.read_exact(&mut block[begun..])?;
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return match only_zeros(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Err(FileError::archive("there is other data behind its end"))
                }
                other => Ok(other.map(|()| None)?),
            };
        }
        match is_header(&header) {
            true => Ok(Some(header)),
            false => Err(FileError::archive("a header is damaged, or it is not a tar archive")),
        }
    }

    fn extension(&mut self) -> Result<Vec<u8>, FileError> {
        if self.left > LONGEST_EXTENSION {
            return Err(FileError::archive("a long name in it has more than 64 KiB"));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        match self.stream.read(&mut into[..most])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

impl Extensions {
    fn set_name(&mut self, name: Vec<u8>) -> Result<(), FileError> {
        match self.name.replace(name) {
            None => Ok(()),
            Some(_) => Err(FileError::archive("a member has two long names")),
        }
    }

    fn add_pax(&mut self, pax: &[u8]) -> Result<(), FileError> {
        for pair in PaxExtensions::new(pax) {
            let pair = pair?;
            match pair.key_bytes() {
                b"path" => self.set_name(pair.value_bytes().to_vec())?,
                b"size" => {
                    let size = pair.value().ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.unwrap_or(u64::MAX));
                }
                key if key.starts_with(b"GNU.sparse") => self.is_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn member(header: &Header, size: u64, extensions: Extensions) -> Result<Member, FileError> {
    let name = extensions.name.unwrap_or_else(|| header.path_bytes().into_owned());
    // Some programs use one size, some the other: they would see different archives.
    if extensions.size.is_some_and(|other| other != size) {
        let name = String::from_utf8_lossy(&name);
        return Err(FileError::member(&name, "has two different sizes"));
    }
    let kind = if extensions.is_sparse { EntryType::GNUSparse } else { header.entry_type() };
    let is_executable = header.mode().unwrap_or(0) & 0o111 != 0;
    Ok(Member { name, kind, size, is_executable })
}

/// Whether a block is the header of a member, by its checksum.
pub(super) fn is_header(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
    header.cksum().is_ok_and(|stored| stored == sum + 8 * u32::from(b' '))
}
