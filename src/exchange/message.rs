//! A sealed message: which one it is, then chunks, each with its length. The first begins with a line that
//! says what the message is; each is released only when it was opened. `docs/encryption.md` has every byte.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use super::suite::{CipherSuite, Direction, Unusable};

/// The version of the form, the direction, the session, the number.
const HEAD_BYTES: usize = 18;
const VERSION: u8 = 1;
/// Most bytes of the message in a chunk.
pub(super) const CHUNK: usize = 16 << 10;
/// What stands before the bytes of a chunk: whether it is the last.
pub(super) const MORE: u8 = 0;
pub(super) const LAST: u8 = 1;
/// Bytes of the length of a chunk.
const LENGTH_BYTES: usize = 2;

/// What a message begins with.
pub(super) fn head<S: CipherSuite>(
    secret: &S::Secret,
    direction: Direction,
    number: u64,
) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    (head[0], head[1]) = (VERSION, direction.letter());
    head[2..10].copy_from_slice(&S::session(secret));
    head[10..].copy_from_slice(&number.to_be_bytes());
    head
}

/// Bytes of a message that has so many to seal.
pub(super) fn sealed_bytes<S: CipherSuite>(plain: u64) -> u64 {
    let chunks = plain.div_ceil(CHUNK as u64).max(1);
    HEAD_BYTES as u64 + chunks * (LENGTH_BYTES + 1 + S::OVERHEAD) as u64 + plain
}

/// Reads as a sealed message of the terminal.
pub(super) struct Sealed<S: CipherSuite, R> {
    cipher: S::Cipher,
    plain: R,
    /// How much of it is not sealed yet.
    left: u64,
    /// What is sealed and not read.
    ready: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl<S: CipherSuite, R: Read> Sealed<S, R> {
    /// Seals the first `length` bytes of `plain`.
    pub(super) fn new(secret: &S::Secret, number: u64, plain: R, length: u64) -> Self {
        let direction = Direction::FromTerminal;
        let ready = head::<S>(secret, direction, number).into();
        let cipher = S::cipher(secret, direction, number);
        Self { cipher, plain, left: length, ready, at: 0, is_over: false }
    }

    fn seal_next(&mut self) -> io::Result<()> {
        let amount = self.left.min(CHUNK as u64);
        self.left -= amount;
        self.is_over = self.left == 0;
        let mut chunk = vec![if self.is_over { LAST } else { MORE }];
        if (&mut self.plain).take(amount).read_to_end(&mut chunk)? as u64 != amount {
            return Err(io::Error::other("the file became shorter while it was sent"));
        }
        S::seal(&mut self.cipher, &mut chunk);
        self.ready.clear();
        let length = u16::try_from(chunk.len()).expect("a chunk is shorter");
        self.ready.extend(length.to_be_bytes());
        self.ready.extend(chunk);
        self.at = 0;
        Ok(())
    }
}

impl<S: CipherSuite, R: Read> Read for Sealed<S, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() && !self.is_over {
            self.seal_next()?;
        }
        let amount = (&self.ready[self.at..]).read(into)?;
        self.at += amount;
        Ok(amount)
    }
}

/// Reads as what a sealed message of the server holds. A read that was interrupted can be repeated.
pub(super) struct Opened<S: CipherSuite> {
    cipher: S::Cipher,
    /// What the message begins with.
    head: [u8; HEAD_BYTES],
    sealed: Box<dyn Read>,
    stage: Stage,
    /// What came of the part that is read now.
    partial: Vec<u8>,
    /// What was opened.
    chunk: Vec<u8>,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Length,
    Chunk(usize),
    /// The last chunk was opened: nothing may follow.
    Last,
    Ended,
}

/// Why a message cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// It is not sealed.
    Plain,
    /// It answers another request.
    OtherRequest,
    /// It ends before its last chunk.
    Cut,
    /// Bytes follow its last chunk.
    Excess,
    /// A chunk says something else than the form allows.
    Malformed,
    /// It does not open.
    Unusable(Unusable),
}

