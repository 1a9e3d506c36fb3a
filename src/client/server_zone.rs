//! The time zone that the server names.

use super::context::Context;
use crate::clock::ServerZone;
use crate::protocol::options::Given;
use crate::store::StoreError;
use crate::store::options::ZONE;

/// Takes the zone of a completed handshake or of a command, and keeps it over restarts. An invalid one is as good as
/// none.
pub(super) fn take_zone(context: &Context, zone: Given<i32>) -> Result<(), StoreError> {
    let offset = match zone {
        Given::Value(offset) => Some(offset),
        Given::Absent | Given::Invalid => None,
    };
    context.clock.set_zone(offset);
    let kept = context.store.options().get(ZONE)?;
    let zone = ServerZone::from_kept(kept.as_deref()).after(offset);
    zone.to_kept().map_or(Ok(()), |kept| context.store.options().set(ZONE, &kept))
}
