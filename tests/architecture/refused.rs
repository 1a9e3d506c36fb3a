//! What no source may contain, because the paths behind it cannot be followed.

use super::tokens::{Token, closing};

/// Tokens in a row, and what the message says of them.
const REFUSED: [(&[&str], &str); 5] = [
    (
        &["extern", "crate", "self"],
        "`extern crate self` is a second name of the crate: use `crate`",
    ),
    (&["include", "!"], "`include!` hides which paths the file has: make it a module"),
    (&["crate", "::", "$"], "`crate::$` hides where the path leads: write the room out"),
    (&["super", "::", "$"], "`super::$` hides where the path leads: write the module out"),
    (&["self", "::", "$"], "`self::$` hides where the path leads: write the module out"),
];

/// The lines of a file that are refused, and why.
pub fn refused(file: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (words, says) in REFUSED {
        let places = tokens.windows(words.len()).filter(|row| {
            row.iter().zip(words).all(|(token, word)| token.is_sign(word) || token.is_name(word))
        });
        found.extend(places.map(|row| (row[0].line, says.to_owned())));
    }
    for row in tokens.windows(3) {
        let [sign, name, colons] = row else { continue };
        if sign.is_sign("$") && colons.is_sign("::") && !name.is_name("crate") {
            let says = format!("`${}::` hides where the path leads: pass all of it", name.text);
            found.push((name.line, says));
        }
    }
    if file == "src/lib.rs"
        && let Some(line) = item_of_root(tokens)
    {
        found.push((line, "the root of the crate only declares modules: move this".to_owned()));
    }
    found
}

/// The line of the first item that is no `mod name;`. An item at the root would be a way from one
/// room to another past the table.
fn item_of_root(tokens: &[Token]) -> Option<usize> {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let declares = token.is_name("mod") && tokens.get(at + 2).is_some_and(|it| it.is_sign(";"));
        match token.text.as_str() {
            "#" | "!" | "pub" => at += 1,
            "[" | "(" => at = closing(tokens, at) + 1,
            _ if declares => at += 3,
            _ => return Some(token.line),
        }
    }
    None
}
