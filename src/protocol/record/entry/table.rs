//! A small table, and its records.

use std::collections::BTreeMap;

use super::super::Pin;
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
    /// Fields without which an entry means nothing.
    pub(super) required: &'static [&'static str],
    /// Most entries.
    pub most: u64,
}

/// An entry, or the part of it that a record has; keys in lower case.
pub type Entry = BTreeMap<String, String>;

impl EntryTable {
    /// The keys of a record.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|(key, _)| *key)
    }

    /// Reads and checks the record of a `DATA UPDATE`. The identity is required. Other fields
    /// may be missing; the entry keeps their values.
    pub fn parse(&self, record: &[u8], language: Language) -> Result<Entry, Refusal> {
        let keys: Vec<&str> = self.keys().collect();
        let fields = Fields::parse(record, &keys, language)?;
        let mut entry = Entry::new();
        for (key, rule) in self.fields {
            // The document itself writes `StatusCode==`; in a text the character counts.
            let doubled = |value| match rule {
                Rule::Number(..) => str::strip_prefix(value, '=').unwrap_or(value),
                _ => value,
            };
            let value = fields.get(key).map(doubled);
            match value {
                Some(value) if !value.is_empty() => {
                    rule.check(key, value, &fields, language)?;
                    entry.insert((*key).to_owned(), rule.canonical(value));
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
        let mut values = Vec::new();
        for (key, rule) in self.fields.iter().filter(|(key, _)| self.id.contains(key)) {
            let value = fields.required(key)?;
            rule.check(key, value, &fields, language)?;
            values.push((*key, rule.canonical(value)));
        }
        let in_order = |key: &&str| values.iter().find(|(name, _)| name == key);
        let in_order = self.id.iter().filter_map(in_order).map(|(_, value)| value.as_str());
        Ok(in_order.collect::<Vec<_>>().join("\t"))
    }

    /// The identity in a record as it is written there.
    pub fn spelled_id(&self, record: &[u8], language: Language) -> Result<String, Refusal> {
        let fields = Fields::parse(record, self.id, language)?;
        Ok(self.id.iter().filter_map(|key| fields.get(key)).collect::<Vec<_>>().join("\t"))
    }

    /// The person of an entry, where a field of its identity is one.
    pub fn whose(&self, entry: &Entry) -> Option<Pin> {
        let (key, _) = self.fields.iter().find(|(_, rule)| *rule == Rule::Pin)?;
        Pin::new(entry.get(*key)?).ok()
    }

    /// Refuses an entry that lacks what it is for: neither the record nor `before`, the entry that it
    /// changes, has it.
    pub fn require_content(&self, entry: &Entry, before: Option<&Entry>) -> Result<(), Refusal> {
        for key in self.required {
            let new = entry.get(*key);
            let value = new.or_else(|| before.and_then(|before| before.get(*key)));
            if value.is_none_or(|value| value.is_empty()) {
                let why = if new.is_some() { "is empty" } else { "is missing" };
                return Err(Refusal::field(key, why));
            }
        }
        Ok(())
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
