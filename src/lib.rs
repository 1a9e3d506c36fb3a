//! The software on an attendance terminal.

pub mod protocol;
