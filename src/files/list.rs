//! A file of command lines (`PutFile … Action=…`, §12.8.2): plain, gzip, tar or tgz.

use std::io::{self, Cursor, Read};
use std::path::Path;

use tar::{EntryType, Header};

use super::cooperative_reader::CooperativeReader;
use super::gunzip::Gunzip;
use super::members::{Members, is_header};
use super::{ArchiveLimits, FileError};

const BLOCK: usize = 512;

/// Opens a download as lines. Its first bytes tell how it is packed. The files of a tar are
/// joined, each begins on a new line. `FileError::from` turns an error of the reader into the
/// [`FileError`] that it was.
pub fn open_list(part: &Path, limits: &ArchiveLimits) -> Result<Box<dyn Read>, FileError> {
    // The caller yields between the lines.
    let yield_now = || Ok(());
    let (mut file, size) = CooperativeReader::open(part, yield_now)?;
    match begin(&mut file, 2)?.as_slice() {
        [0x1f, 0x8b] => lines(Gunzip::open(part, limits, yield_now)?, limits),
        _ if size > limits.bytes => {
            let most = limits.bytes;
            Err(FileError::TooLarge(format!("the list has more than {most} bytes")))
        }
        _ => lines(CooperativeReader::open(part, yield_now)?.0.take(size), limits),
    }
}

fn lines(
    mut stream: impl Read + 'static,
    limits: &ArchiveLimits,
) -> Result<Box<dyn Read>, FileError> {
    let first = begin(&mut stream, BLOCK)?;
    let is_tar = is_tar(&first);
    let stream = Cursor::new(first).chain(stream);
    Ok(match is_tar {
        true => {
            Box::new(Lines { members: Members::new(stream, limits.members), state: State::Begin })
        }
        false => Box::new(stream),
    })
}

/// The first `most` bytes; fewer if the stream is shorter.
fn begin(stream: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most);
    stream.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_tar(first: &[u8]) -> bool {
    let mut header = Header::new_old();
    first.len() == BLOCK && {
        header.as_mut_bytes().copy_from_slice(first);
        first[257..].starts_with(b"ustar") || is_header(&header)
    }
}

/// The files of a tar stream, joined.
struct Lines<R> {
    members: Members<R>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    InFile,
    Between,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.state == State::InFile {
                match self.members.read(into)? {
                    0 => self.state = State::Between,
                    count => return Ok(count),
                }
            }
            let Some(member) = self.members.next().map_err(io::Error::other)? else {
                return Ok(0);
            };
            if member.kind == EntryType::Regular {
                let was = std::mem::replace(&mut self.state, State::InFile);
                if was == State::Between {
                    into[0] = b'\n';
                    return Ok(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::test_fixtures::{LIMITS, TestDir, file, gzip, member, tar, tgz};

    #[test]
    fn a_list_is_read_in_each_packing() {
        let lines = "DATA UPDATE USERINFO PIN=1\nDATA UPDATE USERINFO PIN=2";
        let files = [
            member(b"dir/", EntryType::Directory, 0, b""),
            file("dir/one", "DATA UPDATE USERINFO PIN=1"),
            member(b"link", EntryType::Symlink, 0, b""),
            file("empty", ""),
            file("two", "DATA UPDATE USERINFO PIN=2"),
        ];
        let test_dir = TestDir::new();
        for (what, bytes, wanted) in [
            ("plain", lines.as_bytes().to_vec(), lines),
            ("empty", vec![], ""),
            ("gzip", gzip(lines.as_bytes()), lines),
            ("gzip in two parts", [gzip(b"a\nb"), gzip(b"c\n")].concat(), "a\nbc\n"),
            ("tgz", tgz(&files), &lines.replace('\n', "\n\n")),
            ("tar", tar(&files), &lines.replace('\n', "\n\n")),
            ("long", "x\n".repeat(50_000).into_bytes(), &"x\n".repeat(50_000)),
        ] {
            let mut text = String::new();
            open_list(&test_dir.part(&bytes), &LIMITS).unwrap().read_to_string(&mut text).unwrap();
            assert!(text == wanted, "{what}: {text:.100}");
        }
    }

    #[test]
    fn a_list_that_is_damaged_or_too_large_is_refused() {
        let test_dir = TestDir::new();
        let limits = ArchiveLimits { bytes: 2_000_000, ..LIMITS };
        let good = gzip(b"DATA UPDATE USERINFO PIN=1");
        let tar = tar(&[file("a", &"a".repeat(2_000))]);
        for (what, bytes, message) in [
            ("plain, too large", vec![b'a'; 2_000_001], "more than 2000000 bytes"),
            ("gzip, ratio", gzip(&vec![0; 1_500_000]), "100 times"),
            ("gzip, cut short", good[..good.len() - 4].to_vec(), "cut short"),
            ("gzip, garbage behind", [&good[..], b"x"].concat(), "behind its end"),
            ("tar, cut short", gzip(&tar[..1_000]), "cut short"),
            ("tar, bad header", gzip(&tar.repeat(2)), "behind its end"),
        ] {
            let read = open_list(&test_dir.part(&bytes), &limits)
                .and_then(|mut lines| Ok(io::copy(&mut lines, &mut io::sink())?));
            let error = read.unwrap_err();
            assert!(error.to_string().contains(message), "{what}: {error}");
        }
        assert!(open_list(&test_dir.path("none"), &limits).is_err());
        assert!(open_list(&test_dir.path("in"), &limits).is_err());
    }
}
