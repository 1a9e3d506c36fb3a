//! The real [`Uplink`]: the server, reached by HTTP/1.1 on connections that are kept where the server
//! keeps them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ureq_proto::http::header::CONTENT_LENGTH;
use ureq_proto::http::{self, Uri};

use super::answering::{Answering, DateCheck, HeldRequest};
use super::connection::Place;
use super::connector::Connector;
#[cfg(feature = "exchange")]
use super::exchange::Seal;
use super::exchange::{Exchange, ReadLimit, Request, Response, Uplink};
use super::failure::Failure;
use super::keep_alive::KeptConnections;
use super::link_error::{LinkError, Phase};
use super::pending::{Message, Pending, Times};
use super::settings::Settings;
#[cfg(feature = "tls")]
use super::tls::LazyConfig;
use super::{explain, trace};
use crate::protocol::query::path_of;

/// The name of field firmware, which servers look for.
const USER_AGENT: &str = "iClock Proxy/1.09";
/// After so long, and [`HELD_TRIPS`] usual round trips, a request without an answer is held.
const HELD_AFTER: Duration = Duration::from_secs(2);
const HELD_TRIPS: u32 = 4;
/// How long the first request on a kept connection may wait for its answer, as long as it is not known
/// whether the server answers a second one.
const PROBE: Duration = Duration::from_secs(10);

/// The server.
pub struct Server {
    settings: Settings,
    /// What no message may show.
    secrets: Rc<[String]>,
    connector: Connector,
    kept: Rc<RefCell<KeptConnections>>,
    /// How long it usually takes from a request to the head of its response.
    usual: Rc<Cell<Duration>>,
    dates: Rc<DateCheck>,
}

impl Server {
    /// Whether the settings can work.
    ///
    /// # Errors
    /// A message for a person, if they cannot: every connection would fail.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables))]
    pub fn check(settings: &Settings) -> Result<(), String> {
        #[cfg(feature = "tls")]
        super::tls::check(settings)?;
        Ok(())
    }

    /// Prepares to reach the server; nothing is sent yet.
    pub fn new(settings: &Settings) -> Self {
        let dates = Rc::new(DateCheck::new(settings));
        #[cfg(feature = "tls")]
        let tls = LazyConfig::new(settings, dates.last_verified.clone());
        Self {
            connector: Connector::new(
                settings,
                #[cfg(feature = "tls")]
                tls,
            ),
            secrets: settings.secrets().into(),
            settings: settings.clone(),
            kept: Rc::default(),
            usual: Rc::default(),
            dates,
        }
    }
}

impl Server {
    /// What the certificate of the server says, for a person: for which names, by whom, until when. `None`
    /// before the first connection by HTTPS.
    pub fn certificate(&self) -> Option<String> {
        self.dates.certificate()
    }
}

impl Uplink for Server {
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        match self.ask(request, None)? {
            Exchange::Answered(response) => Ok(*response),
            Exchange::Held(mut held) => match held.head(&ReadLimit::default())? {
                Some(response) => Ok(response),
                None => Err(Failure::new("the request was given up")),
            },
        }
    }

    fn exchange_or_hold(&mut self, request: &Request<'_>) -> Result<Exchange, Failure> {
        let wait = HELD_AFTER + self.usual.get() * HELD_TRIPS;
        self.ask(request, Some(wait.min(self.settings.answer)))
    }
}

impl Server {
    /// Sends a request, once more if a kept connection turns out to be closed. `hold`: how long to wait
    /// for the head of the response before the request is held.
    fn ask(&mut self, request: &Request<'_>, hold: Option<Duration>) -> Result<Exchange, Failure> {
        let is_elsewhere = !request.target.starts_with('/');
        let url = match is_elsewhere {
            true => request.target.to_owned(),
            false => self.url_of(request.target),
        };
        let server = if is_elsewhere { request.target } else { &self.settings.url }.to_owned();
        if trace::is_on() {
            trace::request(request, &self.secrets);
        }
        let outgoing = self
            .outgoing(request, &url, is_elsewhere)
            .map_err(|error| explain::failure(&error, &server, None))?;
        let answering = Answering {
            kept: Rc::clone(&self.kept),
            usual: Rc::clone(&self.usual),
            dates: (!is_elsewhere).then(|| Rc::clone(&self.dates)),
            server,
            proxy: self.connector.proxy.as_ref().map(|it| format!("{}:{}", it.host, it.port)),
            target: request.target.to_owned(),
            path: match is_elsewhere {
                true => path_of(request.target).to_owned(),
                false => outgoing.message.head.uri().path().to_owned(),
            },
            secrets: Rc::clone(&self.secrets),
            started: Instant::now(),
            was_repeated: false,
            is_part: request.part.is_some(),
            times: outgoing.times,
            idle: None,
        };
        let done = match self.attempt(&outgoing, answering, MayUseKept(true), hold) {
            Err(failed) if failed.is_stale && !request.goes_once() => {
                let again = Answering { was_repeated: true, ..failed.answering };
                self.attempt(&outgoing, again, MayUseKept(false), hold)
            }
            done => done,
        };
        done.map_err(|failed| failed.answering.failure(&failed.error))
    }

    fn url_of(&self, target: &str) -> String {
        let url = &self.settings.url;
        match &self.settings.query {
            None => format!("{url}{target}"),
            Some(query) => {
                let and = if target.contains('?') { '&' } else { '?' };
                format!("{url}{target}{and}{query}")
            }
        }
    }

