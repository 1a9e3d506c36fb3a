//! The real [`Uplink`]: the server, reached by ureq.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::Version;
use ureq::http::header::CONTENT_LENGTH;
#[cfg(feature = "tls")]
use ureq::unversioned::transport::Connector as _;
use ureq::{Agent, SendBody};

use super::connector::{ExcessBytes, NextExchange, TcpConnector};
use super::exchange::{Body, DateHeader, Part, Request, Response, Uplink};
use super::failure::Failure;
use super::resolver::ThreadedResolver;
use super::settings::Settings;
#[cfg(feature = "tls")]
use super::tls::{LastVerifiedChain, TlsConnector};
use super::{explain, head};
use crate::clock::{ClockOffset, TOLERANCE};

/// The name of field firmware, which servers look for.
const USER_AGENT: &str = "iClock Proxy/1.09";
/// Bytes of each of ureq's buffers; its default is 128 KiB.
const BUFFER: usize = 16 << 10;
/// Most bytes in the head of a response.
const LONGEST_HEAD: usize = 16 << 10;

/// The server.
pub struct Server {
    agent: Agent,
    url: String,
    next: NextExchange,
    /// Longest time for the body of one response.
    body: Duration,
    clock_offset: ClockOffset,
    #[cfg(feature = "tls")]
    last_verified: LastVerifiedChain,
    /// The last `Date` was refused, and the log says so.
    date_refused: bool,
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
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(USER_AGENT)
            .accept("*/*")
            .accept_encoding("")
            .max_response_header_size(LONGEST_HEAD)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(0)
            .timeout_connect(Some(settings.connect))
            .timeout_send_request(Some(settings.answer))
            .timeout_send_body(Some(settings.answer.max(settings.body)))
            .timeout_recv_response(Some(settings.answer))
            .timeout_recv_body(Some(settings.body))
            .timeout_per_read(Some(settings.answer))
            .timeout_per_write(Some(settings.answer));
        let next = NextExchange::default();
        let connector = TcpConnector::new(next.clone());
        #[cfg(feature = "tls")]
        let last_verified = LastVerifiedChain::default();
        #[cfg(feature = "tls")]
        let connector = connector.chain(TlsConnector::new(settings, last_verified.clone()));
        let agent = Agent::with_parts(config.build(), connector, ThreadedResolver::default());
        Self {
            agent,
            url: settings.url.clone(),
            next,
            body: settings.body,
            clock_offset: settings.clock_offset.clone(),
            #[cfg(feature = "tls")]
            last_verified,
            date_refused: false,
        }
    }
}

impl Uplink for Server {
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        let is_elsewhere = !request.target.starts_with('/');
        let url = match is_elsewhere {
            true => request.target.to_owned(),
            false => format!("{}{}", self.url, request.target),
        };
        let started = Instant::now();
        let shared = self.next.begin();
        let answer = match request.body {
            None => self.get(&url, request),
            Some(body) => self.post(&url, request, body),
        };
        let server = if is_elsewhere { &url } else { &self.url };
        let response = answer.map_err(|error| explain::failure(&error, server))?;
        let (parts, body) = response.into_parts();
        // As ureq sees it: without a length it knows, the body ends with the connection.
        let framed = body.content_length().is_some()
            || (parts.version != Version::HTTP_10 && head::is_chunked(&parts.headers));
        let redirect = head::redirect(&parts.headers, server);
        let date = head::date(&parts.headers).filter(|_| !is_elsewhere);
        Ok(Response {
            status: parts.status.as_u16(),
            date: date.map(|date| self.checked_date(date)),
            retry_after: head::retry_after(&parts.headers),
            took: started.elapsed(),
            path: path_of(request.target).to_owned(),
            redirect,
            coding: head::coding(&parts.headers),
            framed,
            file: head::file(&parts.headers),
            body: Box::new(ExactBody {
                inner: body.into_reader(),
                excess: shared.excess,
                left: request.part.map(|_| self.body),
            }),
            reads: shared.reads,
        })
    }
}

/// A target without its query.
fn path_of(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

impl Server {
    fn get(&self, url: &str, request: &Request<'_>) -> Answer {
        let mut get = self.agent.get(url).header("Connection", "close");
        if let Some(Part { from, to, version }) = request.part {
            get = get.header("Range", format!("bytes={from}-{to}"));
            if let Some(version) = version {
                get = get.header("If-Range", version);
            }
        }
        let get = get.config().timeout_global(request.within);
        match request.part {
            // The time between its reads does not count.
            Some(_) => get.timeout_recv_body(None).build().call(),
            None => get.build().call(),
        }
    }

    fn post(&self, url: &str, request: &Request<'_>, body: Body<'_>) -> Answer {
        let post = self.agent.post(url).header("Connection", "close");
        let post = post.header("Content-Type", "text/plain");
        let post = post.config().timeout_global(request.within).build();
        let Some((file, size)) = body.file else { return post.send(body.bytes) };
        let length = body.bytes.len() as u64 + size;
        let mut whole = body.bytes.chain(FileStart { left: size, file });
        post.header(CONTENT_LENGTH, length).send(SendBody::from_reader(&mut whole))
    }

    /// The time that the server told is not believed if its own certificate is not valid then.
    fn checked_date(&mut self, header: DateHeader) -> DateHeader {
        let Ok(date) = header.at else { return header };
        let is_near = (date - self.clock_offset.utc()).abs() <= TOLERANCE;
        let is_refused = !is_near && self.url.starts_with("https:") && !self.is_possible(date);
        if is_refused && !self.date_refused {
            log::warn!(
                "the server's clock is wrong: its certificate is not valid at the time in its \
                 Date header. The terminal's clock is not set from it"
            );
        }
        self.date_refused = is_refused;
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

/// The body of a response. If bytes follow it that do not belong to it, its end is an error.
struct ExactBody<R> {
    inner: R,
    excess: ExcessBytes,
    /// What is left of the time for all reads together, where it is counted here.
    left: Option<Duration>,
}

impl<R: Read> Read for ExactBody<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        let read = self.inner.read(buffer);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(io::Error::other("all of it did not come in time"));
            }
        }
        let amount = read?;
        if amount == 0 && !buffer.is_empty() && self.excess.take() {
            return Err(io::Error::other("it is longer than its Content-Length says"));
        }
        Ok(amount)
    }
}

