//! Requests off the wire: header and body as they came, how they came, and what is wrong with them
//! as HTTP.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::deviation::{Flaw, Flaws, Kind};
use crate::target::Target;
use crate::wire::Wire;

const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 256 * 1024 * 1024;

/// The header of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub method: String,
    pub target: String,
    pub minor_version: u8,
    pub fields: Vec<(String, String)>,
    /// Its bytes, the blank line included.
    pub raw: Vec<u8>,
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub head: Head,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The end of the body never came, and the server does not care.
    pub truncated: bool,
    /// What is wrong with it as HTTP.
    pub flaws: Flaws,
}

/// Why there is no request.
pub(crate) enum Broken {
    /// The peer ended, or was silent, between two requests.
    Ended,
    /// It ended within a request, or what came is none.
    Flawed(Flaw),
}

/// Where requests are read from.
pub(crate) struct Inbound {
    pub wire: Wire,
    buffer: Vec<u8>,
    /// Read the socket once only, as some servers do.
    once: bool,
    reads: usize,
}

impl Inbound {
    pub(crate) fn new(wire: Wire, once: bool) -> Inbound {
        Inbound { wire, buffer: Vec::new(), once, reads: 0 }
    }

    /// The next header.
    pub(crate) fn head(&mut self) -> Result<Head, Broken> {
        loop {
            if let Some((head, length)) = parse_head(&self.buffer).map_err(Broken::Flawed)? {
                self.buffer.drain(..length);
                return Ok(head);
            }
            match self.fill() {
                Ok(n) if n > 0 && self.buffer.len() <= HEAD_LIMIT => {}
                Ok(n) if n > 0 => {
                    return Err(Broken::Flawed(Flaw::new(
                        Kind::Malformed,
                        "the header is longer than 64 KiB",
                    )));
                }
                _ if self.buffer.is_empty() => return Err(Broken::Ended),
                _ => {
                    return Err(Broken::Flawed(Flaw::new(
                        Kind::CutShort,
                        "the request ended within its header",
                    )));
                }
            }
        }
    }

    /// The body to a header. Its first byte must come within `grace`.
    pub(crate) fn body(&mut self, head: Head, grace: Duration) -> Result<Request, Broken> {
        let mut request = Request::of(head);
        let length = match request.length() {
            Some(length) if length <= BODY_LIMIT => length,
            _ => return Ok(request),
        };
        let since = Instant::now();
        while self.buffer.len() < length {
            let first = self.buffer.is_empty();
            match self.fill() {
                Ok(n) if n > 0 => {}
                _ if self.once => {
                    request.truncated = true;
                    request.flaw(
                        Kind::SplitRequest,
                        "the body did not come with the header in one piece",
                    );
                    break;
                }
                _ => {
                    let text =
                        format!("the body ended after {} of {length} bytes", self.buffer.len());
                    return Err(Broken::Flawed(Flaw::new(Kind::CutShort, text).at(&request.path)));
                }
            }
            if first && since.elapsed() > grace {
                request.flaw(
                    Kind::SplitRequest,
                    format!("the body began {} ms after the header", since.elapsed().as_millis()),
                );
            }
        }
        let rest = self.buffer.split_off(length.min(self.buffer.len()));
        request.body = std::mem::replace(&mut self.buffer, rest);
        Ok(request)
    }

    /// What was read and is no whole request yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.once && self.reads > 0 {
            return Ok(0);
        }
        let mut chunk = [0; 8192];
        let n = loop {
            match self.wire.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.reads += 1;
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n)
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Flaw> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let head = Head {
                method: parsed.method.unwrap_or("").to_owned(),
                target: parsed.path.unwrap_or("").to_owned(),
                minor_version: parsed.version.unwrap_or(0),
                fields: parsed
                    .headers
                    .iter()
                    .map(|field| (field.name.to_ascii_lowercase(), text(field.value)))
                    .collect(),
                raw: bytes[..length].to_vec(),
            };
            Ok(Some((head, length)))
        }
        Err(error) => Err(malformed(bytes, error)),
    }
}

/// Bytes that are no request; a blank in the query is the likeliest reason.
fn malformed(bytes: &[u8], error: httparse::Error) -> Flaw {
    let line: Vec<u8> =
        bytes.iter().copied().take_while(|b| *b != b'\r' && *b != b'\n').take(300).collect();
    let line = String::from_utf8_lossy(&line).into_owned();
    if line.contains(" HTTP/1.") && line.split(' ').count() > 3 {
        return Flaw::new(
            Kind::QueryEncoding,
            format!("the request line {line:?} holds a blank that is not percent-encoded"),
        );
    }
    Flaw::new(Kind::Malformed, format!("{line:?} is no HTTP request: {error}"))
}

