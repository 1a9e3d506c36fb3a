//! Which certificate of a server is trusted at a given time, as the owner says it in `[tls]`.
//!
//! - An authority in `ca` vouches for it: chain, dates and name are checked by webpki.
//! - It stands itself in `ca`: dates are checked, and its name, if it has one (subjectAltName). It
//!   may be of any kind, as programs make them that sign their own (CA:TRUE).
//! - Its key is the one in `pin`. Without `ca` nothing else counts: who has the key can write any
//!   name and date into a new certificate. With `ca`, both have to be so.
//!
//! `distrust` has the reasons for which one is refused.

use std::sync::Arc;

use rustls::CertificateError::{ExpiredContext, NotValidYetContext};
use rustls::Error::InvalidCertificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier as _};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::{Certificate, Shown, sha256};
use super::distrust::{Distrust, in_detail};
use super::times::unix;
use crate::uplink::pin::Pin;

/// Whom the owner trusts.
#[derive(Debug)]
pub(super) struct Trust {
    /// `None`: only pins count.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// The SHA-256 of each certificate in `ca`.
    certificates: Vec<[u8; 32]>,
    /// None: any key for which an authority vouches.
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Trusts the certificates in a PEM text. `None` if it holds none.
    pub(super) fn in_certificates(pem: &[u8], pins: Vec<Pin>) -> Option<Self> {
        let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
        for certificate in CertificateDer::pem_slice_iter(pem).filter_map(Result::ok) {
            let sum = sha256(&certificate);
            if roots.add(certificate).is_ok() {
                certificates.push(sum);
            }
        }
        let provider = Arc::new(ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        Some(Self { authorities: Some(webpki.build().ok()?), certificates, ..Self::in_keys(pins) })
    }

    /// Trusts these keys, whoever vouches for them.
    pub(super) fn in_keys(pins: Vec<Pin>) -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Self { authorities: None, certificates: Vec::new(), pins, algorithms }
    }

    /// Whether a server with these certificates is trusted at `now`, in seconds since 1970. That it
    /// has the private key is not known before its signature in the handshake is verified.
    pub(super) fn verify(&self, shown: &Shown<'_>, now: i64) -> Result<(), Error> {
        let Shown { server, intermediates, name } = shown;
        let Some(certificate) = Certificate::parse(server) else {
            return Err(InvalidCertificate(CertificateError::BadEncoding));
        };
        if certificate.version != 3 {
            return Err(Distrust::Version { version: certificate.version }.into());
        }
        let is_any_key_good = self.pins.is_empty() && self.authorities.is_some();
        if !is_any_key_good && !self.pins.contains(&certificate.pin()) {
            return Err(Distrust::OtherKey { pin: certificate.pin() }.into());
        }
        let Some(authorities) = &self.authorities else { return Ok(()) };
        let verified = if self.certificates.contains(&sha256(server)) {
            verify_itself(&certificate, shown, now)
        } else {
            authorities.verify_server_cert(server, intermediates, name, &[], unix(now)).map(drop)
        };
        verified.map_err(|error| in_detail(error, &certificate, shown))
    }

    /// Whether the server has the private key of its certificate (TLS 1.2).
    pub(super) fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
            .map_err(of_handshake)
    }

    /// Whether the server has the private key of its certificate (TLS 1.3).
    pub(super) fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
            .map_err(of_handshake)
    }

    /// The signatures that can be verified.
    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Verifies a certificate that the owner trusts as it is. One without a name is the owner's word for
/// this server, whatever the name by which it is reached.
fn verify_itself(certificate: &Certificate<'_>, shown: &Shown<'_>, now: i64) -> Result<(), Error> {
    let (from, until) = certificate.validity;
    if now < from {
        let (time, not_before) = (unix(now), unix(from));
        return Err(InvalidCertificate(NotValidYetContext { time, not_before }));
    }
    if now > until {
        let (time, not_after) = (unix(now), unix(until));
        return Err(InvalidCertificate(ExpiredContext { time, not_after }));
    }
    if certificate.host_names(1).is_empty() {
        return Ok(());
    }
    verify_server_name(&ParsedCertificate::try_from(shown.server)?, shown.name)
}

/// A signature in the handshake says nothing about the authorities.
fn of_handshake(error: Error) -> Error {
    match error {
        InvalidCertificate(CertificateError::BadSignature) => Distrust::Handshake.into(),
        other => other,
    }
}
