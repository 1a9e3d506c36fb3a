//! What the methods work on.

use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};

use super::error::MethodError;
use super::registration_log::RegistrationLog;
use crate::clock::{Clock, ZoneSource};
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

/// Seconds by which a driver's time may be ahead of a clock that is set: of another zone, not of another day.
const MOST_AHEAD: i64 = 86_400;

impl MethodContext {
    /// The answer of a method that records something.
    pub(super) fn recorded(&self, seq: Result<Seq, StoreError>) -> Result<Value, MethodError> {
        // Also when it failed: the loop raises the alarm of a full store.
        reactor::wake_loop();
        Ok(json!({"seq": seq?}))
    }

    /// When it happened: what the driver says, by the terminal's wall clock (`time`) or in seconds since
    /// 1970 (`at`), else now. While the clock is not set, a moment of this boot that is dated later.
    pub(super) fn moment(&self, params: &Params) -> Result<Moment, RpcError> {
        let clock = &self.clock;
        let (text, at) = (params.text("time")?, params.number("at", u32::MAX.into())?);
        let (field, moment) = match (text, at) {
            (None, None) => {
                let (local, utc) = (clock.local(), clock.utc_if_set());
                return Ok(Moment::of(local, utc, clock.boot(), clock.monotonic()));
            }
            (Some(_), Some(_)) => return Err(RpcError::param("at", "cannot stand beside time")),
            (Some(text), None) => {
                let time = LocalTime::parse(&text).ok_or_else(|| {
                    let form = "must be a date and time of the form YYYY-MM-DD hh:mm:ss";
                    RpcError::param("time", form)
                })?;
                ("time", Moment::At(time))
            }
            // The zone comes later.
            (None, Some(at)) if clock.zone_source() == ZoneSource::Awaited => {
                ("at", Moment::AwaitingZone { utc: at as i64 })
            }
            (None, Some(at)) => {
                let wall = clock.wall(at as i64);
                ("at", Moment::At(wall.ok_or_else(|| RpcError::param("at", "is no time"))?))
            }
        };
        let ahead = match (&moment, clock.local(), clock.utc_if_set()) {
            (Moment::At(time), Some(now), _) => time.seconds() - now.seconds(),
            (Moment::AwaitingZone { utc }, _, Some(now)) => utc - now,
            _ => 0,
        };
        if ahead > MOST_AHEAD {
            return Err(RpcError::param(field, "is more than a day ahead of the terminal's clock"));
        }
        Ok(moment)
    }
}
