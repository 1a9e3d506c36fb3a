//! TLS: rustls with ring. It trusts the owner's certificates, and checks dates by the terminal's
//! own clock.

mod clock_tolerant;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection};

pub(super) use self::clock_tolerant::LastVerifiedChain;
use self::clock_tolerant::{ClockTolerantVerifier, Time};
use super::link_error::LinkError;
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

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, String> {
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

/// TLS on one connection: bytes go in encrypted and come out decrypted, and the other way round.
pub(super) struct TlsSession(ClientConnection);

impl TlsSession {
    /// Prepares to speak TLS with a host, as in a URL; nothing is sent yet.
    pub(super) fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, LinkError> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']))
            .map_err(|_| LinkError::TlsSettings("its name cannot stand in a certificate".into()))?
            .to_owned();
        ClientConnection::new(config, name).map(Self).map_err(LinkError::Tls)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    pub(super) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Takes bytes to be sent, as many as fit; returns how many.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        Ok(self.0.writer().write(bytes)?)
    }

    /// Sends what is encrypted, as far as that goes without a wait; [`LinkError::Paused`]: not all.
    pub(super) fn write_to(&mut self, socket: &mut TcpStream) -> Result<(), LinkError> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => drop(done?),
            }
        }
        Ok(())
    }

    /// Takes what came, without a wait; 0: the connection was closed.
    pub(super) fn read_from(&mut self, socket: &mut TcpStream) -> Result<usize, LinkError> {
        let amount = loop {
            match self.0.read_tls(socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.0.process_new_packets().map_err(LinkError::Tls)?;
        Ok(amount)
    }

    /// Decrypted bytes. 0: the server said that no more come. [`LinkError::Paused`]: none are there yet.
    pub(super) fn decrypt(&mut self, into: &mut [u8]) -> Result<usize, LinkError> {
        match self.0.reader().read(into) {
            // Anybody between can cut a connection; only the server's close_notify says that the
            // body is whole.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(LinkError::NoCloseNotify),
            read => Ok(read?),
        }
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
