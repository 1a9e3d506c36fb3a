//! Reads the tokens of a file: modules, items, imports, paths, and what is under `cfg(test)`.

use super::reach::{ITEMS, end_of_block, end_of_item};
use super::source::{Mention, Module, ModulePath, Source};
use super::tokens::{Kind, Token, closing, tokens};

/// Attributes that change where a path leads, in a way that is not followed.
const UNFOLLOWED: [&str; 3] = ["path", "macro_use", "macro_export"];

/// Where the reading of a file is.
pub struct Reader {
    tokens: Vec<Token>,
    at: usize,
    /// Up to this token everything stands under `#[cfg(test)]`.
    test_until: usize,
    source: Source,
}

impl Reader {
    /// Begins to read into a source.
    pub fn new(tokens: Vec<Token>, source: Source) -> Reader {
        Reader { tokens, at: 0, test_until: 0, source }
    }

    /// Reads all of the file, which is a module.
    pub fn read(mut self, path: &ModulePath) -> Source {
        self.module(path);
        self.source
    }

    /// Reads a module up to its closing brace, or the end of the file.
    fn module(&mut self, path: &ModulePath) {
        self.source.modules.entry(path.clone()).or_default();
        let mut depth = 0;
        while let Some(token) = self.tokens.get(self.at).cloned() {
            if token.is_sign("#") && self.is_attribute() {
                self.attribute(path);
                continue;
            }
            match token.text.as_str() {
                _ if token.kind == Kind::Text => self.at += 1,
                "{" | "(" | "[" => {
                    depth += 1;
                    self.at += 1;
                }
                "}" | ")" | "]" => {
                    self.at += 1;
                    if depth == 0 {
                        return;
                    }
                    depth -= 1;
                }
                "mod" if self.is_name(self.at + 1) => self.child(path),
                "use" if !self.sign_at(self.at + 1, "<") => self.import(path),
                word if depth == 0 && ITEMS.contains(&word) && !self.is_pointer() => {
                    self.item(path)
                }
                _ => self.path(path),
            }
        }
    }

    /// `mod name;` or `mod name { … }`.
    fn child(&mut self, path: &ModulePath) {
        let name = self.tokens[self.at + 1].text.clone();
        if self.is_test() {
            self.parent(path).test_children.insert(name.clone());
        }
        self.at += 2;
        if self.sign_at(self.at, "{") {
            self.at += 1;
            self.module(&[path.as_slice(), &[name]].concat());
        }
    }

    fn item(&mut self, path: &ModulePath) {
        self.at += 1;
        while self.sign_at(self.at, "!") || self.name_at(self.at, "mut") {
            self.at += 1;
        }
        if self.is_name(self.at) && !ITEMS.contains(&self.tokens[self.at].text.as_str()) {
            let name = self.tokens[self.at].text.clone();
            self.parent(path).items.insert(name);
            self.at += 1;
        }
    }

    /// Looks into an attribute, and notes how far a `cfg(test)` reaches.
    fn attribute(&mut self, path: &ModulePath) {
        let is_inner = self.sign_at(self.at + 1, "!");
        let start = self.at + if is_inner { 3 } else { 2 };
        let end = closing(&self.tokens, start - 1);
        let words: Vec<&str> =
            self.tokens[start..end].iter().map(|token| token.text.as_str()).collect();
        let is_test = words.starts_with(&["cfg", "(", "test", ")"])
            || words.starts_with(&["cfg", "(", "all", "(", "test", ","]);
        let is_doc = words.first() == Some(&"doc");
        let named = if words.starts_with(&["cfg_attr"]) { &words[..] } else { &words[..1] };
        if words != ["macro_export"]
            && let Some(word) = named.iter().find(|word| UNFOLLOWED.contains(word))
        {
            let says = format!("`{word}` in an attribute cannot be followed: remove it");
            self.source.refused.push((self.tokens[start].line, says));
        }
        if words == ["macro_export"] {
            let name = self.tokens[end..].iter().skip_while(|token| !token.is_sign("!")).nth(1);
            self.source.exported_macros.extend(name.map(|token| token.text.clone()));
        }
        if is_test {
            let reach = if is_inner {
                end_of_block(&self.tokens, end + 1)
            } else {
                end_of_item(&self.tokens, end + 1)
            };
            self.test_until = self.test_until.max(reach);
        }
        self.at = start;
        while self.at < end {
            let token = self.tokens[self.at].clone();
            if token.kind == Kind::Text {
                if !is_doc {
                    self.path_in_string(path, &token);
                }
                self.at += 1;
            } else {
                self.path(path);
            }
        }
        self.at = end + 1;
    }

    /// `#[serde(with = "crate::x::y")]` names a path, `#[serde(bound = "…")]` several.
    fn path_in_string(&mut self, path: &ModulePath, token: &Token) {
        let inner = tokens(&token.text);
        let mut at = 0;
        while at < inner.len() {
            let (segments, end) = segments(&inner, at);
            if inner[at].kind == Kind::Name && segments.len() > 1 {
                self.mention(path, token.line, segments, None);
            }
            at = end;
        }
    }