    /// What goes on the wire, and where to.
    fn outgoing<'a>(
        &self,
        request: &Request<'a>,
        url: &str,
        is_elsewhere: bool,
    ) -> Result<Outgoing<'a>, LinkError> {
        let unusable =
            |error: http::Error| LinkError::Request(format!("the URL cannot be used: {error}"));
        let uri: Uri =
            url.parse().map_err(|error: http::uri::InvalidUri| unusable(error.into()))?;
        let place = place_of(&uri)?;
        let method = if request.body.is_some() { "POST" } else { "GET" };
        let mut head = http::Request::builder().method(method).uri(uri);
        head = head.header("User-Agent", USER_AGENT).header("Accept", "*/*");
        if let Some(authorization) = self.settings.authorization.as_ref().filter(|_| !is_elsewhere)
        {
            head = head.header("Authorization", authorization);
        }
        if let Some(body) = request.body {
            head = head.header("Content-Type", "text/plain").header(CONTENT_LENGTH, body.length());
        }
        #[cfg(feature = "exchange")]
        if let Seal::InHeader(message) = request.seal {
            head = head.header("Sealed", message);
        }
        if let Some(part) = request.part {
            head = head.header("Range", format!("bytes={}-{}", part.from, part.to));
            if let Some(version) = part.version {
                head = head.header("If-Range", version);
            }
        }
        let mut absolute = None;
        if let Some(proxy) = self.connector.proxy.as_ref().filter(|_| !place.https) {
            absolute = Some(format!("http://{}:{}", place.host, place.port));
            if let Some(authorization) = &proxy.authorization {
                head = head.header("Proxy-Authorization", authorization);
            }
        }
        let head = head.body(()).map_err(unusable)?;
        let end = request.within.map(|within| Instant::now() + within);
        let Settings { answer, body, .. } = self.settings;
        let times = Times { answer, body, head: answer, end };
        let message = Message { head, body: request.body, absolute };
        Ok(Outgoing { place, message, times, takes_long: request.takes_long() })
    }

    /// Sends a request on a connection, and waits for the head of its response.
    fn attempt(
        &mut self,
        outgoing: &Outgoing<'_>,
        mut answering: Answering,
        may_use_kept: MayUseKept,
        hold: Option<Duration>,
    ) -> Result<Exchange, Box<FailedAttempt>> {
        let (place, message, mut times) = (&outgoing.place, &outgoing.message, outgoing.times);
        let mut kept = None;
        if may_use_kept.0 {
            kept = self.kept.borrow_mut().take(place, Instant::now());
        }
        answering.idle = kept.as_ref().map(|(_, idle)| *idle);
        let connection = match kept {
            Some((connection, _)) => connection,
            None => match self.connector.connect(place, times.end) {
                Ok(connection) => connection,
                Err(error) => {
                    return Err(Box::new(FailedAttempt { error, is_stale: false, answering }));
                }
            },
        };
        let address = connection.address;
        let reads = ReadLimit::default();
        match hold {
            Some(hold) => {
                times.head = self.settings.poll;
                reads.set(hold);
            }
            None if answering.idle.is_some()
                && !outgoing.takes_long
                && self.kept.borrow_mut().history(place).is_unproven() =>
            {
                times.head = times.head.min(PROBE);
            }
            None => {}
        }
        let sent = Pending::send(connection, message, &times);
        let (error, is_heard) = match sent.map(|mut pending| (pending.head(&reads), pending)) {
            Ok((Ok(Some(head)), pending)) => {
                answering.note_usual(&pending);
                let response = answering.response(pending, &head);
                return Ok(Exchange::Answered(Box::new(response)));
            }
            Ok((Ok(None), pending)) => {
                return Ok(Exchange::Held(Box::new(HeldRequest(Some((pending, answering))))));
            }
            Ok((Err(error), pending)) => (error, pending.is_heard),
            Err(error) => (error, false),
        };
        let is_silent = matches!(error, LinkError::TimedOut(Phase::Answer));
        // That the server needs long for this request is no fault of its connections nor of its address.
        let is_late = is_silent && outgoing.takes_long;
        if is_silent && !is_late {
            self.connector.got_no_answer(address);
        }
        let is_stale = !is_heard && !is_late && answering.got_no_answer(place, &error);
        Err(Box::new(FailedAttempt { error, is_stale, answering }))
    }
}

/// Whether a connection that was kept may be used.
struct MayUseKept(bool);

/// A request that was not answered.
struct FailedAttempt {
    error: LinkError,
    /// A kept connection turned out to be closed before the request was answered: it goes once more, on a
    /// new one.
    is_stale: bool,
    answering: Answering,
}

/// A request, and where it goes.
struct Outgoing<'a> {
    place: Place,
    message: Message<'a>,
    times: Times,
    /// The server may need long for it.
    takes_long: bool,
}

fn place_of(uri: &Uri) -> Result<Place, LinkError> {
    let https = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => {
            return Err(LinkError::Request("the URL has to begin with http:// or https://".into()));
        }
    };
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| LinkError::Request("the URL names no host".into()))?;
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    Ok(Place { https, host: host.to_ascii_lowercase(), port })
}

#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(test)]
mod server_tests;
