//! How much room is left: for punches, and for the rest.
//!
//! Two limits hold: the bytes of the store (`store_mib`) and the free space of its disk
//! (`free_mib`). Each keeps a reserve that only punches may use. What is no punch is *the rest*: it
//! is refused when its part is used up. What the server sends is refused a little earlier, so that
//! photos and operations of the terminal still have room.
//!
//! Free pages of the file count as room, since SQLite uses them before the file grows. What a
//! transaction added and no checkpoint has written to the file yet counts as used.

use std::path::Path;

use rustix::fs::statvfs;

use super::db::Db;
use super::error::Result;
use super::tally::Tally;

/// Bytes that a punch takes, its part of the pages included.
pub(super) const PUNCH_BYTES: u64 = 64;
/// Least room in which a punch is taken: the pages that it can add.
const LEAST: u64 = 8 << 10;
/// Least space of the disk that the rest leaves free, whatever `free_mib` is.
const LEAST_FREE: u64 = 2 << 20;
/// Space of the disk that also punches leave free: the write-ahead log may grow.
pub(super) const LAST_FREE: u64 = 1 << 20;
/// Largest part of what the server does not ask for.
const MOST_WITHHELD: u64 = 8 << 20;
/// Largest part that is kept for what the terminal's drivers record.
const MOST_FOR_DRIVERS: u64 = 4 << 20;
/// Bytes of a command and its result in the command log.
const COMMAND_BYTES: u64 = 256;

/// How much room is left, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// For punches.
    pub punches: u64,
    /// For everything else.
    pub rest: u64,
    /// What only punches may use.
    pub(super) reserve: u64,
    /// What the rest may use in all, used or not.
    whole_rest: u64,
    /// Space of the disk that is free, and that the rest leaves free.
    pub(super) disk_free: u64,
    disk_floor: u64,
}

impl Capacity {
    /// Whether a punch has room.
    pub(super) fn has_room_for_punch(&self) -> bool {
        self.punches >= LEAST
    }

    /// The part of what the server does not ask for.
    pub(super) fn withheld_part(&self) -> u64 {
        (self.whole_rest / 4).min(MOST_WITHHELD)
    }

    /// What the server's data leaves to the drivers; below it, uploaded rows are deleted.
    pub(super) fn drivers_part(&self) -> u64 {
        (self.whole_rest / 8).min(MOST_FOR_DRIVERS)
    }

    /// Whether the disk, and not the size of the store, is what is short.
    pub(super) fn is_disk_short(&self) -> bool {
        self.disk_free < self.disk_floor
    }

    /// Commands and results that the log can take: a quarter of the reserve, so that deletions
    /// go also when the rest has no room.
    pub fn commands(&self) -> u64 {
        self.punches.saturating_sub(self.reserve / 4 * 3) / COMMAND_BYTES
    }

    /// Bytes of free pages that the store keeps for punches when a file needs room.
    pub(super) fn kept_pages(&self) -> u64 {
        self.reserve.min(self.disk_floor)
    }

    /// Space of the disk that a file may take which is no part of the store.
    pub fn files(&self) -> u64 {
        self.disk_free.saturating_sub(self.disk_floor)
    }
}

/// Measures the room of a store.
pub(super) fn measure(db: &Db) -> Result<Capacity> {
    let pragma = |name: &str| -> Result<u64> {
        Ok(db.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))?)
    };
    let (pages, free) = (pragma("page_count")?, pragma("freelist_count")?);
    let page = pragma("page_size")?;
    let (used, free) = (pages.saturating_sub(free) * page, free * page);
    let limits = db.limits;
    let punches = Tally::new(db).kept_punches_at_least()?.saturating_mul(PUNCH_BYTES);
    let reserve = (limits.bytes / 4).min(limits.punches.saturating_mul(PUNCH_BYTES));
    // What punches took of their reserve is not taken from the rest, and the rest cannot take it
    // from them: punches have their reserve even in a store that is larger than it may be.
    let others = used.saturating_sub(punches.min(reserve));
    let store_rest = (limits.bytes - reserve).saturating_sub(others);
    let store_punches = limits.bytes.saturating_sub(used).max(reserve.saturating_sub(punches));

    let disk = Disk::of(&db.path);
    let size = std::fs::metadata(&db.path).map_or(0, |file| file.len());
    // It is written into the file, and before that into the log, which has some room already.
    let growth = (pages * page).saturating_sub(size);
    let disk_free = disk.free.saturating_sub(growth + growth.saturating_sub(super::wal::ROOM));
    let disk_floor = limits.free.max(LEAST_FREE.min(disk.size / 8));
    let disk_rest = disk_free.saturating_add(free).saturating_sub(disk_floor);
    let disk_punches = disk_free.saturating_sub(LAST_FREE.min(disk_floor / 2)).saturating_add(free);
    Ok(Capacity {
        punches: store_punches.min(disk_punches),
        rest: store_rest.min(disk_rest),
        reserve,
        whole_rest: (limits.bytes - reserve).min(disk.size.saturating_sub(disk_floor)),
        disk_free,
        disk_floor,
    })
}

/// The disk of the store. Where nothing can be learned, it is without end.
pub(super) struct Disk {
    size: u64,
    pub(super) free: u64,
}

impl Disk {
    pub(super) fn of(store: &Path) -> Self {
        let directory = store.parent().filter(|parent| !parent.as_os_str().is_empty());
        match statvfs(directory.unwrap_or(Path::new("."))) {
            Ok(disk) => Self {
                size: disk.f_blocks.saturating_mul(disk.f_frsize),
                free: disk.f_bavail.saturating_mul(disk.f_frsize),
            },
            Err(_) => Self { size: u64::MAX, free: u64::MAX },
        }
    }
}
