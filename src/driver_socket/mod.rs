//! The driver socket: JSON-RPC 2.0, one object a line, on `run_dir/driver.sock`.
//!
//! It is served inside every wait of the reactor. What arrives together shares one commit, and
//! each call is answered after it. A driver that floods, stalls, sends nonsense or dies costs
//! its own connection at most.
//!
//! [`DriverSocket`] serves the connections in rounds: read what has come, carry out what only
//! needs the store (`round`, with a file for each topic), then what comes after the commit
//! (`changes`, `server_queries`), then what punchd asks of drivers (`driver_requests`) or tells
//! them (`notifications`).

mod accounts;
mod biometrics;
mod call;
mod changes;
mod connection;
mod context;
mod deletions;
mod describe;
mod dispatch;
mod driver_answers;
mod driver_requests;
mod drivers;
mod error;
#[cfg(test)]
mod interest_tests;
mod listener;
mod maintenance;
mod notifications;
mod operations;
mod options;
mod people;
mod punches;
mod registration;
mod registration_log;
mod roles;
mod round;
mod server_queries;
mod socket;
mod subscription;

pub use accounts::group_id;
pub use context::MethodContext;
pub use listener::{Access, LONGEST_PATH, socket_path};
pub use registration_log::RegistrationLog;
pub use roles::{RoleNames, role_holder};
pub use socket::DriverSocket;

/// Whether this punchd tells drivers apart.
const HAS_ROLES: bool = cfg!(feature = "hardened");
