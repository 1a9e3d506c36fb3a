//! TLS: rustls with ring, trusting what the owner trusts, on the terminal's own clock.
//!
//! A terminal without a battery begins in 1970, and it is the server that sets its clock: over
//! TLS, that is. So while the clock is not set, what is known of the time is that it cannot be
//! before this version was made, nor before a certificate that a trusted authority signed.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    ALL_VERSIONS, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    RootCertStore, SignatureScheme, StreamOwned,
};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use super::Settings;
use super::connector::Tcp;
use crate::clock::{FLOOR, Shift};

/// Where Linux systems keep the certificates of the public authorities.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Sessions to be taken up again: the server's, and those of a few others that have files.
const SESSIONS: usize = 4;

/// Makes TLS of TCP where the URL is `https://`.
pub(super) struct TlsConnector {
    ca: Option<PathBuf>,
    shift: Shift,
    /// Made with the first connection; not while the certificates to trust cannot be read.
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsConnector {
    pub(super) fn new(settings: &Settings) -> Self {
        let (ca, shift) = (settings.ca.clone(), settings.shift.clone());
        Self { ca, shift, config: OnceLock::new() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(config(self.ca.as_deref(), self.shift.clone())?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// Whether there are certificates to trust, if any are needed.
///
/// # Errors
/// Words that name the file, if it cannot be read or holds no certificate.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    if !settings.url.starts_with("https:") && !settings.https_elsewhere {
        return Ok(());
    }
    TlsConnector::new(settings).config().map(drop)
}

fn config(ca: Option<&Path>, shift: Shift) -> Result<ClientConfig, String> {
    let path = ca.unwrap_or(Path::new(SYSTEM_CA));
    let pem = std::fs::read(path).map_err(|error| {
        format!(
            "cannot read the certificates to trust, {}: {error}; https:// needs them, set `ca` in [tls]",
            path.display()
        )
    })?;
    let unusable = |error: rustls::Error| format!("{}: {}", path.display(), explain(&error));
    let verifier = Patient::new(&pem)
        .ok_or_else(|| format!("{} holds no certificate in PEM form", path.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Time(shift)))
        .with_protocol_versions(ALL_VERSIONS)
        .map_err(unusable)?
        .dangerous() // what it is not: webpki decides
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// The terminal's clock; the earliest that it can be while it is not set.
#[derive(Debug)]
struct Time(Shift);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.0.utc().max(FLOOR)))
    }
}

fn unix(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs()))
}

/// webpki; on a clock that is not set the certificates themselves say what time it is at least.
#[derive(Debug)]
struct Patient(Arc<WebPkiServerVerifier>);

impl Patient {
    /// Trusts the certificates in a PEM text, if it has any.
    fn new(pem: &[u8]) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Some(Self(
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().ok()?,
        ))
    }
}

impl ServerCertVerifier for Patient {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        mut now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut verdict = self.0.verify_server_cert(end, between, name, ocsp, now);
        let is_set = now > unix(FLOOR);
        // Once for each certificate that may be the youngest up to there.
        for _ in 0..=between.len() {
            match verdict {
                Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if !is_set && not_before > now => now = not_before,
                _ => break,
            }
            verdict = self.0.verify_server_cert(end, between, name, ocsp, now);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
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

    /// Not by the stream's own `write`: it passes over what fails, and sends the same bytes
    /// once more with the next call.
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
            // Whoever is on the way can cut a connection, and only the server can say that it
            // was at its end. Passed on as it is, ureq would take it for the end of the body.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(io::Error::other("the connection ended without TLS's farewell, so the answer may be cut off; the server should send a Content-Length").into());
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

/// Why TLS failed, in plain words.
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const A_DAY: i64 = 86_400;

    /// What is said at `now` of a certificate that is good from `from` to `until`.
    fn verdict(from: i64, until: i64, now: i64) -> Result<(), String> {
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        let made = iclock_emulator::private_ca_valid(at(from), at(until)).unwrap();
        let patient = Patient::new(made.ca.as_bytes()).unwrap();
        judge(&patient, &made.certificate, now)
    }

    fn judge(patient: &Patient, certificate: &str, now: i64) -> Result<(), String> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        patient
            .verify_server_cert(&certificate, &[], &name, &[], unix(now))
            .map(drop)
            .map_err(|error| explain(&error))
    }

    #[test]
    fn a_clock_that_is_set_is_minded() {
        let (from, until) = (FLOOR + 10 * A_DAY, FLOOR + 20 * A_DAY);
        assert_eq!(verdict(from, until, from + A_DAY), Ok(()));
        assert!(verdict(from, until, from - A_DAY).unwrap_err().contains("not valid yet"));
        assert!(verdict(from, until, until + A_DAY).unwrap_err().contains("expired"));
    }

    #[test]
    fn a_clock_that_is_not_set_takes_a_certificate_of_after_this_version() {
        assert_eq!(verdict(FLOOR + 10 * A_DAY, FLOOR + 20 * A_DAY, FLOOR), Ok(()));
        assert_eq!(verdict(FLOOR - A_DAY, FLOOR + A_DAY, FLOOR), Ok(()));
    }

    #[test]
    fn a_clock_that_is_not_set_takes_nothing_that_had_expired_before_this_version() {
        assert!(verdict(FLOOR - 9 * A_DAY, FLOOR - A_DAY, FLOOR).unwrap_err().contains("expired"));
    }

    #[test]
    fn a_clock_that_is_not_set_trusts_no_stranger() {
        let at =
            |days: i64| UNIX_EPOCH + Duration::from_secs((FLOOR + days * A_DAY).unsigned_abs());
        let [ours, theirs] =
            [1, 2].map(|_| iclock_emulator::private_ca_valid(at(10), at(20)).unwrap());
        let patient = Patient::new(ours.ca.as_bytes()).unwrap();
        assert_eq!(judge(&patient, &ours.certificate, FLOOR), Ok(()));
        assert!(judge(&patient, &theirs.certificate, FLOOR).unwrap_err().contains("authority"));
    }

    #[test]
    fn without_a_certificate_to_trust_it_does_not_begin() {
        assert!(Patient::new(b"").is_none());
        assert!(
            Patient::new(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                .is_none()
        );
    }
}
