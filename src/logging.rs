//! Log lines for people, on stderr: time in UTC, how bad, what.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::protocol::time::LocalTime;

struct Stderr;

/// Writes the log to stderr from now on; with `verbose`, also what only developers read.
pub fn start(verbose: bool) {
    // A second call changes nothing but the level.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries' own words are no events of the terminal.
        metadata.target().starts_with("punchd")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
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
        // There is nowhere to say that stderr is gone.
        let _ = writeln!(std::io::stderr(), "{time} {level}{}", record.args());
    }

    fn flush(&self) {}
}
