//! Log lines for people, on stderr: time in UTC, how bad, what.
//!
//! Whoever takes them in may hang (a log on another machine, a full disk). The terminal does not
//! wait for that: lines that find no room are counted, and left out.

use std::io::{Write as _, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::protocol::time::LocalTime;

/// Longest line in bytes: a pipe that has room at all has room for it.
const LONGEST: usize = 4000;

struct Stderr {
    /// Lines that were left out since the last one that was not.
    missing: AtomicUsize,
}

static STDERR: Stderr = Stderr { missing: AtomicUsize::new(0) };

/// Writes the log to stderr from now on; with `verbose`, also what only developers read.
pub fn start(verbose: bool) {
    // A second call changes nothing but the level.
    let _ = log::set_logger(&STDERR);
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries' own messages are no events of the terminal.
        metadata.target().starts_with("punchd")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !has_room() {
            self.missing.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let seconds =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let time = LocalTime::from_seconds(seconds as i64)
            .map_or_else(|| "(clock not set)".to_owned(), |time| time.to_string());
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            _ => "",
        };
        let mut line = match self.missing.swap(0, Ordering::Relaxed) {
            0 => String::new(),
            missing => format!("{time} {missing} lines are missing here: nobody took them in\n"),
        };
        line.push_str(&format!("{time} {level}{}", record.args()));
        if line.len() >= LONGEST {
            let whole = (0..LONGEST).rev().find(|end| line.is_char_boundary(*end));
            line.truncate(whole.unwrap_or_default());
        }
        line.push('\n');
        // There is nowhere to say that stderr is gone.
        let _ = stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Whether a line can be written without waiting.
fn has_room() -> bool {
    let stderr = stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::OUT)
}
