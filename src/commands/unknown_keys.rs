//! Keys in data records that mean nothing to the terminal: each is named in the log once, since a
//! server that spells a key in another way believes that its value is stored.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::protocol::data_table::DataTable;

/// Most keys that are remembered. Further ones are not named.
const MOST_KEYS: usize = 200;
/// Longest key that is named, in characters.
const LONGEST_KEY: usize = 40;

/// The keys that were named in the log since the start.
#[derive(Debug, Default)]
pub(crate) struct UnknownKeys {
    known: RefCell<BTreeSet<String>>,
}

impl UnknownKeys {
    /// Looks for unknown keys in a record of `DATA UPDATE`.
    pub(super) fn look_at(&self, table: DataTable<'_>, record: &[u8]) {
        for field in record.split(|byte| *byte == b'\t') {
            let Some(equals) = field.iter().position(|byte| *byte == b'=') else { continue };
            let Ok(key) = std::str::from_utf8(field[..equals].trim_ascii()) else { continue };
            if !table.has_key(key) {
                self.name(table, key);
            }
        }
    }

    fn name(&self, table: DataTable<'_>, key: &str) {
        let mut known = self.known.borrow_mut();
        let key: String = key.chars().take(LONGEST_KEY).collect();
        if known.len() < MOST_KEYS && known.insert(format!("{table} {key}").to_ascii_lowercase()) {
            log::warn!(
                "the server sends the key {key:?} in {table}, which this terminal does not know: its \
                 value is not kept. This is logged once a key"
            );
        }
    }
}
