//! The PIN in a record, and the refusal if the terminal does not know it.

use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::record::Pin;

/// The PIN in a record that must have one.
pub(super) fn pin_of(record: &[u8], language: Language) -> Result<Pin, Refusal> {
    Pin::from_fields(&Fields::parse(record, &["PIN"], language)?)
}

/// The refusal of a command about somebody who is not on the terminal.
pub(super) fn unknown_user(pin: &Pin) -> Refusal {
    let why = format!("there is no user {pin} on this terminal; DATA UPDATE USERINFO adds one");
    Refusal::new(ReturnCode::UNKNOWN_PIN, why)
}
