//! What a driver has loaded by `changes`, and what it is to be notified of.

use crate::store::Seq;

/// The subscription of one driver.
#[derive(Default)]
pub(super) struct Subscription {
    /// While it loads page by page: as of when, and where the next page begins.
    pub(super) loading: Option<(Seq, Seq)>,
    /// It is to be told (`changed`) when something changes after this.
    pub(super) changed_after: Option<Seq>,
    /// It is to be told of the messages after this.
    pub(super) messages_after: Option<Seq>,
}

impl Subscription {
    /// Whether `changed` is to be sent, if `last` is the number of the last change.
    pub(super) fn has_changes(&self, last: Seq) -> bool {
        self.changed_after.is_some_and(|after| after < last)
    }

    /// Whether there may be messages to send.
    pub(super) fn may_have_messages(&self, last: Seq) -> bool {
        self.messages_after.is_some_and(|after| after < last)
    }
}
