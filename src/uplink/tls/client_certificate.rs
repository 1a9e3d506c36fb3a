//! The terminal's own certificate and its private key, for servers that want one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys};

use crate::uplink::settings::ClientCertificate;

/// The certificate with those of its issuers, and the key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads both files.
///
/// # Errors
/// A message that names the file.
pub(super) fn load(files: &ClientCertificate) -> Result<Identity, String> {
    let ClientCertificate { certificate, key } = files;
    let pem = read(certificate, "cert")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(format!(
            "[tls] cert: {} holds no certificate in PEM form",
            certificate.display()
        ));
    }
    let pem = read(key, "key")?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key(key, &pem))?;
    Ok((chain, private))
}

fn read(path: &Path, name: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path)
        .map_err(|error| format!("[tls] {name}: cannot read {}: {error}", path.display()))
}

fn no_key(path: &Path, pem: &[u8]) -> String {
    let path = path.display();
    if pem.windows(9).any(|text| text == b"ENCRYPTED") {
        return format!(
            "[tls] key: {path} is encrypted, and nobody is there to enter its password: write it \
             without one (openssl pkey -in {path} -out NEW)"
        );
    }
    format!("[tls] key: {path} holds no private key in PEM form (PKCS#8, PKCS#1 or SEC1)")
}

/// Why rustls does not take what was read.
pub(super) fn unusable(files: &ClientCertificate, error: &Error) -> String {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
            "[tls] key: {key} is not the private key of the first certificate in {certificate}: \
             take the key with which that was made"
        ),
        Error::InvalidCertificate(_) => {
            format!("[tls] cert: {certificate} cannot be used ({error})")
        }
        _ => format!(
            "[tls] key: {key} cannot be used ({error}): make one of RSA with 2048 to 4096 bits, of \
             ECDSA with P-256 or P-384, or of Ed25519"
        ),
    }
}

/// Warns if everybody on the terminal may read the key.
pub(super) fn warn_of_readers(files: &ClientCertificate) {
    const OTHERS_READ: u32 = 0o004;
    let path = &files.key;
    if std::fs::metadata(path).is_ok_and(|file| file.mode() & OTHERS_READ != 0) {
        log::warn!(
            "[tls] key: every user of this machine may read {path}: chmod o= {path}",
            path = path.display()
        );
    }
}
