//! The target of a request: its path, and its query, decoded.

use crate::deviation::{Flaws, Kind};

/// A target taken apart.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub path: String,
    pub query: Vec<(String, String)>,
    /// What is wrong with it.
    pub flaws: Flaws,
}

impl Target {
    /// Takes `/iclock/getrequest?SN=…&INFO=…` apart.
    pub(crate) fn parse(text: &str) -> Target {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut target = Target { path: path.to_owned(), ..Target::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if target.query.iter().any(|(other, _)| other == key) {
                let text = format!("the parameter {key} stands twice");
                target.flaws.add(Kind::DuplicateParameter, text);
            }
            let decoded = percent_decode(value).unwrap_or_else(|why| {
                let text = format!("the parameter {key}={value} {why}");
                target.flaws.add(Kind::QueryEncoding, text);
                value.to_owned()
            });
            target.query.push((key.to_owned(), decoded));
        }
        target
    }
}

/// Undoes the percent-encoding; an error for what should have been encoded and is not.
fn percent_decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()]
                    .map(|digit| digit.and_then(|b| (b as char).to_digit(16)));
                let [Some(high), Some(low)] = digits else {
                    return Err("ends a percent sign with no two hexadecimal digits");
                };
                (high * 16 + low) as u8
            }
            b'+' => return Err("holds a + that is not percent-encoded"),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#' => {
                return Err("holds a character that is not percent-encoded");
            }
            b if b.is_ascii_graphic() => b,
            _ => return Err("holds a byte that is not percent-encoded"),
        });
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_taken_apart() {
        let target = Target::parse("/iclock/getrequest?SN=TEST0001&INFO=Ver%202.0,1&x");
        assert_eq!(target.path, "/iclock/getrequest");
        let pairs = [("SN", "TEST0001"), ("INFO", "Ver 2.0,1"), ("x", "")];
        assert_eq!(target.query, pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(target.flaws, Flaws::default());
    }

    #[test]
    fn what_is_wrong() {
        for (query, kind) in [
            ("SN=1&SN=2", Kind::DuplicateParameter),
            ("SN=%4", Kind::QueryEncoding),
            ("SN=%+1", Kind::QueryEncoding),
            ("INFO=a+b", Kind::QueryEncoding),
            ("INFO=a|b", Kind::QueryEncoding),
            ("INFO=é", Kind::QueryEncoding),
        ] {
            let flaws = Target::parse(&format!("/a?{query}")).flaws;
            assert_eq!(flaws.0.first().map(|flaw| flaw.kind), Some(kind), "{query}");
        }
    }
}
