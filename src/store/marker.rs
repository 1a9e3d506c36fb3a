//! The marker: a small file beside the store by which a start knows what ran before.
//!
//! A store that is missing, or whose write-ahead log is, looks like a new one to SQLite. The marker
//! has the store's id, and whether the store was closed. It is written once at start and once at the
//! end of a run, never for a punch. What it cannot show: that single pages of the log are lost, that
//! store and marker are lost together, and that an older copy was put back after a power cut.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::db::{self, Db};
use super::error::{Result, StoreError};
use super::files::{beside, replace, sync_directory};
use super::options::Options;
use super::rows::Seq;

/// The id of the store, among its options.
const ID: &str = "punchd.store";
/// How often the store was opened, among its options.
const RUN: &str = "punchd.run";
/// Most bytes of a marker that are read.
const LONGEST: u64 = 512;
/// Bytes of the header of a write-ahead log.
const LOG_HEADER: usize = 32;
/// Where the first salt of the first frame is in the log.
const FRAME_SALT: u64 = 32 + 8;

/// What the marker of a store says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marker {
    id: String,
    /// How the run before ended.
    end: End,
    /// The highest number in the store, if it was closed.
    last: Seq,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Not at all: by a power cut, say.
    #[default]
    Open,
    /// The store was closed: it is one file, without a log.
    Closed,
    /// The store was found to be damaged.
    Damaged,
}

impl Marker {
    /// The marker of the store at `path`; `None` if there is none that can be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(beside(path, ".marker")).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        let mut words = text.split_ascii_whitespace();
        let (id, end, last) = (words.next()?, words.next()?, words.next()?);
        let end = match end {
            "open" => End::Open,
            "closed" => End::Closed,
            "damaged" => End::Damaged,
            _ => return None,
        };
        Some(Self { id: id.to_owned(), end, last: last.parse().ok()? })
    }

    /// Writes it, durably.
    fn write(&self, path: &Path) -> io::Result<()> {
        let end = match self.end {
            End::Open => "open",
            End::Closed => "closed",
            End::Damaged => "damaged",
        };
        replace(&beside(path, ".marker"), &format!("{} {end} {}\n", self.id, self.last))
    }

    pub(super) fn end(&self) -> End {
        self.end
    }
}

/// What is lost of the store at `path`, as far as its files show before they are opened: SQLite makes
/// what is missing, and deletes the log of a store that is empty. Such a log is renamed: it may hold
/// punches.
pub(super) fn look(path: &Path, marker: Option<&Marker>) -> Option<String> {
    // A file that cannot be looked at is not missing: its log is left to it.
    let is_missing = match fs::metadata(path) {
        Ok(file) => file.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let log = beside(path, "-wal");
    if is_missing {
        let has_log = read_log_header(&log).is_ok_and(|header| is_log(&header));
        if !has_log && marker.is_none() {
            return None;
        }
        let kept = if has_log { keep_log(path) } else { None };
        let kept = kept.map(|kept| format!("; its log was kept as {}", kept.display()));
        return Some(format!(
            "the store {} is missing or has no bytes, and there was one before: punchd began with an \
             empty one{}",
            path.display(),
            kept.unwrap_or_default()
        ));
    }
    let is_lost = match read_log_header(&log) {
        Ok(header) => !is_log(&header) && !is_torn(&header, &log),
        Err(error) => {
            [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof].contains(&error.kind())
        }
    };
    (is_lost && marker.is_some_and(|marker| marker.end == End::Open)).then(|| {
        format!(
            "the log {} of the store is missing, and punchd was not stopped before: the latest records \
             are lost, unless another program has opened the store since then",
            log.display()
        )
    })
}

/// What is lost of a store that was opened, compared with what ran before.
pub(super) fn compare(db: &Db, marker: &Marker) -> Result<Option<String>> {
    let id = Options::new(db).get(ID)?;
    if id.as_deref() != Some(&marker.id) {
        return Ok(Some(format!(
            "the store {} is not the one that ran here before: it was copied from elsewhere, or is \
             older",
            db.path.display()
        )));
    }
    let highest = db.last_seq();
    Ok((marker.end == End::Closed && highest < marker.last).then(|| {
        format!(
            "the store {} is older than the one that ran here before: it ends with record {highest}, \
             that one with {}",
            db.path.display(),
            marker.last
        )
    }))
}

/// Marks the store as open. A commit comes first: then the log is there, and a start without it
/// shows that it was lost.
pub(super) fn mark_open(db: &Db) -> Result<()> {
    let options = Options::new(db);
    let run = options.get(RUN)?.and_then(|run| run.parse::<u64>().ok()).unwrap_or(0);
    let id = db.atomically(|| {
        let id = match options.get(ID)? {
            Some(id) => id,
            None => db.connection().query_row("SELECT lower(hex(randomblob(16)))", [], |row| {
                row.get::<_, String>(0)
            })?,
        };
        options.set(ID, &id)?;
        options.set(RUN, &run.wrapping_add(1).to_string())?;
        Ok::<_, StoreError>(id)
    })?;
    write_down(db, Marker { id, end: End::Open, last: 0 });
    Ok(())
}

/// Marks the store as closed, or as damaged.
pub(super) fn mark_end(db: &Db, end: End) {
    let id = Options::new(db).get(ID).ok().flatten();
    let last = db::highest_seq(db.connection()).ok();
    match (id, last, Marker::read(&db.path)) {
        (Some(id), Some(last), _) => write_down(db, Marker { id, end, last }),
        // The store cannot be read any more.
        (_, _, Some(marker)) => write_down(db, Marker { end, ..marker }),
        _ => {}
    }
}

fn write_down(db: &Db, marker: Marker) {
    if let Err(error) = marker.write(&db.path) {
        log::warn!(
            "the file {} cannot be written ({error}): the loss of the store would not be noticed",
            beside(&db.path, ".marker").display()
        );
    }
}

fn read_log_header(log: &Path) -> io::Result<[u8; LOG_HEADER]> {
    let mut header = [0; LOG_HEADER];
    File::open(log)?.read_exact(&mut header)?;
    Ok(header)
}

/// Whether these bytes begin a log: SQLite takes no frame of one whose checksum is wrong.
fn is_log(header: &[u8; LOG_HEADER]) -> bool {
    let Some(is_big_endian) = is_big_endian(header) else { return false };
    let number = |nth| match is_big_endian {
        true => word(header, nth),
        false => word(header, nth).swap_bytes(),
    };
    let (mut first, mut second) = (0_u32, 0_u32);
    for nth in [0, 2, 4] {
        first = first.wrapping_add(number(nth)).wrapping_add(second);
        second = second.wrapping_add(number(nth + 1)).wrapping_add(first);
    }
    (first, second) == (word(header, 6), word(header, 7))
}

/// The order of bytes over which the checksums of a log are; `None` if these bytes do not begin one.
fn is_big_endian(header: &[u8; LOG_HEADER]) -> Option<bool> {
    match word(header, 0) {
        0x377f_0682 => Some(false),
        0x377f_0683 => Some(true),
        _ => None,
    }
}

/// One of the eight numbers of a header.
fn word(header: &[u8; LOG_HEADER], nth: usize) -> u32 {
    u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[nth * 4 + byte]))
}

