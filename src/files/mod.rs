//! What the server's file commands may touch (§12.8), and nothing else.
//!
//! Paths and archives come from the network and are believed in nothing. A path leads only
//! beneath the directories that the owner lists, and never over a symbolic link ([`Place`]).
//! An archive is read once to the end and judged before a byte of it is written
//! ([`unpack`]). What is put in place is there whole or not at all, also after a power cut.
//!
//! All work is done in pieces; between them `breathe` is called, so that others on the
//! thread are served. If `breathe` fails, the work is given up ([`FileError::Stopped`]).

mod beneath;
mod breath;
mod error;
mod gunzip;
#[cfg(test)]
mod hostile;
mod list;
mod members;
mod name;
mod rules;
#[cfg(test)]
mod scratch;
mod spool;
mod tree;
mod unpack;

use std::io;

pub use beneath::Place;
pub use error::FileError;
pub use list::open_list;
pub use spool::Spool;
pub use unpack::unpack;

/// What is called between the pieces of long work; its error ends the work.
pub type Breathe<'a> = dyn FnMut() -> io::Result<()> + 'a;

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
