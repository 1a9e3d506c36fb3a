//! Why TLS failed, for the person who has to mend it.

use rustls::CertificateError::{
    Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidYet,
    NotValidYetContext, Other, UnsupportedSignatureAlgorithmContext,
    UnsupportedSignatureAlgorithmForPublicKeyContext,
};
use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use super::distrust::Distrust;
use super::times::{seconds, utc};

/// A message that follows the server's address.
pub(in super::super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(why) => of_incompatible(why),
        Error::InvalidMessage(_) => {
            "it does not speak TLS: is `server` to begin with http://, or is it another port?"
                .into()
        }
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => format!(
            "its TLS is faulty ({error}): does a firewall or a proxy between change the connection?"
        ),
        other => format!("TLS failed: {other}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        Other(OtherError(why)) if why.is::<Distrust>() => why.to_string(),
        ExpiredContext { time, not_after } => format!(
            "its certificate expired on {}, and the terminal's clock shows {}: renew the \
             certificate at the server, or correct the clock if it is wrong",
            utc(seconds(*not_after)),
            utc(seconds(*time))
        ),
        NotValidYetContext { time, not_before } => format!(
            "its certificate is not valid yet: it begins on {}, and the terminal's clock shows {}. \
             Correct the clock that is wrong, the terminal's or that of the machine which made the \
             certificate",
            utc(seconds(*not_before)),
            utc(seconds(*time))
        ),
        Expired | NotValidYet => "the dates in its certificate make no sense: renew it".into(),
        InvalidPurpose | InvalidPurposeContext { .. } => {
            "its certificate is not for servers: give it one with extendedKeyUsage = serverAuth"
                .into()
        }
        UnsupportedSignatureAlgorithmContext { .. }
        | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed in a way that is not supported, SHA-1 for example: give it \
             one that is signed with SHA-256"
                .into()
        }
        other => format!("its certificate cannot be used: {other}"),
    }
}

/// What the server says before it closes the connection.
fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    let why = match alert {
        Alert::ProtocolVersion => {
            "it speaks only old versions of TLS: let it speak TLS 1.2 or 1.3".into()
        }
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "it has no cipher suite in common with the terminal, or wants a certificate of the \
             terminal. Let it speak TLS 1.2 or 1.3 with ECDHE and AES-GCM or ChaCha20 (RSA key \
             exchange is not supported), or set `cert` and `key` in [tls]"
                .into()
        }
        Alert::CertificateRequired => {
            "it wants a certificate of the terminal (client certificate): set `cert` and `key` in \
             [tls]"
                .into()
        }
        Alert::UnknownCA => {
            "it does not trust the authority of the terminal's certificate (`cert` in [tls]): add \
             that authority at the server, or set another certificate"
                .into()
        }
        Alert::CertificateExpired => {
            "the terminal's certificate (`cert` in [tls]) has expired, or the server's clock is \
             wrong: renew the certificate"
                .into()
        }
        Alert::CertificateRevoked => {
            "the terminal's certificate (`cert` in [tls]) was revoked: set another one".into()
        }
        Alert::BadCertificate
        | Alert::NoCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError => {
            "it does not accept the terminal's certificate, or that there is none: set `cert` and \
             `key` in [tls] to what the server wants"
                .into()
        }
        Alert::UnrecognisedName => {
            "it does not know the host name in `server`: set `server` to a name that it is set up \
             for"
            .into()
        }
        _ => "look into the server's log".to_owned(),
    };
    format!("it refused TLS ({}): {why}", name_of(alert))
}

/// The name as the standard writes it, such as `handshake_failure`.
fn name_of(alert: AlertDescription) -> String {
    let Some(name) = alert.as_str() else { return format!("alert {}", u8::from(alert)) };
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && text.ends_with(|last: char| last.is_ascii_lowercase()) {
            text.push('_');
        }
        text.push(letter);
    }
    text.to_ascii_lowercase().replace("recognised", "recognized")
}

fn of_incompatible(why: &PeerIncompatible) -> String {
    use PeerIncompatible as It;
    match why {
        It::ServerDoesNotSupportTls12Or13
        | It::ServerTlsVersionIsDisabledByOurConfig
        | It::Tls12NotOffered
        | It::Tls12NotOfferedOrEnabled => {
            "it speaks only old versions of TLS: let it speak TLS 1.2 or 1.3".into()
        }
        It::NoCipherSuitesInCommon | It::NoKxGroupsInCommon | It::NoSignatureSchemesInCommon => {
            "it has no cipher suite in common with the terminal: let it speak TLS 1.2 or 1.3 with \
             ECDHE and AES-GCM or ChaCha20"
                .into()
        }
        It::NoCertificateRequestSignatureSchemesInCommon => {
            "it accepts no signature by the terminal's key (`key` in [tls]): take a key of ECDSA \
             with P-256, or of RSA with 2048 bits"
                .into()
        }
        other => format!("it speaks another kind of TLS ({other:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_is_named_as_in_the_standard() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::UnrecognisedName, "unrecognized_name"),
            (AlertDescription::Unknown(241), "alert 241"),
        ] {
            assert_eq!(name_of(alert), name);
        }
        for number in 0..=u8::MAX {
            let said = explain(&Error::AlertReceived(AlertDescription::from(number)));
            assert!(said.starts_with("it refused TLS ("), "{said}");
        }
    }
}
