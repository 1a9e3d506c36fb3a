//! The software on an attendance terminal.
