//! Requests and answers for the log of `punchd -v`: bounded, in one line, without secrets of the
//! configuration, passwords, templates and pictures.

use std::io::{self, Read};
use std::rc::Rc;
use std::time::Instant;

use super::exchange::Request;
use crate::protocol::foreign::without_secrets;
use crate::protocol::private::public_part;
use crate::protocol::query::path_of;
use crate::protocol::text::decode_for_log;

/// Most characters of a body that are shown.
const SHOWN: usize = 200;
/// Bytes of a body that are looked at.
const LOOKED_AT: usize = 8 << 10;
/// A word of more characters is base64: a template or a picture under a key that is not listed.
const LONGEST_WORD: usize = 64;
/// Whether exchanges are written into the log.
pub(super) fn is_on() -> bool {
    log::log_enabled!(log::Level::Debug)
}

/// Writes a request into the log.
pub(super) fn request(request: &Request<'_>, secrets: &[String]) {
    let target = target(request.target, secrets);
    match request.body {
        None => log::debug!("request: GET {target}"),
        Some(body) => {
            let (bytes, shown) = (body.length(), shown(body.bytes, secrets));
            log::debug!("request: POST {target}, {bytes} bytes: {shown}");
        }
    }
}

/// The body of an answer. When it is done with, the answer is written into the log.
pub(super) struct Traced<R> {
    inner: R,
    /// What the line begins with: path and status.
    head: String,
    secrets: Rc<[String]>,
    started: Instant,
    first: Vec<u8>,
    bytes: u64,
}

impl<R: Read> Traced<R> {
    /// The body of the answer with this status to a request for `target` that was sent at `started`.
    pub(super) fn new(
        inner: R,
        target: &str,
        status: u16,
        started: Instant,
        secrets: Rc<[String]>,
    ) -> Self {
        let head = format!("answer to {}: status {status}", path_of(target));
        Self { inner, head, secrets, started, first: Vec::new(), bytes: 0 }
    }
}

impl<R: Read> Read for Traced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.inner.read(buffer)?;
        let room = LOOKED_AT - self.first.len();
        self.first.extend_from_slice(&buffer[..amount.min(room)]);
        self.bytes += amount as u64;
        Ok(amount)
    }
}

impl<R> Drop for Traced<R> {
    fn drop(&mut self) {
        let (head, bytes) = (&self.head, self.bytes);
        let took = self.started.elapsed().as_millis();
        log::debug!("{head}, {bytes} bytes in {took} ms: {}", shown(&self.first, &self.secrets));
    }
}

/// A target without the secrets of the configuration. Of another server the query is left out: it
/// can be what gives access.
pub(super) fn target(target: &str, secrets: &[String]) -> String {
    let target = without_secrets(target, secrets);
    match target.split_once('?') {
        Some((place, _)) if !target.starts_with('/') => format!("{place}?…"),
        Some((path, query)) => {
            let pairs: Vec<_> = query.split('&').map(without_value).collect();
            format!("{path}?{}", pairs.join("&"))
        }
        None => target,
    }
}

/// The first characters of a body, in quotes.
pub(super) fn shown(body: &[u8], secrets: &[String]) -> String {
    let text = decode_for_log(&body[..body.len().min(LOOKED_AT)]);
    let is_binary = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    let (text, binary) = match text.find(is_binary) {
        Some(at) => (&text[..at], body.len() - at.min(body.len())),
        None => (&*text, 0),
    };
    let text = without_secrets(text, secrets);
    let fields = text.split_inclusive(['\t', '\n', '\r']).map(|field| {
        let value = field.trim_end_matches(['\t', '\n', '\r']);
        without_value(value) + &field[value.len()..]
    });
    let mut shown = String::new();
    for field in fields {
        shown += &field;
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            return format!("{shown:?} …");
        }
    }
    match binary {
        0 => format!("{shown:?}"),
        _ => format!("{shown:?} and {binary} bytes that are no text"),
    }
}

/// A field with `…` in place of a value that is left out, and of each long word.
fn without_value(field: &str) -> String {
    if let Some(public) = public_part(field) {
        return format!("{}…", without_long_words(public));
    }
    without_long_words(field)
}

