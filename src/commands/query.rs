//! `DATA QUERY` (§12.4): the rows go up by the upload path, the answer comes after them.

use super::data::unknown_table;
use super::{End, Executor};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::StoreError;

/// Rows in one request of an answer.
pub const ROWS_A_PACK: u64 = 60;

impl Executor<'_> {
    pub(super) fn query(
        &self,
        row: i64,
        table: &str,
        record: &[u8],
    ) -> Result<Result<End, Refusal>, StoreError> {
        if !table.eq_ignore_ascii_case("USERINFO") {
            return Ok(Err(unknown_table(table)));
        }
        // Field servers ask for everybody by leaving the PIN out.
        let pin = match record.is_empty() {
            true => None,
            false => match self.pin_of(record) {
                Ok(pin) => Some(pin),
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        if self.store.begin_query(row, pin.as_ref(), ROWS_A_PACK)? {
            return Ok(Ok(End::Later));
        }
        Ok(match pin {
            Some(pin) => {
                Err(Refusal::new(ReturnCode::UNKNOWN_PIN, format!("there is no user {pin}")))
            }
            None => Ok(End::Now(ReturnCode::DONE, Vec::new())),
        })
    }
}
