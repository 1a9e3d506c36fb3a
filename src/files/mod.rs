//! What the server's file commands may touch (§12.8), and nothing else.
//!
//! Paths and archives come from the network, so that nothing in them is trusted. A path is used
//! only beneath the directories that the owner lists, and never over a symbolic link
//! ([`ConfinedPath`]). An archive is read once to the end and checked before a byte of it is
//! written ([`unpack`]). A file is put in place whole or not at all, also after a power cut.
//!
//! All work is done in chunks; between them `yield_now` is called, so that drivers are served.
//! If `yield_now` fails, the work is given up ([`FileError::Stopped`]).

mod confined_path;
mod cooperative_reader;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
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
pub use spool::{Spool, md5_of};
pub use unpack::unpack;

/// Called between the chunks of long work; its error ends the work.
pub type YieldNow<'a> = dyn FnMut() -> io::Result<()> + 'a;

/// Limits for an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Files and directories, including directories that are only part of a name.
    pub members: u64,
    /// Bytes unpacked, including headers and padding.
    pub bytes: u64,
    /// Bytes unpacked for each byte packed; checked after the first 1 MiB.
    pub ratio: u64,
    /// Bytes that stay free on the disk.
    pub free: u64,
}
