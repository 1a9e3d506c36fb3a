//! The answer of a server to an upload, or to the replies to commands (§11, §13).

use super::foreign::BYTE_ORDER_MARK;
use super::refusal::{Answer, is_not_known};

/// Whether the server accepted a request, and otherwise what that means. The texts say for people
/// what came instead, with the message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Accepted, with the count, if the server gave one.
    Taken(Option<u64>),
    /// The server refuses this request: 400, 422, or text in a 2xx that is not `OK`.
    Refused(String),
    /// The same, since it is too large: 413.
    TooLarge(String),
    /// The server is in trouble, or one row is: another status, an empty answer, a web page, the
    /// text of the handshake reply.
    Trouble(String),
    /// The server does not know the terminal: 401, 403, `UNKNOWN DEVICE`, `… not authorized`.
    NotKnown(NotKnown),
    /// The server has no time, or a proxy wants a password: 407, 429.
    Later(String),
}

/// That the server does not know the terminal, or seems not to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotKnown {
    /// What that means, and what to change.
    pub message: String,
    /// What it means if only a row is refused so, and others are taken.
    pub of_row: String,
}

impl Ack {
    /// Why it was not taken; empty if it was.
    pub fn message(self) -> String {
        match self {
            Self::Taken(_) => String::new(),
            Self::Refused(message)
            | Self::TooLarge(message)
            | Self::Trouble(message)
            | Self::NotKnown(NotKnown { message, .. })
            | Self::Later(message) => message,
        }
    }
}

/// Bytes of an answer that are read to find its meaning.
pub const ANSWER_BYTES: usize = 4096;

/// Reads status and body. Success is a 2xx and a body that begins with `OK`. Nothing else marks a
/// row as sent.
pub fn read(answer: &Answer<'_>) -> Ack {
    let text = String::from_utf8_lossy(answer.body);
    match after_ok(&text) {
        Some(rest) if is_success(answer.status) => Ack::Taken(count(rest)),
        _ => not_taken(answer),
    }
}

/// The count after `OK`: `:n`. `OK:-1`, `OK:abc`, `OK:1.5` and `OK 5 ms` have none.
fn count(rest: &str) -> Option<u64> {
    let text = rest.trim_start_matches([' ', '\t']).strip_prefix(':')?;
    let text = text.trim_start_matches([' ', '\t']);
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | ',' | ';');
    let digits = &text[..text.find(ends).unwrap_or(text.len())];
    // `parse` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// What it means that this is no acknowledgement.
pub fn not_taken(answer: &Answer<'_>) -> Ack {
    let Answer { status, body, .. } = *answer;
    let message = answer.refusal();
    let not_known = || NotKnown { message: message.clone(), of_row: answer.refusal_of_row() };
    let text = String::from_utf8_lossy(&body[..body.len().min(ANSWER_BYTES)]).to_lowercase();
    let text = text.trim_start_matches(BYTE_ORDER_MARK).trim();
    match status {
        407 | 429 => Ack::Later(message),
        401 | 403 => Ack::NotKnown(not_known()),
        413 => Ack::TooLarge(message),
        // Some servers say it with another status.
        _ if is_not_known(status, text) => Ack::NotKnown(not_known()),
        400 | 422 => Ack::Refused(message),
        _ if !is_success(status) => Ack::Trouble(message),
        _ if answer.compression().is_some() => Ack::Trouble(message),
        _ if text.is_empty()
            || is_cut(text)
            || text.starts_with('<')
            || text.starts_with("get option") =>
        {
            Ack::Trouble(message)
        }
        _ => Ack::Refused(message),
    }
}

/// Whether a text is `OK` and nothing else, but perhaps a count.
pub fn is_bare_ok(text: &str) -> bool {
    let count = |rest: &str| {
        let rest = rest.trim_start_matches([':', ' ', '\t']).trim_end_matches(['"', ' ', '\t']);
        rest.bytes().all(|byte| byte.is_ascii_digit())
    };
    after_ok(text).is_some_and(count)
}

/// Whether a status is a 2xx: a framework in wide use answers POST with 201.
pub fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Whether a text begins with a quote that is not closed: its end is missing.
fn is_cut(text: &str) -> bool {
    text.strip_prefix('"').is_some_and(|rest| !rest.contains('"'))
}

