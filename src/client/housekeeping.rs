//! What the loop does beside exchanges: drops what may be dropped when a limit of the store is
//! reached, and removes guests whose time is over.

use std::time::Duration;

use super::context::Context;
use crate::store::{Room, StoreError};

/// How often the limits are checked, if the loop wakes for something else.
const EVERY: Duration = Duration::from_secs(20);
/// How long until more is dropped, while there is more to drop.
const NEXT_SLICE: Duration = Duration::from_millis(100);

/// When the store is cleaned.
#[derive(Debug, Default)]
pub(super) struct Housekeeping {
    due_at: Duration,
}

impl Housekeeping {
    /// Does what is due. Returns when to wake for more, [`Duration::MAX`] for never.
    pub(super) fn run_if_due(
        &mut self,
        context: &Context,
        now: Duration,
    ) -> Result<Duration, StoreError> {
        let retention = context.store.retention();
        if now >= self.due_at || retention.is_full_and_unreported() {
            remove_expired_guests(context)?;
            self.due_at = now
                + match retention.make_room()? {
                    Room::Making => NEXT_SLICE,
                    Room::Enough | Room::None(_) => EVERY,
                };
        }
        // The regular check is no reason to wake: it comes with whatever wakes the loop.
        Ok(if self.due_at < now + EVERY / 2 { self.due_at } else { Duration::MAX })
    }
}

/// Removes guests whose time is over; their punches stay.
fn remove_expired_guests(context: &Context) -> Result<(), StoreError> {
    let Some(now) = context.clock.utc_if_set() else { return Ok(()) };
    let stay = context.server_queries.rules().stay;
    let removed = context.store.guests().remove_expired(now, stay)?;
    if removed > 0 {
        log::info!("{removed} guests were removed, their time was over");
    }
    Ok(())
}
