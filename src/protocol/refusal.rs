//! What to say to a person about an answer that is neither an acknowledgement nor the content that
//! was expected: what the server answered, and what to change.

use super::{foreign, text};
use crate::protocol::query::path_of;

/// Most characters of the server's own text that are shown.
const SHOWN: usize = 120;
/// Most bytes of a body in which a text is looked for.
const SEARCHED: usize = 4096;

/// An answer, as far as its meaning depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status code of HTTP.
    pub status: u16,
    /// The first bytes of the body.
    pub body: &'a [u8],
    /// The path that was asked for, if it is known.
    pub path: Option<&'a str>,
    /// Where the server redirects to.
    pub redirect: Option<&'a Redirect>,
    /// `Content-Encoding`: the terminal asks for none.
    pub coding: Option<&'a str>,
    /// Host and port of the proxy that was asked, if one was.
    pub proxy: Option<&'a str>,
    /// It answers an upload, at an address where the handshake was answered well.
    pub wants_ok: bool,
    /// What no message may show: secrets of the configuration, which a server may return.
    pub secrets: &'a [String],
}

/// Where a server redirects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `Location`, as it came.
    pub location: String,
    /// Where that is.
    pub to: Target,
}

/// Where a redirect leads, seen from the address that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the same URL, but for the query.
    Itself,
    /// To another URL of the host.
    SameHost,
    /// To another host.
    OtherHost,
}

impl<'a> Answer<'a> {
    /// An answer of which no more is known.
    pub fn new(status: u16, body: &'a [u8]) -> Self {
        Self {
            status,
            body,
            path: None,
            redirect: None,
            coding: None,
            proxy: None,
            wants_ok: false,
            secrets: &[],
        }
    }

    /// What is wrong with it, and what to change.
    pub fn refusal(&self) -> String {
        let (status, at) = (self.status, self.at());
        let text = self.quoted_after(": ");
        match status {
            200..=299 => self.refusal_by_text(),
            300..=399 => self.redirection(),
            400 if self.wants_tls() => format!(
                "the server answered with status 400{at}{text}: `server` is to begin with https://"
            ),
            401 => format!(
                "the server does not accept this terminal (status 401{text}): register its serial \
                 number at the server; if it wants a user and a password, write them into `server` \
                 (http://user:password@host), or correct those that are there"
            ),
            403 => format!(
                "the server does not accept this terminal (status 403{text}): register its serial \
                 number at the server"
            ),
            404 => format!(
                "the server does not know the path {} (status 404{text}): is `server` the right address \
                 and port, without /iclock at its end?",
                self.path.unwrap_or("that was asked for")
            ),
            407 => format!(
                "{} wants a password (status 407{text}): write user and password into url of [proxy] \
                 (http://user:password@proxy:3128), correct those that are there, or let the proxy pass \
                 the terminal without",
                match self.proxy {
                    Some(proxy) => format!("the proxy {proxy}"),
                    None => "a proxy between the terminal and the server".into(),
                }
            ),
            413 => format!(
                "the server finds the request{at} too large (status 413{text}): requests are made \
                 smaller; if this goes on, set post_bytes in [limits] below the server's limit"
            ),
            429 => format!(
                "the server answered with status 429{at}{text}: it gets too many requests, from all \
                 terminals or from others; the terminal waits as long as it asks for"
            ),
            500 => format!(
                "the server answered with status 500{at}{text}: its own log says what failed there"
            ),
            502..=504 => format!(
                "the server answered with status {status}{at}{text}: the program behind it does not \
                 run, or is too slow"
            ),
            _ => format!("the server answered with status {status}{at}{text}: see its own log"),
        }
    }

    /// What is wrong with it, where it refuses a row and others are taken: the terminal is known, so
    /// what refuses the row may be a firewall.
    pub fn refusal_of_row(&self) -> String {
        let status = self.status;
        let text = self.quoted_after(": ");
        match status {
            200..=299 if is_not_known(self.status, &self.text()) => {
                format!("the server answered{}", self.quoted_after(" "))
            }
            401 | 403 => format!(
                "the row was refused with status {status}{text}: a firewall before the server may be the \
                 cause"
            ),
            _ => self.refusal(),
        }
    }

