//! What can go wrong between the terminal and the server, as the code that does it sees it. Its messages
//! are in `explain`.

use std::io;

use crate::reactor::Stopping;

/// What went wrong with an exchange.
#[derive(Debug)]
pub(super) enum LinkError {
    /// The program was asked to stop; nothing is wrong.
    Stopping,
    /// A read reached its limit; nothing is wrong, and it can go on.
    Paused,
    /// The URL cannot be used, or the request cannot be written.
    Request(String),
    /// A link has come up while this waited: it may have waited in vain.
    LinkCame,
    /// The name has no address.
    NotFound,
    /// No time is left.
    TimedOut(Phase),
    /// The system said so.
    Io(io::Error),
    /// The connection was reset.
    Reset,
    /// The connection was closed before the answer began.
    Closed,
    /// The connection was closed while the answer came.
    CutOff,
    /// It came without a TLS close_notify where only that tells the end of the body.
    #[cfg(feature = "tls")]
    NoCloseNotify,
    /// The connection was closed or reset while TLS was negotiated.
    #[cfg(feature = "tls")]
    TlsClosed,
    /// TLS refused it.
    #[cfg(feature = "tls")]
    Tls(rustls::Error),
    /// The certificates or the name cannot be used for TLS.
    #[cfg(feature = "tls")]
    TlsSettings(String),
    /// This punchd has no TLS.
    #[cfg(not(feature = "tls"))]
    NoTls,
    /// The proxy did not connect; the message says why.
    Proxy(String),
    /// The answer is no HTTP.
    Http(ureq_proto::Error),
    /// The answer to a request without TLS is of TLS.
    InTls,
    /// The head of the answer is too long.
    HeadTooLong,
    /// Bytes came after the end of the body.
    Excess,
    /// The whole body did not come in time.
    BodyTooSlow,
}

/// What was waited for when no time was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The addresses of a name.
    Resolve,
    /// The connection.
    Connect,
    /// The server to finish the handshake of TLS.
    #[cfg(feature = "tls")]
    Tls,
    /// The server to take the request.
    Send,
    /// The server to answer.
    Answer,
}

impl LinkError {
    /// Whether the other side closed or reset the connection.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Closed | Self::Reset => true,
            Self::Io(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, WouldBlock};
        if Stopping::is_in(&error) {
            return Self::Stopping;
        }
        if error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            let inner = error.into_inner().and_then(|inner| inner.downcast().ok());
            return inner.map_or(Self::Reset, |inner| *inner);
        }
        match error.kind() {
            ConnectionReset | ConnectionAborted => Self::Reset,
            WouldBlock => Self::Paused,
            _ => Self::Io(error),
        }
    }
}

impl From<LinkError> for io::Error {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Stopping => Stopping.into(),
            LinkError::Paused => io::ErrorKind::WouldBlock.into(),
            LinkError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

impl From<ureq_proto::Error> for LinkError {
    fn from(error: ureq_proto::Error) -> Self {
        Self::Http(error)
    }
}

impl std::error::Error for LinkError {}