/// Whether the power failed while SQLite wrote this header, to use the log from its beginning: then all frames
/// are in the store, and are no part of the log any more. It adds one to the count of the header, and to the
/// first salt, which the frames still have as it was.
fn is_torn(header: &[u8; LOG_HEADER], log: &Path) -> bool {
    let mut salt = [0; 4];
    let is_read = File::open(log).and_then(|log| log.read_exact_at(&mut salt, FRAME_SALT));
    let mut before = *header;
    before[12..16].copy_from_slice(&word(header, 3).wrapping_sub(1).to_be_bytes());
    let is_salt_new = word(header, 4) == u32::from_be_bytes(salt).wrapping_add(1);
    let is_of_log = is_big_endian(header).is_some() && (is_salt_new || is_log(&before));
    is_read.is_ok() && is_of_log
}

fn keep_log(path: &Path) -> Option<PathBuf> {
    let kept = beside(&super::open::free_name(path)?, "-wal");
    fs::rename(beside(path, "-wal"), &kept).and_then(|()| sync_directory(path)).ok()?;
    Some(kept)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// Two headers of a log as SQLite writes them, one after the other, and the log's path: its frames are of
    /// the first.
    fn headers() -> ([u8; LOG_HEADER], [u8; LOG_HEADER], PathBuf) {
        let path = std::env::temp_dir().join(format!("punchd-marker-{}.db", std::process::id()));
        let connection = Connection::open(&path).unwrap();
        let run = |sql: &str| connection.execute_batch(sql).unwrap();
        run("PRAGMA journal_mode = WAL; CREATE TABLE t (n); INSERT INTO t VALUES (1)");
        let log = beside(&path, "-wal");
        let (first, kept) = (read_log_header(&log).unwrap(), beside(&path, "-kept"));
        fs::copy(&log, &kept).unwrap();
        run("PRAGMA wal_checkpoint; INSERT INTO t VALUES (2)");
        let second = read_log_header(&log).unwrap();
        drop(connection);
        fs::remove_file(path).unwrap();
        (first, second, kept)
    }

    #[test]
    fn a_header_that_was_torn_is_no_loss_and_a_damaged_one_is() {
        let (first, second, log) = headers();
        assert!(is_log(&first) && is_log(&second) && first != second);
        for at in 0..=LOG_HEADER {
            let mut torn = first;
            torn[..at].copy_from_slice(&second[..at]);
            assert!(is_log(&torn) || is_torn(&torn, &log), "torn at {at}");
        }
        for at in 0..LOG_HEADER {
            let mut damaged = first;
            damaged[at] ^= 0x55;
            assert!(!is_log(&damaged) && !is_torn(&damaged, &log), "damaged at {at}");
        }
        assert!(!is_torn(&[0; LOG_HEADER], &log));
        assert!(!is_torn(&second, Path::new("/nowhere")));
        fs::remove_file(log).unwrap();
    }
}