    /// A 2xx whose body is not what was expected.
    fn refusal_by_text(&self) -> String {
        let (text, at) = (self.text(), self.at());
        let text = text.trim_start_matches(foreign::BYTE_ORDER_MARK).trim_start();
        if let Some(coding) = self.compression() {
            return format!(
                "the server answered{at} in {coding}, which the terminal did not ask for: turn \
                 compression off at the server or at the proxy before it"
            );
        }
        let quoted = quote(text.lines().next().unwrap_or_default());
        let is_json = text.starts_with(['{', '[']);
        // The handshake was answered well at this address.
        let advice = |of_handshake| match self.wants_ok {
            true => "rows count only after OK: correct the server's answer to this POST",
            false => of_handshake,
        };
        if text.is_empty() {
            return format!(
                "the server answered{at} with an empty body: {}",
                advice(
                    "is `server` the address for terminals, and does the server know this terminal?"
                )
            );
        }
        if text.starts_with('<') {
            return format!(
                "the server answered{at} with a web page{}: is there a login page or another program at \
                 this address?",
                self.quoted_after(" ")
            );
        }
        if is_json {
            return format!(
                "the server answered{at} in JSON ({quoted}): {}",
                advice("set `server` to its address for terminals; this one is for other programs")
            );
        }
        if is_not_known(self.status, text) {
            return format!(
                "the server does not know this terminal ({quoted}): register its serial number at the \
                 server"
            );
        }
        format!("the server answered{at} with {quoted}, not as the protocol wants: see its own log")
    }

    /// Where it was asked, ` at /iclock/cdata`.
    fn at(&self) -> String {
        self.path.map(|path| format!(" at {path}")).unwrap_or_default()
    }

    fn redirection(&self) -> String {
        let (status, at) = (self.status, self.at());
        let Some(Redirect { location, to }) = self.redirect else {
            return format!(
                "the server redirects{at} (status {status}) and does not say where to: set `server` to \
                 the address it moved to, often https:// in place of http://"
            );
        };
        // The query of a login page names the page that was asked for.
        let is_for_terminals = path_of(location).to_ascii_lowercase().contains("/iclock");
        let location = quote(&self.without_secrets(location));
        if *to == Target::Itself {
            return format!(
                "the server redirects{at} to the same address, {location} (status {status}): it may \
                 want a login, or cookies: is `server` the address for terminals?"
            );
        }
        if *to == Target::OtherHost {
            return format!(
                "the server redirects{at} to another host, {location} (status {status}): if that is a \
                 login page of the network, let the terminal pass without it; if the server moved, set \
                 `server` to its new address"
            );
        }
        if !is_for_terminals {
            return format!(
                "the server redirects{at} to {location} (status {status}), which is for people: is \
                 `server` the address for terminals, and does the network want a login?"
            );
        }
        format!(
            "the server redirects{at} to {location} (status {status}): set `server` to that address, \
             without /iclock and what follows it"
        )
    }

    /// Whether a web server says that its port is for TLS: several do, each with a text of its own.
    fn wants_tls(&self) -> bool {
        let text = self.text().to_ascii_lowercase();
        ["https", "ssl"].iter().any(|name| text.contains(name))
    }

    /// How the body is compressed, if it is.
    pub(super) fn compression(&self) -> Option<String> {
        let named = self.coding.filter(|coding| !coding.eq_ignore_ascii_case("identity"));
        // The magic number, also where the second byte was replaced because it is no UTF-8.
        let is_gzip =
            self.body.starts_with(b"\x1f\x8b") || self.body.starts_with(b"\x1f\xef\xbf\xbd");
        named.map(quote).or_else(|| is_gzip.then(|| "gzip".into()))
    }

    /// The first line of text of the body after `separator`; nothing if there is none.
    fn quoted_after(&self, separator: &str) -> String {
        let text = self.text();
        let text = text.trim_start_matches(foreign::BYTE_ORDER_MARK).trim_start();
        let line = if text.starts_with('<') {
            text_of_page(text)
        } else {
            text.lines().next().unwrap_or_default().to_owned()
        };
        if line.trim().is_empty() { String::new() } else { format!("{separator}{}", quote(&line)) }
    }

    /// The first part of the body.
    fn text(&self) -> String {
        self.without_secrets(&text::decode_for_log(&self.body[..self.body.len().min(SEARCHED)]))
    }

    /// `text` with `…` in place of each secret.
    pub fn without_secrets(&self, text: &str) -> String {
        foreign::without_secrets(text, self.secrets)
    }
}

/// Whether an answer says that the server does not know the terminal. With an error status, other
/// unknown things are meant: a column of the database, a person.
pub(super) fn is_not_known(status: u16, text: &str) -> bool {
    const DENIES: [&str; 4] =
        ["not authorized", "not authorised", "not registered", "device not exist"];
    let text = text.trim_start_matches(foreign::BYTE_ORDER_MARK).trim().to_lowercase();
    let unknown = if (200..300).contains(&status) { "unknown" } else { "unknown device" };
    text.starts_with(unknown) || DENIES.iter().any(|part| text.contains(part))
}

/// Text of the server in quotes: one line, bounded, without characters that move a cursor.
fn quote(text: &str) -> String {
    let text = text.trim();
    let shown = text.chars().take(SHOWN).map(|c| match c {
        c if foreign::is_hidden(c) || c == char::REPLACEMENT_CHARACTER => '.',
        c => c,
    });
    format!("{:?}", shown.collect::<String>())
}