impl NotOpened {
    /// Which one is in an error of a read.
    pub(super) fn in_error(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "it is not encrypted, although keys were exchanged",
            Self::OtherRequest => {
                "it is encrypted with other keys, or as the answer to another request"
            }
            Self::Cut => "the encrypted message is cut off",
            Self::Excess => "bytes follow the encrypted message",
            Self::Malformed => "the encrypted message is malformed",
            Self::Unusable(why) => return write!(f, "it cannot be decrypted: {why}"),
        })
    }
}

impl std::error::Error for NotOpened {}

impl From<NotOpened> for io::Error {
    fn from(error: NotOpened) -> Self {
        Self::new(ErrorKind::InvalidData, error)
    }
}

impl<S: CipherSuite> Opened<S> {
    /// Opens the answer to the request of this number.
    pub(super) fn new(secret: &S::Secret, number: u64, sealed: Box<dyn Read>) -> Self {
        let head = head::<S>(secret, Direction::FromServer, number);
        let cipher = S::cipher(secret, Direction::FromServer, number);
        let (partial, chunk) = (Vec::new(), Vec::new());
        Self { cipher, head, sealed, stage: Stage::Head, partial, chunk, at: 0 }
    }

    /// The first line, which is in the first chunk. What follows it is then to be read.
    pub(super) fn first_line(&mut self) -> io::Result<String> {
        while self.chunk.is_empty() && self.stage != Stage::Last {
            self.go_on()?;
        }
        let end = self.chunk.iter().position(|byte| *byte == b'\n').ok_or(NotOpened::Malformed)?;
        self.at = end + 1;
        let line = self.chunk[..end].to_vec();
        String::from_utf8(line).map_err(|_| NotOpened::Malformed.into())
    }

    /// The message as it came, after [`NotOpened::Plain`].
    pub(super) fn into_plain(self) -> Box<dyn Read> {
        Box::new(io::Cursor::new(self.partial).chain(self.sealed))
    }

    /// Reads and opens up to the end of the part that is read now.
    fn go_on(&mut self) -> io::Result<()> {
        let wanted = match self.stage {
            Stage::Head => HEAD_BYTES,
            Stage::Length => LENGTH_BYTES,
            Stage::Chunk(length) => length,
            Stage::Last => 1,
            Stage::Ended => return Ok(()),
        };
        let missing = wanted - self.partial.len();
        // What was read is there also after an error.
        (&mut self.sealed).take(missing as u64).read_to_end(&mut self.partial)?;
        self.stage = match self.stage {
            Stage::Head => {
                if !self.partial.starts_with(&self.head[..2]) {
                    return Err(NotOpened::Plain.into());
                }
                self.check_whole(wanted)?;
                if self.partial != self.head {
                    return Err(NotOpened::OtherRequest.into());
                }
                Stage::Length
            }
            Stage::Length => {
                self.check_whole(wanted)?;
                let length = usize::from(self.partial[0]) << 8 | usize::from(self.partial[1]);
                if !(1 + S::OVERHEAD..=1 + CHUNK + S::OVERHEAD).contains(&length) {
                    return Err(NotOpened::Malformed.into());
                }
                Stage::Chunk(length)
            }
            Stage::Chunk(_) => {
                self.check_whole(wanted)?;
                let mut chunk = std::mem::take(&mut self.partial);
                S::open(&mut self.cipher, &mut chunk).map_err(NotOpened::Unusable)?;
                let stage = match chunk.first() {
                    // One without content would let a message go on without an end.
                    Some(&MORE) if chunk.len() > 1 => Stage::Length,
                    Some(&LAST) => Stage::Last,
                    _ => return Err(NotOpened::Malformed.into()),
                };
                chunk.remove(0);
                (self.chunk, self.at) = (chunk, 0);
                stage
            }
            Stage::Last if !self.partial.is_empty() => return Err(NotOpened::Excess.into()),
            Stage::Last | Stage::Ended => Stage::Ended,
        };
        self.partial.clear();
        Ok(())
    }

    fn check_whole(&self, wanted: usize) -> io::Result<()> {
        if self.partial.len() < wanted { Err(NotOpened::Cut.into()) } else { Ok(()) }
    }
}

impl<S: CipherSuite> Read for Opened<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() && self.stage != Stage::Ended {
            self.go_on()?;
        }
        let amount = (&self.chunk[self.at..]).read(into)?;
        self.at += amount;
        Ok(amount)
    }
}
