//! Where the keys come from: an input device, a serial line, a FIFO, a file.
//!
//! A source that is not there, or that goes away, is looked for again and again, and said so
//! once.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::evdev;
use super::typed::Key;
use crate::backoff::DoublingPause;

/// The pause between two looks for a source that is not there.
const PAUSE: DoublingPause = DoublingPause::new(Duration::from_millis(500), Duration::from_secs(4));
/// Most bytes read in one turn: a whole number of events.
const TIME_SLICE: usize = 96 * 24;
/// The same of a file: no more numbers than [`Source::LEAST_ROOM`].
const A_TURN_OF_A_FILE: usize = 64;

/// A path, and what is open there.
pub struct Source {
    path: PathBuf,
    baud: Option<u32>,
    open: Option<Open>,
    again: Instant,
    pause: DoublingPause,
    told: bool,
}

struct Open {
    file: File,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An input device, and whether its events say when they were.
    Input { timed: bool },
    /// A serial line or a FIFO.
    Stream,
    /// A file, which ends.
    File,
}

/// What came of a turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// There may be more.
    More,
    /// Nothing more for now.
    Quiet,
    /// It is gone, with all that was half typed.
    Gone,
    /// It was a file, and has been read.
    End,
}

/// Why it cannot be opened.
enum Refusal {
    /// Perhaps later.
    NotNow(String),
    /// Never.
    Never(String),
}

impl Source {
    /// How much room there must be for numbers before a file is read on.
    pub const LEAST_ROOM: usize = A_TURN_OF_A_FILE / 2;

    /// What stands at `path`; a serial line is set to `baud`.
    pub fn new(path: &Path, baud: Option<u32>) -> Self {
        let path = path.to_owned();
        Self { path, baud, open: None, again: Instant::now(), pause: PAUSE, told: false }
    }

    /// What to wait for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.open.as_ref().map(|open| open.file.as_fd())
    }

    /// When it is to be looked for again.
    pub fn due(&self) -> Option<Instant> {
        self.open.is_none().then_some(self.again)
    }

    /// Whether it can wait until there is room, and knows no pauses.
    pub fn is_file(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.kind == Kind::File)
    }

    /// Opens it if it is time for that.
    ///
    /// # Errors
    /// There is something at the path that is no reader, as text.
    pub fn look(&mut self, now: Instant) -> Result<(), String> {
        if self.open.is_some() || now < self.again {
            return Ok(());
        }
        let path = self.path.display();
        match open(&self.path, self.baud) {
            Ok((open, what)) => {
                log::info!("{path}: {what} is here");
                self.open = Some(open);
                self.pause.reset();
                self.told = false;
                Ok(())
            }
            Err(Refusal::Never(why)) => Err(format!("{path}: {why}")),
            Err(Refusal::NotNow(why)) => {
                if !std::mem::replace(&mut self.told, true) {
                    log::warn!("{path}: {why}; looked for again until it is there");
                }
                self.again = now + self.pause.advance();
                Ok(())
            }
        }
    }

    /// Reads what is there, at most one turn's worth.
    pub fn read(&mut self, each: impl FnMut(Key, Option<Instant>)) -> Turn {
        let Some(Open { file, kind }) = &mut self.open else { return Turn::Quiet };
        let mut chunk = [0; TIME_SLICE];
        let most = if *kind == Kind::File { A_TURN_OF_A_FILE } else { TIME_SLICE };
        let why = match file.read(&mut chunk[..most]) {
            Ok(0) if *kind == Kind::File => return Turn::End,
            Ok(0) => "it was hung up".to_owned(),
            Ok(amount) => {
                keys(*kind, &chunk[..amount], each);
                return if amount == most { Turn::More } else { Turn::Quiet };
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Quiet,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Turn::More,
            Err(error) => error.to_string(),
        };
        log::warn!("{}: the reader is gone ({why}); waiting for it", self.path.display());
        self.open = None;
        self.told = true;
        self.again = Instant::now() + self.pause.peek();
        Turn::Gone
    }
}

fn keys(kind: Kind, bytes: &[u8], mut each: impl FnMut(Key, Option<Instant>)) {
    if let Kind::Input { timed } = kind {
        return evdev::keys(bytes, timed, each);
    }
    for byte in bytes {
        let key = match byte {
            b'0'..=b'9' => Key::Figure(byte - b'0'),
            b'a'..=b'f' => Key::Figure(byte - b'a' + 10),
            b'A'..=b'F' => Key::Figure(byte - b'A' + 10),
            // Line ends, STX and ETX, NUL, `;` and `?`.
            b'\r' | b'\n' | b'\t' | 0 | 2 | 3 | b';' | b'?' => Key::End,
            _ => Key::Other,
        };
        each(key, None);
    }
}

fn open(path: &Path, baud: Option<u32>) -> Result<(Open, String), Refusal> {
    let not_now = |error: io::Error| Refusal::NotNow(error.to_string());
    let kind = std::fs::metadata(path).map_err(not_now)?.file_type();
    let mut options = OpenOptions::new();
    // A FIFO that we could write to as well does not end when its last writer leaves.
    options.read(true).write(kind.is_fifo());
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    if !(kind.is_char_device() || kind.is_fifo() || kind.is_file()) {
        return Err(Refusal::Never("this is no card reader, nor anything to read from".into()));
    }
    let file = options.open(path).map_err(not_now)?;
    let (kind, what) = if kind.is_file() {
        (Kind::File, "a file".to_owned())
    } else if kind.is_fifo() {
        (Kind::Stream, "a FIFO".to_owned())
    } else if evdev::is_input(&file) {
        let timed = evdev::grab(&file).map_err(|error| match error.kind() {
            ErrorKind::ResourceBusy => {
                Refusal::NotNow("another program has taken it for itself alone".into())
            }
            _ => not_now(error),
        })?;
        (Kind::Input { timed }, format!("the reader {:?}", evdev::name(&file)))
    } else {
        set_line(&file, baud)?;
        (Kind::Stream, "a serial line".to_owned())
    };
    Ok((Open { file, kind }, what))
}

/// Makes a serial line hand on its bytes as they come, and echo nothing back to the reader.
fn set_line(file: &File, baud: Option<u32>) -> Result<(), Refusal> {
    let failed = |error: rustix::io::Errno| Refusal::NotNow(error.to_string());
    let mut line = match tcgetattr(file) {
        Ok(line) => line,
        Err(rustix::io::Errno::IO) => return Err(failed(rustix::io::Errno::IO)),
        Err(_) => {
            let message = "this is neither an input device (/dev/input/event…) nor a serial line";
            return Err(Refusal::Never(message.into()));
        }
    };
    line.make_raw();
    if let Some(baud) = baud {
        line.set_speed(baud).map_err(failed)?;
    }
    tcsetattr(file, OptionalActions::Now, &line).map_err(failed)
}
