//! Where the keys come from: an input device, a serial line, a FIFO, a file.
//!
//! A source that cannot be opened, or that goes away, is tried again until it is there. The log
//! has that once.

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

/// The pause between two attempts to open a source.
const PAUSE: DoublingPause = DoublingPause::new(Duration::from_millis(500), Duration::from_secs(4));
/// Most bytes read in a time slice: a whole number of events.
const TIME_SLICE: usize = 96 * 24;
/// The same of a file: no more numbers than [`Source::LEAST_ROOM`].
const FILE_TIME_SLICE: usize = 64;

/// A path, and what is open there.
pub(super) struct Source {
    path: PathBuf,
    baud: Option<u32>,
    open: Option<Open>,
    /// When to open it again, and the pause after that.
    retry: (Instant, DoublingPause),
    is_loss_logged: bool,
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

/// How reading went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There may be more.
    More,
    /// There is nothing more for now.
    Idle,
    /// The source is gone: a number that was begun is void.
    Gone,
    /// It was a file, and has been read to its end.
    End,
}

/// Why a source cannot be opened.
enum OpenError {
    /// It may be possible later.
    Temporary(String),
    /// Nothing can be read from what is there.
    Permanent(String),
}

impl Source {
    /// How much room there must be for numbers before a file is read on.
    pub(super) const LEAST_ROOM: usize = FILE_TIME_SLICE / 2;

    /// The source at `path`; a serial line is set to `baud`.
    pub(super) fn new(path: &Path, baud: Option<u32>) -> Self {
        let (path, retry) = (path.to_owned(), (Instant::now(), PAUSE));
        Self { path, baud, open: None, retry, is_loss_logged: false }
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.open.as_ref().map(|open| open.file.as_fd())
    }

    /// When it is to be opened again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.is_none().then_some(self.retry.0)
    }

    /// Whether it is a file: it can wait until there is room, and has no pauses.
    pub(super) fn is_file(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.kind == Kind::File)
    }

    /// Opens it if it is time for that.
    ///
    /// # Errors
    /// Nothing can be read from what is at the path; a message that names it.
    pub(super) fn open_if_due(&mut self, now: Instant) -> Result<(), String> {
        if self.open.is_some() || now < self.retry.0 {
            return Ok(());
        }
        let path = self.path.display();
        match open(&self.path, self.baud) {
            Ok((open, what)) => {
                log::info!("{path}: {what} is open");
                self.open = Some(open);
                self.retry.1.reset();
                self.is_loss_logged = false;
                Ok(())
            }
            Err(OpenError::Permanent(why)) => Err(format!("{path}: {why}")),
            Err(OpenError::Temporary(why)) => {
                if !std::mem::replace(&mut self.is_loss_logged, true) {
                    log::warn!("{path}: cannot be opened ({why}); trying again until it can");
                }
                self.retry.0 = now + self.retry.1.advance();
                Ok(())
            }
        }
    }

    /// Reads a time slice, and hands each key on, with the time at which it was pressed if the
    /// device says that.
    pub(super) fn read(&mut self, each: impl FnMut(Key, Option<Instant>)) -> Progress {
        let Some(Open { file, kind }) = &mut self.open else { return Progress::Idle };
        let mut chunk = [0; TIME_SLICE];
        let most = if *kind == Kind::File { FILE_TIME_SLICE } else { TIME_SLICE };
        let why = match file.read(&mut chunk[..most]) {
            Ok(0) if *kind == Kind::File => return Progress::End,
            Ok(0) => "it was hung up".to_owned(),
            Ok(amount) => {
                keys(*kind, &chunk[..amount], each);
                return if amount == most { Progress::More } else { Progress::Idle };
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Idle,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Progress::More,
            Err(error) => error.to_string(),
        };
        log::warn!("{}: the reader is gone ({why}); waiting for it", self.path.display());
        self.open = None;
        self.is_loss_logged = true;
        self.retry.0 = Instant::now() + self.retry.1.peek();
        Progress::Gone
    }
}

fn keys(kind: Kind, bytes: &[u8], mut each: impl FnMut(Key, Option<Instant>)) {
    if let Kind::Input { timed } = kind {
        return evdev::keys(bytes, timed, each);
    }
    for byte in bytes {
        let key = match byte {
            b'0'..=b'9' => Key::Digit(byte - b'0'),
            b'a'..=b'f' => Key::Digit(byte - b'a' + 10),
            b'A'..=b'F' => Key::Digit(byte - b'A' + 10),
            // Line ends, STX and ETX, NUL, `;` and `?`.
            b'\r' | b'\n' | b'\t' | 0 | 2 | 3 | b';' | b'?' => Key::End,
            _ => Key::Other,
        };
        each(key, None);
    }
}

fn open(path: &Path, baud: Option<u32>) -> Result<(Open, String), OpenError> {
    let temporary = |error: io::Error| OpenError::Temporary(error.to_string());
    let kind = std::fs::metadata(path).map_err(temporary)?.file_type();
    let mut options = OpenOptions::new();
    // A FIFO that is open for writing, too, does not end when its last writer closes it.
    options.read(true).write(kind.is_fifo());
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    if !(kind.is_char_device() || kind.is_fifo() || kind.is_file()) {
        return Err(OpenError::Permanent("nothing can be read from it: it must be an input device, a serial line, a FIFO or a file".into()));
    }
    let file = options.open(path).map_err(temporary)?;
    let (kind, what) = if kind.is_file() {
        (Kind::File, "a file".to_owned())
    } else if kind.is_fifo() {
        (Kind::Stream, "a FIFO".to_owned())
    } else if evdev::is_input(&file) {
        let timed = evdev::grab(&file).map_err(|error| match error.kind() {
            ErrorKind::ResourceBusy => {
                OpenError::Temporary("another program has grabbed it".into())
            }
            _ => temporary(error),
        })?;
        (Kind::Input { timed }, format!("the reader {:?}", evdev::name(&file)))
    } else {
        set_line(&file, baud)?;
        (Kind::Stream, "a serial line".to_owned())
    };
    Ok((Open { file, kind }, what))
}

/// Sets a serial line to hand on its bytes as they come, without an echo to the reader.
fn set_line(file: &File, baud: Option<u32>) -> Result<(), OpenError> {
    let failed = |error: rustix::io::Errno| OpenError::Temporary(error.to_string());
    let mut line = match tcgetattr(file) {
        Ok(line) => line,
        Err(rustix::io::Errno::IO) => return Err(failed(rustix::io::Errno::IO)),
        Err(_) => {
            let message = "it is neither an input device (/dev/input/event…) nor a serial line";
            return Err(OpenError::Permanent(message.into()));
        }
    };
    line.make_raw();
    if let Some(baud) = baud {
        line.set_speed(baud).map_err(failed)?;
    }
    tcsetattr(file, OptionalActions::Now, &line).map_err(failed)
}
