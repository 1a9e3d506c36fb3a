//! Foreign text: what a server, a driver or a file wrote, made fit for a message, a log line, the
//! error log or `status`.
//!
//! It is bounded, and characters that a person does not see are escaped: control characters (they
//! forge log lines and control a terminal), and those that turn the direction of writing (they make
//! a text look like another one).

use std::fmt::{self, Write as _};

use serde_json::Value;

/// A byte order mark: what some editors and servers write before a text.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Characters of a quoted text that a message shows.
const QUOTED: usize = 60;
/// Most characters of a text in a report.
const REPORTED: usize = 2000;

/// The first characters of a text, in quotes.
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// A text with `…` in place of each of these secrets.
pub fn without_secrets(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
}

/// A text in one line of at most `most` characters, escapes included.
pub fn plain(text: &str, most: usize) -> String {
    let (mut line, mut room) = (String::new(), most);
    for character in text.chars() {
        let width = if is_hidden(character) { character.escape_default().len() } else { 1 };
        // The last place is for the sign that there was more.
        if width >= room && text.chars().nth(most).is_some() || width > room {
            line.push('…');
            break;
        }
        room -= width;
        push(&mut line, character);
    }
    line
}

/// A text of several lines, such as the program prints: nothing in it is hidden.
pub fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ => push(&mut shown, character),
        }
    }
    shown
}

/// Formats a message into one line of at most `most` bytes, however much its parts have.
pub fn line(message: fmt::Arguments<'_>, most: usize) -> String {
    let mut line = Escape { out: String::new(), room: most };
    let _ = line.write_fmt(message);
    line.out
}

/// Makes every text in a report plain, also the names of members.
pub fn make_plain(report: &mut Value) {
    match report {
        Value::String(text) if needs_change(text) => *text = plain(text, REPORTED),
        Value::Array(list) => list.iter_mut().for_each(make_plain),
        Value::Object(members) => {
            if members.keys().any(|key| needs_change(key)) {
                let taken = std::mem::take(members);
                members
                    .extend(taken.into_iter().map(|(key, value)| (plain(&key, REPORTED), value)));
            }
            members.values_mut().for_each(make_plain);
        }
        _ => {}
    }
}

/// Whether a person does not see a character, but sees the text change with it: control
/// characters, line and paragraph separators, marks and controls of the direction of writing.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

fn push(text: &mut String, character: char) {
    match is_hidden(character) {
        true => text.extend(character.escape_default()),
        false => text.push(character),
    }
}

/// The first characters of a text.
fn clip(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

fn needs_change(text: &str) -> bool {
    // Nearly every text is of printable ASCII.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    text.len() > REPORTED || (!is_plain && text.contains(is_hidden))
}

/// Shows the beginning of a text in quotes.
pub struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The debug format escapes everything that is not printable.
        let shown = clip(self.0, QUOTED);
        write!(f, "{shown:?}")?;
        f.write_str(if shown.len() < self.0.len() { "…" } else { "" })
    }
}

/// Escapes what is written to it, until there is no room.
struct Escape {
    out: String,
    room: usize,
}

impl fmt::Write for Escape {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let before = self.out.len();
            push(&mut self.out, character);
            if self.out.len() > self.room {
                self.out.truncate(before);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// One of each kind.
    const HIDDEN: &str = "\u{0}\u{7}\n\u{1b}\u{7f}\u{85}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\
                          \u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";

    #[test]
    fn hidden_characters_are_escaped_and_others_are_not() {
        for text in
            [quoted(HIDDEN).to_string(), plain(HIDDEN, 300), line(format_args!("{HIDDEN}"), 4000)]
        {
            assert!(!text.contains(is_hidden) && text.contains("\\u{202e}"), "{text}");
        }
        for text in ["Müller", "王小明", "يوسف", "a\u{200d}b", "👩‍🔧", "a\\u{202e}"]
        {
            assert_eq!(plain(text, 100), text);
            assert_eq!(line(format_args!("{text}"), 100), text);
        }
    }

    #[test]
    fn a_text_is_bounded_also_when_it_is_escaped() {
        let long = "\u{202e}".repeat(1_000_000);
        assert!(quoted(&long).to_string().len() < 700);
        assert!(plain(&long, 50).chars().count() <= 50 && plain(&long, 50).ends_with('…'));
        assert_eq!((plain("abc", 3), plain("abcd", 3)), ("abc".into(), "ab…".into()));
        assert!(line(format_args!("{long}"), 300).len() <= 300);
        assert_eq!(line(format_args!("ab{}", "c"), 2), "ab");
    }

    #[test]
    fn a_report_is_made_plain_at_every_depth() {
        let mut report = json!({"a": ["\u{202e}x", {"\u{200f}k": "y\n"}], "n": 1});
        make_plain(&mut report);
        assert_eq!(report, json!({"a": ["\\u{202e}x", {"\\u{200f}k": "y\\n"}], "n": 1}));
    }
}
