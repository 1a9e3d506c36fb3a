//! Why a certificate of a server is refused, where rustls does not say enough for a person.

use std::fmt;
use std::sync::Arc;

use rustls::CertificateError::{
    BadSignature, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYetContext,
    Other, UnknownIssuer,
};
use rustls::Error::InvalidCertificate;
use rustls::{CertificateError, Error, OtherError};

use super::certificate::{Certificate, Shown, common_name};
use super::times::{seconds, utc};
use crate::clock::BUILD_TIME;
use crate::uplink::pin::Pin;

/// Most names of a certificate that a message lists.
const MOST_NAMES: usize = 4;
/// Most certificates of a chain that are followed to its end.
const LONGEST_CHAIN: usize = 8;
/// What webpki says of an authority's certificate that a server shows as its own.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// Why a certificate is refused.
#[derive(Debug)]
pub(super) enum Distrust {
    /// It is signed by its own key, and nobody trusts it.
    SelfSigned { pin: Pin },
    /// The chain ends at an authority that is not trusted, whose own certificate the server sent.
    UnknownRoot { root: String },
    /// The chain ends at a certificate whose issuer is not there.
    UnknownIssuer { issuer: String },
    /// It is signed by another key than that of its issuer.
    OtherSigner { issuer: String },
    /// Its key is another than the pinned ones.
    OtherKey { pin: Pin },
    /// It is for other names, of which these are some.
    OtherName { expected: String, names: Vec<String>, are_all: bool },
    /// It has no subjectAltName with a host.
    NoName { expected: String, common_name: String },
    /// It is an authority's certificate, issued by another authority.
    Authority,
    /// It is of another version than 3.
    Version { version: u8 },
    /// At no time since the build were all certificates of the chain valid: one had expired.
    NeverValid { not_after: i64 },
    /// The signature in the handshake is not by its key.
    Handshake,
}

/// An error of webpki, in more detail if there is more to say.
pub(super) fn in_detail(error: Error, certificate: &Certificate<'_>, shown: &Shown<'_>) -> Error {
    let InvalidCertificate(what) = &error else { return error };
    let is_ca = matches!(what, Other(OtherError(why)) if why.to_string() == CA_AS_SERVER);
    let expected = || shown.name.to_str().into_owned();
    match what {
        UnknownIssuer => unknown_issuer(certificate, shown).into(),
        _ if is_ca && certificate.is_self_issued() => unknown_issuer(certificate, shown).into(),
        _ if is_ca => Distrust::Authority.into(),
        BadSignature => Distrust::OtherSigner { issuer: common_name(certificate.issuer) }.into(),
        NotValidForName | NotValidForNameContext { .. } => {
            let mut names = certificate.host_names(MOST_NAMES + 1);
            let are_all = names.len() <= MOST_NAMES;
            names.truncate(MOST_NAMES);
            if names.is_empty() {
                let common_name = common_name(certificate.subject);
                return Distrust::NoName { expected: expected(), common_name }.into();
            }
            Distrust::OtherName { expected: expected(), names, are_all }.into()
        }
        _ => error,
    }
}

/// What is missing in a chain that leads to no trusted authority.
fn unknown_issuer(certificate: &Certificate<'_>, shown: &Shown<'_>) -> Distrust {
    let (subject, mut issuer) = (certificate.subject, certificate.issuer);
    if subject == issuer {
        return Distrust::SelfSigned { pin: certificate.pin() };
    }
    let sent = || shown.intermediates.iter().take(LONGEST_CHAIN);
    for _ in 0..LONGEST_CHAIN {
        let next = sent().filter_map(|der| Certificate::parse(der)).find(|it| it.subject == issuer);
        match next {
            Some(root) if root.is_self_issued() => {
                return Distrust::UnknownRoot { root: common_name(issuer) };
            }
            Some(next) => issuer = next.issuer,
            None => break,
        }
    }
    Distrust::UnknownIssuer { issuer: common_name(issuer) }
}

/// Whether the dates of a certificate are the reason.
pub(super) fn is_of_dates(error: &Error) -> bool {
    matches!(error, InvalidCertificate(ExpiredContext { .. } | NotValidYetContext { .. }))
}

/// The reason, if a certificate that expired is the reason and the terminal's clock shows no time
/// that could be right.
pub(super) fn never_valid(error: Error) -> Error {
    match error {
        InvalidCertificate(ExpiredContext { not_after, .. }) => {
            Distrust::NeverValid { not_after: seconds(not_after) }.into()
        }
        other => other,
    }
}

impl From<Distrust> for Error {
    fn from(distrust: Distrust) -> Self {
        InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))))
    }
}

impl std::error::Error for Distrust {}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned { pin } => write!(
                f,
                "its certificate is self-signed and not in `ca` of [tls]: copy the certificate from \
                 the server into a file and set `ca` to it, or set pin = \"{pin}\" if that is the \
                 pin of the server's key"
            ),
            Self::UnknownRoot { root } => write!(
                f,
                "its certificate is from the authority {root:?}, which this terminal does not \
                 trust: put the certificate of that authority into the file of `ca` in [tls]"
            ),
            Self::UnknownIssuer { issuer } => write!(
                f,
                "its certificate is issued by {issuer:?}, which is no authority that this terminal \
                 trusts, and the server sends no certificate of {issuer:?}: let the server send its \
                 whole chain, with all intermediate certificates, or put the certificate of \
                 {issuer:?} into the file of `ca` in [tls]"
            ),
            Self::OtherSigner { issuer } => write!(
                f,
                "its certificate names the authority {issuer:?}, but is not signed by the key of \
                 the certificate of that name that is there: if {issuer:?} has a new key, put its \
                 new certificate into the file of `ca` in [tls]"
            ),
            Self::OtherKey { pin } => write!(
                f,
                "its key is not the one in `pin` of [tls]: it has pin = \"{pin}\". If the server has \
                 a new key, set that; otherwise another machine answers in its place"
            ),
            Self::OtherName { expected, names, are_all } => {
                let end = if *are_all { "" } else { ", …" };
                write!(
                    f,
                    "its certificate is for {names}{end}, not for {expected}: set `server` to a \
                     name in the certificate, or give the server one with {expected} in its \
                     subjectAltName",
                    names = names.join(", ")
                )
            }
            Self::NoName { expected, common_name } => write!(
                f,
                "its certificate has no subjectAltName, and its common name (CN), {common_name:?}, \
                 does not count: give the server a certificate with {expected} as subjectAltName, \
                 or put this one itself into the file of `ca` in [tls]"
            ),
            Self::Authority => f.write_str(
                "its certificate is that of an authority (CA:TRUE), not that of a server: give the \
                 server one with CA:FALSE, or put this one itself into the file of `ca` in [tls]",
            ),
            Self::Version { version } => write!(
                f,
                "its certificate is of X.509 version {version}, which TLS no longer accepts: make a \
                 new one of version 3, for example with `openssl req -x509`"
            ),
            Self::NeverValid { not_after } => write!(
                f,
                "its certificates were at no time valid together since this version of punchd was \
                 built ({}): one expired on {}. Renew it at the server",
                utc(BUILD_TIME),
                utc(*not_after)
            ),
            Self::Handshake => f.write_str(
                "its handshake is not signed by the key of its certificate, or that is an RSA key \
                 of less than 2048 bits: give the server a certificate with a longer key",
            ),
        }
    }
}
