//! Which certificates are good, and when.
//!
//! A terminal without a battery begins in 1970, and it is the server that sets its clock: over
//! TLS, that is. So while the clock is not set, what is known of the time is that it cannot be
//! before this version was made, nor before a certificate that a trusted authority signed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::clock::{BUILD_TIME, ClockOffset};

/// Certificates between the server's and an authority's.
const MOST_BETWEEN: usize = 4;

/// The terminal's clock; the earliest that it can be while it is not set.
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

/// webpki; on a clock that is not set the certificates themselves say what time it is at least.
#[derive(Debug)]
pub(super) struct ClockTolerantVerifier {
    judge: Arc<WebPkiServerVerifier>,
    last_verified: LastVerifiedChain,
}

impl ClockTolerantVerifier {
    /// Trusts the certificates in a PEM text, if it has any.
    pub(super) fn new(pem: &[u8], last_verified: LastVerifiedChain) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let judge = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        Some(Self { judge: judge.build().ok()?, last_verified })
    }
}

/// What a server showed last and was believed for. It knows at which times that can be.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct LastVerifiedChain(Arc<Mutex<Option<Shown>>>);

#[derive(Debug)]
struct Shown {
    judge: Arc<WebPkiServerVerifier>,
    end: CertificateDer<'static>,
    between: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl LastVerifiedChain {
    /// Whether the certificates are good at that time too, in seconds since 1970. A server that
    /// says it is 2050 for once would otherwise never be believed again.
    pub(in super::super) fn agrees(&self, utc: i64) -> bool {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.as_ref().is_none_or(|Shown { judge, end, between, name }| {
            judge.verify_server_cert(end, between, name, &[], unix(utc)).is_ok()
        })
    }

    fn saw(&self, shown: Shown) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
    }
}

impl ServerCertVerifier for ClockTolerantVerifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        mut now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut verdict = self.judge.verify_server_cert(end, between, name, ocsp, now);
        let is_set = now > unix(BUILD_TIME);
        // Once for each certificate that may be the youngest up to there; of a stranger's thousand
        // no more than of a chain that is meant.
        for _ in 0..=between.len().min(MOST_BETWEEN) {
            match verdict {
                Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if !is_set && not_before > now => now = not_before,
                _ => break,
            }
            verdict = self.judge.verify_server_cert(end, between, name, ocsp, now);
        }
        if verdict.is_ok() {
            self.last_verified.saw(Shown {
                judge: Arc::clone(&self.judge),
                end: end.clone().into_owned(),
                between: between.iter().map(|one| one.clone().into_owned()).collect(),
                name: name.to_owned(),
            });
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::explain;
    use super::*;

    const A_DAY: i64 = 86_400;

    /// What is said at `now` of a certificate that is good from `from` to `until`.
    fn verdict(from: i64, until: i64, now: i64) -> Result<(), String> {
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        let made = iclock_emulator::private_ca_valid(at(from), at(until)).unwrap();
        let clock_tolerant =
            ClockTolerantVerifier::new(made.ca.as_bytes(), LastVerifiedChain::default()).unwrap();
        authorize(&clock_tolerant, &made.certificate, now)
    }

    fn authorize(
        clock_tolerant: &ClockTolerantVerifier,
        certificate: &str,
        now: i64,
    ) -> Result<(), String> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        clock_tolerant
            .verify_server_cert(&certificate, &[], &name, &[], unix(now))
            .map(drop)
            .map_err(|error| explain(&error))
    }

    #[test]
    fn a_clock_that_is_set_is_minded() {
        let (from, until) = (BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY);
        assert_eq!(verdict(from, until, from + A_DAY), Ok(()));
        assert!(verdict(from, until, from - A_DAY).unwrap_err().contains("not valid yet"));
        assert!(verdict(from, until, until + A_DAY).unwrap_err().contains("expired"));
    }

    #[test]
    fn a_clock_that_is_not_set_takes_a_certificate_of_after_this_version() {
        assert_eq!(verdict(BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY, BUILD_TIME), Ok(()));
        assert_eq!(verdict(BUILD_TIME - A_DAY, BUILD_TIME + A_DAY, BUILD_TIME), Ok(()));
    }

    #[test]
    fn a_clock_that_is_not_set_takes_nothing_that_had_expired_before_this_version() {
        assert!(
            verdict(BUILD_TIME - 9 * A_DAY, BUILD_TIME - A_DAY, BUILD_TIME)
                .unwrap_err()
                .contains("expired")
        );
    }

    #[test]
    fn a_clock_that_is_not_set_trusts_no_stranger() {
        let at = |days: i64| {
            UNIX_EPOCH + Duration::from_secs((BUILD_TIME + days * A_DAY).unsigned_abs())
        };
        let [ours, theirs] =
            [1, 2].map(|_| iclock_emulator::private_ca_valid(at(10), at(20)).unwrap());
        let clock_tolerant =
            ClockTolerantVerifier::new(ours.ca.as_bytes(), LastVerifiedChain::default()).unwrap();
        assert_eq!(authorize(&clock_tolerant, &ours.certificate, BUILD_TIME), Ok(()));
        assert!(
            authorize(&clock_tolerant, &theirs.certificate, BUILD_TIME)
                .unwrap_err()
                .contains("authority")
        );
    }

    #[test]
    fn without_a_certificate_to_trust_it_does_not_begin() {
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
