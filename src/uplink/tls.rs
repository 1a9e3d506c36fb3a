//! TLS: rustls with ring, trusting what the owner trusts.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where Linux systems keep the certificates of the public authorities.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Trusts the certificates in `ca` (PEM), or those of the system.
///
/// # Errors
/// Words that name the file, if it cannot be read or holds no certificate.
pub(super) fn config(ca: Option<&Path>) -> Result<TlsConfig, String> {
    let path = ca.unwrap_or(Path::new(SYSTEM_CA));
    let pem = std::fs::read(path).map_err(|error| {
        format!(
            "cannot read the certificates to trust, {}: {error}; https:// needs them, set `ca` in [tls]",
            path.display()
        )
    })?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(format!("{} holds no certificate in PEM form", path.display()));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
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
