//! What went wrong on the way to the server, in the language of somebody on the site.

use std::io;

use ureq::{Error, Timeout};

use super::Failure;
use crate::reactor::Stopping;

/// Whether an exchange, or reading a body, was given up because the program stops.
pub(super) fn is_stopping(error: &io::Error) -> bool {
    Stopping::is_in(error)
        || matches!(inner_error(error), Some(Error::Io(inner)) if is_stopping(inner))
}

/// ureq hands its errors through `io::Error` when a body is read.
fn inner_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// A failed exchange with `server`, in plain language.
pub(super) fn failure(error: &Error, server: &str) -> Failure {
    if matches!(error, Error::Io(inner) if is_stopping(inner)) {
        return Failure::Stopping;
    }
    let message = match error {
        Error::HostNotFound => format!(
            "the name in {server} cannot be resolved: is it spelled right, and does the terminal reach its DNS server?"
        ),
        Error::Timeout(phase) => match phase {
            Timeout::Resolve => {
                format!(
                    "the name in {server} was not resolved in time: does the terminal reach its DNS server?"
                )
            }
            Timeout::Connect => format!(
                "{server} did not take the connection in time: is it switched on, and no firewall between?"
            ),
            Timeout::SendRequest | Timeout::SendBody | Timeout::PerWrite => {
                format!("{server} did not take the request in time")
            }
            _ => format!("{server} took the request but did not answer in time"),
        },
        Error::Io(error) => format!("{server}: {}", io(error)),
        Error::TlsRequired => {
            "https:// needs a punchd that was built with the feature `tls`".into()
        }
        Error::Protocol(error) => {
            format!("{server} did not answer in HTTP ({error}): is the port right?")
        }
        other => format!("{server}: {other}"),
    };
    Failure::new(message)
}

/// An error of the system or of reading a body, in plain language.
pub(super) fn io(error: &io::Error) -> String {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, InvalidData, NetworkUnreachable,
        TimedOut, UnexpectedEof,
    };
    if let Some(inner) = inner_error(error) {
        return match inner {
            Error::Timeout(_) => "it stalled".into(),
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
            "nobody listens there (connection refused): is the server running, and the port right?"
                .into()
        }
        ConnectionReset => "the connection was reset".into(),
        UnexpectedEof => "the connection was closed too early".into(),
        TimedOut => "the connection timed out".into(),
        NetworkUnreachable | HostUnreachable => {
            "there is no way to it: is the cable in, and the gateway right?".into()
        }
        InvalidData => format!("the answer makes no sense ({error})"),
        _ => error.to_string(),
    }
}
