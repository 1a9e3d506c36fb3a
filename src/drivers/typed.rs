//! What a reader types, key by key, put together to card numbers. Pure: no clock, no device.
//!
//! A number ends with Enter, or with a pause: some readers type no Enter. What is no number is
//! refused as text, and the next number begins clean.

use std::time::{Duration, Instant};

/// A pause after which a number has ended. Readers type a key every 1 to 30 ms.
pub const PAUSE: Duration = Duration::from_millis(150);
/// Most characters of a number. Whatever comes beyond is not even kept.
const LONGEST: usize = 32;
/// Fewest characters of a number without Enter: a key that somebody touches is no card.
const SHORTEST_BY_PAUSE: usize = 4;
/// Highest card number, as for the cards of users.
const MOST_CARD: u64 = i64::MAX as u64;

/// A key, as far as numbers are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// 0 to 15.
    Figure(u8),
    /// Enter, Tab, and what frames a number on a serial line or a magnetic stripe.
    End,
    /// Anything else: what it is part of is no number.
    Other,
    /// Keys were lost before this one.
    Lost,
}

/// How the reader writes its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Decimal, until it types a letter: hexadecimal from then on.
    #[default]
    Auto,
    /// Hexadecimal, the highest byte first.
    Hex,
    /// Hexadecimal, the lowest byte first.
    HexReversed,
}

/// What came of a number that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A card, in decimal without leading zeros: as the daemon knows it.
    Card(String),
    /// No card, and why.
    Refused(String),
}

/// The number that is being typed.
pub struct Typed {
    format: Format,
    text: String,
    spoilt: Option<&'static str>,
    last: Option<Instant>,
}

impl Typed {
    /// Nothing typed yet.
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new(), spoilt: None, last: None }
    }

    /// A key was pressed `at` (some devices say when), and is read `now`. What it ended.
    pub fn press(&mut self, key: Key, at: Option<Instant>, now: Instant) -> Option<Read> {
        let gap = |last: Instant| at.is_some_and(|at| at.saturating_duration_since(last) > PAUSE);
        let before = match self.last {
            Some(last) if gap(last) => self.end(false),
            _ => None,
        };
        self.last = Some(at.unwrap_or(now));
        match key {
            Key::Figure(figure) if self.text.len() < LONGEST => {
                self.text.extend(char::from_digit(u32::from(figure), 16));
            }
            Key::Figure(_) => self.spoilt = Some("it is longer than any card number"),
            Key::Other => {
                self.spoilt.get_or_insert("it has other keys than 0 to 9 and A to F");
            }
            Key::Lost => {
                self.spoilt = Some("keys were lost, the reader types too fast for this machine");
            }
            Key::End => return before.or_else(|| self.end(true)),
        }
        before
    }

    /// When the number has ended if nothing more is typed.
    pub fn due(&self) -> Option<Instant> {
        self.last.map(|last| last + PAUSE)
    }

    /// Nothing is there to be read. What has ended by that.
    pub fn pause(&mut self, now: Instant) -> Option<Read> {
        if self.due()? <= now { self.end(false) } else { None }
    }

    /// Nothing more will come. What has ended by that.
    pub fn finish(&mut self) -> Option<Read> {
        self.end(true)
    }

    /// Forgets what was typed: the reader is gone.
    pub fn clear(&mut self) {
        *self = Self::new(self.format);
    }

    fn end(&mut self, by_key: bool) -> Option<Read> {
        self.last = None;
        let text = std::mem::take(&mut self.text);
        let spoilt = self.spoilt.take();
        let refuse = |why: &str| Read::Refused(format!("{:?} is no card: {why}", shown(&text)));
        if let Some(why) = spoilt {
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
                "the reader types hexadecimal numbers: all are taken for such from now on. Start \
                 with --hex, so that one without letters is not taken for a decimal one"
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

/// Enough of it to be known again.
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
                    Some(figure) => typed.press(Key::Figure(figure as u8), None, now),
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
    fn what_is_no_number_is_refused_and_harms_no_other() {
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
        for (ms, figure) in [(0, 1), (5, 2), (10, 3), (15, 4), (500, 5), (505, 6), (510, 7)] {
            let at = begun + Duration::from_millis(ms);
            reads.extend(typed.press(Key::Figure(figure), Some(at), now));
        }
        reads.extend(typed.press(Key::End, Some(begun + Duration::from_millis(515)), now));
        assert_eq!(reads, [Read::Card("1234".into()), Read::Card("567".into())]);
    }

    fn any_key() -> impl Strategy<Value = Key> {
        prop_oneof![
            8 => (0u8..=255).prop_map(Key::Figure),
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
            prop_assert_eq!(typed.due(), None);
        }
    }
}