/// The title of a web page, else the first text that it shows.
fn text_of_page(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let after_title = lower.find("<title").and_then(|at| Some(at + lower[at..].find('>')? + 1));
    if let Some(begin) = after_title {
        let end = lower[begin..].find('<').map_or(page.len(), |at| begin + at);
        return one_line(&page[begin..end]);
    }
    let texts = page.split('<').filter_map(|part| part.split_once('>'));
    let shown = texts.map(|(_, text)| one_line(text)).find(|text| !text.is_empty());
    shown.unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_to_change() {
        let elsewhere =
            Redirect { location: "http://login.wifi.example/?u=1".into(), to: Target::OtherHost };
        let to_https = Redirect { location: "https://server/iclock".into(), to: Target::SameHost };
        let answer = Answer::new;
        let cases: [(Answer<'_>, &[&str]); 21] = [
            (answer(200, b"UNKNOWN DEVICE"), &["\"UNKNOWN DEVICE\"", "register its serial number"]),
            (answer(401, b""), &["status 401", "register its serial number"]),
            (answer(403, b"go away"), &["status 403", "\"go away\""]),
            (answer(200, b""), &["empty body", "`server`"]),
            (
                Answer { path: Some("/iclock/cdata"), ..answer(200, b" \r\n") },
                &["empty body", "/iclock/cdata"],
            ),
            (answer(200, b"{\"error\": 5}"), &["JSON", "{\\\"error\\\": 5}", "`server`"]),
            (answer(200, b"[]"), &["JSON"]),
            (answer(200, b"\x1f\x8b\x08\0"), &["gzip", "turn compression off"]),
            (answer(200, "\u{1f}\u{fffd}\u{8}".as_bytes()), &["gzip"]),
            (
                Answer { coding: Some("br"), ..answer(200, b"\x8b\x02") },
                &["\"br\"", "turn compression off"],
            ),
            (
                answer(200, b"<html><head><title> Log\nin </title>"),
                &["web page \"Log in\"", "login page"],
            ),
            (answer(200, b"FAIL"), &["answered with \"FAIL\"", "see its own log"]),
            (answer(407, b"<html>"), &["proxy", "password", "url of [proxy]"]),
            (answer(413, b""), &["too large", "post_bytes in [limits]"]),
            (answer(500, b"no such column\nat line 5"), &["status 500: \"no such column\""]),
            (
                answer(502, b"<html><body><h1></h1><h1>Bad Gateway</h1>"),
                &["status 502: \"Bad Gateway\""],
            ),
            (answer(500, b""), &["with status 500"]),
            (
                Answer { redirect: Some(&elsewhere), ..answer(302, b"") },
                &["\"http://login.wifi.example/?u=1\"", "login page of the network"],
            ),
            (
                Answer { redirect: Some(&to_https), ..answer(301, b"") },
                &["\"https://server/iclock\"", "set `server` to that address"],
            ),
            (answer(308, b""), &["https:// in place of http://"]),
            (
                Answer { path: Some("/iclock/devicecmd"), ..answer(404, b"") },
                &["the path /iclock/devicecmd", "without /iclock at its end"],
            ),
        ];
        for (answer, parts) in cases {
            let message = answer.refusal();
            for part in parts {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
        }
    }

    #[test]
    fn a_secret_that_the_server_returns_is_not_shown() {
        let secrets = ["token=TOP SECRET".to_owned(), "TOP SECRET".into()];
        let location = "https://server/iclock/cdata?SN=1&token=TOP SECRET".into();
        let redirect = Redirect { location, to: Target::SameHost };
        for (status, body) in [
            (301, ""),
            (200, "{\"token\": \"TOP SECRET\"}"),
            (200, "FAIL: TOP SECRET, TOP SECRET"),
            (404, "Cannot GET /iclock/cdata?token=TOP SECRET"),
            (500, "<title>/iclock/cdata?token=TOP SECRET</title>"),
        ] {
            let redirect = (status == 301).then_some(&redirect);
            let answer =
                Answer { redirect, secrets: &secrets, ..Answer::new(status, body.as_bytes()) };
            for message in [answer.refusal(), answer.refusal_of_row()] {
                assert!(message.contains('…') || status == 404, "{message}");
                assert!(!message.contains("SECRET"), "{message}");
            }
        }
    }

    #[test]
    fn text_of_the_server_is_bounded_and_moves_no_cursor() {
        let long = format!("\u{202e}a\u{7}\x1b[2J\u{2066}{}", "\u{301}".repeat(5000));
        for status in [200, 201, 403, 500] {
            let message = Answer::new(status, long.as_bytes()).refusal();
            assert!(message.len() < 2000, "{}", message.len());
            assert!(message.is_ascii(), "{message}");
        }
    }
}
