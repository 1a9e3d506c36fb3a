//! The software on an attendance terminal: it keeps what the sensors saw until the server
//! has it, and does what the server asks, over the PUSH protocol.
//!
//! Two ways, each one-way:
//!
//! ```text
//! up     driver ──▶ drivers ──▶ store (commit, fsync) ──▶ answer to the driver
//!                               store ──▶ client: next batch ──▶ protocol: bytes ──▶ uplink ──▶ server
//!                               store ◀── client: cursor moves ◀── protocol: ack ◀── uplink
//!
//! down   server ──▶ uplink ──▶ protocol: one command ──▶ store: journal ──▶ commands: do it ──▶ store: result
//!                               store ──▶ client: replies due ──▶ protocol: bytes ──▶ uplink ──▶ server
//! ```
//!
//! Who may know whom: [`protocol`] knows nobody. [`store`] knows `protocol`. [`commands`]
//! know `store`, `protocol` and the trait [`terminal::Terminal`]. [`client`] knows those and
//! the traits [`uplink::Uplink`] and [`clock::Clock`]. [`uplink`], [`drivers`] and
//! [`terminal`] know [`reactor`], the one place that waits. [`files`] knows nobody. `drivers`
//! and `client` meet in [`store`], [`status`], [`server_queries`] and [`requests`]. [`daemon`] knows
//! all but [`shipped`], which are programs of their own, and `main` is the command line.
//! `docs/architecture.md` says why.

pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod csv;
pub mod daemon;
pub mod device;
pub mod driver_requests;
pub mod driver_socket;
pub mod drivers;
pub mod files;
pub mod logging;
pub mod machine;
pub mod policy;
pub mod processes;
pub mod protocol;
pub mod reactor;
pub mod server_queries;
pub mod status;
pub mod store;
pub mod uplink;
