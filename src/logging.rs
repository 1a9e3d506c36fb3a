//! Log lines for people, on stderr: time in UTC, level, message.
//!
//! The reader of stderr may hang (a log on another machine, a full disk). The terminal does not
//! wait for it: lines for which there is no room are dropped and counted.
//!
//! A line that comes again and again, such as a driver or a server can cause, is written so often in
//! a period, whatever its subject; further ones are counted. Lines for developers are not limited.

use std::fmt;
use std::io::{Write as _, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::log_limit::{LogLimit, PERIOD, Verdict};
use crate::protocol::foreign;
use crate::protocol::time::LocalTime;

/// Most bytes of a line. A pipe that is ready to be written has room for as many.
const LONGEST: usize = 4000;
/// Most lines from one place in the program in a period.
const MOST_LINES: u64 = 100;

/// A place in the program: file and line.
type Place = (&'static str, u32);

struct Stderr {
    /// Lines that were dropped since the last one that was written.
    dropped: AtomicUsize,
    /// The lines from each place.
    limit: Mutex<LogLimit<Place>>,
}

static STDERR: Stderr = Stderr {
    dropped: AtomicUsize::new(0),
    // There are only so many places.
    limit: Mutex::new(LogLimit::new(MOST_LINES, usize::MAX)),
};

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
        let (level, message) = (record.level(), *record.args());
        let verdict = self.verdict(record);
        if let Verdict::Log { missing: missing @ 1.. } = verdict {
            self.write(level, format_args!("{missing} lines like the next one were left out"));
        }
        if verdict != Verdict::Skip {
            self.write(level, message);
        }
        if verdict == Verdict::Last {
            let minutes = PERIOD.as_secs() / 60;
            let args = format_args!(
                "there were {MOST_LINES} lines like the last one within {minutes} minutes: further ones \
                 are left out until these are over"
            );
            self.write(level, args);
        }
    }

    fn flush(&self) {}
}

impl Stderr {
    /// Whether a line is one too many of its kind.
    fn verdict(&self, record: &Record<'_>) -> Verdict {
        let place = record.file_static().zip(record.line());
        let place = place.filter(|_| record.level() <= Level::Info);
        place.map_or(Verdict::Log { missing: 0 }, |place| {
            let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
            limit.count(place, Instant::now())
        })
    }

    /// Writes a line, if there is room for it.
    fn write(&self, level: Level, message: fmt::Arguments<'_>) {
        if !has_room() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let time = LocalTime::from_seconds(clock_gettime(ClockId::Realtime).tv_sec)
            .map_or_else(|| "(clock not set)".to_owned(), |time| time.to_string());
        let level = match level {
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
        line += &foreign::line(message, room);
        line.push('\n');
        // There is no other place to report that stderr failed.
        let _ = stderr().write_all(line.as_bytes());
    }
}

/// Whether a line can be written without waiting.
fn has_room() -> bool {
    let stderr = stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::OUT)
}
