//! What a session with the server is sealed with: every request has a number, and its answer the same.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::message::{NotOpened, Opened, Sealed, sealed_bytes};
use super::suite::CipherSuite;
use crate::reactor::Stopping;
use crate::uplink::{
    Body, Content, Exchange, Failure, FileHead, HeldExchange, ReadLimit, Request, Response, Seal,
    Uplink,
};

/// How long the first chunk of an answer may take before the request is held.
const HELD_AFTER: Duration = Duration::from_secs(2);
/// After so many answers in a row that refuse a request and are not sealed, the server may have lost the keys.
const MOST_PLAIN_REFUSALS: u32 = 3;
/// Most bytes of an answer that is not sealed that are looked at, and how long they are waited for.
const PLAIN_BYTES: u64 = 512;
const PLAIN_WAIT: Duration = Duration::from_secs(2);
/// The status of a server that cannot open a message with the keys that it has.
const CANNOT_OPEN: u16 = 409;

/// The keys of a session, and how far their use is.
pub(super) struct Session<S: CipherSuite> {
    secret: S::Secret,
    /// The number of the last request.
    number: u64,
    /// Refusals in a row that were not sealed.
    plain_refusals: Rc<Cell<u32>>,
}

impl<S: CipherSuite> Session<S> {
    pub(super) fn new(secret: S::Secret) -> Self {
        Self { secret, number: 0, plain_refusals: Rc::default() }
    }

    pub(super) fn exchange(
        &mut self,
        uplink: &mut dyn Uplink,
        request: &Request<'_>,
    ) -> Result<Response, Failure> {
        let response = self.send(request, |request| uplink.exchange(request))?;
        match self.expected().in_response(response).head()? {
            Head::Whole(response) => Ok(response),
            Head::Paused(_) => Err(Failure::new("the request was given up")),
        }
    }

    pub(super) fn exchange_or_hold(
        &mut self,
        uplink: &mut dyn Uplink,
        request: &Request<'_>,
    ) -> Result<Exchange, Failure> {
        let response = match self.send(request, |request| uplink.exchange_or_hold(request))? {
            Exchange::Answered(response) => *response,
            Exchange::Held(held) => {
                return Ok(Exchange::Held(Box::new(Held::Request(held, self.expected()))));
            }
        };
        response.reads.set(HELD_AFTER);
        Ok(match self.expected().in_response(response).head()? {
            Head::Whole(response) => Exchange::Answered(Box::new(response)),
            Head::Paused(answer) => Exchange::Held(Box::new(Held::Answer(Box::new(answer)))),
        })
    }

    /// Seals a request with the next number, and sends it.
    fn send<T>(
        &mut self,
        request: &Request<'_>,
        exchange: impl FnOnce(&Request<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.number += 1;
        let first_line = first_line(request);
        let body = request.body.unwrap_or_default();
        let length = first_line.len() as u64 + body.length();
        let plain = first_line.as_bytes().chain(body.bytes).chain(FileReader { body, position: 0 });
        let mut sealed = Sealed::<S, _>::new(&self.secret, self.number, plain, length);
        if body.file.is_some() {
            // It is sealed while it is sent, and never held in memory.
            let content = SealedContent(RefCell::new(sealed));
            let body = Body { bytes: &[], file: Some((&content, sealed_bytes::<S>(length))) };
            return exchange(&Request { body: Some(body), seal: Seal::InBody, ..*request });
        }
        let mut message = Vec::new();
        let read = sealed.read_to_end(&mut message);
        read.map_err(|error| Failure::new(format!("the request: {error}")))?;
        if request.body.is_some() {
            let body = Body { bytes: &message, file: None };
            return exchange(&Request { body: Some(body), seal: Seal::InBody, ..*request });
        }
        let message = STANDARD.encode(message);
        exchange(&Request { seal: Seal::InHeader(&message), ..*request })
    }

    /// The answer to the last request.
    fn expected(&self) -> Expected<S> {
        let plain_refusals = Rc::clone(&self.plain_refusals);
        Expected { secret: self.secret.clone(), number: self.number, plain_refusals }
    }
}

/// What the message of a request begins with: what is asked for.
fn first_line(request: &Request<'_>) -> String {
    let method = if request.body.is_some() { "POST" } else { "GET" };
    let part = request.part.map_or_else(String::new, |part| format!(" {}-{}", part.from, part.to));
    format!("{method} {}{part}\n", request.target)
}

/// Reads the file of a body.
struct FileReader<'a> {
    body: Body<'a>,
    position: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some((file, size)) = self.body.file else { return Ok(0) };
        let left = usize::try_from(size - self.position).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        let amount = file.read_at(self.position, &mut into[..most])?;
        self.position += amount as u64;
        Ok(amount)
    }
}

/// A sealed message that is read once.
struct SealedContent<R>(RefCell<R>);

impl<R: Read> Content for SealedContent<R> {
    fn read_at(&self, _: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(into)
    }
}

/// What an answer is opened with.
struct Expected<S: CipherSuite> {
    secret: S::Secret,
    number: u64,
    plain_refusals: Rc<Cell<u32>>,
}

