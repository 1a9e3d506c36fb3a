//! What the methods work on.

use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};

use super::error::MethodError;
use super::registration_log::RegistrationLog;
use crate::clock::Clock;
use crate::driver_requests::DriverRequests;
use crate::protocol::codes::Language;
use crate::protocol::time::LocalTime;
use crate::reactor;
use crate::rpc::{Params, RpcError};
use crate::server_queries::ServerQueries;
use crate::status::Status;
use crate::store::{Moment, Seq, Store, StoreError};

/// The parts of the terminal that the methods work on.
pub struct MethodContext {
    /// Serial number of the terminal.
    pub serial: String,
    /// Its language.
    pub language: Language,
    /// The store.
    pub store: Rc<Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// The state of the connection to the server.
    pub status: Rc<Status>,
    /// What waits for the server.
    pub server_queries: Rc<ServerQueries>,
    /// What waits for drivers.
    pub driver_requests: Rc<DriverRequests>,
    /// Which registrations are logged.
    pub registrations: RegistrationLog,
    /// The directory in which drivers may leave files.
    pub shared_dir: Option<PathBuf>,
}

impl MethodContext {
    /// The answer of a method that records something.
    pub(super) fn recorded(&self, seq: Result<Seq, StoreError>) -> Result<Value, MethodError> {
        // Also when it failed: the loop raises the alarm of a full store.
        reactor::wake_loop();
        Ok(json!({"seq": seq?}))
    }

    /// When it happened: what the driver says, else now. While the clock is not set, a moment
    /// of this boot that is dated later.
    pub(super) fn moment(&self, params: &Params) -> Result<Moment, RpcError> {
        let Some(text) = params.text("time")? else {
            let clock = &self.clock;
            return Ok(Moment::of(
                clock.local(),
                clock.utc_if_set(),
                clock.boot(),
                clock.monotonic(),
            ));
        };
        LocalTime::parse(&text).map(Moment::At).ok_or_else(|| {
            RpcError::param("time", "must be a date and time of the form YYYY-MM-DD hh:mm:ss")
        })
    }
}
