//! What every part of the client works with, and one request to the server with its answer.

use std::rc::Rc;
use std::time::Duration;

use super::backoff::LONGEST_ASKED;
use super::clock_setter::ServersClockSetter;
use super::dates::Dates;
use super::settings::{Settings, Shared};
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::commands::{self, Commands, UnknownKeys};
use crate::device::Device;
use crate::files::Spool;
use crate::protocol::ack::{self, Ack};
use crate::protocol::query::Target;
use crate::server_queries::ServerQueries;
use crate::status::Status;
use crate::store::{ClockReading, Moment, Store};
use crate::uplink::{Failure, Request, Response, Uplink};

/// The server, the device, and what the client shares with the rest of the daemon.
pub(super) struct Context {
    pub(super) uplink: Box<dyn Uplink>,
    pub(super) device: Box<dyn Device>,
    pub(super) settings: Settings,
    pub(super) clock: Rc<dyn Clock>,
    pub(super) store: Rc<Store>,
    pub(super) status: Rc<Status>,
    pub(super) spool: Rc<Spool>,
    pub(super) server_queries: Rc<ServerQueries>,
    pub(super) dates: Dates,
    clock_setter: ServersClockSetter,
    unknown_keys: UnknownKeys,
}

impl Context {
    pub(super) fn new(
        uplink: Box<dyn Uplink>,
        device: Box<dyn Device>,
        shared: Shared,
        settings: Settings,
    ) -> Self {
        let Shared { clock, store, status, spool, server_queries } = shared;
        let clock_setter = ServersClockSetter::new(Rc::clone(&clock));
        Self {
            uplink,
            device,
            settings,
            clock,
            store,
            status,
            spool,
            server_queries,
            dates: Dates::default(),
            clock_setter,
            unknown_keys: UnknownKeys::default(),
        }
    }

    /// A path of the protocol, in the owner's dialect, with the serial.
    pub(super) fn target(&self, path: &str) -> Target {
        Target::new(&self.settings.dialect.path(path), &self.settings.profile.serial)
    }

    /// Sends a GET. Any status but a 2xx is a refusal.
    pub(super) fn get(&mut self, target: &Target) -> Result<Response, Trouble> {
        let response = self.uplink.exchange(&Request::get(target.as_str()))?;
        success(response)
    }

    /// Sends a POST; whether the server took the body, or the request was at fault.
    pub(super) fn post(&mut self, target: &Target, body: &[u8]) -> Result<Ack, Trouble> {
        self.send(&Request::post(target.as_str(), body))
    }

    /// Sends a request; whether the server took its body, or the request was at fault.
    pub(super) fn send(&mut self, request: &Request<'_>) -> Result<Ack, Trouble> {
        let mut response = self.uplink.exchange(request)?;
        let answer = response.read_up_to(ack::ANSWER_BYTES)?;
        not_now(ack::read(&response.answer(&answer)), response.retry_after)
    }

    /// Sends a GET, or a POST if there is a body, that ends at this moment of the monotonic clock.
    pub(super) fn exchange_until(
        &mut self,
        until: Duration,
        target: &Target,
        body: Option<&[u8]>,
    ) -> Result<Response, Failure> {
        let left = until.saturating_sub(self.clock.monotonic());
        if left.is_zero() {
            return Err(Failure::new("there is no time left to ask the server"));
        }
        let target = target.as_str();
        let request = body.map_or(Request::get(target), |body| Request::post(target, body));
        self.uplink.exchange(&Request { within: Some(left), ..request })
    }

    /// What carries out commands.
    pub(super) fn commands(&mut self) -> Commands<'_> {
        let context = commands::Context {
            store: &self.store,
            profile: &self.settings.profile,
            language: self.settings.language,
            attlog_count: self.settings.dialect.attlog_count,
            policy: &self.settings.policy,
            server: &self.settings.server,
            now: self.clock.utc_if_set(),
            moment: Moment::of(
                self.clock.local(),
                self.clock.utc_if_set(),
                self.clock.boot(),
                self.clock.monotonic(),
            ),
            clock_setter: &self.clock_setter,
            unknown_keys: &self.unknown_keys,
            clock: ClockReading {
                boot: self.clock.boot(),
                monotonic: self.clock.monotonic().as_secs() as i64,
                utc: self.clock.utc_if_set(),
            },
            command_bytes: self.settings.command_bytes,
        };
        Commands::new(context, self.device.as_mut())
    }
}

/// The response, if its status is a 2xx; else what the server said.
pub(super) fn success(mut response: Response) -> Result<Response, Trouble> {
    if ack::is_success(response.status) {
        return Ok(response);
    }
    let body = response.read_up_to(ack::ANSWER_BYTES)?;
    match not_now(ack::not_taken(&response.answer(&body)), response.retry_after)? {
        Ack::Taken(_) => Ok(response),
        not_taken => Err(Trouble::Refused(not_taken.message())),
    }
}

/// Separates what no request is at fault for: a server that does not know the terminal, or that
/// wants to be asked later. A pause that cannot be told (0) is the usual one.
pub(super) fn not_now(ack: Ack, retry_after: Option<u32>) -> Result<Ack, Trouble> {
    let pause = retry_after
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds.into()).min(LONGEST_ASKED));
    match ack {
        Ack::Taken(_) => Ok(ack),
        Ack::Later(message) => Err(Trouble::Later { message, pause }),
        ack if retry_after.is_some() => Err(Trouble::Later { message: ack.message(), pause }),
        Ack::NotKnown(message) => Err(Trouble::NotKnown(message)),
        ack => Ok(ack),
    }
}
