//! What `scripts/fuzz` calls of encrypted sessions (built only with `--cfg fuzzing`).

use std::io::{Cursor, Read};

use super::agreement::value_of;
use super::message::{CHUNK, LAST, MORE, Opened, head};
use super::rsa_rc4::RsaRc4;
use super::session::read_first_line;
use super::suite::{CipherSuite, Direction};

const SECRET: [u8; 32] = [7; 32];
const NUMBER: u64 = 1;

/// Any bytes as the answer to an exchange of keys, and as a sealed message.
pub fn sealed(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let key = value_of(&text, "PublicKey").unwrap_or(&text);
    assert!(RsaRc4::wrap(key).is_err() || key.len() == 360, "a key of another form was taken");
    let nothing = opened(bytes.to_vec());
    // With 32 bits of a checksum there is one message in four thousand million.
    assert!(
        nothing.is_none_or(|(released, _)| released.is_empty()),
        "what nobody sealed was released"
    );
    chunks(bytes);
}

/// What a message releases, and whether it came to its end; none if not even its first line was opened.
fn opened(message: Vec<u8>) -> Option<(Vec<u8>, bool)> {
    let mut opened = Opened::<RsaRc4>::new(&SECRET, NUMBER, Box::new(Cursor::new(message)));
    let mut released = opened.first_line().ok()?.into_bytes();
    let line = String::from_utf8_lossy(&released).into_owned();
    if let Some((status, _)) = read_first_line(&line) {
        assert!(line.starts_with(&status.to_string()) || line.starts_with(['0', '+']), "{line}");
    }
    released.push(b'\n');
    let is_whole = opened.read_to_end(&mut released).is_ok();
    Some((released, is_whole))
}

/// Chunks of any flag, length and content that the server sealed, and bytes behind them that it did not: what is
/// released is what was sealed, up to the first chunk that the form does not allow.
fn chunks(bytes: &[u8]) {
    let direction = Direction::FromServer;
    let mut message = head::<RsaRc4>(&SECRET, direction, NUMBER).to_vec();
    let mut cipher = RsaRc4::cipher(&SECRET, direction, NUMBER);
    let (mut sealed, mut is_right, mut is_over) = (Vec::new(), true, false);
    let mut left = bytes;
    while let [flag, high, low, rest @ ..] = left
        && !is_over
    {
        let length = usize::from(*high) << 8 | usize::from(*low);
        let (content, rest) = rest.split_at(length.min(rest.len()));
        left = rest;
        let mut chunk = [&[*flag], content].concat();
        is_right &=
            content.len() <= CHUNK && (*flag == MORE && !content.is_empty() || *flag == LAST);
        if is_right {
            sealed.extend_from_slice(content);
        }
        is_over = *flag == LAST;
        RsaRc4::seal(&mut cipher, &mut chunk);
        let Ok(length) = u16::try_from(chunk.len()) else { return };
        message.extend(length.to_be_bytes());
        message.extend(chunk);
    }
    message.extend_from_slice(left);
    let Some((released, is_whole)) = opened(message) else { return };
    assert!(sealed.starts_with(&released), "something else was released");
    let is_all = is_right && is_over && left.is_empty();
    assert_eq!(is_whole, is_all, "an end that is none, or none that is one");
    assert!(!is_whole || released == sealed, "a whole message lacks something");
}