/// The first bytes of a file. If it is shorter than it was, that is an error: the head of the
/// request has its length already.
struct FileStart<'a> {
    left: u64,
    file: &'a File,
}

impl Read for FileStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let amount = self.file.read(&mut buffer[..most])?;
        if amount == 0 && most > 0 {
            return Err(io::Error::other("the file became shorter while it was sent"));
        }
        self.left -= amount as u64;
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::uplink::ReadLimit;

    fn settings(listener: &TcpListener) -> Settings {
        let time = Duration::from_secs(20);
        Settings {
            url: format!("http://{}", listener.local_addr().unwrap()),
            connect: time,
            answer: time,
            body: time,
            https_elsewhere: false,
            ca: None,
            clock_offset: ClockOffset::default(),
        }
    }

    /// A request for a part of a file.
    fn part() -> Request<'static> {
        let part = Part { from: 0, to: 99, version: None };
        Request { part: Some(part), ..Request::get("/file") }
    }

    #[test]
    fn a_body_is_framed_if_its_end_is_known() {
        for (head, body, framed) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2", "OK", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", "2\r\nOK\r\n0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: x-chunked", "OK", false),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", "OK", false),
            ("HTTP/1.1 200 OK\r\nConnection: close", "OK", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let settings = settings(&listener);
            thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let _ = stream.read(&mut [0; 1000]);
                stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
            });
            let request = Request::get("/iclock/getrequest");
            let mut response = Server::new(&settings).exchange(&request).unwrap();
            assert_eq!(response.framed, framed, "{head}");
            assert_eq!(response.read_up_to(100).unwrap(), b"OK", "{head}");
        }
    }

    #[test]
    fn a_body_goes_on_after_its_limit_and_other_exchanges_between() {
        // Given a server that sends half of a file, and answers another request before the rest,
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Server::new(&settings(&listener));
        let (answered, go_on) = channel();
        thread::spawn(move || {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
            let accept = || {
                let mut stream = listener.accept().unwrap().0;
                let _ = stream.read(&mut [0; 1000]);
                stream.write_all(head).unwrap();
                stream
            };
            let mut file = accept();
            file.write_all(b"ha").unwrap();
            // More than its length says: the other answer is refused, and the file is not.
            accept().write_all(b"12345").unwrap();
            go_on.recv().unwrap();
            file.write_all(b"lf").unwrap();
        });
        // when the rest does not come within the limit,
        let mut response = server.exchange(&part()).unwrap();
        let mut bytes = [0; 10];
        response.reads.set(Duration::from_millis(1));
        let mut came = Vec::new();
        let error = loop {
            match response.body.read(&mut bytes) {
                Ok(amount) => came.extend_from_slice(&bytes[..amount]),
                Err(error) if came.is_empty() => assert!(ReadLimit::is_in(&error), "{error}"),
                Err(error) => break error,
            }
        };
        assert!(ReadLimit::is_in(&error), "{error}");
        let mut other = server.exchange(&Request::get("/iclock/getrequest")).unwrap();
        assert!(other.read_up_to(100).is_err());
        // then it is read later.
        answered.send(()).unwrap();
        response.reads.set(Duration::from_secs(20));
        came.extend(response.read_up_to(100).unwrap());
        assert_eq!(came, b"half");
    }

    #[test]
    fn a_body_has_its_time_however_often_its_reads_begin_anew() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(20));
        for (what, answer, body) in [
            ("the silence is too long", short, long),
            ("the reads together take too long", long, short),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let settings = Settings { answer, body, ..settings(&listener) };
            let (_open, closes) = channel::<()>();
            thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let _ = stream.read(&mut [0; 1000]);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").unwrap();
                let _ = closes.recv();
            });
            let mut response = Server::new(&settings).exchange(&part()).unwrap();
            let began = Instant::now();
            let error = loop {
                response.reads.set(Duration::from_millis(50));
                let error = response.body.read(&mut [0; 10]).unwrap_err();
                if !ReadLimit::is_in(&error) {
                    break error;
                }
                assert!(began.elapsed() < long, "{what}: it is read for ever");
            };
            let message = Failure::in_body(error).to_string();
            assert!(message.contains("in time"), "{what}: {message}");
        }
    }
}
