//! The way to the server: one HTTP exchange at a time.
//!
//! [`Uplink`] is what the loop knows of it; [`Server`] is the real one, ureq with a
//! connector and a resolver that wait in the reactor, so that drivers are served while any
//! phase of an exchange waits. Every phase has an end.

mod connector;
mod explain;
mod resolver;
mod server;
#[cfg(feature = "tls")]
mod tls;

pub use server::{Server, Settings};

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use crate::reactor::Stopping;

/// Something that carries requests to a server.
pub trait Uplink {
    /// Sends a request and waits for the head of the response. Its body is read as it comes.
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure>;
}

/// One request: a GET, or a POST if it has a body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Path and query at the server; or the whole URL of a place that the owner allows.
    pub target: &'a str,
    /// The body of a POST.
    pub body: Option<Body<'a>>,
    /// The part of a file that is asked for.
    pub part: Option<Part<'a>>,
    /// How long all of it may take, up to the last byte of the answer, where that is less
    /// than the owner's timeouts.
    pub within: Option<Duration>,
}

/// The body of a POST.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// What stands in it.
    pub bytes: &'a [u8],
    /// A file whose first bytes follow, and how many they are.
    pub file: Option<(&'a File, u64)>,
}

/// A part of a file (RFC 9110, 14.2).
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its first byte.
    pub from: u64,
    /// Its last byte.
    pub to: u64,
    /// The version of which it is to be, if one is known that can be asked for.
    pub version: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Asks for something.
    pub fn get(target: &'a str) -> Self {
        Self { target, body: None, part: None, within: None }
    }

    /// Sends something.
    pub fn post(target: &'a str, bytes: &'a [u8]) -> Self {
        Self { target, body: Some(Body { bytes, file: None }), part: None, within: None }
    }
}

/// The head of a response, and its body to be read.
pub struct Response {
    /// The status.
    pub status: u16,
    /// The first `Date` header in seconds since 1970, if it could be read.
    pub date: Option<i64>,
    /// From the request to the head of the response.
    pub took: Duration,
    /// Whether the end of the body can be told from a connection that broke.
    pub framed: bool,
    /// What the body is of a file.
    pub file: FileHead,
    /// The body.
    pub body: Box<dyn Read>,
}

/// What the head of a response says of the file that it brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHead {
    /// `ETag`, else `Last-Modified`: it changes with the file.
    pub version: Option<String>,
    /// First byte, last byte, and bytes in all, of `Content-Range`.
    pub range: Option<(u64, u64, u64)>,
    /// Whether `Content-Range` says that there are no bytes at all.
    pub is_empty: bool,
    /// `Content-Length`.
    pub length: Option<u64>,
}

impl Response {
    /// Reads at most `most` bytes of the body; the rest is never fetched.
    pub fn read_up_to(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        (&mut self.body).take(most as u64).read_to_end(&mut bytes).map_err(Failure::in_body)?;
        Ok(bytes)
    }
}

/// Why an exchange did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The program was asked to stop; nothing is wrong.
    Stopping,
    /// For a person: the address, what went wrong there, and what to change.
    Broken(String),
}

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Broken(message.into())
    }

    /// A failure while the body of a response was read.
    pub fn in_body(error: io::Error) -> Self {
        if explain::is_stopping(&error) {
            return Self::Stopping;
        }
        Self::new(format!("the server's answer broke off: {}", explain::io(&error)))
    }
}

impl From<Stopping> for Failure {
    fn from(_: Stopping) -> Self {
        Self::Stopping
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => Stopping.fmt(f),
            Self::Broken(message) => f.write_str(message),
        }
    }
}
