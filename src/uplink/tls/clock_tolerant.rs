//! Verification of certificates on a clock that may not be set yet.
//!
//! The clock of a terminal without a battery starts in 1970, and the server sets it, over TLS. As
//! long as the clock is not set, only this is known of the time: it is not before this version was
//! made, and not before the start of a certificate that a trusted authority signed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::clock::{BUILD_TIME, ClockOffset};

/// Most intermediate certificates whose start is taken for the time.
const MOST_INTERMEDIATES: usize = 4;

/// The terminal's clock. While it is not set, the build time: the earliest possible.
#[derive(Debug)]
pub(super) struct Time(pub(super) ClockOffset);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.0.utc().max(BUILD_TIME)))
    }
}

fn unix(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs()))
}

/// webpki's verifier. While the clock is not set, it is asked again at the time at which a
/// certificate starts to be valid.
#[derive(Debug)]
pub(super) struct ClockTolerantVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    last_verified: LastVerifiedChain,
}

impl ClockTolerantVerifier {
    /// Trusts the certificates in a PEM text. `None` if it holds none.
    pub(super) fn new(pem: &[u8], last_verified: LastVerifiedChain) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        Some(Self { webpki: webpki.build().ok()?, last_verified })
    }
}

/// The certificates that were verified last. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct LastVerifiedChain(Arc<Mutex<Option<Chain>>>);

#[derive(Debug)]
struct Chain {
    webpki: Arc<WebPkiServerVerifier>,
    server: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl LastVerifiedChain {
    /// Whether the certificates are valid at this time too, in seconds since 1970. If the clock
    /// were set to a time at which they are not, every later connection would fail.
    pub(in super::super) fn is_valid_at(&self, utc: i64) -> bool {
        let chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.as_ref().is_none_or(|Chain { webpki, server, intermediates, name }| {
            webpki.verify_server_cert(server, intermediates, name, &[], unix(utc)).is_ok()
        })
    }

    fn set(&self, chain: Chain) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(chain);
    }
}

impl ServerCertVerifier for ClockTolerantVerifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        mut now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |now| self.webpki.verify_server_cert(server, intermediates, name, ocsp, now);
        let mut result = verify(now);
        let is_set = now > unix(BUILD_TIME);
        // Once for each certificate that may start later than those before it; with a limit, since
        // a stranger can send a thousand.
        for _ in 0..=intermediates.len().min(MOST_INTERMEDIATES) {
            match result {
                Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if !is_set && not_before > now => now = not_before,
                _ => break,
            }
            result = verify(now);
        }
        if result.is_ok() {
            self.last_verified.set(Chain {
                webpki: Arc::clone(&self.webpki),
                server: server.clone().into_owned(),
                intermediates: intermediates.iter().map(|it| it.clone().into_owned()).collect(),
                name: name.to_owned(),
            });
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::explain;
    use super::*;

    const A_DAY: i64 = 86_400;

    /// What is said at `now` of a certificate that is valid from `from` to `until`.
    fn verified(from: i64, until: i64, now: i64) -> Result<(), String> {
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        let made = iclock_emulator::private_ca_valid(at(from), at(until)).unwrap();
        let verifier =
            ClockTolerantVerifier::new(made.ca.as_bytes(), LastVerifiedChain::default()).unwrap();
        verify(&verifier, &made.certificate, now)
    }

    fn verify(verifier: &ClockTolerantVerifier, certificate: &str, now: i64) -> Result<(), String> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        verifier
            .verify_server_cert(&certificate, &[], &name, &[], unix(now))
            .map(drop)
            .map_err(|error| explain(&error))
    }

    #[test]
    fn a_clock_that_is_set_decides() {
        let (from, until) = (BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY);
        assert_eq!(verified(from, until, from + A_DAY), Ok(()));
        assert!(verified(from, until, from - A_DAY).unwrap_err().contains("not valid yet"));
        assert!(verified(from, until, until + A_DAY).unwrap_err().contains("expired"));
    }

    #[test]
    fn while_the_clock_is_not_set_a_certificate_from_after_the_build_is_valid() {
        assert_eq!(verified(BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY, BUILD_TIME), Ok(()));
        assert_eq!(verified(BUILD_TIME - A_DAY, BUILD_TIME + A_DAY, BUILD_TIME), Ok(()));
    }

    #[test]
    fn while_the_clock_is_not_set_a_certificate_that_expired_before_the_build_is_refused() {
        assert!(
            verified(BUILD_TIME - 9 * A_DAY, BUILD_TIME - A_DAY, BUILD_TIME)
                .unwrap_err()
                .contains("expired")
        );
    }

    #[test]
    fn while_the_clock_is_not_set_a_certificate_of_another_authority_is_refused() {
        let at = |days: i64| {
            UNIX_EPOCH + Duration::from_secs((BUILD_TIME + days * A_DAY).unsigned_abs())
        };
        let [ours, theirs] =
            [1, 2].map(|_| iclock_emulator::private_ca_valid(at(10), at(20)).unwrap());
        let verifier =
            ClockTolerantVerifier::new(ours.ca.as_bytes(), LastVerifiedChain::default()).unwrap();
        assert_eq!(verify(&verifier, &ours.certificate, BUILD_TIME), Ok(()));
        assert!(
            verify(&verifier, &theirs.certificate, BUILD_TIME).unwrap_err().contains("authority")
        );
    }

    #[test]
    fn without_a_certificate_to_trust_there_is_no_verifier() {
        assert!(ClockTolerantVerifier::new(b"", LastVerifiedChain::default()).is_none());
        assert!(
            ClockTolerantVerifier::new(
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                LastVerifiedChain::default()
            )
            .is_none()
        );
    }
}
