//! Text encodings: GB2312 when the terminal's language is 83, UTF-8 otherwise.

use std::borrow::Cow;

use super::codes::Language;
use super::gb18030;

/// Decodes text from a server. Bytes that are not in the encoding of the terminal are decoded as
/// GBK, which one server sends in every language; `None` if they are not GBK either.
pub fn decode(bytes: &[u8], language: Language) -> Option<Cow<'_, str>> {
    if language != Language::SIMPLIFIED_CHINESE
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Some(Cow::Borrowed(text));
    }
    // GBK is a part of GB18030.
    gb18030::decode(bytes).map(Cow::Owned)
}

/// Decodes text that may be in the encoding of any server, whatever the language of the terminal is.
/// UTF-8 comes first, since other text is hardly ever valid UTF-8.
pub fn decode_any(bytes: &[u8]) -> Option<Cow<'_, str>> {
    decode(bytes, Language::ENGLISH)
}

/// The same for a log, also of text that is cut off or damaged.
pub fn decode_for_log(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        // The end may be missing in the middle of a character.
        Err(error) if error.error_len().is_some() => Cow::Owned(gb18030::decode_lossy(bytes)),
        _ => String::from_utf8_lossy(bytes),
    }
}

/// Encodes text for the server. A character that GB2312 does not have becomes `?`, so that the
/// server can read the row.
pub fn encode(text: &str, language: Language) -> Cow<'_, [u8]> {
    if language != Language::SIMPLIFIED_CHINESE || text.is_ascii() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        if !gb18030::encode(character, &mut out) {
            out.push(b'?');
        }
    }
    Cow::Owned(out)
}

/// Cuts a text to `limit` bytes in the encoding of the terminal, between two characters.
pub fn clip(text: &str, limit: usize, language: Language) -> &str {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += encode(character.encode_utf8(&mut [0; 4]), language).len();
        if used > limit {
            return &text[..at];
        }
    }
    text
}

/// Whether a text can be a field of a row: it has no TAB, LF, NUL or other control character.
pub fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Writes a number in decimal digits.
pub(crate) fn write_number(number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let (mut digits, mut at, mut rest) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHINESE: Language = Language::SIMPLIFIED_CHINESE;

    #[test]
    fn a_log_shows_text_of_every_server_also_where_it_is_cut_off() {
        for (bytes, shown) in [
            (&b"plain"[..], "plain"),
            ("张三".as_bytes(), "张三"),
            (&"张三".as_bytes()[..4], "张\u{fffd}"),
            (b"\xd5\xc5\xc8\xfd", "张三"),
            (b"\xff\xff", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(decode_for_log(bytes), shown, "{bytes:?}");
        }
    }

    #[test]
    fn chinese_terminals_use_gb2312_and_others_utf8() {
        assert_eq!(&*encode("王", CHINESE), [0xCD, 0xF5]);
        assert_eq!(&*encode("王", Language::ENGLISH), "王".as_bytes());
        assert_eq!(decode(&[0xCD, 0xF5], CHINESE).unwrap(), "王");
        assert_eq!(&*encode("a😀b", CHINESE), b"a?b");
    }

    #[test]
    fn text_from_a_server_that_always_sends_gb2312_is_decoded() {
        assert_eq!(decode(&[0xCD, 0xF5], Language::ENGLISH).unwrap(), "王");
        assert_eq!(decode(&[0xFF, 0xFF], Language::ENGLISH), None);
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(clip("王王王", 8, Language::ENGLISH), "王王");
        assert_eq!(clip("王王王", 5, CHINESE), "王王");
        assert_eq!(clip("short", 24, CHINESE), "short");
    }

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 9, 10, 255, 1_793_500_000, u64::MAX] {
            let mut written = Vec::new();
            write_number(number, &mut written);
            assert_eq!(written, number.to_string().as_bytes());
        }
    }
}
