//! How the server is reached.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::ClockOffset;

/// How the server is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host, port and perhaps a path before `/iclock`, without a final slash.
    pub url: String,
    /// What stands behind every request's query (`token=…`).
    pub query: Option<String>,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// A proxy that all connections go through.
    pub proxy: Option<Proxy>,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for the server to take or give the next bytes.
    pub answer: Duration,
    /// Longest wait for the answer to a poll: servers hold it until they have something to say.
    pub poll: Duration,
    /// Longest time for the body of one response.
    pub body: Duration,
    /// Whether files may come from other servers by HTTPS.
    pub https_elsewhere: bool,
    /// A file with the certificates to trust, in PEM. Without one, the system's.
    pub ca: Option<PathBuf>,
    /// The clock by which the dates of certificates are checked.
    pub clock_offset: ClockOffset,
}

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<String>,
}

#[cfg(test)]
impl Settings {
    /// For a test: a server that is given 20 seconds for everything.
    pub(crate) fn patient(url: String) -> Self {
        let time = Duration::from_secs(20);
        Self {
            url,
            query: None,
            authorization: None,
            proxy: None,
            connect: time,
            answer: time,
            poll: time,
            body: time,
            https_elsewhere: false,
            ca: None,
            clock_offset: ClockOffset::default(),
        }
    }
}
