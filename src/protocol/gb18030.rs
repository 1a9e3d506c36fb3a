//! GB18030 and GBK, of which GB2312 is a part: what Chinese terminals and servers write. The tables
//! are made by `build.rs` from those of a library.

/// Which ideographs, from U+4E00 on, GBK added to those of GB2312, a bit each: they stand in the
/// order of Unicode.
static ORDERED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gb18030-ordered.bin"));
/// The other characters of two bytes, in the order of their bytes; 0 for none.
static OTHERS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gb18030-others.bin"));
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
            let trail = usize::from(second - 0x40 - u8::from(second > 0x7F));
            let found = Some(of_two(lead, trail)).filter(|code| *code != 0);
            // An ASCII character stands for itself if the two are none.
            let used = if found.is_none() && second < 0x80 { 1 } else { 2 };
            (found.and_then(|code| char::from_u32(code.into())), used)
        }
        _ => (None, 1),
    }
}

/// Where a character of two bytes is found.
enum Place {
    /// It is the nth of those that stand in the order of Unicode.
    Ordered(usize),
    /// It is the nth of the others.
    Other(usize),
}

/// The place of two bytes: the first is 0x81 + `lead`, the second the one after `trail` others.
fn place(lead: usize, trail: usize) -> Place {
    match lead {
        0..0x20 => Place::Ordered(lead * TRAILS + trail),
        0x20..0x29 => Place::Other((lead - 0x20) * TRAILS + trail),
        0x29..0x7C if trail < 96 => Place::Ordered(6080 + (lead - 0x29) * 96 + trail),
        0x29..0x7C => Place::Other(1710 + (lead - 0x29) * 94 + trail - 96),
        0x7C if trail < 91 => Place::Ordered(6080 + 83 * 96 + trail),
        0x7C => Place::Other(1710 + 83 * 94 + trail - 91),
        _ => Place::Other(1710 + 83 * 94 + 99 + trail),
    }
}

fn of_two(lead: usize, trail: usize) -> u16 {
    let mut nth = match place(lead, trail) {
        Place::Other(nth) => return word(OTHERS, nth),
        Place::Ordered(nth) => nth,
    };
    for (at, byte) in ORDERED.iter().enumerate() {
        let count = byte.count_ones() as usize;
        if nth < count {
            let bits = (0..8).filter(|bit| byte & 1 << bit != 0);
            let bit = bits.into_iter().nth(nth).unwrap_or(0);
            return 0x4E00 + (at * 8 + bit) as u16;
        }
        nth -= count;
    }
    0
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
            Some((lead, trail)) => {
                out.push(0x81 + lead as u8);
                out.push(0x40 + trail as u8 + u8::from(trail >= 0x3F));
            }
            None => return false,
        },
    }
    true
}

/// The lead and the trail of a character of two bytes.
fn place_of(character: char) -> Option<(usize, usize)> {
    let code = u16::try_from(u32::from(character)).ok()?;
    if let Some(nth) = code.checked_sub(0x4E00).map(usize::from)
        && let Some(byte) = ORDERED.get(nth / 8)
        && byte & 1 << (nth % 8) != 0
    {
        let before: u32 = ORDERED[..nth / 8].iter().map(|byte| byte.count_ones()).sum();
        let rank = before as usize + (byte & ((1 << (nth % 8)) - 1)).count_ones() as usize;
        return Some(match rank.checked_sub(6080) {
            None => (rank / TRAILS, rank % TRAILS),
            Some(rank) => (0x29 + rank / 96, rank % 96),
        });
    }
    // One character has no code of its own.
    let nth = (0..OTHERS.len() / 2).find(|nth| word(OTHERS, *nth) == code && code != 0xE5E5)?;
    Some(match nth {
        0..1710 => (0x20 + nth / TRAILS, nth % TRAILS),
        1710..9512 => (0x29 + (nth - 1710) / 94, 96 + (nth - 1710) % 94),
        9512..9611 => (0x7C, 91 + nth - 9512),
        _ => (0x7D, nth - 9611),
    })
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
