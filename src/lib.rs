//! The daemon on an attendance terminal. It keeps what the sensors record until the server has it,
//! and executes what the server asks for, over the PUSH protocol.
//!
//! `docs/architecture.md` has the map: what each of these modules is for, and which of the others
//! it may use. `tests/architecture.rs` checks it.

pub(crate) mod backoff;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod csv;
pub(crate) mod daemon;
pub(crate) mod device;
pub(crate) mod doctor;
pub mod driver_requests;
pub mod driver_socket;
pub mod drivers;
#[cfg(feature = "exchange")]
pub(crate) mod exchange;
pub(crate) mod files;
pub(crate) mod link_watch;
pub(crate) mod log_limit;
pub(crate) mod logging;
pub(crate) mod machine;
pub(crate) mod policy;
pub(crate) mod processes;
pub mod protocol;
pub mod reactor;
pub mod rpc;
pub mod server_queries;
pub(crate) mod signature;
pub mod status;
pub mod store;
pub(crate) mod uplink;
