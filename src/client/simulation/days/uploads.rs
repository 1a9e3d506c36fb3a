//! What else goes up: each photo, and the names that drivers gave to people.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::record::Pin;
use crate::store::Store;

#[derive(Default)]
pub(super) struct Uploads {
    /// The numbers of the photos that the server has.
    photos: BTreeSet<u32>,
    /// People whom a driver gave a name, by PIN, until a row shows it to the server.
    named: BTreeMap<u32, Named>,
}

/// A name that a driver gave.
struct Named {
    name: String,
    /// The names that the person had before: a row with one of them was on its way.
    before: BTreeSet<String>,
}

impl Uploads {
    /// The content of a photo.
    pub(super) fn photo(number: u32) -> Vec<u8> {
        [b"\xFF\xD8\xFF", format!("photo {number};").as_bytes(), b"\xFF\xD9"].concat()
    }

    /// A driver gave a person a name in place of another.
    pub(super) fn edited(&mut self, pin: u32, before: Option<String>, name: String) {
        let named = self.named.remove(&pin);
        let mut all = named.map_or_else(BTreeSet::new, |it| &it.before | &[it.name].into());
        all.extend(before);
        self.named.insert(pin, Named { name, before: all });
    }

    /// A person was deleted: what a driver changed goes with them.
    pub(super) fn deleted(&mut self, pin: u32) {
        self.named.remove(&pin);
    }

    /// The server took these rows.
    pub(super) fn take(&mut self, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        for part in text.split("photo ").skip(1) {
            let number = part.split(';').next().and_then(|number| number.parse().ok());
            self.photos.extend::<Option<u32>>(number);
        }
        for row in text.lines().filter_map(|line| line.strip_prefix("USER PIN=")) {
            let mut fields = row.split('\t');
            let pin = fields.next().and_then(|pin| pin.parse().ok());
            let name = fields.next().and_then(|field| field.strip_prefix("Name="));
            let (Some(pin), Some(name)) = (pin, name) else { continue };
            // A command may have given another name since: the row goes up all the same.
            if self.named.get(&pin).is_some_and(|named| !named.before.contains(name)) {
                self.named.remove(&pin);
            }
        }
    }

    /// The day is over: what is not there. Rows that the server refuses may be missing.
    pub(super) fn settle(
        &self,
        photos: u32,
        refused_photos: usize,
        are_people_refused: bool,
        store: &Store,
    ) -> Result<(), String> {
        let missing: Vec<u32> = (1..=photos).filter(|it| !self.photos.contains(it)).collect();
        if missing.len() > refused_photos {
            return Err(format!("photos {missing:?} are not at the server"));
        }
        for (pin, Named { name, .. }) in &self.named {
            let is_there = store.people().get(&Pin::new(&pin.to_string()).unwrap()).unwrap();
            if is_there.is_some() && !are_people_refused {
                return Err(format!("a driver named person {pin} {name}, and no row went up"));
            }
        }
        Ok(())
    }
}
