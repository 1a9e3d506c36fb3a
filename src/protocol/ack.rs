//! The answer of a server to an upload, or to the replies to commands (§11, §13).

/// Whether the server accepted a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Accepted, with the count, if the server gave one.
    Taken(Option<u64>),
    /// Not accepted; the reason for people, with the message of the server.
    Refused(String),
}

/// Bytes of an answer that are read to find its meaning.
pub const ANSWER_BYTES: usize = 4096;

/// Reads status and body. Success is the status 200 and a body that begins with `OK`. Nothing
/// else marks a row as sent.
pub fn read(status: u16, body: &[u8]) -> Ack {
    if status != 200 {
        return Ack::Refused(refusal(status, body));
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start();
    let Some(rest) =
        text.get(..2).filter(|start| start.eq_ignore_ascii_case("OK")).map(|_| &text[2..])
    else {
        return Ack::Refused(refusal(status, body));
    };
    // `OK`, `OK:9`, `OK: 9`, `OK\r\n`; but `OKAY` and `ok_page.html` are no acknowledgements.
    if rest.starts_with(|next: char| next.is_alphanumeric() || next == '_') {
        return Ack::Refused(refusal(status, body));
    }
    let digits: String = rest
        .trim_start_matches([':', ' ', '\t'])
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    Ack::Taken(digits.parse().ok())
}

/// Describes for people an answer that is neither an acknowledgement nor the expected content.
pub fn refusal(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(ANSWER_BYTES)]);
    let text = text.trim_start();
    let message: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '.' } else { c })
        .take(120)
        .collect();
    match status {
        200 if text.is_empty() => "the server answered with an empty body".into(),
        200 if text.starts_with('<') => format!(
            "the server answered with a web page ({message:?}): is there a login page or another \
             program at this address?"
        ),
        200 => format!("the server answered {message:?}"),
        301 | 302 | 303 | 307 | 308 => format!(
            "the server redirects (status {status}): set `server` to the address it moved to, \
             often https:// in place of http://"
        ),
        401 | 403 => format!("the server does not accept this terminal (status {status}): is its serial registered there?"),
        404 => "the server does not know this path (status 404): is `server` the right address and port?".into(),
        413 => "the server finds the request too large (status 413)".into(),
        _ if message.is_empty() || text.starts_with('<') => format!("the server answered with status {status}"),
        _ => format!("the server answered with status {status}: {message:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_that_begins_with_ok_is_success() {
        let taken: [(&[u8], Option<u64>); 9] = [
            (b"OK", None),
            (b"ok\r\n", None),
            (b"  OK\n", None),
            (b"OK:9", Some(9)),
            (b"OK: 9\n", Some(9)),
            (b"Ok:0", Some(0)),
            (b"OK\nPOST from: MADE01", None),
            (b"OK:abc", None),
            (b"OK:99999999999999999999999", None),
        ];
        for (body, count) in taken {
            assert_eq!(read(200, body), Ack::Taken(count), "{:?}", String::from_utf8_lossy(body));
        }
        let refused: [(u16, &[u8]); 13] = [
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
            (201, b"OK"),
            (500, b"OK:1"),
            (302, b"OK"),
        ];
        for (status, body) in refused {
            assert!(
                matches!(read(status, body), Ack::Refused(_)),
                "{status} {:?}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        assert!(refusal(301, b"").contains("https://"));
        assert!(refusal(200, b"<html>").contains("web page"));
        assert!(refusal(200, b"").contains("empty"));
        assert!(refusal(500, b"\x00\x01boom").contains("..boom"));
    }
}
