//! The PUSH protocol as bytes and types: pure, without I/O, clock or store.
//!
//! One file a topic. Everything that arrives is checked here before anyone else sees it;
//! everything that leaves is written here. Chapter numbers (`§11.2`) are those of the
//! protocol document, version 3.6 (push 2.4.1).

pub mod ack;
pub mod codes;
pub mod command;
pub mod data_table;
pub mod device;
pub mod dialect;
pub mod enroll;
pub mod fields;
pub mod file;
pub mod lines;
pub mod options;
pub mod query;
pub mod record;
pub mod reply;
pub mod stream;
pub mod tables;
pub mod text;
pub mod time;
pub mod transflag;
pub mod version;

/// The version of the protocol that this terminal speaks (App. 6).
pub const PUSH_VERSION: version::Version = version::Version(2, 4, 1);