/// What follows `OK`, in any case, after blanks, a byte order mark or JSON's quote, which has to be
/// closed: otherwise the body is cut. `OKAY` and `ok_page.html` are no `OK`.
fn after_ok(text: &str) -> Option<&str> {
    let text = text.trim_start().trim_start_matches(BYTE_ORDER_MARK).trim_start();
    let text = if is_cut(text) { "" } else { text };
    let text = text.strip_prefix('"').unwrap_or(text).trim_start();
    let rest =
        text.get(..2).filter(|start| start.eq_ignore_ascii_case("OK")).map(|_| &text[2..])?;
    (!rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_that_begins_with_ok_is_success() {
        let taken: [(&[u8], Option<u64>); 20] = [
            (b"OK", None),
            (b"ok\r\n", None),
            (b"  OK\n", None),
            (b"OK:9", Some(9)),
            (b"OK: 9\n", Some(9)),
            (b"Ok:0", Some(0)),
            (b"OK\nPOST from: MADE01", None),
            (b"OK:abc", None),
            (b"OK:99999999999999999999999", None),
            (b"OK:-1", None),
            (b"OK:+1", None),
            (b"OK:1.5", None),
            (b"OK:19/20", None),
            (b"OK 5 ms", None),
            (b" OK : 5", Some(5)),
            (b"OK:5;\n", Some(5)),
            (b"\"OK\"", None),
            (b"\"OK:3\"", Some(3)),
            ("\u{feff}OK:4".as_bytes(), Some(4)),
            ("\u{feff}\"ok\"\n".as_bytes(), None),
        ];
        for (body, count) in taken {
            for status in [200, 201, 204] {
                assert_eq!(read(&Answer::new(status, body)), Ack::Taken(count), "{body:?}");
            }
        }
        let refused: [(u16, &[u8]); 16] = [
            (200, b"\"OK"),
            (200, b"\"OK:3"),
            (200, b"\xef\xbb\xbf\"ok\n"),
            (200, b""),
            (200, b"UNKNOWN DEVICE"),
            (200, b"Terminal Not Authorized"),
            (200, b"ERROR: OK"),
            (200, b"error:device not exist"),
            (200, b"FAIL"),
            (200, b"<html>OK</html>"),
            (200, b"GET OPTION FROM: MADE01\nOK"),
            (200, b"OKAY"),
            (200, b"\xff\xfeO\0K\0"),
            (199, b"OK"),
            (500, b"OK:1"),
            (302, b"OK"),
        ];
        for (status, body) in refused {
            assert!(
                !matches!(read(&Answer::new(status, body)), Ack::Taken(_)),
                "{status} {:?}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn the_fault_is_told_from_status_and_text() {
        let (refused, trouble, not_known, later) = ("refused", "trouble", "not known", "later");
        let cases: [(u16, &str, &str); 27] = [
            (200, "\"OK", trouble),
            (200, "\"OK:3\n", trouble),
            (400, "bad row", refused),
            (413, "", "too large"),
            (422, "{}", refused),
            (200, "FAIL", refused),
            (200, "ERROR: no such column", refused),
            (201, "{\"error\":1}", refused),
            (200, "", trouble),
            (200, " \r\n", trouble),
            (200, "<html>", trouble),
            (200, "\u{feff}<!DOCTYPE html>", trouble),
            (200, "GET OPTION FROM: MADE01\nDelay=1", trouble),
            (302, "", trouble),
            (404, "", trouble),
            (408, "", trouble),
            (500, "OK", trouble),
            (503, "", trouble),
            (401, "", not_known),
            (403, "", not_known),
            (200, "UNKNOWN DEVICE", not_known),
            (200, "Terminal Not Authorized", not_known),
            (400, "error: device not registered", not_known),
            (404, "UNKNOWN DEVICE", not_known),
            (500, "Terminal Not Authorized", not_known),
            (407, "", later),
            (429, "", later),
        ];
        for (status, body, expected) in cases {
            let found = match read(&Answer::new(status, body.as_bytes())) {
                Ack::Taken(_) => "taken",
                Ack::Refused(_) => refused,
                Ack::TooLarge(_) => "too large",
                Ack::Trouble(_) => trouble,
                Ack::NotKnown(_) => not_known,
                Ack::Later(_) => later,
            };
            assert_eq!(found, expected, "{status} {body:?}");
        }
    }
}
