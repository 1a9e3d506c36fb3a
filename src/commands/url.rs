//! URLs in commands (§12.8): which of them the terminal fetches. Those at its own server, and those
//! below the URLs that its owner lists; nothing else, whatever the server sends.

use ureq_proto::http::Uri;

use crate::policy::Policy;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;

/// Where to fetch a URL: a path at the server, or a whole URL that the owner allows.
pub(super) fn locate(url: &str, server: &str, policy: &Policy) -> Result<String, Refusal> {
    let url = escaped(url.split('#').next().unwrap_or(url));
    let is_whole = ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    if is_whole {
        return allowed(&url, server, policy);
    }
    let path = url.trim_start_matches('/');
    match path.strip_prefix("iclock/").unwrap_or(path) {
        "" => Err(Refusal::parameter("the URL is empty")),
        path => Ok(format!("/iclock/{path}")),
    }
}

fn allowed(url: &str, server: &str, policy: &Policy) -> Result<String, Refusal> {
    let wrong = |why: &str| Refusal::parameter(format!("{url:?} {why}"));
    let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("has a user name in it, which is not allowed"));
    }
    let climbs = |path: &str| {
        let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%5c", "/");
        path.split('/').any(|part| part == "..")
    };
    let is_beneath = |listed: &str| {
        let Ok(listed) = listed.parse::<Uri>() else { return false };
        let directory = format!("{}/", listed.path().trim_end_matches('/'));
        origin(&listed) == origin(&uri) && uri.path().starts_with(&directory)
    };
    let is_of_server = server.parse().is_ok_and(|server: Uri| origin(&server) == origin(&uri));
    let is_listed = policy.urls.iter().any(|url| is_beneath(url)) && !climbs(uri.path());
    if is_of_server || is_listed {
        return Ok(uri.to_string());
    }
    let why = format!(
        "{url:?} is neither on the terminal's own server nor under a URL that its owner lists ([commands] urls)"
    );
    Err(Refusal::new(ReturnCode::UNSUPPORTED, why))
}

/// Scheme, host and port in the form in which they are compared.
fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// A URL whose bytes that may not be in a request line are percent-encoded.
fn escaped(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            0x21..=0x7e => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for a URL, by a terminal whose server is `http://server:8081/push`.
    fn located(url: &str) -> Result<String, i64> {
        let policy = Policy {
            urls: vec!["https://files.example/terminals/".into(), "http://[::1]:80".into()],
            ..Policy::default()
        };
        locate(url, "http://server:8081/push", &policy).map_err(|refusal| refusal.code.0)
    }

    #[test]
    fn only_the_server_and_what_is_listed_is_asked() {
        for (url, expected) in [
            ("file/fw/main.tgz", "/iclock/file/fw/main.tgz"),
            ("/iclock/x", "/iclock/x"),
            ("/x y?a=b#c", "/iclock/x%20y?a=b"),
            ("/!~|\u{7f}é", "/iclock/!~%7C%7F%C3%A9"),
            ("../x", "/iclock/../x"),
            ("http://Server:8081/any/x", "http://Server:8081/any/x"),
            ("https://files.example/terminals/a%20b", "https://files.example/terminals/a%20b"),
            ("https://FILES.example:443/terminals/x", "https://FILES.example:443/terminals/x"),
            ("http://[::1]/x", "http://[::1]/x"),
        ] {
            assert_eq!(located(url).as_deref(), Ok(expected), "{url}");
        }
        for (url, code) in [
            ("", -1),
            ("/", -1),
            ("http://", -1),
            ("http://server/x", -1002),
            ("https://server:8081/x", -1002),
            ("http://server:8081@evil/x", -1),
            ("http://user@server:8081/x", -1),
            ("http://evil/server:8081/x", -1002),
            ("https://files.example/terminalsx", -1002),
            ("https://files.example/terminals/../x", -1002),
            ("https://files.example/terminals/%2E%2e/x", -1002),
            ("https://files.example/terminals/..\\x", -1002),
            ("http://files.example/terminals/x", -1002),
            ("https://files.example.evil/terminals/x", -1002),
        ] {
            assert_eq!(located(url), Err(code), "{url}");
        }
    }
}
