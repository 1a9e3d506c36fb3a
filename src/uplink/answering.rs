//! From the head of a response to a [`Response`], and requests that the server holds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ureq_proto::http;

use super::body::{BodyLimits, ReceivedBody};
use super::connection::Place;
use super::exchange::{DateHeader, HeldExchange, ReadLimit, Response};
use super::failure::Failure;
use super::keep_alive::{KeptConnections, NoAnswer};
use super::link_error::{LinkError, Phase};
use super::pending::{Pending, Times};
use super::settings::Settings;
#[cfg(feature = "tls")]
use super::tls::LastVerifiedChain;
use super::{explain, head, trace};
use crate::clock::{ClockOffset, TOLERANCE};
use crate::protocol::query::path_of;

/// What is needed to make a response of the answer to a request.
pub(super) struct Answering {
    pub(super) kept: Rc<RefCell<KeptConnections>>,
    pub(super) usual: Rc<Cell<Duration>>,
    /// Of the owner's server; another says nothing of the time.
    pub(super) dates: Option<Rc<DateCheck>>,
    /// For messages: the URL of the server.
    pub(super) server: String,
    /// For messages: host and port of the proxy, if one is used.
    pub(super) proxy: Option<String>,
    /// What was asked for.
    pub(super) target: String,
    /// The path of it at the server, for messages.
    pub(super) path: String,
    /// What no message may show.
    pub(super) secrets: Rc<[String]>,
    pub(super) started: Instant,
    pub(super) was_repeated: bool,
    /// A part of a file is asked for.
    pub(super) is_part: bool,
    pub(super) times: Times,
    /// How long the connection was idle before the request, if it was kept.
    pub(super) idle: Option<Duration>,
}

impl Answering {
    /// What a failure of the exchange means.
    pub(super) fn failure(&self, error: &LinkError) -> Failure {
        explain::failure(error, &self.server, self.proxy.as_deref())
    }

    /// The answer came as soon as answers usually come.
    pub(super) fn note_usual(&self, pending: &Pending) {
        let (took, usual) = (pending.sent_at.elapsed(), self.usual.get());
        self.usual.set(if usual.is_zero() { took } else { (usual * 7 + took) / 8 });
    }

    /// No byte of an answer came. Whether the connection was a kept one that was closed.
    pub(super) fn got_no_answer(&self, place: &Place, error: &LinkError) -> bool {
        let Some(idle) = self.idle else { return false };
        let how = match error {
            LinkError::TimedOut(Phase::Answer) => NoAnswer::Silent,
            error if error.is_closed() => NoAnswer::Closed,
            _ => return false,
        };
        let mut kept = self.kept.borrow_mut();
        if let Some(message) = kept.history(place).failed(how, idle, Instant::now()) {
            log::info!("{}: {message}", self.server);
        }
        how == NoAnswer::Closed
    }

    /// The response whose head has come.
    pub(super) fn response(self, pending: Pending, head: &http::Response<()>) -> Response {
        let Pending { connection, call, .. } = pending;
        if let Some(idle) = self.idle {
            self.kept.borrow_mut().history(&connection.place).answered(idle);
        }
        let headers = head.headers();
        let date = self.dates.as_ref().and_then(|dates| Some(dates.checked(head::date(headers)?)));
        let reads = ReadLimit::default();
        let Times { answer, body, end, .. } = self.times;
        // The time between the reads of a part does not count.
        let (body_end, left) = match self.is_part {
            true => (end, Some(body)),
            false => (Some(end.unwrap_or(Instant::now() + body)), None),
        };
        let limits = BodyLimits { answer, end: body_end, left };
        let body = ReceivedBody::new(connection, call, self.kept, reads.clone(), limits);
        let framed = body.is_framed();
        Response {
            status: head.status().as_u16(),
            date,
            retry_after: head::retry_after(headers),
            took: self.started.elapsed(),
            redirect: head::redirect(headers, &self.server, path_of(&self.target)),
            path: self.path,
            coding: head::coding(headers),
            proxy: self.proxy.filter(|_| !self.server.starts_with("https:")),
            was_repeated: self.was_repeated,
            secrets: Rc::clone(&self.secrets),
            framed,
            file: head::file(headers),
            body: match trace::is_on() {
                true => {
                    let (status, started) = (head.status().as_u16(), self.started);
                    let secrets = Rc::clone(&self.secrets);
                    Box::new(trace::Traced::new(body, &self.target, status, started, secrets))
                }
                false => Box::new(body),
            },
            reads,
        }
    }
}

/// A request that the server holds.
pub(super) struct HeldRequest(pub(super) Option<(Pending, Answering)>);

impl HeldExchange for HeldRequest {
    fn head(&mut self, reads: &ReadLimit) -> Result<Option<Response>, Failure> {
        let Some((mut pending, answering)) = self.0.take() else {
            return Err(Failure::new("the request was answered before"));
        };
        match pending.head(reads) {
            Ok(Some(head)) => Ok(Some(answering.response(pending, &head))),
            Ok(None) => {
                self.0 = Some((pending, answering));
                Ok(None)
            }
            Err(error) => {
                if !pending.is_heard {
                    answering.got_no_answer(&pending.connection.place, &error);
                }
                Err(answering.failure(&error))
            }
        }
    }
}

/// Whether the time in a `Date` can be: it is not believed if the server's own certificate is not
/// valid then.
pub(super) struct DateCheck {
    is_https: bool,
    clock_offset: ClockOffset,
    #[cfg(feature = "tls")]
    pub(super) last_verified: LastVerifiedChain,
    /// The last `Date` was refused, and the log says so.
    refused: Cell<bool>,
}

impl DateCheck {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            is_https: settings.url.starts_with("https:"),
            clock_offset: settings.clock_offset.clone(),
            #[cfg(feature = "tls")]
            last_verified: LastVerifiedChain::default(),
            refused: Cell::new(false),
        }
    }

    /// What the server's certificate says, for a person.
    #[cfg(feature = "tls")]
    pub(super) fn certificate(&self) -> Option<String> {
        self.last_verified.summary()
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn certificate(&self) -> Option<String> {
        None
    }

    fn checked(&self, header: DateHeader) -> DateHeader {
        let Ok(date) = header.at else { return header };
        let is_near = (date - self.clock_offset.utc()).abs() <= TOLERANCE;
        let is_refused = !is_near && self.is_https && !self.is_possible(date);
        if is_refused && !self.refused.get() {
            log::warn!(
                "the server's clock is wrong: its certificate is not valid at the time in its \
                 Date header. The terminal's clock is not set from it"
            );
        }
        self.refused.set(is_refused);
        match is_refused {
            true => DateHeader { at: Err("the server's certificate is not valid then"), ..header },
            false => header,
        }
    }

    #[cfg(feature = "tls")]
    fn is_possible(&self, date: i64) -> bool {
        self.last_verified.is_valid_at(date)
    }

    #[cfg(not(feature = "tls"))]
    fn is_possible(&self, _date: i64) -> bool {
        true
    }
}
