//! One HTTP exchange: the request, and the response to it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::failure::Failure;
use crate::protocol::refusal::{Answer, Redirect};

/// What carries requests to the server.
pub trait Uplink {
    /// Sends a request and waits for the head of the response. The body is read as it arrives.
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure>;

    /// Sends a request that the server may hold until it has something to say. Waits for the head of the
    /// response as long as answers usually take, and two seconds.
    fn exchange_or_hold(&mut self, request: &Request<'_>) -> Result<Exchange, Failure> {
        self.exchange(request).map(|response| Exchange::Answered(Box::new(response)))
    }
}

/// What became of a request that the server may hold.
pub enum Exchange {
    /// The head of the response is here.
    Answered(Box<Response>),
    /// The server holds the request. Other exchanges may go on meanwhile.
    Held(Box<dyn HeldExchange>),
}

/// A request that was sent, and is not answered yet.
pub trait HeldExchange {
    /// Waits for the head of the response; `None`: the limit was reached first.
    fn head(&mut self, reads: &ReadLimit) -> Result<Option<Response>, Failure>;
}

/// One request: a GET, or a POST if it has a body.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Path and query at the server, or the whole URL of another place that the owner allows.
    pub target: &'a str,
    /// The body of a POST.
    pub body: Option<Body<'a>>,
    /// The part of a file that is asked for.
    pub part: Option<Part<'a>>,
    /// How long all of it may take, up to the last byte of the answer, where that is less
    /// than the owner's timeouts.
    pub within: Option<Duration>,
    /// Whether it is to be sealed, or is.
    #[cfg(feature = "exchange")]
    pub seal: Seal<'a>,
}

/// Whether a request is to be sealed ([`crate::exchange`]), or is. One that is goes once: a server takes none a
/// second time.
#[cfg(feature = "exchange")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal<'a> {
    /// Where keys were exchanged.
    ByKeys,
    /// Never: a handshake.
    Never,
    /// Never: one of the exchange of keys. The server may have to make a key first.
    OfExchange,
    /// Its body is a sealed message.
    InBody,
    /// Its header has a sealed message, since a GET has no body.
    InHeader(&'a str),
}

#[cfg(feature = "exchange")]
impl Seal<'_> {
    /// Whether the request is a sealed message.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::InBody | Self::InHeader(_))
    }
}

/// The body of a POST.
#[derive(Clone, Copy, Default)]
pub struct Body<'a> {
    /// Its first bytes.
    pub bytes: &'a [u8],
    /// A file whose first bytes follow, and how many they are.
    pub file: Option<(&'a dyn Content, u64)>,
}

/// What is read while it is sent.
pub trait Content {
    /// Reads from a position on, 0 first, then each time where the last read ended.
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl Content for File {
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, into, position)
    }
}

/// A part of a file (RFC 9110, 14.2).
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its first byte.
    pub from: u64,
    /// Its last byte.
    pub to: u64,
    /// The version of the file (`If-Range`), if it is known.
    pub version: Option<&'a str>,
}

impl Body<'_> {
    /// Its bytes.
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64 + self.file.map_or(0, |(_, size)| size)
    }

    /// All of it, for uplinks of tests.
    #[cfg(test)]
    pub(crate) fn whole(&self) -> Vec<u8> {
        let Some((file, size)) = self.file else { return self.bytes.to_vec() };
        let mut content = vec![0; size as usize];
        let mut position = 0;
        while position < size {
            let amount = file.read_at(position, &mut content[position as usize..]).unwrap();
            assert!(amount > 0);
            position += amount as u64;
        }
        [self.bytes, &content].concat()
    }
}

impl<'a> Request<'a> {
    /// A GET.
    pub fn get(target: &'a str) -> Self {
        Self {
            target,
            body: None,
            part: None,
            within: None,
            #[cfg(feature = "exchange")]
            seal: Seal::ByKeys,
        }
    }

    /// The GET of a handshake, which is never sealed.
    pub fn handshake(target: &'a str) -> Self {
        Self {
            #[cfg(feature = "exchange")]
            seal: Seal::Never,
            ..Self::get(target)
        }
    }

    /// Whether it goes once and no more.
    pub(super) fn goes_once(&self) -> bool {
        #[cfg(feature = "exchange")]
        return self.seal.is_done();
        #[cfg(not(feature = "exchange"))]
        false
    }

    /// Whether the server may need long for it, though it answers others soon.
    pub(super) fn takes_long(&self) -> bool {
        #[cfg(feature = "exchange")]
        return self.seal == Seal::OfExchange;
        #[cfg(not(feature = "exchange"))]
        false
    }

