//! The faults, each as what a server does in place of its answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::net::sockopt::set_socket_linger;

use super::server::Kind;

/// What a server, or what is before it, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// Connections are not accepted: the queue of the listener is full.
    BlackHole,
    /// Connections are reset when they come; those that are kept are reset.
    ResetBefore,
    /// Reset after the head of the request; a POST is not read to its end.
    ResetInRequest,
    ResetAfterRequest,
    ResetInHead,
    ResetAfterHead,
    ResetInBody,
    /// Reset after the whole answer.
    ResetAfterAnswer,
    ClosedAfterRequest,
    ClosedInHead,
    ClosedInBody,
    /// Nothing is read, and nothing comes.
    Unread,
    Silent,
    SilentInHead,
    SilentInBody,
    /// A byte of the head, and the next after a time.
    SlowHead,
    SlowBody,
    /// `Content-Length` says more than comes.
    LengthTooLong,
    /// It says less.
    LengthTooShort,
    LengthNegative,
    LengthNoNumber,
    TwoLengths,
    LengthHuge,
    Chunked,
    ChunkSizeWrong,
    LastChunkMissing,
    /// Chunks come without end.
    EndlessChunks,
    /// The end of the body is the end of the connection.
    CloseDelimited,
    /// The same, with a reset in the middle.
    CloseDelimitedReset,
    /// 100 and 103 before the answer.
    Informational,
    /// 100, and then nothing.
    OnlyInformational,
    /// This status, with a body that would count if it were 200.
    Status(u16),
    /// The same, with `Retry-After`.
    StatusLater(u16),
    /// A web page.
    Page,
    /// A web page with a line that looks like a command.
    PageWithCommand,
    /// 200 and nothing.
    Empty,
    /// It is packed, which was not asked for.
    Gzip,
    /// It comes twice.
    TwoAnswers,
    /// It has a header of 1 MB.
    LongHead,
    /// What comes is no HTTP.
    Garbage,
}

use Fault::*;

/// What `Retry-After` says: longer than `ErrorDelay`.
pub const RETRY_AFTER: Duration = Duration::from_secs(3);

impl Fault {
    /// Each of them.
    pub const ALL: [Self; 56] = [
        Refused,
        BlackHole,
        ResetBefore,
        ResetInRequest,
        ResetAfterRequest,
        ResetInHead,
        ResetAfterHead,
        ResetInBody,
        ResetAfterAnswer,
        ClosedAfterRequest,
        ClosedInHead,
        ClosedInBody,
        Unread,
        Silent,
        SilentInHead,
        SilentInBody,
        SlowHead,
        SlowBody,
        LengthTooLong,
        LengthTooShort,
        LengthNegative,
        LengthNoNumber,
        TwoLengths,
        LengthHuge,
        Chunked,
        ChunkSizeWrong,
        LastChunkMissing,
        EndlessChunks,
        CloseDelimited,
        CloseDelimitedReset,
        Informational,
        OnlyInformational,
        Status(301),
        Status(302),
        Status(307),
        Status(400),
        Status(401),
        Status(403),
        Status(404),
        Status(405),
        Status(408),
        Status(413),
        StatusLater(429),
        Status(500),
        Status(502),
        Status(503),
        StatusLater(503),
        Status(504),
        Page,
        PageWithCommand,
        Empty,
        Gzip,
        TwoAnswers,
        LongHead,
        Garbage,
        Status(204),
    ];

    /// Whether it is one of the connections, and no request is seen.
    pub fn is_of_connections(self) -> bool {
        matches!(self, Refused | BlackHole | ResetBefore)
    }

    /// Whether it comes before the body of the request is read.
    pub fn leaves_request(self) -> bool {
        matches!(self, ResetInRequest | Unread)
    }

