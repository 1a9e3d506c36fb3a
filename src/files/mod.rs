//! What the server's file commands may touch (§12.8), and nothing else.
//!
//! Paths and archives come from the network and are believed in nothing. A path leads only
//! beneath the directories that the owner lists, and never over a symbolic link ([`ConfinedPath`]).
//! An archive is read once to the end and judged before a byte of it is written
//! ([`unpack`]). What is put in place is there whole or not at all, also after a power cut.
//!
//! All work is done in chunks; between them `yield_now` is called, so that others on the
//! thread are served. If `yield_now` fails, the work is given up ([`FileError::Stopped`]).

mod confined_path;
mod cooperative_reader;
mod error;
mod gunzip;
mod list;
#[cfg(test)]
mod malicious_archives;
mod members;
mod name;
mod rules;
mod spool;
#[cfg(test)]
mod test_fixtures;
mod tree;
mod unpack;

use std::io;

pub use confined_path::ConfinedPath;
pub use error::FileError;
pub use list::open_list;
pub use spool::Spool;
pub use unpack::unpack;

/// What is called between the chunks of long work; its error ends the work.
pub type YieldNow<'a> = dyn FnMut() -> io::Result<()> + 'a;

/// How large an archive may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Files and directories, together with the directories that only stand in names.
    pub members: u64,
    /// Bytes unpacked, headers and padding counted.
    pub bytes: u64,
    /// Bytes unpacked for each byte packed, once more than 1 MiB is unpacked.
    pub ratio: u64,
    /// Bytes that stay free on the disk.
    pub free: u64,
}
