//! The server, reached by ureq.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ureq::Agent;
use ureq::config::Config;
use ureq::http::header::{CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};

use super::connector::{Surplus, TcpConnector};
use super::resolver::PatientResolver;
use super::{Failure, Request, Response, Uplink, explain};

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
    /// A file with the certificates to trust, in PEM; the system's if there is none.
    pub ca: Option<PathBuf>,
}

/// The server.
pub struct Server {
    agent: Agent,
    url: String,
    surplus: Surplus,
}

/// The body of a response. An end that is not the end is an error.
struct Body<R> {
    inner: R,
    surplus: Surplus,
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.inner.read(buffer)?;
        if amount == 0 && !buffer.is_empty() && self.surplus.take() {
            return Err(io::Error::other("it is longer than its Content-Length says"));
        }
        Ok(amount)
    }
}

impl Server {
    /// Prepares to reach the server; nothing is sent yet.
    ///
    /// # Errors
    /// Words for a person, if the settings cannot work.
    pub fn new(settings: &Settings) -> Result<Self, String> {
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
        #[cfg(feature = "tls")]
        let config = if settings.url.starts_with("https:") {
            config.tls_config(super::tls::config(settings.ca.as_deref())?)
        } else {
            config
        };
        let surplus = Surplus::default();
        let agent = agent(config.build(), surplus.clone());
        Ok(Self { agent, url: settings.url.clone(), surplus })
    }
}

fn agent(config: Config, surplus: Surplus) -> Agent {
    #[cfg(feature = "tls")]
    use ureq::unversioned::transport::Connector as _;
    #[cfg(feature = "tls")]
    let connector =
        TcpConnector::new(surplus).chain(ureq::unversioned::transport::RustlsConnector::default());
    #[cfg(not(feature = "tls"))]
    let connector = TcpConnector::new(surplus);
    Agent::with_parts(config, connector, PatientResolver::default())
}

impl Uplink for Server {
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        let url = format!("{}{}", self.url, request.target);
        let started = Instant::now();
        self.surplus.take();
        let answer = match request.body {
            None => self
                .agent
                .get(&url)
                .header("Connection", "close")
                .config()
                .timeout_global(request.within)
                .build()
                .call(),
            Some(body) => self
                .agent
                .post(&url)
                .header("Connection", "close")
                .header("Content-Type", "text/plain")
                .config()
                .timeout_global(request.within)
                .build()
                .send(body),
        };
        let response = answer.map_err(|error| explain::failure(&error, &self.url))?;
        let (head, body) = response.into_parts();
        let chunked = head.headers.get(TRANSFER_ENCODING).and_then(|value| value.to_str().ok());
        let framed = head.headers.contains_key(CONTENT_LENGTH)
            || chunked.is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
        Ok(Response {
            status: head.status.as_u16(),
            date: date(&head.headers),
            took: started.elapsed(),
            framed,
            body: Box::new(Body { inner: body.into_reader(), surplus: self.surplus.clone() }),
        })
    }
}

fn date(headers: &HeaderMap) -> Option<i64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}
