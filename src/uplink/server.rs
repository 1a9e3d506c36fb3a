//! The server, reached by ureq.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ureq::Agent;
use ureq::SendBody;
use ureq::http::Version;
use ureq::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
    TRANSFER_ENCODING,
};
#[cfg(feature = "tls")]
use ureq::unversioned::transport::Connector as _;

use super::connector::{ExcessBytes, TcpConnector};
use super::resolver::ThreadedResolver;
#[cfg(feature = "tls")]
use super::tls::{LastVerifiedChain, TlsConnector};
use super::{Body, Failure, FileHead, Request, Response, Uplink, explain};
use crate::clock::{ClockOffset, TOLERANCE};

/// What field firmware calls itself; servers look for it.
const USER_AGENT: &str = "iClock Proxy/1.09";
/// ureq's own buffers; its default is 128 KiB each.
const BUFFER: usize = 16 << 10;
/// Most bytes in the head of a response.
const LONGEST_HEAD: usize = 16 << 10;

/// How the server is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host, port and perhaps a path before `/iclock`, without a final slash.
    pub url: String,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for the server to take or give the next bytes.
    pub answer: Duration,
    /// Longest time for the body of one response.
    pub body: Duration,
    /// Files may come from other servers by HTTPS.
    pub https_elsewhere: bool,
    /// A file with the certificates to trust, in PEM; the system's if there is none.
    pub ca: Option<PathBuf>,
    /// The clock by which certificates are judged.
    pub clock_offset: ClockOffset,
}

/// The server.
pub struct Server {
    agent: Agent,
    url: String,
    excess: ExcessBytes,
    clock_offset: ClockOffset,
    #[cfg(feature = "tls")]
    last_verified: LastVerifiedChain,
    /// A `Date` was not believed.
    doubted: bool,
}

/// The body of a response. An end that is not the end is an error.
struct Answer<R> {
    inner: R,
    excess: ExcessBytes,
}

impl<R: Read> Read for Answer<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.inner.read(buffer)?;
        if amount == 0 && !buffer.is_empty() && self.excess.take() {
            return Err(io::Error::other("it is longer than its Content-Length says"));
        }
        Ok(amount)
    }
}

impl Server {
    /// Whether the settings can work.
    ///
    /// # Errors
    /// A message for a person, if they cannot: no connection will come of them.
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
            doubted: false,
        }
    }

    /// A time that the server said, unless its own certificate says that it cannot be.
    fn believed(&mut self, date: i64) -> Option<i64> {
        let is_near = (date - self.clock_offset.utc()).abs() <= TOLERANCE;
        let doubted = !is_near && self.url.starts_with("https:") && !self.is_possible(date);
        if doubted && !self.doubted {
            log::warn!(
                "the server's clock is wrong: its certificate is not valid at the time that it says (Date). The clock is not set by it"
            );
        }
        self.doubted = doubted;
        Some(date).filter(|_| !doubted)
    }

    #[cfg(feature = "tls")]
    fn is_possible(&self, date: i64) -> bool {
        self.last_verified.agrees(date)
    }

    #[cfg(not(feature = "tls"))]
    fn is_possible(&self, _date: i64) -> bool {
        true
    }
}

impl Uplink for Server {
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        let is_whole = !request.target.starts_with('/');
        let url = match is_whole {
            true => request.target.to_owned(),
            false => format!("{}{}", self.url, request.target),
        };
        let started = Instant::now();
        self.excess.take();
        let answer = match request.body {
            None => {
                let mut get = self.agent.get(&url).header("Connection", "close");
                if let Some(part) = request.part {
                    get = get.header("Range", format!("bytes={}-{}", part.from, part.to));
                    if let Some(version) = part.version {
                        get = get.header("If-Range", version);
                    }
                }
                get.config().timeout_global(request.within).build().call()
            }
            Some(body) => {
                let post = self
                    .agent
                    .post(&url)
                    .header("Connection", "close")
                    .header("Content-Type", "text/plain");
                send(post.config().timeout_global(request.within).build(), body)
            }
        };
        let server = if is_whole { &url } else { &self.url };
        let response = answer.map_err(|error| explain::failure(&error, server))?;
        let (head, body) = response.into_parts();
        // As ureq sees it: by what it does not know, the end of the connection is the end.
        let framed = body.content_length().is_some()
            || (head.version != Version::HTTP_10 && is_chunked(&head.headers));
        Ok(Response {
            status: head.status.as_u16(),
            date: date(&head.headers).filter(|_| !is_whole).and_then(|date| self.believed(date)),
            took: started.elapsed(),
            framed,
            file: file_head(&head.headers),
            body: Box::new(Answer { inner: body.into_reader(), excess: self.excess.clone() }),
        })
    }
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TRANSFER_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

fn send(
    post: ureq::RequestBuilder<ureq::typestate::WithBody>,
    body: Body<'_>,
) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    let Some((file, size)) = body.file else { return post.send(body.bytes) };
    let length = body.bytes.len() as u64 + size;
    let content = Content { left: size, file };
    let mut whole = body.bytes.chain(content);
    post.header(CONTENT_LENGTH, length).send(SendBody::from_reader(&mut whole))
}

/// The first bytes of a file. One that became shorter is an error: its length was told.
struct Content<'a> {
    left: u64,
    file: &'a File,
}

impl Read for Content<'_> {
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

fn file_head(headers: &HeaderMap) -> FileHead {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let version = text(ETAG).or_else(|| text(LAST_MODIFIED));
    FileHead {
        version: version.filter(|version| version.len() <= 200).map(str::to_owned),
        range: text(CONTENT_RANGE).and_then(content_range),
        is_empty: text(CONTENT_RANGE) == Some("bytes */0"),
        length: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
    }
}

/// `bytes 0-99/1000`
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, all) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let number = |text: &str| text.trim().parse().ok();
    Some((number(from)?, number(to)?, number(all)?))
}

fn date(headers: &HeaderMap) -> Option<i64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

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