impl<S: CipherSuite> Expected<S> {
    fn in_response(&self, mut response: Response) -> Answer<S> {
        let body = std::mem::replace(&mut response.body, Box::new(io::empty()));
        let opened = Opened::new(&self.secret, self.number, body);
        Answer { response, opened, plain_refusals: Rc::clone(&self.plain_refusals) }
    }
}

/// An answer whose first chunk is not opened yet.
struct Answer<S: CipherSuite> {
    response: Response,
    opened: Opened<S>,
    plain_refusals: Rc<Cell<u32>>,
}

enum Head<S: CipherSuite> {
    Whole(Response),
    /// The limit of its reads was reached first.
    Paused(Answer<S>),
}

impl<S: CipherSuite> Answer<S> {
    /// Opens the first chunk: what it says counts in place of the head of the response.
    fn head(mut self) -> Result<Head<S>, Failure> {
        let error = match self.opened.first_line() {
            Ok(line) => {
                let Some((status, file)) = read_first_line(&line) else {
                    return Err(self.response.broke_off(NotOpened::Malformed.into()));
                };
                self.plain_refusals.set(0);
                let mut response = self.response;
                response.status = status;
                response.file = FileHead { version: response.file.version, ..file };
                response.framed = true;
                response.body = Box::new(self.opened);
                return Ok(Head::Whole(response));
            }
            Err(error) if ReadLimit::is_in(&error) => return Ok(Head::Paused(self)),
            Err(error) => error,
        };
        if NotOpened::in_error(&error) != Some(NotOpened::Plain) {
            return Err(self.response.broke_off(error));
        }
        self.response.body = self.opened.into_plain();
        let refuses = self.response.status >= 400
            && ![CANNOT_OPEN, 416].contains(&self.response.status)
            && self.plain_refusals.get() < MOST_PLAIN_REFUSALS;
        if !refuses {
            return Err(not_sealed(self.response));
        }
        // A proxy, or a server that failed: that acknowledges nothing.
        self.plain_refusals.set(self.plain_refusals.get() + 1);
        Ok(Head::Whole(self.response))
    }
}

/// What is wrong with an answer that is not sealed and does not count for that.
fn not_sealed(mut response: Response) -> Failure {
    response.reads.set(PLAIN_WAIT);
    let mut body = Vec::new();
    let read = (&mut response.body).take(PLAIN_BYTES).read_to_end(&mut body);
    if read.is_err_and(|error| Stopping::is_in(&error)) {
        return Failure::Stopping;
    }
    let refusal = response.answer(&body).refusal();
    Failure::new(format!("the answer is not encrypted, although keys were exchanged: {refusal}"))
}

/// What the message of an answer begins with: `STATUS LENGTH [FIRST-LAST/SIZE]`, with `-` for a length that is
/// not known, and `*` for a part that there is not.
pub(super) fn read_first_line(line: &str) -> Option<(u16, FileHead)> {
    let mut words = line.split(' ');
    let status = words.next()?.parse().ok()?;
    let length = match words.next()? {
        "-" => None,
        length => Some(length.parse().ok()?),
    };
    let mut file = FileHead { length, ..FileHead::default() };
    if let Some(range) = words.next() {
        let (part, size) = range.split_once('/')?;
        let size = size.parse().ok()?;
        if part == "*" {
            file.is_empty = size == 0;
        } else {
            let (first, last) = part.split_once('-')?;
            file.range = Some((first.parse().ok()?, last.parse().ok()?, size));
        }
    }
    words.next().is_none().then_some((status, file))
}

/// A sealed request that the server holds.
enum Held<S: CipherSuite> {
    /// No head of a response has come.
    Request(Box<dyn HeldExchange>, Expected<S>),
    /// The first chunk of its body has not.
    Answer(Box<Answer<S>>),
    Over,
}

impl<S: CipherSuite> HeldExchange for Held<S> {
    fn head(&mut self, reads: &ReadLimit) -> Result<Option<Response>, Failure> {
        if let Self::Request(held, expected) = self {
            let Some(response) = held.head(reads)? else { return Ok(None) };
            *self = Self::Answer(Box::new(expected.in_response(response)));
        }
        let Self::Answer(answer) = std::mem::replace(self, Self::Over) else {
            return Err(Failure::new("the request was answered before"));
        };
        answer.response.reads.follow(reads);
        match answer.head()? {
            Head::Whole(response) => Ok(Some(response)),
            Head::Paused(answer) => {
                *self = Self::Answer(Box::new(answer));
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_with_its_status_its_length_and_its_part() {
        let head = |length, range, is_empty| FileHead { length, range, is_empty, version: None };
        for (line, expected) in [
            ("200 0", Some((200, head(Some(0), None, false)))),
            ("200 -", Some((200, head(None, None, false)))),
            ("206 100 0-99/1000", Some((206, head(Some(100), Some((0, 99, 1000)), false)))),
            ("416 0 */0", Some((416, head(Some(0), None, true)))),
            ("", None),
            ("200", None),
            ("OK 2", None),
            ("200 two", None),
            ("99999 2", None),
            ("206 1 0/1", None),
            ("206 1 0-0", None),
            ("206 1 0-x/1", None),
            ("200 2 0-1/2 more", None),
        ] {
            assert_eq!(read_first_line(line), expected, "{line}");
        }
    }
}
