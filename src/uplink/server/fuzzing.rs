//! What `scripts/fuzz` calls with any bytes as an answer of the server (built only with `--cfg fuzzing`).
//!
//! The server is a socket of this process: each piece of an answer is written, and then read as far as it
//! goes, so that no thread and no wait is needed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use super::Server;
use crate::uplink::connection::Place;
use crate::uplink::{Exchange, HeldExchange, ReadLimit, Request, Response, Settings};

/// A good answer, which has to be read as such whatever came before it.
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nOK:1";
/// Most bytes of a body that are read.
const MOST: usize = 1 << 20;

/// What the terminal makes of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// There is no head, or none that can be read.
    NoHead,
    /// A head and a body, and how the body ends.
    Answered { status: u16, framed: bool, body: Vec<u8>, end: End },
}

/// The end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is complete.
    Complete,
    /// It broke off, or more bytes follow it.
    Broken,
    /// More of it is waited for.
    Open,
}

/// How a connection ends after the bytes of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    Closes,
    Resets,
    StaysOpen,
}

/// An answer: by the first byte it is any bytes, or a right answer that is cut off; the second says in
/// pieces of how many bytes it comes.
pub fn answers(bytes: &[u8]) {
    let [kind, size, bytes @ ..] = bytes else { return };
    let closing = match kind % 4 {
        0 | 1 => Closing::Closes,
        2 => Closing::Resets,
        _ => Closing::StaysOpen,
    };
    let size = if *size == 0 { bytes.len().max(1) } else { usize::from(*size) };
    match kind / 4 % 2 {
        0 => any(bytes, size, closing),
        _ => cut(bytes, size, kind / 8),
    }
}

/// Any bytes: they mean the same in pieces as at once, and the next answer is read as what it is.
fn any(bytes: &[u8], size: usize, closing: Closing) {
    let mut peer = Peer::new();
    let in_pieces = peer.exchange(bytes, size, closing);
    let next = peer.exchange(GOOD, GOOD.len(), Closing::StaysOpen);
    assert_good(&next);
    if closing != Closing::Closes {
        return;
    }
    let at_once = Peer::new().exchange(bytes, bytes.len().max(1), closing);
    let is_same = match (&in_pieces, &at_once) {
        // What follows an answer is seen if it is there when the answer ends; of a body that breaks off
        // less may be read.
        (
            Outcome::Answered { body, end: in_pieces, .. },
            Outcome::Answered { body: other, end: End::Broken, .. },
        ) if *in_pieces != End::Open => body.starts_with(other),
        (in_pieces, at_once) => in_pieces == at_once,
    };
    assert!(is_same, "in pieces {in_pieces:?}, at once {at_once:?}");
}

