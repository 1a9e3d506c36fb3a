//! The PUSH protocol as bytes and types: pure, without I/O, clock or store.
//!
//! One file for each topic. All data from the server is checked here before another room gets
//! it; all data for the server is written here. Chapter numbers (`§11.2`) are those of the
//! protocol document, version 3.6 (push 2.4.1); `docs/protocol.md` has each.

pub(crate) mod ack;
pub mod codes;
pub(crate) mod command;
pub(crate) mod data_table;
pub(crate) mod date;
pub(crate) mod device;
pub mod dialect;
pub(crate) mod enroll;
pub(crate) mod fields;
pub(crate) mod file;
pub(crate) mod foreign;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gb18030;
pub(crate) mod handshake;
pub(crate) mod lines;
pub(crate) mod option_rule;
pub(crate) mod options;
pub(crate) mod private;
pub(crate) mod query;
pub mod record;
pub mod records;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod stream;
pub mod tables;
pub mod text;
pub mod texts;
pub mod time;
pub(crate) mod touches;
pub(crate) mod transflag;
pub mod version;

/// The version of the protocol that this terminal speaks (App. 6).
pub(crate) const PUSH_VERSION: version::Version = version::Version(2, 4, 1);
