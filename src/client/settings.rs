//! What the client is made with.

use std::rc::Rc;
use std::time::Duration;

use crate::clock::Clock;
use crate::commands::DeviceProfile;
#[cfg(feature = "exchange")]
use crate::exchange::Mode;
use crate::files::Spool;
use crate::policy::Policy;
use crate::protocol::codes::Language;
use crate::protocol::dialect::Dialect;
use crate::server_queries::ServerQueries;
use crate::status::Status;
use crate::store::Store;

/// What the owner decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is told about the device, its serial included.
    pub profile: DeviceProfile,
    /// The terminal's language.
    pub language: Language,
    /// `pushcommkey`, empty for none.
    pub comm_key: String,
    /// How requests are written.
    pub dialect: Dialect,
    /// How long a new program of an upgrade has to run without an end.
    pub probation: Duration,
    /// How long it may take to reach the server.
    pub trial_time: Duration,
    /// Key of the attendance rows, for a server that wants them encrypted.
    pub attlog_key: Option<String>,
    /// What the owner wants of the exchange of keys.
    #[cfg(feature = "exchange")]
    pub exchange: Mode,
    /// What the owner allows the server.
    pub policy: Policy,
    /// The server's URL.
    pub server: String,
    /// Punches go up whatever the server's `TransFlag` says.
    pub punches_always: bool,
    /// Rows in an upload until the server has confirmed their count.
    pub first_rows: usize,
    /// Most bytes in the body of an upload.
    pub post_bytes: usize,
    /// Longest command in bytes.
    pub command_bytes: usize,
    /// Seconds until the next try after a failure, until the server names its own.
    pub error_delay: u32,
    /// Seconds over which terminals that start together spread their first contact.
    pub start_spread: u32,
}

/// What the loop shares with the other parts of the daemon.
#[derive(Clone)]
pub struct Shared {
    /// What time it is.
    pub clock: Rc<dyn Clock>,
    /// Where everything is kept.
    pub store: Rc<Store>,
    /// What the outside may see.
    pub status: Rc<Status>,
    /// Where downloads are while they are under way.
    pub spool: Rc<Spool>,
    /// What drivers want to know from the server.
    pub server_queries: Rc<ServerQueries>,
}
