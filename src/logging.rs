//! Log lines for people, on stderr: time in UTC, level, message.
//!
//! The reader of stderr may hang (a log on another machine, a full disk). The terminal does not
//! wait for it: lines for which there is no room are dropped and counted.

use std::io::{Write as _, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::protocol::foreign;
use crate::protocol::time::LocalTime;

/// Most bytes of a line. A pipe that is ready to be written has room for as many.
const LONGEST: usize = 4000;

struct Stderr {
    /// Lines that were dropped since the last one that was written.
    dropped: AtomicUsize,
}

static STDERR: Stderr = Stderr { dropped: AtomicUsize::new(0) };

/// Writes the log to stderr from now on; with `verbose`, also the lines for developers.
pub fn start(verbose: bool) {
    // A second call changes nothing but the level.
    let _ = log::set_logger(&STDERR);
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Messages of libraries are of no use to the person who reads the log.
        metadata.target().starts_with("punchd")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !has_room() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
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
        let mut line = match self.dropped.swap(0, Ordering::Relaxed) {
            0 => String::new(),
            count => format!("{time} {count} lines are missing here: the log was not read\n"),
        };
        // What others wrote stands in many messages: none can forge a line, or be of any length.
        let begin = format!("{time} {level}");
        let room = LONGEST - 1 - line.len() - begin.len();
        line += &begin;
        line += &foreign::line(*record.args(), room);
        line.push('\n');
        // There is no other place to report that stderr failed.
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
