//! The terminal against the strict server: real processes, real sockets, real files.
//!
//! Each test starts `punchd` in a directory of its own and the emulator in this process.

#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod fake_daemon;
mod harness;

mod bad_server;
mod broken_disk;
mod changes;
mod commands;
mod data;
mod dialects;
mod documents;
mod door;
mod drivers;
mod drivers_document;
mod encryption;
mod enroll;
mod enroll_faults;
mod examples;
mod fairness;
mod files;
mod guests;
mod hostile;
mod killed;
mod kinds;
mod latency;
mod mass;
mod modes;
mod never_deaf;
mod overlay;
mod quarantine;
mod relay;
mod retention;
mod server_queries;
mod session;
mod shell;
mod shipped_drivers;
mod stamps;
mod start;
mod stubborn;
#[cfg(feature = "tls")]
mod tls;
mod uinput;
mod upgrade;
mod upload;
