//! TLS: rustls with ring. It trusts the owner's certificates, and checks dates by the terminal's
//! own clock.

mod clock_tolerant;

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

pub(super) use self::clock_tolerant::LastVerifiedChain;
use self::clock_tolerant::{ClockTolerantVerifier, Time};
use super::connector::Tcp;
use super::settings::Settings;
use crate::clock::ClockOffset;

/// Where Linux systems keep the certificates of the public authorities.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Sessions that are kept to be resumed: the server's, and those of a few other servers of files.
const SESSIONS: usize = 4;

/// Adds TLS to a TCP connection if the URL is `https://`.
pub(super) struct TlsConnector {
    ca: Option<PathBuf>,
    clock_offset: ClockOffset,
    last_verified: LastVerifiedChain,
    /// Made with the first connection. As long as the certificates cannot be read, it is tried
    /// again with each.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsConnector {
    pub(super) fn new(settings: &Settings, last_verified: LastVerifiedChain) -> Self {
        let (ca, clock_offset) = (settings.ca.clone(), settings.clock_offset.clone());
        Self { ca, clock_offset, last_verified, config: OnceLock::new() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let (clock_offset, last_verified) = (self.clock_offset.clone(), self.last_verified.clone());
        let config = Arc::new(config(self.ca.as_deref(), clock_offset, last_verified)?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// Whether there are certificates to trust, if any are needed.
///
/// # Errors
/// A message that names the file, if it cannot be read or holds no certificate.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    if !settings.url.starts_with("https:") && !settings.https_elsewhere {
        return Ok(());
    }
    TlsConnector::new(settings, LastVerifiedChain::default()).config().map(drop)
}

fn config(
    ca: Option<&Path>,
    clock_offset: ClockOffset,
    last_verified: LastVerifiedChain,
) -> Result<ClientConfig, String> {
    let path = ca.unwrap_or(Path::new(SYSTEM_CA));
    let pem = std::fs::read(path).map_err(|error| {
        format!(
            "cannot read the certificates to trust, {}: {error}; https:// needs them, set `ca` in [tls]",
            path.display()
        )
    })?;
    let unusable = |error: rustls::Error| format!("{}: {}", path.display(), explain(&error));
    let verifier = ClockTolerantVerifier::new(&pem, last_verified)
        .ok_or_else(|| format!("{} holds no certificate in PEM form", path.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Time(clock_offset)))
        .with_protocol_versions(ALL_VERSIONS)
        .map_err(unusable)?
        .dangerous() // a verifier of our own, which asks webpki
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

impl Connector<Tcp> for TlsConnector {
    type Out = Either<Tcp, Tls>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        tcp: Option<Tcp>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(tcp) = tcp else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(tcp)));
        }
        let config = self.config().map_err(io::Error::other)?;
        let host = details.uri.host().unwrap_or_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']))
            .map_err(|_| Error::Tls("its name cannot stand in a certificate"))?
            .to_owned();
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut tcp = TransportAdapter::new(tcp, Arc::clone(&details.current_time));
        tcp.set_timeout(details.timeout);
        tls.complete_io(&mut tcp)?;
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        let buffers = LazyBuffers::new(input, output);
        Ok(Some(Either::B(Tls { stream: StreamOwned::new(tls, tcp), buffers })))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

/// A connection that is encrypted.
pub(super) struct Tls {
    stream: StreamOwned<ClientConnection, TransportAdapter<Tcp>>,
    buffers: LazyBuffers,
}

impl Transport for Tls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    /// Does not use the stream's own `write`: that ignores a failure, and sends the same bytes
    /// again with the next call.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let StreamOwned { conn, sock } = &mut self.stream;
        sock.set_timeout(timeout);
        conn.writer().write_all(&self.buffers.output()[..amount])?;
        while conn.wants_write() {
            conn.write_tls(sock)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = match self.stream.read(self.buffers.input_append_buf()) {
            Ok(amount) => amount,
            // Anybody between can cut a connection; only the server's close_notify says that the
            // body is whole. ureq takes this error for the end of the body.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(io::Error::other("the connection ended without a TLS close_notify, so the answer may be cut off; the server should send a Content-Length").into());
            }
            Err(error) => return Err(error.into()),
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("tcp", self.stream.sock.inner()).finish_non_exhaustive()
    }
}

/// Why TLS failed, for a person.
pub(super) fn explain(error: &rustls::Error) -> String {
    use rustls::CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    use rustls::Error::InvalidCertificate;
    match error {
        InvalidCertificate(UnknownIssuer | BadSignature) => {
            "its certificate is not from an authority this terminal trusts: put the authority's certificate into `ca` in [tls]".into()
        }
        InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "its certificate is for another name: set `server` to the name in the certificate".into()
        }
        InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "its certificate has expired, or the terminal's clock is wrong".into()
        }
        InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            "its certificate is not valid yet: the terminal's clock is probably wrong".into()
        }
        rustls::Error::InvalidMessage(_) => format!("it does not speak TLS ({error}): is it http:// or another port?"),
        other => format!("TLS failed: {other}"),
    }
}

#[cfg(test)]
mod link_tests;