    /// The setting in `[timeouts]` that ends it, if nothing else does.
    pub fn time_out(self, kind: Kind) -> Option<&'static str> {
        match self {
            BlackHole => Some("connect"),
            Unread | Silent | SilentInHead | SlowHead | OnlyInformational if kind == Kind::Poll => {
                Some("poll")
            }
            Unread | Silent | SilentInHead | SlowHead | OnlyInformational => Some("answer"),
            SilentInBody => Some("answer"),
            SlowBody => Some("body"),
            // Of these answers all is read.
            EndlessChunks if matches!(kind, Kind::Handshake | Kind::Poll) => Some("body"),
            _ => None,
        }
    }

    /// Plays it in place of the answer that has this body. `bait`: a line that nobody may carry out.
    /// Returns whether the connection stays open.
    pub fn play(self, stream: &TcpStream, good: &[u8], bait: &str, keeps: bool) -> bool {
        let link = Link { stream, keeps };
        let length = good.len();
        // `OK` of `OK:1`; of a list all but the last bytes of its last command.
        let cut = if length < 20 { length.min(2) } else { length - 7 };
        match self {
            Refused | BlackHole | ResetBefore | ResetInRequest | ResetAfterRequest => link.reset(),
            ResetInHead => link.send(b"HTTP/1.1 200 OK\r\nContent-Le").reset(),
            ResetAfterHead => link.head(length).reset(),
            ResetInBody => link.head(length).send(&good[..cut]).reset(),
            ResetAfterAnswer => link.head(length).send(good).reset(),
            ClosedAfterRequest => false,
            ClosedInHead => link.send(b"HTTP/1.1 200 OK\r\nContent-Le").closed(),
            ClosedInBody => link.head(length).send(&good[..cut]).closed(),
            Unread | Silent => link.silent(),
            SilentInHead => link.send(b"HTTP/1.1 200 OK\r\nContent-Le").silent(),
            SilentInBody => link.head(length).send(&good[..cut]).silent(),
            SlowHead => link.slowly(&[head(length, "").as_bytes(), good].concat()).silent(),
            SlowBody => link.head(length).slowly(good).silent(),
            LengthTooLong => link.head(length + 10).send(good).closed(),
            LengthTooShort => link.head(length - 7).send(good).kept(),
            LengthNegative => link.answer("Content-Length: -5\r\n", good).closed(),
            LengthNoNumber => link.answer("Content-Length: many\r\n", good).closed(),
            TwoLengths => {
                let two = format!("Content-Length: {length}\r\nContent-Length: {cut}\r\n");
                link.answer(&two, good).closed()
            }
            LengthHuge => link.answer("Content-Length: 18446744073709551615\r\n", good).closed(),
            Chunked => link.chunks(good, "0\r\n\r\n").kept(),
            ChunkSizeWrong => link.chunks(good, "zz\r\n").closed(),
            LastChunkMissing => link.chunks(good, "").closed(),
            EndlessChunks => {
                let link = link.chunks(good, "");
                let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
                while link.stream_takes(chunk.as_bytes()) {}
                false
            }
            CloseDelimited => link.answer("Connection: close\r\n", good).closed(),
            CloseDelimitedReset => link.answer("Connection: close\r\n", &good[..cut]).reset(),
            Informational => {
                let before =
                    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n";
                link.send(before).head(length).send(good).kept()
            }
            OnlyInformational => link.send(b"HTTP/1.1 100 Continue\r\n\r\n").silent(),
            Status(204) => link.send(b"HTTP/1.1 204 No Content\r\n\r\n").kept(),
            Status(status) => link.status(status, "", bait),
            StatusLater(status) => {
                let later = format!("Retry-After: {}\r\n", RETRY_AFTER.as_secs());
                link.status(status, &later, bait)
            }
            Page => link.status(200, "", "<!DOCTYPE html>\n<html><title>Log in</title></html>\n"),
            PageWithCommand => {
                link.status(200, "", &format!("<html>\n<pre>\n{bait}\n</pre></html>\n"))
            }
            Empty => link.head(0).kept(),
            Gzip => {
                let packed = gzip(good);
                let length = format!("Content-Length: {}\r\n", packed.len());
                link.answer(&format!("{length}Content-Encoding: gzip\r\n"), &packed).kept()
            }
            TwoAnswers => {
                let answer = [head(length, "").as_bytes(), good].concat();
                link.send(&answer.repeat(2)).kept()
            }
            LongHead => {
                let long = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
                link.answer(&format!("Content-Length: {length}\r\n{long}"), good).kept()
            }
            Garbage => link.send(b"\x00\x01 what is this?\r\n\r\nOK:1\n").closed(),
        }
    }
}

fn head(length: usize, more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{more}\r\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// How long the next byte takes.
const SLOW: Duration = Duration::from_millis(900);

struct Link<'a> {
    stream: &'a TcpStream,
    keeps: bool,
}

impl Link<'_> {
    /// The other side may be gone: that ends nothing here.
    fn send(self, bytes: &[u8]) -> Self {
        let mut stream = self.stream;
        let _ = stream.write_all(bytes);
        self
    }

    fn stream_takes(&self, bytes: &[u8]) -> bool {
        let mut stream = self.stream;
        stream.write_all(bytes).is_ok()
    }

    fn head(self, length: usize) -> Self {
        self.send(head(length, "").as_bytes())
    }

    fn answer(self, headers: &str, body: &[u8]) -> Self {
        self.send(&[format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), body].concat())
    }

    fn chunks(self, body: &[u8], end: &str) -> Self {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(50) {
            answer.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        self.send(&[&answer, end.as_bytes()].concat())
    }

    fn status(self, status: u16, headers: &str, body: &str) -> bool {
        let location = match status {
            300..400 => "Location: /login\r\n",
            _ => "",
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}{location}\r\n");
        self.send(&[head.as_bytes(), body.as_bytes()].concat()).kept()
    }

    fn slowly(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            if !self.stream_takes(&[*byte]) || self.is_closed_after(SLOW) {
                break;
            }
            self = self.send(b"");
        }
        self
    }

    /// Whether the other side closes within a time.
    fn is_closed_after(&self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut stream = self.stream;
        matches!(stream.read(&mut [0; 100]), Ok(0))
    }

    /// Until the other side gives up. What it sent is left where it is.
    fn silent(self) -> bool {
        self.stream.set_read_timeout(None).unwrap();
        let mut stream = self.stream;
        while let Ok(1..) = stream.read(&mut [0; 4096]) {}
        false
    }

    fn reset(self) -> bool {
        set_socket_linger(self.stream, Some(Duration::ZERO)).unwrap();
        false
    }

    fn closed(self) -> bool {
        false
    }

    fn kept(self) -> bool {
        self.keeps
    }
}
