//! How the server is reached.

use std::cmp::Reverse;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[cfg(feature = "tls")]
use super::pin::Pin;
use crate::clock::ClockOffset;
use crate::protocol::query::{encode_into, percent_decoded};

/// How the server is reached.
#[derive(Clone)]
pub struct Settings {
    /// Scheme, host, port and perhaps a path before `/iclock`, without a final slash. No secret is
    /// in it: it may be shown.
    pub url: String,
    /// A query that is added to the target of each request to the server, without a question mark:
    /// `token=…`. Not shown to anybody.
    pub query: Option<String>,
    /// The value of the header `Authorization` of each request to the server: `Basic …`. Not shown
    /// to anybody.
    pub authorization: Option<String>,
    /// The proxy through which every server is reached.
    pub proxy: Option<Proxy>,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for the server to take or give the next bytes.
    pub answer: Duration,
    /// Longest wait for the answer to a poll: servers hold it until they have something to say.
    pub poll: Duration,
    /// Longest time for the body of one response.
    pub body: Duration,
    /// Whether files may come from other servers by HTTPS.
    pub https_elsewhere: bool,
    /// Whom the terminal trusts by HTTPS, and by what the server knows it.
    pub tls: TlsSettings,
    /// The clock by which the dates of certificates are checked.
    pub clock_offset: ClockOffset,
}

/// An HTTP proxy: it is asked to connect (`CONNECT`) to an `https://` server, and for the whole URL
/// of an `http://` one.
#[derive(Clone)]
pub struct Proxy {
    /// Name or address. An IPv6 address has no brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The value of the header `Proxy-Authorization`: `Basic …`. Not shown to anybody.
    pub authorization: Option<String>,
}

/// Whom the terminal trusts by HTTPS, and by what the server knows it.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// A file with the certificates to trust, in PEM. Without one the system's, or only `pins`.
    pub ca: Option<PathBuf>,
    /// Keys of which the server must have one. None: any key that a trusted authority vouches for.
    #[cfg(feature = "tls")]
    pub pins: Vec<Pin>,
    /// The terminal's own certificate, for servers that want one.
    pub client: Option<ClientCertificate>,
}

/// The certificate by which a server knows the terminal.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// A file with the certificate and those of its issuers, in PEM.
    pub certificate: PathBuf,
    /// A file with its private key, in PEM.
    pub key: PathBuf,
}

/// Fewer characters are in too many texts to be hidden, and are no secret.
const SHORTEST_SECRET: usize = 4;

impl Settings {
    /// What no message may show, also where a server returns it in a redirect or an error page: the
    /// query and its values, the credentials and their passwords. The longest come first.
    pub fn secrets(&self) -> Vec<String> {
        let query = self.query.iter().flat_map(|query| {
            let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
            [&**query].into_iter().chain(values)
        });
        let decoded = |part| Some(String::from_utf8_lossy(&percent_decoded(part)?).into_owned());
        let query = query.flat_map(|part| [Some(part.to_owned()), decoded(part)]).flatten();
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref());
        let credentials = self.authorization.iter().chain(proxy);
        let credentials = credentials.filter_map(|value| value.strip_prefix("Basic "));
        let credentials = credentials.flat_map(|basic| {
            let decoded = STANDARD.decode(basic).unwrap_or_default();
            let decoded = String::from_utf8_lossy(&decoded).into_owned();
            let password = decoded.split_once(':').map(|(_, password)| password.to_owned());
            [Some(basic.to_owned()), password].into_iter().flatten()
        });
        let mut secrets: Vec<_> = query.chain(credentials).collect();
        // A server may return them as they stand in a URL.
        for nth in 0..secrets.len() {
            let mut encoded = String::new();
            encode_into(&mut encoded, &secrets[nth]);
            secrets.push(encoded);
        }
        secrets.retain(|secret| secret.chars().count() >= SHORTEST_SECRET);
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        secrets.dedup();
        secrets
    }
}

/// Without what is not shown to anybody.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, proxy, .. } = self;
        f.debug_struct("Settings").field("url", url).field("proxy", proxy).finish_non_exhaustive()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(any(test, fuzzing))]
impl Settings {
    /// For a test: a server that is given 20 seconds for everything.
    pub(crate) fn patient(url: String) -> Self {
        let time = Duration::from_secs(20);
        Self {
            url,
            query: None,
            authorization: None,
            proxy: None,
            connect: time,
            answer: time,
            poll: time,
            body: time,
            https_elsewhere: false,
            tls: TlsSettings::default(),
            clock_offset: ClockOffset::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_what_a_server_can_return() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let settings = Settings {
            query: Some("token=a%20long%7Aone&id=1".into()),
            authorization: Some(basic("me:password")),
            proxy: Some(Proxy {
                host: "proxy".into(),
                port: 1,
                authorization: Some(basic("him:pass2")),
            }),
            ..Settings::patient("http://h".into())
        };
        let expected = [
            "token=a%20long%7Aone&id=1".to_owned(),
            "token=a longzone&id=1".into(),
            STANDARD.encode("me:password"),
            "a%20long%7Aone".into(),
            "a longzone".into(),
            STANDARD.encode("him:pass2"),
            "password".into(),
            "pass2".into(),
        ];
        let secrets = settings.secrets();
        assert!(expected.iter().all(|secret| secrets.contains(secret)), "{secrets:?}");
        assert!(secrets.contains(&"a%20longzone".into()), "{secrets:?}");
        assert!(secrets.is_sorted_by_key(|secret| Reverse(secret.len())), "{secrets:?}");
        let debug = format!("{settings:?}");
        assert!(settings.secrets().iter().all(|secret| !debug.contains(secret)), "{debug}");
    }
}