fn without_long_words(text: &str) -> String {
    let is_of_word =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = &rest[..rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())];
        out += if word.len() > LONGEST_WORD { "…" } else { word };
        rest = &rest[word.len()..];
        let between = &rest[..rest.find(is_of_word).unwrap_or(rest.len())];
        out += between;
        rest = &rest[between.len()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_one_bounded_line(
            parts in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..20),
                    Just(b"\tPasswd=".to_vec()),
                    Just(b"TMP=".to_vec()),
                    Just(b"\xff\n".to_vec()),
                    Just(vec![b'a'; 100]),
                    Just("é=".into()),
                ],
                0..60,
            ),
        ) {
            let line = shown(&parts.concat(), &["a secret".to_owned()]);
            prop_assert!(!line.contains('\n') && line.chars().count() < 2000, "{line}");
        }

        #[test]
        fn no_password_is_shown_whatever_stands_around_it(
            before in "[ -~\t\n]{0,300}",
            after in "[ -~\t\n]{0,300}",
            key in "(Passwd|PASSWORD|passwd|tmp|TMP|Content|template)",
        ) {
            let body = format!("{before}\t{key}=GEHEIM7\t{after}");
            prop_assert!(!shown(body.as_bytes(), &[]).contains("GEHEIM7"), "{body}");
        }
    }

    #[test]
    fn bodies_are_shown_without_what_nobody_may_read() {
        let base64 = "QUJD".repeat(30);
        let photo = b"PIN=1.jpg\nSN=S\nsize=9\nCMD=uploadphoto\0\xff\xd8SECRET\xff";
        let cases: [(Vec<u8>, &str); 22] = [
            (b"OK:1".into(), "\"OK:1\""),
            (b"".into(), "\"\""),
            (b"1001\t2026-01-01 08:00:00\t0\t1\n".into(), r#""1001\t2026-01-01 08:00:00\t0\t1\n""#),
            (
                b"USER PIN=1\tName=Ann\tPri=0\tPasswd=SECRET\tCard=7\tGrp=1\n".into(),
                r#""USER PIN=1\tName=Ann\tPri=0\tPasswd=…\tCard=7\tGrp=1\n""#,
            ),
            (
                b"C:5:DATA UPDATE USERINFO PIN=1\tPassword=SECRET &, SECRET\tPri=0\n".into(),
                r#""C:5:DATA UPDATE USERINFO PIN=1\tPassword=…\tPri=0\n""#,
            ),
            (b"Passwd=SECRET".into(), "\"Passwd=…\""),
            (b"PASSWD = SECRET".into(), "\"PASSWD =…\""),
            (
                b"FP PIN=1\tFID=0\tSize=6\tValid=1\tTMP=SECRET".into(),
                r#""FP PIN=1\tFID=0\tSize=6\tValid=1\tTMP=…""#,
            ),
            (
                b"FACE PIN=1\tTMP=SECRET\nFACE PIN=2\tTMP=SECRET".into(),
                r#""FACE PIN=1\tTMP=…\nFACE PIN=2\tTMP=…""#,
            ),
            (b"BIODATA Pin=1\tTmp=SECRET=".into(), r#""BIODATA Pin=1\tTmp=…""#),
            (
                b"C:1:DATA UPDATE FINGERTMP PIN=1 FID=0 TMP=SECRET".into(),
                "\"C:1:DATA UPDATE FINGERTMP PIN=1 FID=0 TMP=…\"",
            ),
            (
                b"USERPIC PIN=1\tFileName=1.jpg\tSize=6\tContent=SECRET".into(),
                r#""USERPIC PIN=1\tFileName=1.jpg\tSize=6\tContent=…""#,
            ),
            (
                b"IDCARD PIN=1\tPhoto=SECRET\tFPTemplate1=SECRET\tFPTemplate2=SECRET\tNotice=x"
                    .into(),
                r#""IDCARD PIN=1\tPhoto=…\tFPTemplate1=…\tFPTemplate2=…\tNotice=x""#,
            ),
            (
                b"ID=5&Return=9&CMD=GetFile&Content=SECRET".into(),
                "\"ID=5&Return=9&CMD=GetFile&Content=…\"",
            ),
            (b"CommKey=SECRET,IPAddress=10.0.0.1".into(), "\"CommKey=…\""),
            (format!("X data={base64}").into(), "\"X …\""),
            (format!("{{\"face\":\"{base64}\"}}").into(), r#""{\"face\":\"…\"}""#),
            (
                photo.into(),
                r#""PIN=1.jpg\nSN=S\nsize=9\nCMD=uploadphoto" and 10 bytes that are no text"#,
            ),
            (b"\x1f\x8b\x08SECRET".into(), "\"\" and 9 bytes that are no text"),
            (b"\x1b[2JSECRET".into(), "\"\" and 10 bytes that are no text"),
            (b"wrong token TOKEN-1, TOKEN-1!".into(), "\"wrong token …, …!\""),
            (b"\xd5\xc5\xc8\xfd".into(), "\"张三\""),
        ];
        for (body, expected) in cases {
            let found = shown(&body, &["TOKEN-1".to_owned()]);
            assert_eq!(found, expected);
            assert!(!found.contains("SECRET"), "{found}");
        }
    }

    #[test]
    fn a_long_body_is_cut() {
        let long = "PIN=1\tPasswd=SECRET\n".repeat(100_000);
        let found = shown(long.as_bytes(), &[]);
        assert!(found.ends_with("\" …") && found.chars().count() < 300, "{found}");
        assert!(!found.contains("SECRET"), "{found}");
        // The end of what is looked at is in the middle of a character, or of a value.
        let found = shown(format!("Tmp={}", "é".repeat(LOOKED_AT)).as_bytes(), &[]);
        assert_eq!(found, "\"Tmp=…\"");
        for end in 0..20 {
            let body = format!("{}Passwd=SECRET", "\t".repeat(LOOKED_AT - end));
            assert!(!shown(body.as_bytes(), &[]).contains("SEC"));
        }
    }

    #[test]
    fn targets_are_shown_without_keys_and_tokens() {
        let secrets = ["token=TOP&id=1".to_owned(), "TOP1".into()];
        for (asked, expected) in [
            ("/iclock/getrequest?SN=1", "/iclock/getrequest?SN=1"),
            (
                "/iclock/cdata?SN=1&options=all&pushcommkey=SECRET&x=1",
                "/iclock/cdata?SN=1&options=all&pushcommkey=…&x=1",
            ),
            ("/iclock/cdata?SN=1&token=TOP&id=1", "/iclock/cdata?SN=1&…"),
            ("/iclock/file?x=TOP1", "/iclock/file?x=…"),
            ("https://files.example/a?signature=SECRET", "https://files.example/a?…"),
            ("https://files.example/a", "https://files.example/a"),
        ] {
            assert_eq!(target(asked, &secrets), expected);
        }
    }
}
