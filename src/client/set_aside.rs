//! Rows that the server refuses, set aside with its message (quarantine).

use super::context::Context;
use crate::protocol::record::{ErrorCode, ErrorLog};
use crate::protocol::stream::Stream;
use crate::store::{Pass, PendingRow, StoreError};

/// Device, PUSH module, error, a number of our own.
const ROW_REFUSED: &str = "D01E1001";

/// Sets rows aside with the server's message, and writes that into the error log.
pub(super) fn set_aside(
    context: &Context,
    pass: Pass,
    rows: &[PendingRow],
    message: &str,
) -> Result<(), StoreError> {
    let now = context.clock.utc();
    context.store.atomically(|| {
        context.store.quarantine().set_aside(pass, rows, message, now)?;
        for row in rows {
            let stream = row.stream.name();
            log::warn!(
                "row {} of the {stream} is set aside (punchd quarantine): the server refuses it: {message}",
                row.seq
            );
            // An error about an error that was refused would be refused as well.
            if row.stream != Stream::Errors
                && pass != Pass::Retry
                && let Some(error) = error_about(row, message)
            {
                context.store.error_log().add(&error)?;
            }
        }
        Ok(())
    })
}

/// The line of the error log about a row that the server refuses: an error of the PUSH
/// module, as App. 9 builds its codes.
fn error_about(row: &PendingRow, message: &str) -> Option<ErrorLog> {
    let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    let code = ErrorCode::new(ROW_REFUSED).ok()?;
    let about = serde_json::json!({"stream": row.stream.name(), "row": row.seq});
    ErrorLog::new(code, &format!("row refused: {message}"), None, about).ok()
}
