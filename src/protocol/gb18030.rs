//! GB18030 and GBK, of which GB2312 is a part: what Chinese terminals and servers write. The tables
//! are made by `build.rs` from those of a library.

/// Characters of two bytes, in the order of their bytes; 0 for none.
static TWO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gb18030-two.bin"));
/// Rows of characters of four bytes: the place of the first, and the character.
static FOUR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gb18030-four.bin"));
/// Second bytes of characters of two bytes.
const TRAILS: usize = 190;

/// Decodes GB18030, and so GBK; `None` if the bytes are something else.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let (found, used) = next(*first, rest);
        text.push(found?);
        rest = &rest[used..];
    }
    Some(text)
}

/// The same for people: what is no character is shown as U+FFFD.
pub(super) fn decode_lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let (found, used) = next(*first, rest);
        text.push(found.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[used..];
    }
    text
}

/// The character with which `rest` begins, if it is one, and how many bytes it takes.
fn next(first: u8, rest: &[u8]) -> (Option<char>, usize) {
    let lead = match first {
        ..0x80 => return (Some(first.into()), 1),
        0x80 => return (Some('€'), 1),
        0x81..=0xFE => usize::from(first - 0x81),
        0xFF => return (None, 1),
    };
    match rest[1..] {
        [second @ 0x30..=0x39, third @ 0x81..=0xFE, fourth @ 0x30..=0x39, ..] => {
            let [second, third, fourth] =
                [second - 0x30, third - 0x81, fourth - 0x30].map(u32::from);
            (of_four(((lead as u32 * 10 + second) * 126 + third) * 10 + fourth), 4)
        }
        [second @ (0x40..=0x7E | 0x80..=0xFE), ..] => {
            let place = lead * TRAILS + usize::from(second - 0x40 - u8::from(second > 0x7F));
            let found = Some(of_two(place)).filter(|code| *code != 0);
            // An ASCII character stands for itself if the two are none.
            let used = if found.is_none() && second < 0x80 { 1 } else { 2 };
            (found.and_then(|code| char::from_u32(code.into())), used)
        }
        _ => (None, 1),
    }
}

fn of_two(place: usize) -> u16 {
    word(TWO, place)
}

fn of_four(place: u32) -> Option<char> {
    if place >= 189_000 {
        return char::from_u32(place - 189_000 + 0x1_0000);
    }
    let rows = FOUR.len() / 4;
    // The last row that begins at or before the place.
    let mut from = 0;
    let mut to = rows;
    while from < to {
        let middle = (from + to) / 2;
        if u32::from(word(FOUR, middle * 2)) <= place { from = middle + 1 } else { to = middle }
    }
    let row = from.checked_sub(1)?;
    let (begins, code) = (word(FOUR, row * 2), word(FOUR, row * 2 + 1));
    let is_there = code != 0 && place < 39_420;
    is_there.then(|| char::from_u32(u32::from(code) + place - u32::from(begins)))?
}

fn word(table: &[u8], nth: usize) -> u16 {
    u16::from_le_bytes([table[nth * 2], table[nth * 2 + 1]])
}

/// Appends a character in GBK; whether GBK has it.
pub(super) fn encode(character: char, out: &mut Vec<u8>) -> bool {
    match character {
        _ if character.is_ascii() => out.push(character as u8),
        '€' => out.push(0x80),
        _ => match place_of(character) {
            Some(place) => {
                let (lead, trail) = (place / TRAILS, place % TRAILS);
                out.push(0x81 + lead as u8);
                out.push(0x40 + trail as u8 + u8::from(trail >= 0x3F));
            }
            None => return false,
        },
    }
    true
}

/// Where a character stands among those of two bytes. Those of GB2312 are looked at first: names are
/// made of them.
fn place_of(character: char) -> Option<usize> {
    let code = u16::try_from(u32::from(character)).ok()?;
    // One character that decodes to itself has no code of its own.
    if code == 0xE5E5 {
        return None;
    }
    let common =
        (0x2F..=0x76).flat_map(|lead| (0x60..TRAILS).map(move |trail| lead * TRAILS + trail));
    let mut all = common.chain(0..TWO.len() / 2);
    all.find(|place| of_two(*place) == code)
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GB18030, GBK};

    use super::*;

    fn agrees(bytes: &[u8]) {
        let known = GB18030.decode_without_bom_handling_and_without_replacement(bytes);
        assert_eq!(decode(bytes).as_deref(), known.as_deref(), "{bytes:x?}");
    }

    #[test]
    fn every_sequence_means_what_the_library_says() {
        for first in 0..=0xFF {
            agrees(&[first]);
            for second in 0..=0xFF {
                agrees(&[first, second]);
                agrees(&[first, second, b'a']);
            }
        }
        for first in 0x81..=0xFE {
            for second in 0x30..=0x39 {
                for third in (0x81..=0xFE).step_by(5).chain([0xFE]) {
                    for fourth in 0x30..=0x39 {
                        agrees(&[first, second, third, fourth]);
                    }
                }
                agrees(&[first, second, 0x81]);
                agrees(&[first, second, 0x7F, 0x30]);
            }
        }
    }

    #[test]
    fn every_character_is_written_as_the_library_writes_it() {
        for character in (0x80..0x1_0400).filter_map(char::from_u32).step_by(3) {
            let mut bytes = Vec::new();
            let is_there = encode(character, &mut bytes);
            let text = character.to_string();
            let (known, _, is_missing) = GBK.encode(&text);
            // The library has a way back for characters of private use that GB18030 has given up.
            if !('\u{e000}'..='\u{f8ff}').contains(&character) {
                assert_eq!(is_there, !is_missing, "{character:?}");
            }
            assert!(is_missing || !is_there || bytes == *known, "{character:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_shown_all_the_same() {
        for (bytes, shown) in [
            (&b"\xd5\xc5\xc8\xfd"[..], "张三"),
            (b"\xd5\xc5\xc8", "张\u{fffd}"),
            (b"a\xffb", "a\u{fffd}b"),
            (b"", ""),
        ] {
            assert_eq!(decode_lossy(bytes), shown);
        }
    }
}
