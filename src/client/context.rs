//! What every part of the client works with, and one request to the server with its answer.

use std::rc::Rc;
use std::time::Duration;

use super::clock_setter::ServersClockSetter;
use super::dates::Dates;
use super::pauses::LONGEST_ASKED;
use super::settings::{Settings, Shared};
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::commands::{self, Commands, UnknownKeys};
use crate::device::Device;
#[cfg(feature = "exchange")]
use crate::exchange::{Channel, Mode};
use crate::files::Spool;
use crate::protocol::ack::{self, Ack};
use crate::protocol::query::Target;
use crate::server_queries::ServerQueries;
use crate::status::Status;
use crate::store::{ClockReading, Moment, Store};
use crate::uplink::{Cause, Exchange, Failure, Request, Response, Uplink};

/// A connection that is closed later than that is no sign of a server that closes every second one: a
/// proxy may have given up, and others have waited for this request long enough.
const SOON: Duration = Duration::from_secs(5);

/// For how long no request is repeated after one that was repeated in vain.
const IN_VAIN: Duration = Duration::from_secs(60);

/// The server, the device, and what the client shares with the rest of the daemon.
pub(super) struct Context {
    #[cfg(feature = "exchange")]
    pub(super) uplink: Channel,
    #[cfg(not(feature = "exchange"))]
    uplink: Box<dyn Uplink>,
    /// The last exchange had an answer: one that is closed without an answer is repeated.
    was_answered: bool,
    was_repeated: bool,
    /// No request is repeated before: the last time that was in vain.
    no_repeat_before: Duration,
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
            #[cfg(feature = "exchange")]
            uplink: Channel::new(uplink, settings.exchange),
            #[cfg(not(feature = "exchange"))]
            uplink,
            was_answered: true,
            was_repeated: false,
            no_repeat_before: Duration::ZERO,
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

    /// One exchange.
    pub(super) fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        let answer = self.once_more(request, |uplink, request| uplink.exchange(request));
        self.was_repeated |= answer.as_ref().is_ok_and(|response| response.was_repeated);
        answer
    }

    /// One exchange that the server may hold.
    pub(super) fn exchange_or_hold(&mut self, request: &Request<'_>) -> Result<Exchange, Failure> {
        self.once_more(request, |uplink, request| uplink.exchange_or_hold(request))
    }

    /// A request whose connection is soon closed without an answer goes once more, at once, if the exchange
    /// before it had an answer: some servers and the proxies before them close every second connection
    /// so, and that of a handshake would always be the first.
    fn once_more<T>(
        &mut self,
        request: &Request<'_>,
        exchange: impl Fn(&mut dyn Uplink, &Request<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let begun = self.clock.monotonic();
        let mut answer = exchange(uplink(&mut self.uplink), request);
        self.was_repeated = false;
        if let Err(failure) = &answer
            && failure.cause() == Some(Cause::Closed)
            && self.was_answered
            && self.no_repeat_before <= begun
        {
            let took = self.clock.monotonic().saturating_sub(begun);
            let within = request.within.map(|within| within.saturating_sub(took));
            if took < SOON && within != Some(Duration::ZERO) {
                log::debug!("{failure}; the request goes once more");
                self.was_repeated = true;
                answer = exchange(uplink(&mut self.uplink), &Request { within, ..*request });
                if answer.is_err() {
                    self.no_repeat_before = self.clock.monotonic() + IN_VAIN;
                }
            }
        }
        self.was_answered = answer.is_ok();
        answer
    }

    /// Whether the last request went twice: the server may have known what the second one carried.
    pub(super) fn was_repeated(&self) -> bool {
        self.was_repeated
    }

    /// Whether the answer to a poll of an earlier configuration counts: not one in plain text, where the owner
    /// requires encryption now.
    #[cfg(feature = "exchange")]
    pub(super) fn takes_polls_of(&self, earlier: &Self) -> bool {
        let is_required = |context: &Self| context.settings.exchange == Mode::Required;
        !is_required(self) || is_required(earlier)
    }

    /// The same without an exchange of keys: every answer is in plain text.
    #[cfg(not(feature = "exchange"))]
    pub(super) fn takes_polls_of(&self, _: &Self) -> bool {
        true
    }

    /// Sends the GET of a handshake, which is never encrypted. Any status but a 2xx is a refusal.
    pub(super) fn shake_hands(&mut self, target: &Target) -> Result<Response, Trouble> {
        success(self.exchange(&Request::handshake(target.as_str()))?)
    }

    /// Sends a POST; whether the server took the body, or the request was at fault.
    pub(super) fn post(&mut self, target: &Target, body: &[u8]) -> Result<Ack, Trouble> {
        self.send(&Request::post(target.as_str(), body))
    }

    /// Sends a request; whether the server took its body, or the request was at fault.
    pub(super) fn send(&mut self, request: &Request<'_>) -> Result<Ack, Trouble> {
        let mut response = self.exchange(request)?;
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
        self.exchange(&Request { within: Some(left), ..request })
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

#[cfg(feature = "exchange")]
fn uplink(channel: &mut Channel) -> &mut dyn Uplink {
    channel
}

#[cfg(not(feature = "exchange"))]
fn uplink(uplink: &mut Box<dyn Uplink>) -> &mut dyn Uplink {
    &mut **uplink
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

/// A refusal; with `Retry-After` one that holds until then.
pub(super) fn refused_until(message: String, retry_after: Option<u32>) -> Trouble {
    match retry_after {
        Some(_) => Trouble::Later { message, pause: asked_pause(retry_after) },
        None => Trouble::Refused(message),
    }
}

/// How long a server wants to be left alone, if that can be told.
fn asked_pause(retry_after: Option<u32>) -> Option<Duration> {
    let seconds = retry_after.filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()).min(LONGEST_ASKED))
}

/// Separates what no request is at fault for: a server that does not know the terminal, or that
/// wants to be asked later. A pause that cannot be told (0) is the usual one.
pub(super) fn not_now(ack: Ack, retry_after: Option<u32>) -> Result<Ack, Trouble> {
    match ack {
        Ack::Taken(_) => Ok(ack),
        Ack::Later(message) => Err(Trouble::Later { message, pause: asked_pause(retry_after) }),
        ack if retry_after.is_some() => Err(refused_until(ack.message(), retry_after)),
        Ack::NotKnown(message) => Err(Trouble::NotKnown(message)),
        ack => Ok(ack),
    }
}
