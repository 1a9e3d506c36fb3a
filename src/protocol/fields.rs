//! `key=value` fields of a data record, separated by TAB (§12.2).

use super::codes::{Language, ReturnCode};
use super::foreign::quoted;
use super::text;

/// The fields of one record; the case of keys does not matter.
#[derive(Debug, Default)]
pub struct Fields {
    pairs: Vec<(String, String)>,
}

/// Why a command was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The answer to the command (App. 1).
    pub code: ReturnCode,
    /// The field that is wrong, in lower case, if the refusal is about one field.
    pub field: Option<&'static str>,
    /// The reason for people; it names the field.
    pub why: String,
}

impl Refusal {
    pub fn new(code: ReturnCode, why: impl Into<String>) -> Self {
        Self { code, field: None, why: why.into() }
    }

    /// A refusal with the code for wrong parameters.
    pub fn parameter(why: impl Into<String>) -> Self {
        Self::new(ReturnCode::PARAMETER, why)
    }

    /// A refusal about a field; `why` continues the sentence after its name.
    pub fn field(field: &'static str, why: impl std::fmt::Display) -> Self {
        Self { field: Some(field), ..Self::parameter(format!("{field} {why}")) }
    }
}

impl Fields {
    /// Splits a record and keeps the fields whose keys are in `known`.
    ///
    /// A record with blanks instead of TABs is refused: otherwise the value of the first field
    /// would contain all others.
    pub fn parse(record: &[u8], known: &[&str], language: Language) -> Result<Self, Refusal> {
        Self::parse_spelled(record, known, &[], language)
    }

    /// The same, with other spellings of keys: each with the key that it means.
    pub fn parse_spelled(
        record: &[u8],
        known: &[&str],
        spellings: &[(&str, &str)],
        language: Language,
    ) -> Result<Self, Refusal> {
        let fields = Self::split_spelled(record, known, spellings, language)?;
        let names = known.iter().chain(spellings.iter().map(|(name, _)| name));
        for (key, value) in &fields.pairs {
            if let Some(inner) = key_within(value, names.clone()) {
                return Err(Refusal::parameter(format!(
                    "the value of {key} contains {inner}=: fields must be separated by TAB, not by blanks"
                )));
            }
        }
        Ok(fields)
    }

    /// The same for a record that surely has TABs: a value may contain ` key=`.
    pub fn split(record: &[u8], known: &[&str], language: Language) -> Result<Self, Refusal> {
        Self::split_spelled(record, known, &[], language)
    }

    fn split_spelled(
        record: &[u8],
        known: &[&str],
        spellings: &[(&str, &str)],
        language: Language,
    ) -> Result<Self, Refusal> {
        let mut fields = Self { pairs: Vec::with_capacity(known.len()) };
        for (nth, part) in record.split(|&byte| byte == b'\t').enumerate() {
            if nth == MOST_FIELDS {
                return Err(Refusal::parameter(format!(
                    "there are more than {MOST_FIELDS} fields"
                )));
            }
            let part = text::decode(part, language)
                .ok_or_else(|| Refusal::parameter("the record is neither UTF-8 nor GBK text"))?;
            let Some(equals) = part.bytes().position(|byte| byte == b'=') else {
                if part.trim().is_empty() {
                    continue;
                }
                let part = quoted(&part);
                return Err(Refusal::parameter(format!("{part} is not of the form key=value")));
            };
            let (key, value) = (part[..equals].trim(), &part[equals + 1..]);
            let (key, is_spelled) = match known.iter().any(|name| name.eq_ignore_ascii_case(key)) {
                true => (key, false),
                false => match spellings.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
                    Some((_, meant)) => (*meant, true),
                    None => continue,
                },
            };
            let key = key.to_ascii_lowercase();
            match fields.get(&key) {
                None => fields.pairs.push((key, value.to_owned())),
                Some(before) if is_spelled && before == value => {}
                Some(_) => {
                    return Err(Refusal::parameter(format!(
                        "{key} is there twice; it is allowed once"
                    )));
                }
            }
        }
        Ok(fields)
    }

    /// Fields from another source than a record; keys in lower case.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        Self { pairs }
    }

    /// The value of a key, which is given in lower case.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a required key.
    pub fn required(&self, key: &'static str) -> Result<&str, Refusal> {
        match self.get(key) {
            Some(value) if !value.is_empty() => Ok(value),
            Some(_) => Err(Refusal::field(key, "is empty")),
            None => Err(Refusal::field(key, "is missing")),
        }
    }

    /// The value of a key as a number. An empty value counts as missing.
    pub fn number<N: std::str::FromStr>(&self, key: &'static str) -> Result<Option<N>, Refusal> {
        match self.get(key).map(str::trim) {
            None | Some("") => Ok(None),
            Some(value) => value.parse().map(Some).map_err(|_| {
                Refusal::field(
                    key,
                    format_args!("is not a number, or too large or too small: {}", quoted(value)),
                )
            }),
        }
    }
}

/// Most fields of a record; the longest in the document has 17.
const MOST_FIELDS: usize = 64;

/// The first of these keys that a value contains as ` key=`.
fn key_within<'k>(value: &str, keys: impl Iterator<Item = &'k &'k str> + Clone) -> Option<&'k str> {
    value.match_indices(' ').find_map(|(at, _)| {
        let rest = &value.as_bytes()[at + 1..];
        let is_next = |key: &&&str| {
            rest.get(key.len()) == Some(&b'=')
                && rest[..key.len()].eq_ignore_ascii_case(key.as_bytes())
        };
        keys.clone().find(is_next).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["PIN", "Name", "Pri", "TMP"];

    fn parse(record: &str) -> Result<Fields, Refusal> {
        Fields::parse(record.as_bytes(), &KNOWN, Language::ENGLISH)
    }

    #[test]
    fn keys_are_found_in_any_case_and_values_are_unchanged() {
        let fields = parse("pin=7\tNAME=Jo = Ann\tPri=\tTmp=QQ==\tNew=1").unwrap();
        assert_eq!(fields.required("pin"), Ok("7"));
        assert_eq!(fields.get("name"), Some("Jo = Ann"));
        assert_eq!(fields.number::<u8>("pri"), Ok(None));
        assert_eq!(fields.get("tmp"), Some("QQ=="));
    }

    #[test]
    fn broken_records_are_refused_with_the_field_in_the_message() {
        for (record, word) in [
            ("PIN=7 Name=Jo Pri=0", "TAB"),
            ("PIN=7\tName=Jo Pri=0", "pri"),
            ("PIN=7\tpin=8", "twice"),
            ("PIN", "key=value"),
        ] {
            let refusal = parse(record).unwrap_err();
            assert_eq!(refusal.code, ReturnCode::PARAMETER);
            assert!(
                refusal.why.to_lowercase().contains(&word.to_lowercase()),
                "{record}: {}",
                refusal.why
            );
        }
        assert!(parse("PIN=").unwrap().required("pin").unwrap_err().why.contains("pin is empty"));
        assert!(parse("PIN=x").unwrap().number::<u8>("pin").is_err());
        assert!(Fields::parse(b"PIN=\xff\xff", &KNOWN, Language::ENGLISH).is_err());
    }
}
