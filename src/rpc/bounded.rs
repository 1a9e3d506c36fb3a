//! The members of a message, read with bounded memory: a line of a few bytes a value would
//! otherwise take thirty times its length. What no message needs is passed over.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most values of a message; the largest has some hundreds.
const MOST_VALUES: usize = 4096;
/// Bytes of a text that are kept, and so of the name of a member. Every text that may be longer is
/// the base64 of a file.
const LONGEST_TEXT: usize = 64 << 10;
const LONGEST_NAME: usize = 256;
/// The members that hold a file.
const FILES: [&str; 4] = ["data", "photo", "fptemplate1", "fptemplate2"];
/// The members of a message, with the bytes of a text that are kept.
const MEMBERS: [(&str, usize); 6] = [
    ("jsonrpc", 16),
    ("id", 512),
    ("method", 256),
    ("params", LONGEST_TEXT),
    ("result", LONGEST_TEXT),
    ("error", LONGEST_TEXT),
];

/// Reads the members of a message from a line. `None` if the line is no object.
///
/// # Errors
/// The line is not JSON (a syntax error), or has too many values (a data error).
pub(super) fn members(line: &[u8]) -> serde_json::Result<Option<Map<String, Value>>> {
    let mut reader = serde_json::Deserializer::from_slice(line);
    let members = reader.deserialize_any(Line)?;
    reader.end()?;
    Ok(members)
}

struct Line;

impl<'de> Visitor<'de> for Line {
    type Value = Option<Map<String, Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        let values = Cell::new(0);
        while let Some(name) = map.next_key_seed(Name { longest: LONGEST_NAME, is_cut: true })? {
            match MEMBERS.into_iter().find(|(known, _)| *known == name) {
                Some((_, longest)) => {
                    let value = map.next_value_seed(Bounded { values: &values, longest })?;
                    members.insert(name, value);
                }
                None => map.next_value_seed(Ignored)?,
            }
        }
        Ok(Some(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Ignored.visit_seq(seq).map(|()| None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// The name of a member: a long one is cut, or refused.
struct Name {
    longest: usize,
    is_cut: bool,
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<String, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        if name.len() > self.longest && !self.is_cut {
            return Err(E::custom("the name of a member is too long"));
        }
        Ok(cut(name, self.longest).to_owned())
    }
}

/// A value and what is in it. A text is cut to `longest` bytes: whoever reads it refuses it with
/// the name of the parameter.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    values: &'a Cell<usize>,
    longest: usize,
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MOST_VALUES {
            return Err(D::Error::custom("the line has too many values"));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key_seed(Name { longest: LONGEST_NAME, is_cut: false })? {
            let is_file = FILES.contains(&name.as_str());
            let longest = if is_file { usize::MAX } else { self.longest };
            let value = map.next_value_seed(Bounded { longest, ..self })?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(cut(text, self.longest).to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// A value that is checked and passed over. Unlike serde's own it keeps to the greatest depth.
#[derive(Clone, Copy)]
struct Ignored;

impl<'de> DeserializeSeed<'de> for Ignored {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ignored {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(self)?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The first bytes of a text, up to a whole character.
fn cut(text: &str, longest: usize) -> &str {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn texts_and_values_are_bounded_and_files_are_not() {
        let long = "é".repeat(100_000);
        let line = json!({
            "method": long, "other": long, "params": {"pin": long, "data": long, "list": [{"photo": long}]},
        });
        let members = members(line.to_string().as_bytes()).unwrap().unwrap();
        let length = |value: &Value| value.as_str().map_or(0, str::len);
        assert_eq!((length(&members["method"]), members.len()), (256, 2));
        let params = &members["params"];
        assert_eq!(length(&params["pin"]), LONGEST_TEXT);
        assert_eq!(length(&params["data"]), 200_000);
        assert_eq!(length(&params["list"][0]["photo"]), 200_000);
    }

    #[test]
    fn too_many_values_are_no_syntax_error() {
        let zeros = "0,".repeat(MOST_VALUES);
        let error = members(format!("{{\"params\":[{zeros}0]}}").as_bytes()).unwrap_err();
        assert!(error.is_data(), "{error}");
        assert!(members(format!("{{\"other\":[{zeros}0]}}").as_bytes()).is_ok());
        assert!(members(format!("[{zeros}0]").as_bytes()).unwrap().is_none());
        for line in ["{\"id\":1e999}", "{\"other\":1e999}", "{} {}", "{\"a\":", &"[".repeat(9000)] {
            assert!(!members(line.as_bytes()).unwrap_err().is_data(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_serde_reads_is_read_the_same(text in r#"[\[\]{}",:0-9a-z\\ ]{0,60}"#) {
            let theirs: serde_json::Result<Value> = serde_json::from_slice(text.as_bytes());
            let ours = members(text.as_bytes());
            prop_assert_eq!(ours.is_ok(), theirs.is_ok());
            prop_assert_eq!(ours.ok().flatten().is_some(), theirs.is_ok_and(|value| value.is_object()));
        }
    }
}
