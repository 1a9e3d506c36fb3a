//! Calls that came together: those that only need the store share one commit.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::HAS_ROLES;
use super::call::{Call, Reply};
use super::context::MethodContext;
use super::dispatch;
use super::drivers::{Driver, Drivers};
use super::error::MethodError;
use crate::rpc::{Execution, Method};
use crate::store::StoreError;

/// What the calls of one driver may take in a round, besides the one that is being carried out.
const LONGEST_TURN: Duration = Duration::from_millis(5);
/// What the calls of all drivers may take in a round before the commit, and again after it,
/// besides one call of each driver.
pub(super) const LONGEST_ROUND: Duration = Duration::from_millis(5);
/// How long further turns may begin before the commit of a round that writes. A commit costs flash
/// and about as much time, so a burst is worth one and not several.
const LONGEST_GATHERING: Duration = Duration::from_millis(20);

/// A call that was carried out, for the driver at a place.
pub(super) type Executed = (usize, Call, Reply);

/// How long a turn is, when the calls of so many drivers wait.
pub(super) fn turn_among(drivers: usize) -> Duration {
    LONGEST_TURN.min(LONGEST_ROUND / drivers.max(1) as u32)
}

/// Carries out what drivers call, one driver after the other, in one transaction. A turn ends when
/// its time is over, at a call that comes after the commit, and after an answer that is not small.
/// Those that still have something to write then have further turns, for a while.
/// If the store fails, nothing of the round was recorded: each call is carried out by itself then,
/// since one may have had no room where the others have.
pub(super) fn execute_together(
    context: &MethodContext,
    drivers: &mut Drivers,
    order: &[usize],
    turn: Duration,
) -> Vec<Executed> {
    let mut calls = Vec::new();
    match try_together(context, drivers, order, turn, &mut calls) {
        Ok(replies) => {
            let each = calls.into_iter().zip(replies);
            each.map(|((place, call), reply)| (place, call, reply)).collect()
        }
        Err(error) if calls.len() == 1 => {
            let reply = refuse(context, error);
            calls.pop().map(|(place, call)| (place, call, reply)).into_iter().collect()
        }
        Err(_) => {
            if calls.is_empty() {
                // Not even the transaction could begin.
                let next = |&place| Some((place, drivers.at_mut(place).next_before_commit()?));
                calls.extend(order.iter().filter_map(next));
            }
            let singly = |(place, call): (usize, Call)| {
                let reply = execute_alone(context, drivers, place, &call);
                (place, call, reply)
            };
            calls.into_iter().map(singly).collect()
        }
    }
}

/// The replies to the calls of a round, which are added to `calls` with their places.
fn try_together(
    context: &MethodContext,
    drivers: &mut Drivers,
    order: &[usize],
    turn: Duration,
    calls: &mut Vec<(usize, Call)>,
) -> Result<Vec<Reply>, StoreError> {
    let writes = |call: &Call| call.execution() == Execution::Write;
    let has_writes = drivers.iter().any(|driver| driver.calls.iter().any(writes));
    let mut all = || {
        let mut replies = Vec::new();
        let round_begun = Instant::now();
        let mut next: fn(&mut Driver) -> Option<Call> = Driver::next_before_commit;
        loop {
            let before = calls.len();
            for &place in order {
                let begun = Instant::now();
                while let Some(call) = next(drivers.at_mut(place)) {
                    calls.push((place, call));
                    let (_, call) = &calls[calls.len() - 1];
                    let reply = execute(context, drivers, place, call)?;
                    let is_over = begun.elapsed() >= turn || !is_small(&reply);
                    replies.push(reply);
                    if is_over {
                        break;
                    }
                }
            }
            let is_idle = calls.len() == before;
            if is_idle || !has_writes || round_begun.elapsed() >= LONGEST_GATHERING {
                return Ok(replies);
            }
            next = Driver::next_write;
        }
    };
    if has_writes { context.store.atomically(all) } else { all() }
}

fn execute_alone(
    context: &MethodContext,
    drivers: &mut Drivers,
    place: usize,
    call: &Call,
) -> Reply {
    let done = match call.execution() {
        Execution::Write => context.store.atomically(|| execute(context, drivers, place, call)),
        _ => execute(context, drivers, place, call),
    };
    done.unwrap_or_else(|error| refuse(context, error))
}

/// Carries out a call that comes after the commit of its round.
pub(super) fn execute_after_commit(
    context: &MethodContext,
    drivers: &mut Drivers,
    place: usize,
    call: &Call,
) -> Reply {
    execute(context, drivers, place, call)
        .unwrap_or_else(|error| Reply::Refused(MethodError::Store(error).into_rpc()))
}

/// The store failed in a call, which is all that its transaction had in it.
fn refuse(context: &MethodContext, error: StoreError) -> Reply {
    // The loop raises the alarm of a full store, once.
    if context.store.retention().shortage().is_none() {
        log::error!("a call of a driver was not recorded: {error}");
    }
    Reply::Refused(MethodError::Store(error).into_rpc())
}

/// # Errors
/// The store failed: the transaction is void.
fn execute(
    context: &MethodContext,
    drivers: &mut Drivers,
    place: usize,
    call: &Call,
) -> Result<Reply, StoreError> {
    let (method, params) = match &call.request {
        Ok(request) => request,
        Err(error) => return Ok(Reply::Refused(error.clone())),
    };
    if HAS_ROLES && let Err(error) = drivers.at_mut(place).roles.allow(*method) {
        return Ok(Reply::Refused(error));
    }
    if matches!(method, Method::Register | Method::Changes) {
        let may_keep_place = drivers.has_place_to_keep();
        drivers.at_mut(place).may_keep_place = may_keep_place;
    }
    match dispatch::execute(context, drivers.at_mut(place), *method, params) {
        Ok(reply) => Ok(reply),
        Err(MethodError::Refused(error)) => Ok(Reply::Refused(error)),
        Err(MethodError::Store(error)) => Err(error),
    }
}

/// Whether a reply has no list in it, so that a driver may have many of its kind in a round.
fn is_small(reply: &Reply) -> bool {
    match reply {
        Reply::Done(Value::Array(_)) => false,
        Reply::Done(Value::Object(members)) => {
            !members.values().any(|value| value.is_array() || value.is_object())
        }
        _ => true,
    }
}
