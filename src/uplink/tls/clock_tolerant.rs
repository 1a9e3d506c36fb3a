//! Verification of certificates on a clock that may be wrong.
//!
//! The clock of a terminal without a battery starts in 1970, and others start at any time, far ahead
//! too. The server sets it, over TLS. A certificate that is valid by the clock is good. If one is not,
//! because of its dates alone, two things besides the clock are known of the time:
//!
//! - The time that this server told in an earlier exchange, counted on by a clock that nobody can
//!   set. If somebody changed the terminal's clock since, the certificate is verified at that time.
//! - A clock that shows less than the build time, or more than ten years after it, is not set. Then
//!   the time is not before this version was made, and not before the start of a certificate that a
//!   trusted authority signed: the certificate is verified at the earliest such time.
//!
//! In every other case a certificate that expired by the clock is refused: it may be stolen, and
//! nothing tells a clock that is three years ahead from one that is right.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::CertificateError::NotValidYetContext;
use rustls::Error::{self, InvalidCertificate};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::certificate::{Certificate, Shown};
use super::distrust::{is_of_dates, never_valid};
use super::times::{seconds, unix};
use super::trust::Trust;
use crate::clock::{BUILD_TIME, ClockOffset, LATEST_TIME};

/// Most intermediate certificates whose start is taken for the time.
const MOST_INTERMEDIATES: usize = 4;

/// The terminal's clock.
#[derive(Debug)]
pub(super) struct Time(pub(super) ClockOffset);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.0.utc()))
    }
}

/// Verifies certificates by the owner's [`Trust`].
#[derive(Debug)]
pub(super) struct ClockTolerantVerifier {
    trust: Arc<Trust>,
    clock: ClockOffset,
    last_verified: LastVerifiedChain,
}

impl ClockTolerantVerifier {
    pub(super) fn new(trust: Trust, clock: ClockOffset, last_verified: LastVerifiedChain) -> Self {
        Self { trust: Arc::new(trust), clock, last_verified }
    }

    fn verify(&self, shown: &Shown<'_>, now: i64) -> Result<(), Error> {
        let by_clock = match self.trust.verify(shown, now) {
            Err(error) if is_of_dates(&error) => error,
            other => return other,
        };
        if let Some(told) = self.clock.told()
            && self.trust.verify(shown, told).is_ok()
        {
            return Ok(());
        }
        match (BUILD_TIME..=LATEST_TIME).contains(&now) {
            true => Err(by_clock),
            false => self.verify_at_the_earliest(shown),
        }
    }

    /// Verifies at the build time, or at the first time after it at which no certificate of the
    /// chain is still to begin.
    fn verify_at_the_earliest(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let mut now = BUILD_TIME;
        let mut result = self.trust.verify(shown, now);
        // Once for each certificate that may start later than those before it; with a limit, since
        // a stranger can send a thousand.
        for _ in 0..=shown.intermediates.len().min(MOST_INTERMEDIATES) {
            match result {
                Err(InvalidCertificate(NotValidYetContext { not_before, .. }))
                    if seconds(not_before) > now =>
                {
                    now = seconds(not_before);
                }
                _ => break,
            }
            result = self.trust.verify(shown, now);
        }
        result.map_err(never_valid)
    }
}

/// The certificates that were verified last. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct LastVerifiedChain(Arc<Mutex<Option<Chain>>>);

