//! Addresses that may hold a secret: the server's URL, with a token in its query or with a user and
//! a password, and the proxy's.
//!
//! The secrets are taken out when the file is read. No message holds them, not even one about a
//! value that cannot be used: [`shown`] is an address without them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq_proto::http::Uri;

use crate::protocol::query::percent_decoded;

/// The server's URL, and what each request carries besides.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// Scheme, host, port and the path before `/iclock`, without a final slash.
    pub(crate) url: String,
    /// The query that is added to each request, without its question mark.
    pub(crate) query: Option<String>,
    /// The value of the header `Authorization`.
    pub(crate) authorization: Option<String>,
}

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProxyAddress {
    /// Name or address; an IPv6 address has no brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of the header `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl ServerAddress {
    /// Host and port; an IPv6 address has no brackets.
    pub(crate) fn host_and_port(&self) -> (String, u16) {
        let uri: Uri = self.url.parse().unwrap_or_default();
        let port = if self.url.starts_with("https:") { 443 } else { 80 };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        (host, uri.port_u16().unwrap_or(port))
    }

    /// Reads `server`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("server {:?} {why}", shown(text));
        let parts = Parts::of(text);
        if !matches!(&*parts.scheme, "http" | "https") {
            return Err(wrong(
                "does not start with http:// or https://; it looks like http://192.168.1.10:8081",
            ));
        }
        parts.check().map_err(|why| wrong(&why))?;
        Ok(Self {
            url: parts.url().trim_end_matches('/').to_owned(),
            query: parts.query.filter(|query| !query.is_empty()).map(str::to_owned),
            authorization: parts.authorization().map_err(|why| wrong(&why))?,
        })
    }
}

impl ProxyAddress {
    /// Reads `url` of `[proxy]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("[proxy] url {:?} {why}", shown(text));
        let parts = Parts::of(text);
        if parts.scheme == "https" {
            return Err(wrong(
                "is https://: the terminal speaks http:// to a proxy, also when the server is https://",
            ));
        }
        if parts.scheme != "http" {
            return Err(wrong("does not start with http://; it looks like http://proxy:3128"));
        }
        if parts.query.is_some() || !matches!(parts.path, "" | "/") {
            return Err(wrong("goes on after host and port"));
        }
        parts.check().map_err(|why| wrong(&why))?;
        let uri: Uri = parts.url().parse().map_err(|_| wrong("is not a URL"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().ok_or_else(|| wrong("names no port, such as :3128"))?;
        let authorization = parts.authorization().map_err(|why| wrong(&why))?;
        Ok(Self { host, port, authorization })
    }
}

/// A URL, cut into its parts.
struct Parts<'a> {
    /// In lower case.
    scheme: String,
    /// What is before the `@`.
    user: Option<&'a str>,
    /// Host and port.
    host: &'a str,
    /// From its slash on.
    path: &'a str,
    /// What is after the question mark.
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let scheme = scheme.to_ascii_lowercase();
        Self { scheme, user, host, path, query }
    }

    /// Without user and query.
    fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }

    fn check(&self) -> Result<(), String> {
        if self.path.contains('@') {
            return Err("has a / before its @: write %2F for a / in user or password".into());
        }
        if self.host.is_empty() {
            return Err("names no host".into());
        }
        let uri: Uri = self.url().parse().map_err(|error| {
            format!("is not a URL ({error}); it looks like http://192.168.1.10:8081")
        })?;
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return Err("names no host".into());
        };
        // The URL parser ignores a port that is not a number of a port.
        let port = self.host.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
        if port.is_some_and(|port| !matches!(port.parse(), Ok(1..=u16::MAX))) {
            return Err("has a port that is not within 1 to 65535".into());
        }
        let is_written = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if self.path.contains('#') || !self.query.unwrap_or_default().bytes().all(is_written) {
            return Err(
                "has a blank, a # or another character that a URL does not hold: write it \
                        as % and two hexadecimal digits"
                    .into(),
            );
        }
        Ok(())
    }

    /// `Basic` authorization of user and password, if there are any.
    fn authorization(&self) -> Result<Option<String>, String> {
        let Some(user) = self.user else { return Ok(None) };
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let decode = |what: &str, text: &str| {
            let wrong = |why: &str| format!("has a {what} that {why}");
            let bytes = percent_decoded(text).ok_or_else(|| {
                wrong("has a % without two hexadecimal digits; write %25 for a %")
            })?;
            match bytes.iter().any(u8::is_ascii_control) {
                true => Err(wrong("has a control character")),
                false => Ok(bytes),
            }
        };
        let (user, password) = (decode("user", user)?, decode("password", password)?);
        if user.contains(&b':') {
            return Err("has a user with a colon, which Basic authentication does not allow".into());
        }
        Ok(Some(format!("Basic {}", STANDARD.encode([&user[..], b":", &password[..]].concat()))))
    }
}

