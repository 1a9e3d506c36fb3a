//! How the server is reached.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::ClockOffset;

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
    /// Whether files may come from other servers by HTTPS.
    pub https_elsewhere: bool,
    /// A file with the certificates to trust, in PEM. Without one, the system's.
    pub ca: Option<PathBuf>,
    /// The clock by which the dates of certificates are checked.
    pub clock_offset: ClockOffset,
}
