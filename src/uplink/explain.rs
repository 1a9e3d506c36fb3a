//! What went wrong with an exchange, for the person who has to mend it.

use std::io;

use ureq::{Error, Timeout};

use super::failure::Failure;
use crate::reactor::Stopping;

impl Failure {
    /// A failure while the body of a response was read.
    pub fn in_body(error: io::Error) -> Self {
        if is_stopping(&error) {
            return Self::Stopping;
        }
        Self::new(format!("the server's answer broke off: {}", io(&error)))
    }
}

/// A failed exchange with `server`, a URL.
pub(super) fn failure(error: &Error, server: &str) -> Failure {
    if matches!(error, Error::Io(inner) if is_stopping(inner)) {
        return Failure::Stopping;
    }
    let message = match error {
        Error::HostNotFound => format!(
            "the name in {server} cannot be resolved: is it spelled correctly, and does the terminal reach its DNS server?"
        ),
        Error::Timeout(phase) => match phase {
            Timeout::Resolve => {
                format!(
                    "the name in {server} was not resolved in time: does the terminal reach its DNS server?"
                )
            }
            Timeout::Connect => format!(
                "{server} did not accept the connection in time: is it switched on, and does no firewall block it?"
            ),
            Timeout::SendRequest | Timeout::SendBody | Timeout::PerWrite => {
                format!("{server} did not accept the request in time")
            }
            _ => format!("{server} accepted the request but did not answer in time"),
        },
        Error::Io(error) => format!("{server}: {}", io(error)),
        Error::TlsRequired => {
            "https:// needs a punchd that was built with the feature `tls`".into()
        }
        Error::Protocol(error) => {
            format!("{server} did not answer in HTTP ({error}): is the port correct?")
        }
        other => format!("{server}: {other}"),
    };
    if is_sent(error) { Failure::Broken(message) } else { Failure::Unsent(message) }
}

/// Whether the request reached the server before this went wrong, as far as can be told.
fn is_sent(error: &Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match error {
        Error::HostNotFound | Error::TlsRequired => false,
        Error::Timeout(phase) => !matches!(
            phase,
            Timeout::Resolve
                | Timeout::Connect
                | Timeout::SendRequest
                | Timeout::SendBody
                | Timeout::PerWrite
        ),
        Error::Io(error) => {
            let before = [ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut]
                .contains(&error.kind());
            !before && !is_of_tls(error)
        }
        _ => true,
    }
}

#[cfg(feature = "tls")]
fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

#[cfg(not(feature = "tls"))]
fn is_of_tls(_: &io::Error) -> bool {
    false
}

/// An error of the system, of TLS, or of reading a body.
fn io(error: &io::Error) -> String {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, InvalidData, NetworkUnreachable,
        TimedOut, UnexpectedEof,
    };
    if let Some(inner) = inner_error(error) {
        return match inner {
            Error::Timeout(_) => "no data came in time".into(),
            Error::Io(inner) => io(inner),
            other => other.to_string(),
        };
    }
    #[cfg(feature = "tls")]
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return super::tls::explain(error);
    }
    match error.kind() {
        ConnectionRefused => {
            "no server listens there (connection refused): is it running, and is the port correct?"
                .into()
        }
        ConnectionReset => "the connection was reset".into(),
        UnexpectedEof => "the connection was closed too early".into(),
        TimedOut => "the connection timed out".into(),
        NetworkUnreachable | HostUnreachable => {
            "there is no route to it: is the cable plugged in, and is the gateway correct?".into()
        }
        InvalidData => format!("the answer cannot be read ({error})"),
        _ => error.to_string(),
    }
}

/// Whether an exchange, or reading a body, was given up because the program stops.
fn is_stopping(error: &io::Error) -> bool {
    Stopping::is_in(error)
        || matches!(inner_error(error), Some(Error::Io(inner)) if is_stopping(inner))
}

/// The error of ureq within an `io::Error`, as reading a body gives it.
fn inner_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Stopping;

    #[test]
    fn a_stop_is_no_broken_exchange_however_it_comes() {
        let stopped = || io::Error::from(Stopping);
        assert_eq!(failure(&Error::Io(stopped()), "http://h"), Failure::Stopping);
        assert_eq!(Failure::in_body(stopped()), Failure::Stopping);
        // As ureq's reader of a body passes it on.
        assert_eq!(Failure::in_body(io::Error::other(Error::Io(stopped()))), Failure::Stopping);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let broken = "the server's answer broke off: the connection was reset";
        assert_eq!(Failure::in_body(reset), Failure::new(broken));
    }
}
