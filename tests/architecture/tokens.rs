//! Rust source as tokens, without comments, character literals and lifetimes.

/// What kind of token it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An identifier or a keyword; a raw identifier without its `r#`.
    Name,
    /// `::`, one other sign, or a number.
    Sign,
    /// The content of a string literal. Only attributes hold paths in strings.
    Text,
}

/// One token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
}

impl Token {
    pub fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    pub fn is_name(&self, name: &str) -> bool {
        self.kind == Kind::Name && self.text == name
    }
}

/// Splits a source text.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.next();
    }
    lexer.found
}

/// The place of the bracket that closes the one at `open`.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    let is_end = |token: &Token| {
        depth += nesting(token);
        depth == 0
    };
    tokens[open..].iter().position(is_end).map_or(tokens.len(), |length| open + length)
}

/// 1 for a bracket that opens, -1 for one that closes.
pub fn nesting(token: &Token) -> i32 {
    match (token.kind, token.text.as_str()) {
        (Kind::Sign, "{" | "(" | "[") => 1,
        (Kind::Sign, "}" | ")" | "]") => -1,
        _ => 0,
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn next(&mut self) {
        let Some(char) = self.peek(0) else { return };
        match char {
            '/' if self.peek(1) == Some('/') => self.skip_while(|char| char != '\n'),
            '/' if self.peek(1) == Some('*') => self.block_comment(),
            '"' => self.string(),
            '\'' => self.quote(),
            'r' | 'b' | 'c' if self.is_prefixed_literal() => self.prefixed_literal(),
            _ if char.is_alphabetic() || char == '_' => self.name(),
            _ if char.is_ascii_digit() => {
                self.skip_while(|char| char.is_alphanumeric() || char == '_');
                self.push(Kind::Sign, "0");
            }
            ':' if self.peek(1) == Some(':') => {
                self.push(Kind::Sign, "::");
                self.skip(2);
            }
            _ => {
                if !char.is_whitespace() {
                    self.push(Kind::Sign, &char.to_string());
                }
                self.skip(1);
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                }
                (None, _) => return,
                _ => self.skip(1),
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// A character literal, or a lifetime: in neither is a path.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.skip(3);
            self.skip_while(|char| char != '\'');
            self.skip(1);
        } else if self.peek(2) == Some('\'') {
            self.skip(3);
        } else {
            self.skip(1);
            self.skip_while(|char| char.is_alphanumeric() || char == '_');
        }
    }

    fn string(&mut self) {
        let line = self.line;
        self.skip(1);
        let mut text = String::new();
        while let Some(char) = self.peek(0).filter(|char| *char != '"') {
            let length = if char == '\\' { 2 } else { 1 };
            text.push(char);
            self.skip(length);
        }
        self.skip(1);
        self.found.push(Token { kind: Kind::Text, text, line });
    }

    /// Whether this is `b"…"`, `r#"…"#`, `b'…'`, `r#name` and the like, and no plain name.
    fn is_prefixed_literal(&self) -> bool {
        let mut ahead = 1;
        if self.peek(0) != Some('r') && self.peek(1) == Some('r') {
            ahead = 2;
        }
        let is_raw = self.peek(ahead - 1) == Some('r');
        match self.peek(ahead) {
            Some('"') => true,
            Some('\'') => self.peek(0) == Some('b') && ahead == 1,
            Some('#') => is_raw,
            _ => false,
        }
    }

    fn prefixed_literal(&mut self) {
        let is_raw = self.peek(0) == Some('r') || self.peek(1) == Some('r');
        self.skip_while(|char| matches!(char, 'r' | 'b' | 'c'));
        match self.peek(0) {
            Some('\'') => self.quote(),
            Some('"') if !is_raw => self.string(),
            _ => self.raw(),
        }
    }

    /// After the `r`: a raw string, or a raw identifier.
    fn raw(&mut self) {
        let line = self.line;
        let hashes = self.chars[self.at..].iter().take_while(|char| **char == '#').count();
        self.skip(hashes);
        if self.peek(0) != Some('"') {
            return self.name();
        }
        self.skip(1);
        let end: String = format!("\"{}", "#".repeat(hashes));
        let mut text = String::new();
        while self.at < self.chars.len() && !self.starts_with(&end) {
            text.push(self.chars[self.at]);
            self.skip(1);
        }
        self.skip(end.len());
        self.found.push(Token { kind: Kind::Text, text, line });
    }

    fn name(&mut self) {
        let start = self.at;
        self.skip_while(|char| char.is_alphanumeric() || char == '_');
        let name: String = self.chars[start..self.at].iter().collect();
        self.push(Kind::Name, &name);
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, char)| self.peek(ahead) == Some(char))
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some('\n') {
                self.line += 1;
            }
            self.at += 1;
        }
        self.at = self.at.min(self.chars.len());
    }

    fn skip_while(&mut self, condition: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&condition) {
            self.skip(1);
        }
    }

    fn push(&mut self, kind: Kind, text: &str) {
        self.found.push(Token { kind, text: text.to_owned(), line: self.line });
    }
}
