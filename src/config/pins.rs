//! `[tls] pin`: one pin, or a list of them.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error as _, SeqAccess, Visitor};

use crate::uplink::Pin;

/// One pin, or a list of them.
pub(super) fn pins<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Pin>, D::Error> {
    input.deserialize_any(Pins)
}

struct Pins;

impl<'de> Visitor<'de> for Pins {
    type Value = Vec<Pin>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pin such as \"sha256/…\", or a list of pins")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<Pin>, E> {
        Ok(vec![pin(text)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Pin>, A::Error> {
        let mut pins = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            pins.push(pin(&text)?);
        }
        if pins.is_empty() {
            return Err(A::Error::custom("pin is an empty list: leave it out, or name a key"));
        }
        Ok(pins)
    }
}

fn pin<E: serde::de::Error>(text: &str) -> Result<Pin, E> {
    Pin::parse(text).ok_or_else(|| {
        E::custom(format!(
            "pin {text:?} is not \"sha256/\" and the 32 bytes of a SHA-256 in base64 (44 characters)"
        ))
    })
}
