//! The real [`Uplink`]: the server, reached by ureq.

use std::fs::File;
use std::io::{self, Read};
use std::time::Instant;

use ureq::http::Version;
use ureq::http::header::CONTENT_LENGTH;
#[cfg(feature = "tls")]
use ureq::unversioned::transport::Connector as _;
use ureq::{Agent, SendBody};

use super::connector::{ExcessBytes, TcpConnector};
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
    excess: ExcessBytes,
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
        let excess = ExcessBytes::default();
        let connector = TcpConnector::new(excess.clone());
        #[cfg(feature = "tls")]
        let last_verified = LastVerifiedChain::default();
        #[cfg(feature = "tls")]
        let connector = connector.chain(TlsConnector::new(settings, last_verified.clone()));
        let agent = Agent::with_parts(config.build(), connector, ThreadedResolver::default());
        Self {
            agent,
            url: settings.url.clone(),
            excess,
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
        self.excess.take();
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
            body: Box::new(ExactBody { inner: body.into_reader(), excess: self.excess.clone() }),
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
        get.config().timeout_global(request.within).build().call()
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
}

impl<R: Read> Read for ExactBody<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.inner.read(buffer)?;
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
    use std::thread;
    use std::time::Duration;

    use super::*;

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
            let settings = Settings {
                url: format!("http://{}", listener.local_addr().unwrap()),
                connect: Duration::from_secs(20),
                answer: Duration::from_secs(20),
                body: Duration::from_secs(20),
                https_elsewhere: false,
                ca: None,
                clock_offset: ClockOffset::default(),
            };
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
}
