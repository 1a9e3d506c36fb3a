//! A temporary certificate authority, for tests and demonstrations of HTTPS.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A temporary authority and the certificate that it issued for `localhost` and 127.0.0.1. All PEM.
#[derive(Debug, Clone)]
pub struct PrivateCa {
    /// The authority's certificate: what the terminal has to trust.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// The server's key.
    pub key: String,
}

/// Makes an authority and a server's certificate, good from yesterday on for a year. Its own key
/// is forgotten at once.
pub fn private_ca() -> Result<PrivateCa, Error> {
    const A_DAY: Duration = Duration::from_secs(86_400);
    let now = SystemTime::now();
    private_ca_valid(now - A_DAY, now + 365 * A_DAY)
}

/// Makes an authority, and a server's certificate that is good between two moments.
pub fn private_ca_valid(from: SystemTime, until: SystemTime) -> Result<PrivateCa, Error> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "iclock-emulator's throw-away authority");
    let ca_key = KeyPair::generate()?;
    let ca = authority.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(authority, ca_key);

    let mut server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    (server.not_before, server.not_after) = (from.into(), until.into());
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?.pem();
    Ok(PrivateCa { ca, certificate, key: key.serialize_pem() })
}
