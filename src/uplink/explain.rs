//! What went wrong with an exchange, for the person who has to mend it.

use std::fmt;
use std::io;

use super::failure::{Cause, Failure};
use super::link_error::{LinkError, Phase};

impl Failure {
    /// A failure while the body of a response was read.
    pub fn in_body(error: io::Error) -> Self {
        match LinkError::from(error) {
            LinkError::Stopping => Self::Stopping,
            LinkError::TimedOut(_) => {
                Self::new("the server's answer broke off: no data came in time")
            }
            error => {
                let text = format!("the server's answer broke off: {}", message(&error));
                Self::Broken(cause(&error), text)
            }
        }
    }
}

/// A failed exchange with `server`, a URL.
pub(super) fn failure(error: &LinkError, server: &str) -> Failure {
    let text = match error {
        LinkError::Stopping => return Failure::Stopping,
        LinkError::NotFound => format!(
            "the name in {server} cannot be resolved: is it spelled correctly, and does the terminal reach its DNS server?"
        ),
        LinkError::TimedOut(Phase::Resolve) => format!(
            "the name in {server} was not resolved in time: does the terminal reach its DNS server?"
        ),
        LinkError::TimedOut(Phase::Connect) => format!(
            "{server} did not accept the connection in time: is it switched on, and does no firewall block it?"
        ),
        LinkError::TimedOut(Phase::Send) => {
            format!("{server} did not accept the request in time")
        }
        LinkError::TimedOut(Phase::Answer) => {
            format!("{server} accepted the request but did not answer in time")
        }
        LinkError::Http(error) => {
            format!("{server} did not answer in HTTP ({error}): is the port correct?")
        }
        error => format!("{server}: {}", message(error)),
    };
    match is_sent(error) {
        true => Failure::Broken(cause(error), text),
        false => Failure::Unsent(cause(error), text),
    }
}

/// What is behind it, by how soon the next attempt may come.
fn cause(error: &LinkError) -> Cause {
    match error {
        LinkError::NotFound | LinkError::LinkCame => Cause::NoConnection,
        LinkError::Reset | LinkError::Closed | LinkError::CutOff => Cause::Closed,
        LinkError::Io(error) => Cause::of_io(error),
        _ => Cause::Other,
    }
}

/// Whether the request reached the server before this went wrong, as far as can be told.
fn is_sent(error: &LinkError) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match error {
        LinkError::Request(_) | LinkError::NotFound | LinkError::LinkCame | LinkError::Proxy(_) => {
            false
        }
        LinkError::TimedOut(phase) => *phase == Phase::Answer,
        LinkError::Io(error) => ![ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut]
            .contains(&error.kind()),
        #[cfg(feature = "tls")]
        LinkError::Tls(_) | LinkError::TlsClosed | LinkError::TlsSettings(_) => false,
        #[cfg(not(feature = "tls"))]
        LinkError::NoTls => false,
        _ => true,
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&message(self))
    }
}

/// What went wrong, without the server's name.
fn message(error: &LinkError) -> String {
    match error {
        LinkError::Stopping => "punchd was asked to stop".into(),
        LinkError::Paused => "it was interrupted".into(),
        LinkError::Request(message) | LinkError::Proxy(message) => message.clone(),
        LinkError::LinkCame => {
            "the network was away while it was asked, and has come back: it is tried again".into()
        }
        LinkError::NotFound => "its name cannot be resolved".into(),
        LinkError::TimedOut(_) => "it did not answer in time".into(),
        LinkError::Io(error) => io(error),
        LinkError::Reset => "the connection was reset".into(),
        LinkError::Closed => {
            "the connection was closed before an answer came: is the port correct?".into()
        }
        LinkError::CutOff => "the connection was closed too early".into(),
        #[cfg(feature = "tls")]
        LinkError::NoCloseNotify => "the connection ended without a TLS close_notify, so the answer may be cut off; the server should send a Content-Length".into(),
        #[cfg(feature = "tls")]
        LinkError::TlsClosed => "it closed the connection during the TLS handshake: does it speak TLS 1.2 or 1.3 on this port?".into(),
        #[cfg(feature = "tls")]
        LinkError::Tls(error) => super::tls::explain(error),
        #[cfg(feature = "tls")]
        LinkError::TlsSettings(message) => message.clone(),
        #[cfg(not(feature = "tls"))]
        LinkError::NoTls => "https:// needs a punchd that was built with the feature `tls`".into(),
        LinkError::SpeaksTls => "it speaks TLS: `server` has to begin with https://".into(),
        LinkError::Http(error) => format!("it is not HTTP ({error})"),
        LinkError::HeadTooLong => "the head of its answer is longer than 16 KiB".into(),
        LinkError::Excess => "it is longer than its Content-Length says".into(),
        LinkError::BodyTooSlow => "all of it did not come in time".into(),
    }
}

/// An error of the system.
fn io(error: &io::Error) -> String {
    use io::ErrorKind::{
        BrokenPipe, ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    match error.kind() {
        ConnectionRefused => {
            "no server listens there (connection refused): is it running, and is the port correct?"
                .into()
        }
        BrokenPipe => "the connection was closed while the request was sent".into(),
        TimedOut => "the connection timed out".into(),
        NetworkUnreachable | HostUnreachable => {
            "there is no route to it: is the cable plugged in, and is the gateway correct?".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Stopping;

    #[test]
    fn a_stop_is_no_broken_exchange_however_it_comes() {
        let stopped = || io::Error::from(Stopping);
        assert_eq!(failure(&stopped().into(), "http://h"), Failure::Stopping);
        assert_eq!(Failure::in_body(stopped()), Failure::Stopping);
        // As a reader of a body passes it on.
        assert_eq!(Failure::in_body(LinkError::from(stopped()).into()), Failure::Stopping);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let broken = "the server's answer broke off: the connection was reset";
        assert_eq!(Failure::in_body(reset), Failure::Broken(Cause::Closed, broken.into()));
    }
}
