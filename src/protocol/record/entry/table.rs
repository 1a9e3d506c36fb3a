//! A small table, and its records.

use std::collections::BTreeMap;

use super::rule::Rule;
use crate::protocol::codes::Language;
use crate::protocol::fields::{Fields, Refusal};

/// A table of the terminal.
#[derive(Debug, PartialEq, Eq)]
pub struct EntryTable {
    /// The name in commands and in the store.
    pub name: &'static str,
    /// The fields that identify an entry.
    pub(super) id: &'static [&'static str],
    pub(super) fields: &'static [(&'static str, Rule)],
    /// Most entries.
    pub most: u64,
    /// Whether the document has a `DATA DELETE` for it.
    pub can_delete: bool,
}

/// An entry, or the part of it that a record has; keys in lower case.
pub type Entry = BTreeMap<String, String>;

impl EntryTable {
    /// Reads and checks the record of a `DATA UPDATE`. The identity is required. Other fields
    /// may be missing; the entry keeps their values.
    pub fn parse(&self, record: &[u8], language: Language) -> Result<Entry, Refusal> {
        let keys: Vec<&str> = self.fields.iter().map(|(key, _)| *key).collect();
        let fields = Fields::parse(record, &keys, language)?;
        let mut entry = Entry::new();
        for (key, rule) in self.fields {
            // The document itself writes `StatusCode==`.
            let value = fields.get(key).map(|value| value.strip_prefix('=').unwrap_or(value));
            match value {
                Some(value) if !value.is_empty() => {
                    rule.check(key, value, &fields, language)?;
                    entry.insert((*key).to_owned(), value.to_owned());
                }
                Some(_) if self.id.contains(key) => return Err(Refusal::field(key, "is empty")),
                None if self.id.contains(key) => return Err(Refusal::field(key, "is missing")),
                Some(empty) => drop(entry.insert((*key).to_owned(), empty.to_owned())),
                None => {}
            }
        }
        Ok(entry)
    }

    /// Reads the record of a `DATA DELETE`: the identity only.
    pub fn parse_id(&self, record: &[u8], language: Language) -> Result<String, Refusal> {
        let fields = Fields::parse(record, self.id, language)?;
        for key in self.id {
            fields.required(key)?;
        }
        Ok(self.id.iter().filter_map(|key| fields.get(key)).collect::<Vec<_>>().join("\t"))
    }

    /// The fields of an identity.
    pub fn identity(&self, id: &str) -> Entry {
        let pairs = self.id.iter().zip(id.split('\t'));
        pairs.map(|(key, value)| ((*key).to_owned(), value.to_owned())).collect()
    }

    /// The identity of an entry: its fields, separated by TAB.
    pub fn id_of(&self, entry: &Entry) -> String {
        self.id.iter().filter_map(|key| entry.get(*key)).cloned().collect::<Vec<_>>().join("\t")
    }
}