    /// A POST with this body.
    pub fn post(target: &'a str, bytes: &'a [u8]) -> Self {
        Self { body: Some(Body { bytes, file: None }), ..Self::get(target) }
    }
}

/// The head of a response, and its body to be read.
pub struct Response {
    /// The status code of HTTP.
    pub status: u16,
    /// The first `Date` header of the owner's server.
    pub date: Option<DateHeader>,
    /// Seconds after which the server wants to be asked again (`Retry-After`).
    pub retry_after: Option<u32>,
    /// Time from the request to the head of the response.
    pub took: Duration,
    /// The path that was asked for, without its query.
    pub path: String,
    /// Where the server redirects to.
    pub redirect: Option<Redirect>,
    /// `Content-Encoding`.
    pub coding: Option<String>,
    /// Host and port of the proxy that was asked, if one was.
    pub proxy: Option<String>,
    /// The request went twice, since a kept connection was closed: the server may have known what it
    /// carried.
    pub was_repeated: bool,
    /// What no message about it may show ([`Settings::secrets`](super::Settings::secrets)).
    pub secrets: Rc<[String]>,
    /// Whether the end of the body can be told from a connection that broke: it has a length, or
    /// is chunked.
    pub framed: bool,
    /// What the head says about the file in the body.
    pub file: FileHead,
    /// The body, not yet read. Other exchanges may go on between two reads.
    pub body: Box<dyn Read>,
    /// How long a read of the body may wait.
    pub reads: ReadLimit,
}

/// Until when reads may wait for bytes: without a limit, as long as the owner's timeouts allow. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub struct ReadLimit(Rc<Cell<Option<Limit>>>);

/// Until when a read may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) until: Instant,
    /// It ends when there is something else for the loop to do.
    pub(super) ends_when_woken: bool,
}

impl Limit {
    fn after(time: Duration, ends_when_woken: bool) -> Self {
        const A_DAY: Duration = Duration::from_secs(86_400);
        Self { until: Instant::now() + time.min(A_DAY), ends_when_woken }
    }
}

impl ReadLimit {
    /// From now on, reads may wait for so long together. Then they fail with `WouldBlock`: nothing
    /// is wrong, no byte is lost, and they can go on with another limit.
    pub fn set(&self, time: Duration) {
        self.0.set(Some(Limit::after(time, false)));
    }

    /// The same, and they fail so, too, when there is something else for the loop to do.
    pub fn set_until_woken(&self, time: Duration) {
        self.0.set(Some(Limit::after(time, true)));
    }

    /// Whether a read failed because of the limit.
    pub fn is_in(error: &io::Error) -> bool {
        error.kind() == ErrorKind::WouldBlock
    }

    /// The same limit as another has now.
    #[cfg(feature = "exchange")]
    pub fn follow(&self, other: &Self) {
        self.0.set(other.0.get());
    }

    /// How long reads may still wait, for uplinks of tests.
    #[cfg(test)]
    pub(crate) fn left(&self) -> Option<Duration> {
        self.get().map(|limit| limit.until.saturating_duration_since(Instant::now()))
    }

    pub(super) fn get(&self) -> Option<Limit> {
        self.0.get()
    }
}

/// A `Date` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateHeader {
    /// As it came, its first characters.
    pub text: String,
    /// In seconds since 1970, or why it is not believed.
    pub at: Result<i64, &'static str>,
}

/// What the head of a response says about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHead {
    /// `ETag`, else `Last-Modified`: it changes with the file.
    pub version: Option<String>,
    /// `Content-Range`: first byte, last byte, size of the file.
    pub range: Option<(u64, u64, u64)>,
    /// Whether `Content-Range` says that the file has no bytes.
    pub is_empty: bool,
    /// `Content-Length`.
    pub length: Option<u64>,
}

impl Response {
    /// Reads at most `most` bytes of the body; the rest is not fetched.
    pub fn read_up_to(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = (&mut self.body).take(most as u64).read_to_end(&mut bytes);
        read.map_err(|error| self.broke_off(error))?;
        Ok(bytes)
    }

    /// What it means that a read of the body failed.
    pub fn broke_off(&self, error: io::Error) -> Failure {
        Failure::in_body(error, &self.path)
    }

    /// What its meaning depends on; `body`: the first bytes of the body.
    pub fn answer<'a>(&'a self, body: &'a [u8]) -> Answer<'a> {
        Answer {
            status: self.status,
            body,
            path: Some(&self.path),
            redirect: self.redirect.as_ref(),
            coding: self.coding.as_deref(),
            proxy: self.proxy.as_deref(),
            wants_ok: false,
            secrets: &self.secrets,
        }
    }
}
