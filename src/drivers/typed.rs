//! Card numbers from the keys that a reader types. Pure: no clock, no device.
//!
//! A number ends with Enter, or with a pause: some readers type no Enter. What is no number is
//! refused with a message, and does not affect the next number.

use std::time::{Duration, Instant};

/// A pause after which a number has ended. Readers type a key every 1 to 30 ms.
const PAUSE: Duration = Duration::from_millis(150);
/// Most characters of a number. Further ones are not kept.
const LONGEST: usize = 32;
/// Fewest characters of a number without Enter: a single key that is pressed by hand is no card.
const SHORTEST_BY_PAUSE: usize = 4;
/// Highest card number, as for the cards of users.
const MOST_CARD: u64 = i64::MAX as u64;

/// A key, as far as card numbers are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A digit, 0 to 15.
    Digit(u8),
    /// Enter, Tab, and what frames a number on a serial line or a magnetic stripe.
    End,
    /// Any other key: a number with it is refused.
    Other,
    /// Keys were lost before this one.
    Lost,
}

/// How the reader writes its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Decimal, until it types a letter: hexadecimal from then on.
    #[default]
    Auto,
    /// Hexadecimal, the highest byte first.
    Hex,
    /// Hexadecimal, the lowest byte first.
    HexReversed,
}

/// What a number that has ended is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A card, in decimal without leading zeros, as punchd stores it.
    Card(String),
    /// Not a card, and why.
    Refused(String),
}

/// The number that is being typed.
pub(super) struct Typed {
    format: Format,
    text: String,
    corrupt: Option<&'static str>,
    last: Option<Instant>,
}

impl Typed {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new(), corrupt: None, last: None }
    }

    /// A key was pressed `at` (if the device says when), and is read `now`. Returns the number that
    /// has ended by it.
    pub(super) fn press(&mut self, key: Key, at: Option<Instant>, now: Instant) -> Option<Read> {
        let gap = |last: Instant| at.is_some_and(|at| at.saturating_duration_since(last) > PAUSE);
        let before = match self.last {
            Some(last) if gap(last) => self.end(false),
            _ => None,
        };
        self.last = Some(at.unwrap_or(now));
        match key {
            Key::Digit(digit) if self.text.len() < LONGEST => {
                self.text.extend(char::from_digit(u32::from(digit), 16));
            }
            Key::Digit(_) => self.corrupt = Some("it is longer than any card number"),
            Key::Other => {
                self.corrupt.get_or_insert("it has other keys than 0 to 9 and A to F");
            }
            Key::Lost => {
                self.corrupt = Some("keys were lost: the reader types too fast for this machine");
            }
            Key::End => return before.or_else(|| self.end(true)),
        }
        before
    }

    /// When the number ends if nothing more is typed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.last.map(|last| last + PAUSE)
    }

    /// There is nothing to read. Returns the number that has ended by that.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Read> {
        if self.deadline()? <= now { self.end(false) } else { None }
    }

    /// Nothing more will come. Returns the number that has ended by that.
    pub(super) fn finish(&mut self) -> Option<Read> {
        self.end(true)
    }

    /// Drops what was typed: the reader is gone.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.format);
    }

    fn end(&mut self, by_key: bool) -> Option<Read> {
        self.last = None;
        let text = std::mem::take(&mut self.text);
        let corrupt = self.corrupt.take();
        let refuse = |why: &str| Read::Refused(format!("{:?} is no card: {why}", shown(&text)));
        if let Some(why) = corrupt {
            return Some(refuse(why));
        }
        if text.is_empty() {
            return None;
        }
        if !by_key && text.len() < SHORTEST_BY_PAUSE {
            return Some(refuse("it is too short for a number without Enter"));
        }
        Some(self.number(&text).map_or_else(refuse, |number| Read::Card(number.to_string())))
    }

    fn number(&mut self, text: &str) -> Result<u64, &'static str> {
        const TOO_HIGH: &str = "it is higher than any card number";
        if self.format == Format::Auto && text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            self.format = Format::Hex;
            log::warn!(
                "the reader types hexadecimal numbers: all are read as such from now on. Start \
                 with --hex, so that one without letters is not read as a decimal one"
            );
        }
        let number = match self.format {
            Format::Auto => text.parse().map_err(|_| TOO_HIGH)?,
            Format::Hex => u64::from_str_radix(text, 16).map_err(|_| TOO_HIGH)?,
            Format::HexReversed => reversed(text)?,
        };
        match number {
            0 => Err("0 is the number of no card"),
            1..=MOST_CARD => Ok(number),
            _ => Err(TOO_HIGH),
        }
    }
}

