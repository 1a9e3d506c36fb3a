//! What the server answers, and how it goes out on the wire: whole, or as a fault would have it.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::act::Act;
use crate::wire::Wire;

/// An answer before it is put on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Answer {
        Answer::of(200, body)
    }

    pub(crate) fn of(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, fields: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.fields.push((name.to_owned(), value.into()));
        self
    }
}

/// An answer ready to go, and how it goes.
pub(crate) struct Delivery {
    pub answer: Answer,
    /// The Date fields.
    pub dates: Vec<String>,
    /// The connection ends with it.
    pub close: bool,
    /// The fault that is applied to it.
    pub act: Option<Act>,
    /// How often the stalled had been released when the request was read.
    pub released: u64,
}

impl Delivery {
    /// A plain answer with which the connection ends.
    pub(crate) fn last(answer: Answer, dates: Vec<String>) -> Delivery {
        Delivery { answer, dates, close: true, act: None, released: 0 }
    }
}

/// What is left of the connection after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may follow.
    Open,
    /// It ends in order.
    Close,
    /// It ends in a reset.
    Reset,
    /// It is let go of, whatever still lies in it.
    Dropped,
}

/// How the body is delimited.
enum Framing {
    Length(usize),
    Chunked,
    None,
}

/// Sends the answer, with the fault applied.
pub(crate) fn send(wire: &mut Wire, delivery: &Delivery) -> io::Result<After> {
    let body = delivery.answer.body.as_slice();
    let half = &body[..body.len() / 2];
    let full = Framing::Length(body.len());
    let usual = if delivery.close { After::Close } else { After::Open };
    let whole = |framing, close, body: &[u8]| {
        [head(&delivery.answer, &delivery.dates, framing, close).as_slice(), body].concat()
    };
    let (bytes, after) = match &delivery.act {
        Some(Act::Garbage { text }) => (text.clone().into_bytes(), After::Close),
        Some(Act::HalfBody) => (whole(full, delivery.close, half), After::Close),
        Some(Act::ResetBody) => (whole(full, delivery.close, half), After::Reset),
        Some(Act::ShortLength) => (whole(Framing::Length(half.len()), true, body), After::Close),
        Some(Act::NoLength) => (whole(Framing::None, true, body), After::Close),
        Some(Act::NoLengthReset) => (whole(Framing::None, true, half), After::Reset),
        Some(Act::Chunked) => (whole(Framing::Chunked, delivery.close, &chunks(body)), usual),
        _ => (whole(full, delivery.close, body), usual),
    };
    match &delivery.act {
        Some(Act::Drip { ms }) => drip(wire, &bytes, Duration::from_millis(*ms))?,
        _ => wire.write_all(&bytes)?,
    }
    wire.flush()?;
    Ok(after)
}

fn head(answer: &Answer, dates: &[String], framing: Framing, close: bool) -> Vec<u8> {
    let mut lines = vec![
        format!("HTTP/1.1 {} {}", answer.status, reason(answer.status)),
        "Server: iclock-emulator".to_owned(),
    ];
    lines.extend(dates.iter().map(|date| format!("Date: {date}")));
    if !answer.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        lines.push("Content-Type: text/plain".to_owned());
    }
    lines.extend(answer.fields.iter().map(|(name, value)| format!("{name}: {value}")));
    match framing {
        Framing::Length(length) => lines.push(format!("Content-Length: {length}")),
        Framing::Chunked => lines.push("Transfer-Encoding: chunked".to_owned()),
        Framing::None => {}
    }
    if close {
        lines.push("Connection: close".to_owned());
    }
    lines.push("Pragma: no-cache\r\nCache-Control: no-store\r\n\r\n".to_owned());
    lines.join("\r\n").into_bytes()
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    for size in [1, 3, 2, 7, 5, 31, 11, 1021].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, more) = rest.split_at(size.min(rest.len()));
        out.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = more;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn drip(wire: &mut Wire, bytes: &[u8], pause: Duration) -> io::Result<()> {
    for byte in bytes {
        wire.write_all(&[*byte])?;
        wire.flush()?;
        thread::sleep(pause);
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        411 => "Length Required",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unnamed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_odd_sizes() {
        assert_eq!(chunks(b"OK:62"), b"1\r\nO\r\n3\r\nK:6\r\n1\r\n2\r\n0\r\n\r\n");
        assert_eq!(chunks(b""), b"0\r\n\r\n");
    }
}
