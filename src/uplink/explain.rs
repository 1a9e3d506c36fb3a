//! What went wrong with an exchange, for the person who has to mend it.

use std::fmt;
use std::io;

use super::failure::{Cause, Failure};
use super::link_error::{LinkError, Phase};

impl Failure {
    /// A failure while the body of a response was read; `path` was asked for.
    pub(super) fn in_body(error: io::Error, path: &str) -> Self {
        let why = match LinkError::from(error) {
            LinkError::Stopping => return Self::Stopping,
            LinkError::TimedOut(_) => (
                Cause::Other,
                "no more of it came in time: the line or the server is too slow".into(),
            ),
            error => (cause(&error), message(&error)),
        };
        Self::Broken(why.0, format!("the server's answer at {path} broke off: {}", why.1))
    }
}

/// A failed exchange with `server`, a URL; `proxy`: host and port of the one that is used.
pub(super) fn failure(error: &LinkError, server: &str, proxy: Option<&str>) -> Failure {
    // A proxy is asked for http://, and for a connection to https://.
    let is_at_proxy = failed_to_connect(error) || !server.starts_with("https:");
    let peer = match proxy.filter(|_| is_at_proxy) {
        Some(proxy) => format!("the proxy {proxy} (for {server})"),
        None => server.to_owned(),
    };
    let text = match error {
        LinkError::Stopping => return Failure::Stopping,
        LinkError::NotFound => format!(
            "the host name of {peer} cannot be resolved: is it spelled correctly, and does the terminal reach its DNS server?"
        ),
        LinkError::TimedOut(Phase::Resolve) => format!(
            "the host name of {peer} was not resolved in time: does the terminal reach its DNS server?"
        ),
        LinkError::TimedOut(Phase::Connect) => format!(
            "{peer} did not accept the connection in time: is it switched on, and does no firewall block it?"
        ),
        #[cfg(feature = "tls")]
        LinkError::TimedOut(Phase::Tls) => format!(
            "{peer} accepted the connection but did not finish the TLS handshake in time: is the port correct, and is it https:// there?"
        ),
        LinkError::TimedOut(Phase::Send) => format!(
            "{peer} accepted the connection but did not take the request in time: the line or the server is too slow"
        ),
        LinkError::TimedOut(Phase::Answer) => format!(
            "{peer} accepted the request but did not answer in time: is the port correct, and is it overloaded?"
        ),
        LinkError::Http(error) => {
            format!("{peer} did not answer in HTTP ({error}): is the port correct?")
        }
        error => format!("{peer}: {}", message(error)),
    };
    match is_sent(error) {
        true => Failure::Broken(cause(error), text),
        false => Failure::Unsent(cause(error), text),
    }
}

/// Whether it failed before there was a connection.
fn failed_to_connect(error: &LinkError) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match error {
        LinkError::NotFound | LinkError::TimedOut(Phase::Resolve | Phase::Connect) => true,
        LinkError::Io(error) => [ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut]
            .contains(&error.kind()),
        _ => false,
    }
}

/// What is behind it, by how soon the next attempt may come.
fn cause(error: &LinkError) -> Cause {
    match error {
        LinkError::NotFound => Cause::NoConnection,
        LinkError::LinkCame => Cause::LinkCame,
        LinkError::Proxy(_) => Cause::Proxy,
        LinkError::Reset | LinkError::Closed | LinkError::CutOff => Cause::Closed,
        LinkError::Io(error) => Cause::of_io(error),
        LinkError::TimedOut(_) => Cause::TimedOut,
        _ => Cause::Other,
    }
}

/// Whether the request reached the server before this went wrong, as far as can be told.
fn is_sent(error: &LinkError) -> bool {
    match error {
        LinkError::Request(_) | LinkError::LinkCame | LinkError::Proxy(_) => false,
        LinkError::TimedOut(phase) => *phase == Phase::Answer,
        LinkError::NotFound | LinkError::Io(_) => !failed_to_connect(error),
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
        LinkError::Reset => {
            "the connection was reset: by the program there, or by a firewall on the way".into()
        }
        LinkError::Closed => {
            "the connection was closed before an answer came: is the port correct, and is it http:// \
             or https:// there?"
                .into()
        }
        LinkError::CutOff => {
            "the connection was closed in the middle of the answer: the server's log may say why".into()
        }
        LinkError::InTls => {
            "it answers in TLS: is `server` to begin with https://, or is it another port?".into()
        }
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
        LinkError::Http(error) => format!("it is not HTTP ({error})"),
        LinkError::HeadTooLong => {
            "the head of its answer is longer than 16 KiB: is the port correct?".into()
        }
        LinkError::Excess => "it is longer than its Content-Length says: correct the server".into(),
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
            "nothing listens there (connection refused): is it running, and is the port correct?"
                .into()
        }
        BrokenPipe => "the connection was closed while the request was sent".into(),
        TimedOut => "the connection timed out".into(),
        NetworkUnreachable | HostUnreachable => {
            "there is no route to it: is the cable plugged in, and are address and gateway of the \
             terminal correct?"
                .into()
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
        assert_eq!(failure(&stopped().into(), "http://h", None), Failure::Stopping);
        assert_eq!(Failure::in_body(stopped(), "/x"), Failure::Stopping);
        // As a reader of a body passes it on.
        assert_eq!(Failure::in_body(LinkError::from(stopped()).into(), "/x"), Failure::Stopping);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let broken = "the server's answer at /x broke off: the connection was reset: by the program \
                      there, or by a firewall on the way";
        assert_eq!(Failure::in_body(reset, "/x"), Failure::Broken(Cause::Closed, broken.into()));
    }
}