#[derive(Debug)]
struct Chain {
    trust: Arc<Trust>,
    server: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl LastVerifiedChain {
    /// Whether the certificates are valid at this time too, in seconds since 1970. If the clock
    /// were set to a time at which they are not, every later connection would fail.
    pub(in super::super) fn is_valid_at(&self, utc: i64) -> bool {
        let chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.as_ref().is_none_or(|Chain { trust, server, intermediates, name }| {
            trust.verify(&Shown { server, intermediates, name }, utc).is_ok()
        })
    }

    /// What the server's certificate says, for a person; `None` before the first was verified.
    pub(in super::super) fn summary(&self) -> Option<String> {
        let chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Certificate::parse(&chain.as_ref()?.server)?.summary())
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
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(&Shown { server, intermediates, name }, seconds(now))?;
        self.last_verified.set(Chain {
            trust: Arc::clone(&self.trust),
            server: server.clone().into_owned(),
            intermediates: intermediates.iter().map(|it| it.clone().into_owned()).collect(),
            name: name.to_owned(),
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use iclock_emulator::private_ca_valid;
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::uplink::tls::explain::explain;

    const A_DAY: i64 = 86_400;

    /// What is said at `now` of a certificate that is valid from `from` to `until`.
    fn verified(from: i64, until: i64, now: i64) -> Result<(), String> {
        verified_after(ClockOffset::default(), from, until, now)
    }

    /// The same; the clock knows what the server told.
    fn verified_after(clock: ClockOffset, from: i64, until: i64, now: i64) -> Result<(), String> {
        let made = private_ca_valid(at(from), at(until)).unwrap();
        verify(&verifier(&made.ca, clock), &made.certificate, now)
    }

    fn verifier(ca: &str, clock: ClockOffset) -> ClockTolerantVerifier {
        let trust = Trust::in_certificates(ca.as_bytes(), Vec::new()).unwrap();
        ClockTolerantVerifier::new(trust, clock, LastVerifiedChain::default())
    }

    fn at(seconds: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
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
        for now in [-A_DAY, 0, BUILD_TIME - 1] {
            assert_eq!(verified(BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY, now), Ok(()));
            assert_eq!(verified(BUILD_TIME - A_DAY, BUILD_TIME + A_DAY, now), Ok(()));
        }
    }

    #[test]
    fn while_the_clock_is_not_set_a_certificate_that_expired_before_the_build_is_refused() {
        assert!(
            verified(BUILD_TIME - 9 * A_DAY, BUILD_TIME - A_DAY, 0)
                .unwrap_err()
                .contains("expired")
        );
    }

    #[test]
    fn while_the_clock_is_not_set_a_certificate_of_another_authority_is_refused() {
        let (from, until) = (at(BUILD_TIME + 10 * A_DAY), at(BUILD_TIME + 20 * A_DAY));
        let [ours, theirs] = [1, 2].map(|_| private_ca_valid(from, until).unwrap());
        let verifier = verifier(&ours.ca, ClockOffset::default());
        for now in [0, BUILD_TIME - 1, LATEST_TIME + 1] {
            assert_eq!(verify(&verifier, &ours.certificate, now), Ok(()));
            let refused = verify(&verifier, &theirs.certificate, now).unwrap_err();
            assert!(refused.contains("authority"), "{refused}");
        }
    }

    #[test]
    fn a_clock_more_than_ten_years_ahead_is_not_set() {
        let (from, until) = (BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY);
        for (now, is_accepted) in [
            (until + 1, false),
            (BUILD_TIME + 3 * 365 * A_DAY, false),
            (LATEST_TIME, false),
            (LATEST_TIME + 1, true),
            (4_102_444_799, true),
            (i64::from(u32::MAX), true),
        ] {
            let said = verified(from, until, now);
            assert_eq!(said.is_ok(), is_accepted, "{now}: {said:?}");
            assert!(is_accepted || said.unwrap_err().contains("expired"));
        }
        // What expired before this version was made is not accepted by any clock.
        let said = verified(BUILD_TIME - 20 * A_DAY, BUILD_TIME - A_DAY, LATEST_TIME + 1);
        assert!(said.unwrap_err().contains("one expired on 2026-10-31"));
        // A certificate for a hundred years needs no tolerance.
        assert_eq!(verified(BUILD_TIME, LATEST_TIME + 9 * A_DAY, LATEST_TIME + A_DAY), Ok(()));
    }

    #[test]
    fn a_certificate_that_is_trusted_itself_is_held_to_the_same_clock() {
        let (from, until) = (BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY);
        let made = private_ca_valid(at(from), at(until)).unwrap();
        let verifier = verifier(&made.certificate, ClockOffset::default());
        for (now, said) in [
            (0, None),
            (LATEST_TIME + 1, None),
            (from, None),
            (until, None),
            (from - 1, Some("not valid yet: it begins on 2026-11-11 00:00:00 UTC")),
            (until + 1, Some("expired on 2026-11-21 00:00:00 UTC")),
            (LATEST_TIME, Some("the terminal's clock shows 2036-11-01 00:00:00 UTC")),
        ] {
            let verified = verify(&verifier, &made.certificate, now);
            match said {
                None => assert_eq!(verified, Ok(()), "{now}"),
                Some(said) => assert!(verified.clone().unwrap_err().contains(said), "{verified:?}"),
            }
        }
    }

    #[test]
    fn a_clock_that_was_changed_since_the_server_told_the_time_does_not_decide() {
        let (from, until) = (BUILD_TIME + 10 * A_DAY, BUILD_TIME + 20 * A_DAY);
        let told = |utc: i64| ClockOffset::default().after_told(utc);
        for now in [from - A_DAY, until + A_DAY, until + 1000 * A_DAY] {
            assert_eq!(verified_after(told(from + A_DAY), from, until, now), Ok(()));
            // A certificate that was over at the time that the server told stays refused.
            for other in [from - A_DAY, until + A_DAY] {
                assert!(verified_after(told(other), from, until, now).is_err());
            }
        }
    }

    #[test]
    fn without_a_certificate_to_trust_there_is_no_trust() {
        for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Trust::in_certificates(pem.as_bytes(), Vec::new()).is_none());
        }
        let made = iclock_emulator::private_ca().unwrap();
        let nobody = Trust::in_keys(Vec::new());
        let verifier = ClockTolerantVerifier::new(
            nobody,
            ClockOffset::default(),
            LastVerifiedChain::default(),
        );
        for now in [0, BUILD_TIME + 30 * A_DAY, LATEST_TIME + 1] {
            assert!(verify(&verifier, &made.certificate, now).is_err());
        }
    }
}