impl Head {
    /// The value of a field, whose name is given in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn wants_close(&self) -> bool {
        let connection = self.field("connection").unwrap_or("").to_ascii_lowercase();
        connection.contains("close")
            || (self.minor_version == 0 && !connection.contains("keep-alive"))
    }

    pub(crate) fn target(&self) -> Target {
        Target::parse(&self.target)
    }
}

impl Request {
    fn of(head: Head) -> Request {
        let Target { path, query, flaws } = head.target();
        let mut request = Request { head, path, query, flaws, ..Request::default() };
        request.check();
        request
    }

    /// What a strict server minds in a header.
    fn check(&mut self) {
        let field = |name: &str| self.head.field(name).unwrap_or("").trim().to_ascii_lowercase();
        let mut flaws = Flaws::default();
        let mut mind = |kind, text: String| flaws.add(kind, text);
        if self.head.minor_version != 1 {
            mind(
                Kind::HttpVersion,
                format!("the request is HTTP/1.{}, not HTTP/1.1", self.head.minor_version),
            );
        }
        if field("host").is_empty() {
            mind(Kind::MissingHost, "there is no Host field".into());
        }
        if field("transfer-encoding").contains("chunked") {
            mind(Kind::Chunked, "the body is chunked".into());
        } else if self.head.method == "POST" && self.length().is_none() {
            mind(Kind::MissingLength, format!("Content-Length is {:?}", field("content-length")));
        }
        if field("content-type").starts_with("application/x-www-form-urlencoded") {
            mind(Kind::ContentType, "the Content-Type is application/x-www-form-urlencoded".into());
        }
        self.flaws.note(flaws.0);
    }

    /// How long the body is; `None` if a POST has no length, or comes in chunks.
    pub(crate) fn length(&self) -> Option<usize> {
        match self.head.field("content-length") {
            _ if self.head.field("transfer-encoding").is_some() => None,
            Some(digits) => digits.trim().parse().ok(),
            None if self.head.method == "POST" => None,
            None => Some(0),
        }
    }

    /// The value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn flaw(&mut self, kind: Kind, text: impl Into<String>) {
        self.flaws.add(kind, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str) -> Request {
        Request::of(parse_head(head.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn the_documents_poll() {
        let text = "GET /iclock/getrequest?SN=TEST0001&INFO=Ver%202.0.12-20150625,0,0,0,192.168.16.27,10,7,15,0,111 HTTP/1.1\r\nHost: 58.250.50.81:8011\r\n\r\n";
        let request = request(text);
        assert_eq!(request.flaws, Flaws::default());
        assert_eq!(
            request.parameter("INFO"),
            Some("Ver 2.0.12-20150625,0,0,0,192.168.16.27,10,7,15,0,111")
        );
    }

    #[test]
    fn what_is_wrong() {
        for (head, kind) in [
            ("GET /iclock/getrequest?SN=1 HTTP/1.0\r\nHost: x\r\n\r\n", Kind::HttpVersion),
            ("GET /iclock/getrequest?SN=1 HTTP/1.1\r\n\r\n", Kind::MissingHost),
            ("POST /iclock/devicecmd?SN=1 HTTP/1.1\r\nHost: x\r\n\r\n", Kind::MissingLength),
            (
                "POST /iclock/devicecmd?SN=1 HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
                Kind::MissingLength,
            ),
            (
                "POST /iclock/devicecmd?SN=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                Kind::Chunked,
            ),
            (
                "POST /a?SN=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n",
                Kind::ContentType,
            ),
        ] {
            assert_eq!(request(head).flaws.0.first().map(|flaw| flaw.kind), Some(kind), "{head}");
        }
    }

    #[test]
    fn a_raw_blank_is_told_from_rubbish() {
        assert_eq!(
            parse_head(b"GET /a?INFO=a b HTTP/1.1\r\nHost: x\r\n\r\n").unwrap_err().kind,
            Kind::QueryEncoding
        );
        assert_eq!(parse_head(b"\x16\x03\x01\x02\x00").unwrap_err().kind, Kind::Malformed);
        assert!(parse_head(b"GET /a").unwrap().is_none());
    }
}
