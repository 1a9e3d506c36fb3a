//! A server of a few lines that knows no protocol: a test gives it an answer for each request.
//! For rules on which the emulator and punchd could share a wrong reading.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{TIMEOUT, http_date, until};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct RawRequest {
    /// `GET`, `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The bytes of a file that are asked for (`Range`): the first and the last.
    pub range: Option<(usize, usize)>,
    /// The message that stands in its head, where it is encrypted and has no body (`Sealed`).
    #[cfg_attr(not(feature = "exchange"), expect(dead_code))]
    pub sealed: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// How many bytes it had, with its head.
    pub bytes: usize,
    /// On which connection it came, and as which request of it, both from 1.
    pub connection: (usize, usize),
}

impl RawRequest {
    /// Whether it is the handshake (§6).
    pub fn is_handshake(&self) -> bool {
        self.method == "GET" && self.target.contains("options=all")
    }

    /// Whether it asks for commands (§12).
    pub fn is_poll(&self) -> bool {
        self.target.contains("/getrequest")
    }

    /// Whether it uploads rows of this table (§11).
    pub fn is_upload(&self, table: &str) -> bool {
        self.method == "POST" && self.target.contains(&format!("table={table}&"))
            || self.target.ends_with(&format!("table={table}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The lines of the body.
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

/// What is answered: a status and a body, or nothing.
#[derive(Clone, Debug)]
pub enum RawAnswer {
    /// Status, further header lines (each ended by CRLF), body.
    Says(u16, &'static str, String),
    /// 200, and a body that is no text.
    Bytes(Vec<u8>),
    /// These bytes, head and all; then the connection is closed.
    Exactly(Vec<u8>),
    /// Bytes, head and all, in two: the second come when the requests so far are as this says; they
    /// never come if that is not so in time.
    InTwo(Vec<u8>, Vec<u8>, fn(&[RawRequest]) -> bool),
    /// These bytes, head and all; the connection stays open, and further requests are read from it.
    Keeps(Vec<u8>),
    /// The same, and further bytes 10 ms later.
    KeepsLate(Vec<u8>, Vec<u8>),
    /// The connection is closed without an answer.
    Closes,
    /// The connection is reset.
    Resets,
    /// Nothing comes, until the other side gives up.
    Hangs,
}

/// An answer with a status and a body.
pub fn says(status: u16, body: impl Into<String>) -> RawAnswer {
    RawAnswer::Says(status, "", body.into())
}

/// The same answer on a connection that is kept.
#[must_use]
pub fn kept(answer: RawAnswer) -> RawAnswer {
    match answer {
        RawAnswer::Says(status, more, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{more}\r\n");
            RawAnswer::Keeps([head.as_bytes(), body.as_bytes()].concat())
        }
        other => other,
    }
}

/// The options of a handshake, with further lines.
pub fn options(more: &str) -> RawAnswer {
    says(
        200,
        format!(
            "GET OPTION FROM: MADE0001\nATTLOGStamp=None\nOPERLOGStamp=None\nATTPHOTOStamp=None\n\
             ErrorDelay=1\nDelay=1\nTransTimes=00:00\nTransInterval=1\nTransFlag=1111111111\n\
             TimeZone=0\nRealtime=1\nEncrypt=0\nServerVer=2.4.1\nPushProtVer=2.4.1\n{more}"
        ),
    )
}

/// The same answer with a `Date` of so many seconds since 1970.
#[must_use]
pub fn dated(answer: RawAnswer, now: i64) -> RawAnswer {
    match answer {
        RawAnswer::Says(status, more, body) => {
            let head = format!("{more}Date: {}\r\n", http_date(now));
            RawAnswer::Says(status, head.leak(), body)
        }
        other => other,
    }
}

/// The server.
pub struct RawServer {
    url: String,
    requests: Arc<Mutex<Vec<RawRequest>>>,
}

impl RawServer {
    /// Starts it; `answer` is asked for each request, in the order in which they come.
    pub fn start(answer: impl FnMut(&RawRequest) -> RawAnswer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(Mutex::new(answer)));
        std::thread::spawn(move || {
            for (nth, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, nth + 1, &seen, &answer));
            }
        });
        Self { url, requests }
    }

    /// For `server` in the configuration.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<RawRequest> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve<A: FnMut(&RawRequest) -> RawAnswer>(
    stream: &TcpStream,
    connection: usize,
    seen: &Mutex<Vec<RawRequest>>,
    answer: &Mutex<A>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut nth = 1;
    while serve_one(stream, &mut reader, (connection, nth), seen, answer)? {
        nth += 1;
    }
    Some(())
}

/// Serves one request; whether further ones are read.
fn serve_one<A: FnMut(&RawRequest) -> RawAnswer>(
    stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    connection: (usize, usize),
    seen: &Mutex<Vec<RawRequest>>,
    answer: &Mutex<A>,
) -> Option<bool> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let (mut length, mut range, mut bytes, mut sealed) = (0, None, first.len(), None);
    loop {
        let mut line = String::new();
        bytes += reader.read_line(&mut line).ok()?;
        if let Some(("sealed", message)) = line.split_once(": ") {
            sealed = Some(message.trim_end().to_owned());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if let Some(value) = line.strip_prefix("range: bytes=") {
            let (first, last) = value.split_once('-')?;
            range = Some((first.parse().ok()?, last.parse().ok()?));
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request =
        RawRequest { bytes: bytes + length, method, target, range, sealed, body, connection };
    let answered = (answer.lock().ok()?)(&request);
    seen.lock().ok()?.push(request);
    let (status, more, body) = match answered {
        RawAnswer::Says(status, more, body) => (status, more, body.into_bytes()),
        RawAnswer::Bytes(body) => (200, "", body),
        RawAnswer::Keeps(bytes) => {
            let mut out = stream;
            out.write_all(&bytes).ok()?;
            return Some(true);
        }
        RawAnswer::KeepsLate(bytes, late) => {
            let mut out = stream;
            out.write_all(&bytes).ok()?;
            std::thread::sleep(Duration::from_millis(10));
            out.write_all(&late).ok()?;
            return Some(true);
        }
        RawAnswer::Exactly(bytes) => {
            let mut out = stream;
            out.write_all(&bytes).ok()?;
            return Some(false);
        }
        RawAnswer::InTwo(first, second, may_go_on) => {
            let mut out = stream;
            out.write_all(&first).ok()?;
            let limit = Instant::now() + TIMEOUT;
            while !may_go_on(&seen.lock().ok()?) {
                // The other side may have given up meanwhile.
                let timeout = Some(Duration::from_millis(5));
                stream.set_read_timeout(timeout).ok()?;
                let is_closed = matches!(reader.read(&mut [0]), Ok(0));
                if is_closed || Instant::now() > limit {
                    return None;
                }
            }
            out.write_all(&second).ok()?;
            return Some(false);
        }
        RawAnswer::Closes => return Some(false),
        RawAnswer::Resets => {
            let at_once = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(stream, at_once).unwrap();
            return Some(false);
        }
        RawAnswer::Hangs => {
            drop(reader.read(&mut [0]));
            return Some(false);
        }
    };
    let mut out = stream;
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n",
        body.len()
    );
    out.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    Some(false)
}

/// Waits until the server has seen this many more polls.
#[track_caller]
pub fn polls_of(server: &RawServer, more: usize) {
    let count = || server.requests().iter().filter(|request| request.is_poll()).count();
    let before = count();
    until("polled", || count() >= before + more, || format!("{:?}", server.requests()));
}

/// The answers to commands: for each id its codes, in order.
#[must_use]
pub fn replies_to(server: &RawServer) -> BTreeMap<String, Vec<i64>> {
    replies_in(&server.requests())
}

/// The same, in some requests.
pub fn replies_in(requests: &[RawRequest]) -> BTreeMap<String, Vec<i64>> {
    let mut replies = BTreeMap::<String, Vec<i64>>::new();
    let is_reply = |request: &RawRequest| request.target.contains("/devicecmd");
    for request in requests.iter().filter(|request| is_reply(request)) {
        // A reply with content has a field on each line.
        let text = match request.text() {
            text if text.contains("\nReturn=") => text.replace('\n', "&"),
            text => text,
        };
        for line in text.lines().filter(|line| line.contains("Return=")) {
            let value = |key: &str| {
                let mut fields = line.split('&').filter_map(|field| field.split_once('='));
                fields.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).unwrap()
            };
            replies.entry(value("ID")).or_default().push(value("Return").parse().unwrap());
        }
    }
    replies
}
