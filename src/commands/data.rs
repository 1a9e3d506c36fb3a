//! `DATA UPDATE` and `DATA DELETE` (§12.2, §12.3).

use super::Executor;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::record::{Pin, User, UserChange};
use crate::store::{Origin, StoreError};

impl Executor<'_> {
    pub(super) fn update(
        &self,
        table: &str,
        record: &[u8],
    ) -> Result<Result<(), Refusal>, StoreError> {
        match table.to_ascii_uppercase().as_str() {
            "USERINFO" => self.update_user(record),
            _ => Ok(Err(unknown_table(table))),
        }
    }

    pub(super) fn delete(
        &self,
        table: &str,
        record: &[u8],
    ) -> Result<Result<(), Refusal>, StoreError> {
        match table.to_ascii_uppercase().as_str() {
            "USERINFO" => match self.pin_of(record) {
                // One that is not there any more is deleted already.
                Ok(pin) => self.store.delete_user(&pin).map(|_| Ok(())),
                Err(refusal) => Ok(Err(refusal)),
            },
            _ => Ok(Err(unknown_table(table))),
        }
    }

    /// Adds a user, or changes what the record carries of one who is there.
    fn update_user(&self, record: &[u8]) -> Result<Result<(), Refusal>, StoreError> {
        let change = match UserChange::parse(record, self.language) {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut user = match self.store.user(&change.pin)? {
            Some(user) => user,
            None if self.store.users()? >= self.device.most_users => {
                return Ok(Err(Refusal::new(
                    ReturnCode::CAPACITY,
                    format!("there are {} users already", self.device.most_users),
                )));
            }
            None => User::new(change.pin.clone()),
        };
        change.apply(&mut user);
        self.store.put_user(&user, Origin::Server)?;
        Ok(Ok(()))
    }

    /// The PIN in a record that must hold one.
    pub(super) fn pin_of(&self, record: &[u8]) -> Result<Pin, Refusal> {
        let fields = Fields::parse(record, &["PIN"], self.language)?;
        Pin::new(fields.required("pin")?)
            .map_err(|invalid| Refusal::field(invalid.field, invalid.why))
    }
}

pub(super) fn unknown_table(table: &str) -> Refusal {
    Refusal::new(ReturnCode::MISMATCH, format!("this terminal has no table {table:?}"))
}