    /// Reads one token of code, or the path that begins with it.
    fn path(&mut self, path: &ModulePath) {
        let token = self.tokens[self.at].clone();
        if token.kind != Kind::Name || self.follows_path() {
            self.at += 1;
            return;
        }
        let is_method = self.at > 0 && self.name_at(self.at - 1, "fn");
        if !self.is_test() && !is_method {
            self.source.names.insert(token.text.clone());
        }
        let (segments, end) = segments(&self.tokens, self.at);
        if segments.len() > 1 {
            self.mention(path, token.line, segments, None);
        }
        self.at = end;
    }

    /// `use a::{b, c::{self, d as e}, f::*};`
    fn import(&mut self, path: &ModulePath) {
        let is_public = self.tokens[..self.at]
            .iter()
            .rev()
            .find(|token| !matches!(token.text.as_str(), ")" | "(" | "crate" | "super" | "in"))
            .is_some_and(|token| token.is_name("pub"));
        self.at += 1;
        if !self.sign_at(self.at, "::") {
            self.tree(path, &[], is_public);
        }
        while self.at < self.tokens.len() && !self.sign_at(self.at, ";") {
            self.at += 1;
        }
    }

    fn tree(&mut self, path: &ModulePath, prefix: &[String], is_public: bool) {
        let mut here = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            if self.sign_at(self.at, "{") {
                self.at += 1;
                while self.at < self.tokens.len() && !self.sign_at(self.at, "}") {
                    self.tree(path, &here, is_public);
                    if self.sign_at(self.at, ",") {
                        self.at += 1;
                    }
                }
                self.at += 1;
                return;
            }
            if self.sign_at(self.at, "*") {
                self.at += 1;
                self.parent(path).globs.push(here.clone());
                here.push("*".to_owned());
                return self.mention(path, line, here, None);
            }
            if self.sign_at(self.at, "$") {
                self.at += 1;
                if !self.name_at(self.at, "crate") {
                    let says = "`$` in a `use` hides where the path leads: write it out";
                    self.source.refused.push((line, says.to_owned()));
                }
            }
            let Some(token) = self.tokens.get(self.at).filter(|token| token.kind == Kind::Name)
            else {
                self.at += 1;
                return;
            };
            if token.text != "self" || here.is_empty() {
                here.push(token.text.clone());
            }
            self.at += 1;
            if !self.sign_at(self.at, "::") {
                break;
            }
            self.at += 1;
        }
        let mut bound = here.last().cloned().unwrap_or_default();
        if self.name_at(self.at, "as") {
            bound = self.tokens[self.at + 1].text.clone();
            self.at += 2;
        }
        self.parent(path).aliases.push((bound.clone(), here.clone()));
        self.mention(path, line, here, is_public.then_some(bound));
    }

    fn mention(
        &mut self,
        module: &ModulePath,
        line: usize,
        segments: Vec<String>,
        reexported_as: Option<String>,
    ) {
        let file = self.source.file.clone();
        let (module, is_test) = (module.clone(), self.is_test());
        let mention = Mention { file, line, module, segments, reexported_as, is_test };
        self.source.mentions.push(mention);
    }

    fn parent(&mut self, path: &ModulePath) -> &mut Module {
        self.source.modules.entry(path.clone()).or_default()
    }

    fn is_test(&self) -> bool {
        self.at < self.test_until
    }

    fn is_attribute(&self) -> bool {
        self.sign_at(self.at + 1, "[")
            || self.sign_at(self.at + 1, "!") && self.sign_at(self.at + 2, "[")
    }

    /// Whether the token goes on a path or an expression: `a.use_it`, `<T>::f`, but not `..A`.
    fn follows_path(&self) -> bool {
        let is_range = self.at > 1 && self.sign_at(self.at - 2, ".");
        let is_method = self.at > 0 && self.sign_at(self.at - 1, ".") && !is_range;
        is_method || self.at > 0 && self.sign_at(self.at - 1, "::")
    }

    /// Whether the token is the `const` of `*const A` or `&raw const A`.
    fn is_pointer(&self) -> bool {
        self.at > 0 && (self.sign_at(self.at - 1, "*") || self.name_at(self.at - 1, "raw"))
    }

    fn is_name(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Name)
    }

    fn name_at(&self, at: usize, name: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_name(name))
    }

    fn sign_at(&self, at: usize, sign: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_sign(sign))
    }
}

/// The segments of the path that begins at a name, and where it ends.
fn segments(tokens: &[Token], start: usize) -> (Vec<String>, usize) {
    let mut found = vec![tokens[start].text.clone()];
    let mut at = start + 1;
    while tokens.get(at).is_some_and(|token| token.is_sign("::"))
        && tokens.get(at + 1).is_some_and(|token| token.kind == Kind::Name)
    {
        found.push(tokens[at + 1].text.clone());
        at += 2;
    }
    (found, at)
}
