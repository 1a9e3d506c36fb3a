//! Commands in order: what a command waits for before it is carried out.

use crate::protocol::stream::Table;
use crate::protocol::touches::{Also, Things, Touches};
use crate::store::options::CHECK;
use crate::store::{Store, StoreError};

/// Most queries under way: each may hold copies of a person's rows.
const MOST_QUERIES: u64 = 64;

/// The row of the command that one that has just come has to wait for; 0 if it waits for something
/// else; `None` if it can be carried out.
pub(super) fn must_wait(store: &Store, touches: &Touches) -> Result<Option<i64>, StoreError> {
    if touches.is_nothing() {
        return Ok(None);
    }
    match store.jobs().blocker(touches, None)? {
        Some(row) => Ok(Some(row)),
        None => Ok(waits_besides(store, touches)?.then_some(0)),
    }
}

/// Whether a command waits for something that is no command before it.
pub(crate) fn waits_besides(store: &Store, touches: &Touches) -> Result<bool, StoreError> {
    if touches.also == Also::Resend {
        // The server asked for rows again: they go before they are deleted.
        return Ok(
            store.options().get(CHECK)?.is_some() || store.outbox().is_resending(Table::Attlog)?
        );
    }
    if touches.also == Also::Queries {
        return Ok(store.queries().count()? >= MOST_QUERIES);
    }
    // The content of a file is read when the answer to its GetFile is sent.
    Ok(touches.writes.meets(Things::FILES) && store.command_log().has_file_replies()?)
}