/// A number whose lowest byte was typed first.
fn reversed(text: &str) -> Result<u64, &'static str> {
    let digits = text.len();
    if !digits.is_multiple_of(2) || digits > 16 {
        return Err("it is not of 1 to 8 whole bytes");
    }
    let number = u64::from_str_radix(text, 16).map_err(|_| "it is not hexadecimal")?;
    Ok(number.swap_bytes() >> (64 - 4 * digits))
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "…" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes of keys that are typed without a pause; `|` is Enter, `_` a pause.
    fn typed(format: Format, keys: &str) -> Vec<Read> {
        let mut typed = Typed::new(format);
        let mut now = Instant::now();
        let mut reads = Vec::new();
        for key in keys.chars() {
            now += Duration::from_millis(5);
            reads.extend(match key {
                '_' => {
                    now += PAUSE;
                    typed.pause(now)
                }
                '|' => typed.press(Key::End, None, now),
                '!' => typed.press(Key::Lost, None, now),
                _ => match key.to_digit(16) {
                    Some(digit) => typed.press(Key::Digit(digit as u8), None, now),
                    None => typed.press(Key::Other, None, now),
                },
            });
        }
        reads
    }

    #[test]
    fn numbers_are_read_as_the_daemon_knows_cards() {
        use Format::{Auto, Hex, HexReversed};
        for (format, keys, cards) in [
            (Auto, "1234567|", &["1234567"][..]),
            (Auto, "0001234567|", &["1234567"]),
            (Auto, "0001234567_", &["1234567"]),
            (Auto, "5|", &["5"]),
            (Auto, "1234_5678_", &["1234", "5678"]),
            (Auto, "|1234567|_|_", &["1234567"]),
            (Auto, "9223372036854775807|", &["9223372036854775807"]),
            (Auto, "00000000000009223372036854775807|", &["9223372036854775807"]),
            (Auto, "00bc614e|", &["12345678"]),
            // Once it has typed a letter, it types hexadecimal numbers.
            (Auto, "00bc614e|00001234|", &["12345678", "4660"]),
            (Hex, "00001234_", &["4660"]),
            (HexReversed, "15cd5b07|", &["123456789"]),
            (HexReversed, "00000001_", &["16777216"]),
            (HexReversed, "0100|", &["1"]),
        ] {
            let wanted: Vec<_> = cards.iter().map(|card| Read::Card((*card).into())).collect();
            assert_eq!(typed(format, keys), wanted, "{format:?} {keys}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_and_does_not_affect_the_next() {
        use Format::{Auto, Hex, HexReversed};
        for (format, keys, why) in [
            (Auto, "0000|", "0 is"),
            (Auto, "9223372036854775808|", "higher"),
            (Auto, "99999999999999999999|", "higher"),
            (Auto, "000000000000000000000000000000001|", "longer"),
            (Auto, "12x4|", "other keys"),
            (Auto, "x|", "other keys"),
            (Auto, "12!4|", "lost"),
            (Auto, "123_", "short"),
            (Hex, "8000000000000000|", "higher"),
            (Hex, "10000000000000000|", "higher"),
            (HexReversed, "123|", "whole bytes"),
            (HexReversed, "000000000000000001|", "whole bytes"),
        ] {
            let reads = typed(format, &format!("{keys}1234|"));
            let [Read::Refused(message), Read::Card(_)] = reads.as_slice() else {
                panic!("{format:?} {keys}: {reads:?}");
            };
            assert!(message.contains(why), "{keys}: {message}");
        }
    }

    #[test]
    fn a_gap_between_keys_ends_a_number_also_if_they_are_read_at_once() {
        let (mut typed, begun) = (Typed::new(Format::Auto), Instant::now());
        let now = begun + Duration::from_secs(10);
        let mut reads = Vec::new();
        for (ms, digit) in [(0, 1), (5, 2), (10, 3), (15, 4), (500, 5), (505, 6), (510, 7)] {
            let at = begun + Duration::from_millis(ms);
            reads.extend(typed.press(Key::Digit(digit), Some(at), now));
        }
        reads.extend(typed.press(Key::End, Some(begun + Duration::from_millis(515)), now));
        assert_eq!(reads, [Read::Card("1234".into()), Read::Card("567".into())]);
    }

    fn any_key() -> impl Strategy<Value = Key> {
        prop_oneof![
            8 => (0u8..=255).prop_map(Key::Digit),
            1 => Just(Key::End),
            1 => Just(Key::Other),
            1 => Just(Key::Lost),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_typed_memory_is_bounded_and_cards_are_numbers(
            keys in proptest::collection::vec((any_key(), 0u64..400, any::<bool>()), 0..300),
        ) {
            let (mut typed, mut now) = (Typed::new(Format::Auto), Instant::now());
            for (key, ms, says_when) in keys {
                now += Duration::from_millis(ms);
                let reads = [typed.press(key, says_when.then_some(now), now), typed.pause(now)];
                prop_assert!(typed.text.len() <= LONGEST);
                for read in reads.into_iter().flatten() {
                    if let Read::Card(card) = read {
                        let number: u64 = card.parse().unwrap();
                        prop_assert!((1..=MOST_CARD).contains(&number));
                        prop_assert_eq!(number.to_string(), card);
                    }
                }
            }
            now += PAUSE;
            typed.pause(now);
            prop_assert_eq!(typed.deadline(), None);
        }
    }
}