/// A right answer with these bytes as its body, cut off after as many bytes as the first two say: it is
/// complete only if it is whole.
fn cut(bytes: &[u8], size: usize, form: u8) {
    let [high, low, body @ ..] = bytes else { return };
    let at = usize::from(u16::from_be_bytes([*high, *low]));
    let (answer, may_lack) = match form % 3 {
        0 => (with_length(body), 0),
        // The last chunk is known before the blank line after it.
        1 => (chunked(body, usize::from(form) + 1), 2),
        _ => ([b"HTTP/1.1 200 OK\r\n\r\n", body].concat(), usize::MAX),
    };
    let at = at.min(answer.len());
    let mut peer = Peer::new();
    match peer.exchange(&answer[..at], size, Closing::Closes) {
        Outcome::NoHead => assert!(!answer[..at].windows(4).any(|bytes| bytes == b"\r\n\r\n")),
        Outcome::Answered { status, framed, body: came, end } => {
            assert_eq!((status, framed), (200, form % 3 != 2));
            assert!(body.starts_with(&came), "{came:?}");
            match end {
                End::Complete if framed => {
                    assert!(at + may_lack >= answer.len(), "{at} of {} bytes", answer.len());
                    assert_eq!(came, body);
                }
                End::Complete => {}
                End::Broken => assert!(at < answer.len(), "whole, and not taken"),
                End::Open => panic!("the connection is closed"),
            }
        }
    }
    assert_good(&peer.exchange(GOOD, GOOD.len(), Closing::StaysOpen));
    // And whole, on a connection that may be kept.
    if form % 3 != 2 {
        let whole = peer.exchange(&answer, size, Closing::StaysOpen);
        let Outcome::Answered { body: came, end: End::Complete, .. } = whole else {
            panic!("whole, and not taken: {whole:?}")
        };
        assert_eq!(came, body);
    }
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(size) {
        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

fn assert_good(outcome: &Outcome) {
    let (status, framed, body, end) = (200, true, b"OK:1".to_vec(), End::Complete);
    assert_eq!(*outcome, Outcome::Answered { status, framed, body, end });
}

/// The terminal's end of the link, and the other one.
struct Peer {
    server: Server,
    listener: TcpListener,
    /// The connection that came last.
    stream: Option<TcpStream>,
}

impl Peer {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("a socket can be set so");
        let port = listener.local_addr().expect("it is bound").port();
        let server = Server::new(&Settings::patient(format!("http://127.0.0.1:{port}")));
        // A server that is known takes no time to be looked at.
        let place = Place { https: false, host: "127.0.0.1".into(), port };
        (0..3).for_each(|_| server.kept.borrow_mut().history(&place).was_calm());
        Self { server, listener, stream: None }
    }

    /// Asks, and answers with these bytes.
    fn exchange(&mut self, bytes: &[u8], size: usize, closing: Closing) -> Outcome {
        let request = Request::get("/iclock/getrequest?SN=FUZZ0001");
        let asked = self.server.ask(&request, Some(Duration::ZERO));
        let Ok(Exchange::Held(held)) = asked else { panic!("answered by nobody") };
        if let Ok((stream, _)) = self.listener.accept() {
            // No connection lingers: the ports of the machine would be used up.
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
                .expect("a socket can be set so");
            stream.set_nonblocking(true).expect("a socket can be set so");
            stream.set_nodelay(true).expect("a socket can be set so");
            self.stream = Some(stream);
        }
        let mut reading = Reading { held, response: None, body: Vec::new(), end: End::Open };
        let Some(stream) = &mut self.stream else { panic!("nobody connected") };
        while let Ok(1..) = stream.read(&mut [0; 1000]) {}
        for piece in bytes.chunks(size) {
            if stream.write(piece).is_ok_and(|written| written == piece.len()) && reading.go_on() {
                continue;
            }
            break;
        }
        // What is not read any more is there all the same.
        match closing {
            Closing::Closes => drop(stream.shutdown(Shutdown::Write)),
            Closing::Resets => self.stream = None,
            Closing::StaysOpen => {}
        }
        while reading.go_on() && closing != Closing::StaysOpen {}
        reading.outcome()
    }
}

/// An answer as far as it was read.
struct Reading {
    held: Box<dyn HeldExchange>,
    response: Option<Response>,
    body: Vec<u8>,
    end: End,
}

impl Reading {
    /// Reads what is there. Whether more may come.
    fn go_on(&mut self) -> bool {
        if self.end != End::Open {
            return false;
        }
        let reads = ReadLimit::default();
        reads.set(Duration::ZERO);
        if self.response.is_none() {
            match self.held.head(&reads) {
                Ok(None) => return true,
                Ok(response) => self.response = response,
                Err(_) => self.end = End::Broken,
            }
        }
        let Some(response) = &mut self.response else { return false };
        let mut chunk = [0; 1000];
        while self.end == End::Open {
            response.reads.set(Duration::ZERO);
            match response.body.read(&mut chunk) {
                Ok(0) => self.end = End::Complete,
                Ok(amount) => self.body.extend_from_slice(&chunk[..amount]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => self.end = End::Broken,
            }
            assert!(self.body.len() <= MOST, "more than came");
        }
        false
    }

    fn outcome(self) -> Outcome {
        let Self { response, body, end, .. } = self;
        match response {
            None => Outcome::NoHead,
            Some(response) => {
                Outcome::Answered { status: response.status, framed: response.framed, body, end }
            }
        }
    }
}