/// An address for a message: `…` is in place of what can be a secret.
fn shown(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    if query.is_some_and(|query| query.contains('@')) {
        return format!("{scheme}…"); // The ? may stand in a password.
    }
    let host = match before.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => before.to_owned(),
    };
    format!("{scheme}{host}{}", if query.is_some() { "?…" } else { "" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::masked::masked;

    proptest! {
        /// Whatever is wrong with the address: the message has no secret of it.
        #[test]
        fn no_message_holds_a_secret(
            scheme in prop_oneof!["", "http://", "https://", "ftp://", "http:/"],
            marks in "[ -~]{0,4}",
            host in "[a-z0-9.:\\[\\]#]{0,6}",
            query in prop_oneof!["", "\\?t=GEHEIM7", "/\\?GEHEIM7[ -~]{0,3}"],
        ) {
            let text = format!("{scheme}me:GEHEIM7{marks}@{host}{query}");
            for refused in [ServerAddress::parse(&text).err(), ProxyAddress::parse(&text).err()] {
                let refused = refused.unwrap_or_default();
                prop_assert!(!refused.contains("GEHEIM7"), "{text}: {refused}");
            }
            if let Ok(address) = ServerAddress::parse(&text) {
                let shown = format!("{} {address:?}", address.url);
                prop_assert!(!shown.contains("GEHEIM7"), "{text}: {shown}");
            }
            let line = format!("server = \"{text}\"");
            prop_assert!(!masked(&line).contains("GEHEIM7"));
        }
    }

    fn server(text: &str) -> (String, Option<String>, Option<String>) {
        let ServerAddress { url, query, authorization } = ServerAddress::parse(text).unwrap();
        (url, query, authorization)
    }

    fn basic(text: &str) -> Option<String> {
        Some(format!("Basic {}", STANDARD.encode(text)))
    }

    #[test]
    fn query_user_and_password_are_taken_out_of_the_url() {
        let some = |text: &str| Some(text.to_owned());
        for (text, url, query, authorization) in [
            ("http://h", "http://h", None, None),
            ("http://h:81/push/", "http://h:81/push", None, None),
            ("HTTPS://h/?", "https://h", None, None),
            ("http://h?token=a%20b", "http://h", some("token=a%20b"), None),
            ("http://h/x/?a=/?b&c=d@e", "http://h/x", some("a=/?b&c=d@e"), None),
            ("http://me:pw@h", "http://h", None, basic("me:pw")),
            ("http://me@h:81", "http://h:81", None, basic("me:")),
            ("http://me:p@:w@h", "http://h", None, basic("me:p@:w")),
            (
                "http://m%40e:%3A%2f%c3%a9@[fd00::1]:81/?t=1",
                "http://[fd00::1]:81",
                some("t=1"),
                basic("m@e::/é"),
            ),
            ("http://:@h", "http://h", None, basic(":")),
        ] {
            assert_eq!(server(text), (url.to_owned(), query, authorization), "{text}");
        }
    }

    #[test]
    fn a_proxy_has_host_and_port_and_perhaps_a_user() {
        for (text, host, port, authorization) in [
            ("http://proxy:3128", "proxy", 3128, None),
            ("http://proxy:3128/", "proxy", 3128, None),
            ("http://[fd00::1]:80", "fd00::1", 80, None),
            ("http://me:p%20w@10.0.0.1:8080", "10.0.0.1", 8080, basic("me:p w")),
        ] {
            let proxy = ProxyAddress::parse(text).unwrap();
            assert_eq!(
                (&*proxy.host, proxy.port, proxy.authorization),
                (host, port, authorization)
            );
        }
        for (text, message) in [
            ("proxy:3128", "does not start with http://; it looks like http://proxy:3128"),
            ("https://proxy:3128", "the terminal speaks http:// to a proxy"),
            ("socks5://proxy:1080", "does not start with http://"),
            ("http://proxy", "names no port, such as :3128"),
            ("http://:3128", "no host"),
            ("http://proxy:0", "not within 1 to 65535"),
            ("http://proxy:3128/path", "goes on after host and port"),
            ("http://proxy:3128?x", "goes on after host and port"),
            ("http://a:%zz@proxy:3128", "has a password that has a % without"),
        ] {
            let refused = ProxyAddress::parse(text).unwrap_err();
            assert!(refused.starts_with("[proxy] url \""), "{refused}");
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_refused_is_named_without_its_secrets() {
        for (text, message) in [
            ("h:80", "server \"h:80\" does not start with http:// or https://"),
            ("me:SECRET@h:80", "server \"…@h:80\" does not start with"),
            ("h/?token=SECRET", "server \"h/?…\" does not start with"),
            ("ftp://me:SECRET@h", "server \"ftp://…@h\" does not start with"),
            ("http://", "no host"),
            ("http://me:SECRET@", "no host"),
            ("http://me:SECRET@h:0", "server \"http://…@h:0\" has a port that is not within"),
            ("http://me:SECRET@h:99999", "port"),
            ("http://me:SECRET%@h", "has a password that has a % without two hexadecimal digits"),
            ("http://SECRET%0a:x@h", "has a user that has a control character"),
            ("http://SEC%3aRET:x@h", "has a user with a colon"),
            ("http://me:SE/CRET@h", "write %2F for a / in user or password"),
            ("http://me:SE?CRET@h", "\"http://…\""),
            ("http://h/?a=SECRET b", "has a blank"),
            ("http://h/?a=SECRETé", "another character"),
            ("http://h/?a=SECRET#b", "a #"),
            ("http://h/x#b", "a #"),
            ("http://me:SECRET@h\u{7}/", "is not a URL"),
        ] {
            let refused = ServerAddress::parse(text).unwrap_err();
            assert!(refused.contains(message), "{text}: {refused}");
            for part in ["SECRET", "SE?", "CRET"] {
                assert!(!refused.contains(part), "{text}: {refused}");
            }
        }
    }

    #[test]
    fn debug_output_has_no_secret() {
        let debug = format!("{:?}", ServerAddress::parse("http://a:SECRET@h/?t=SECRET").unwrap());
        assert_eq!(debug, "http://h");
        let debug = format!("{:?}", ProxyAddress::parse("http://a:SECRET@h:1").unwrap());
        assert_eq!(debug, "h:1");
    }
}
