//! Keys in data records that mean nothing to the terminal: each is named in the log once, since a
//! server that spells a key in another way believes that its value is stored.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::protocol::data_table::DataTable;

/// Most keys that are remembered. Further ones are not named.
const MOST_KEYS: usize = 200;
/// Longest key that is named, in characters.
const LONGEST_KEY: usize = 40;

/// The keys of a record.
pub(super) fn keys_of(record: &[u8]) -> impl Iterator<Item = &str> {
    record.split(|byte| *byte == b'\t').filter_map(|field| {
        let equals = field.iter().position(|byte| *byte == b'=')?;
        std::str::from_utf8(field[..equals].trim_ascii()).ok()
    })
}

/// Whether a key, in any case, is one of these.
pub(super) fn is_among(key: &str, keys: &[&str]) -> bool {
    keys.iter().any(|known| known.eq_ignore_ascii_case(key))
}

/// The keys that were named in the log since the start.
#[derive(Debug, Default)]
pub(crate) struct UnknownKeys {
    known: RefCell<BTreeSet<String>>,
}

impl UnknownKeys {
    /// Looks for unknown keys in a record of `DATA UPDATE`.
    pub(super) fn look_at(&self, table: DataTable<'_>, record: &[u8]) {
        keys_of(record).filter(|key| !table.has_key(key)).for_each(|key| self.name(table, key));
    }

    /// Looks for keys that narrow nothing in a record of `DATA QUERY`; these do.
    pub(super) fn look_at_query(&self, table: DataTable<'_>, record: &[u8], narrowing: &[&str]) {
        let others = keys_of(record).filter(|key| !is_among(key, narrowing));
        others.for_each(|key| self.name(table, key));
    }

    fn name(&self, table: DataTable<'_>, key: &str) {
        let mut known = self.known.borrow_mut();
        let key: String = key.chars().take(LONGEST_KEY).collect();
        if known.len() < MOST_KEYS && known.insert(format!("{table} {key}").to_ascii_lowercase()) {
            log::warn!(
                "the server sends the key {key:?} in {table}, which this terminal does not know: its \
                 value has no effect. This is logged once a key"
            );
        }
    }
}
