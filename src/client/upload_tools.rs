//! What an upload works with.

use std::time::Duration;

use super::command_list::CommandReader;
use super::context::Context;
use super::session::Session;
use crate::protocol::stream::Table;
use crate::store::StoreError;

/// The parts of the client that an upload needs.
pub(super) struct Tools<'a> {
    pub(super) context: &'a mut Context,
    pub(super) session: &'a mut Session,
    pub(super) commands: &'a mut CommandReader,
    /// When punches may go up: a comparison of rows of another table does not delay them.
    pub(super) punches_at: Duration,
    /// A poll is held meanwhile: a server that does one thing at a time does not answer.
    pub(super) beside_held: bool,
}

impl Tools<'_> {
    /// Whether a punch waits that could go up at once.
    pub(super) fn punches_can_go(&mut self) -> Result<bool, StoreError> {
        let Self { context, session, punches_at, .. } = self;
        let is_open = session.window.is_open(&session.options, &*context.clock);
        Ok(is_open
            && *punches_at <= context.clock.monotonic()
            && context.store.outbox().has_rows(&session.allowed(Table::Attlog))?)
    }

    /// Says, once, and counts that the server did not count rows that count as delivered.
    pub(super) fn not_counted(&mut self, rows: u64) {
        if self.context.status.connection().not_counted == 0 {
            log::warn!(
                "the server says OK:0 to rows that it must have taken: it did not count them. They \
                 count as delivered; `punchd status` has their number"
            );
        }
        self.context.status.update(|connection| connection.not_counted += rows);
    }
}
