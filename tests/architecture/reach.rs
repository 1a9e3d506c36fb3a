//! How far an attribute reaches.

use super::tokens::{Token, closing, nesting};

/// The words before the name of an item.
pub const ITEMS: [&str; 9] =
    ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"];

/// Where the block ends in which `start` is: after its bracket, or at the end of the file.
pub fn end_of_block(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    let is_end = |token: &Token| {
        depth += nesting(token);
        depth < 0
    };
    let rest = tokens[start..].iter().position(is_end);
    rest.map_or(tokens.len(), |length| start + length + 1)
}

/// Where the item, field, arm or statement ends whose attributes end before `start`.
pub fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut head = start;
    while sign_at(tokens, head, "#") {
        head = closing(tokens, head + 1) + 1;
    }
    if name_at(tokens, head, "pub") {
        head = if sign_at(tokens, head + 1, "(") { closing(tokens, head + 1) } else { head } + 1;
    }
    let word = tokens.get(head).map_or("", |token| token.text.as_str());
    let is_import = matches!(word, "use" | "let");
    let is_item =
        matches!(word, "mod" | "impl" | "unsafe" | "async" | "extern") || ITEMS.contains(&word);
    // A field may have the name of such a word: `union: u8`.
    let is_item = is_item && !sign_at(tokens, head + 1, ":");
    let (mut depth, mut angles) = (0, 0);
    for (at, token) in tokens.iter().enumerate().skip(head) {
        depth += nesting(token);
        if depth == 0 {
            angles += angle(tokens, at);
        }
        // With one `>` too many, this is a generic parameter.
        let is_end = depth < 0
            || angles < 0
            || depth == 0 && token.is_sign(";")
            || depth == 0 && token.is_sign("}") && !is_import
            || depth == 0 && token.is_sign(",") && !is_import && !is_item;
        if is_end {
            return at + 1;
        }
    }
    tokens.len()
}

/// 1 for `<`, -1 for a `>` that is no arrow.
fn angle(tokens: &[Token], at: usize) -> i32 {
    let is_arrow = sign_at(tokens, at - 1, "-") || sign_at(tokens, at - 1, "=");
    i32::from(sign_at(tokens, at, "<")) - i32::from(sign_at(tokens, at, ">") && !is_arrow)
}

fn name_at(tokens: &[Token], at: usize, name: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.is_name(name))
}

fn sign_at(tokens: &[Token], at: usize, sign: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.is_sign(sign))
}
