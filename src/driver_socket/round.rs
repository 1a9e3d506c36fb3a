//! Calls that came together: those that only need the store share one commit.

use super::call::{Call, Reply};
use super::context::MethodContext;
use super::dispatch;
use super::drivers::{Driver, Drivers};
use super::error::MethodError;
use crate::rpc::{ErrorCode, Execution, RpcError};
use crate::store::StoreError;

/// Carries out the calls of a round, each with the place of its driver, in one transaction. If the store fails, nothing of the
/// round was recorded: each call is carried out by itself then, since one may have had no room
/// where the others have.
pub(super) fn execute_together(
    context: &MethodContext,
    drivers: &mut Drivers,
    calls: &[(usize, Call)],
) -> Vec<Reply> {
    match try_together(context, drivers, calls) {
        Ok(replies) => replies,
        Err(error) if calls.len() == 1 => {
            // The loop raises the alarm of a full store, once.
            if context.store.retention().shortage().is_none() {
                log::error!("a call of a driver was not recorded: {error}");
            }
            vec![Reply::Refused(MethodError::Store(error).into_rpc())]
        }
        Err(_) => {
            let singly = calls.iter().map(std::slice::from_ref);
            singly.flat_map(|call| execute_together(context, drivers, call)).collect()
        }
    }
}

fn try_together(
    context: &MethodContext,
    drivers: &mut Drivers,
    calls: &[(usize, Call)],
) -> Result<Vec<Reply>, StoreError> {
    let writes = calls.iter().any(|(_, call)| call.execution() == Execution::Write);
    let mut all = || {
        let each = |(place, call): &(usize, Call)| execute(context, drivers.at_mut(*place), call);
        calls.iter().map(each).collect()
    };
    if writes { context.store.atomically(all) } else { all() }
}

/// Carries out a call that comes after the commit of its round.
pub(super) fn execute_after_commit(
    context: &MethodContext,
    driver: &mut Driver,
    call: &Call,
) -> Reply {
    if call.execution() == Execution::ReadPage && !driver.connection.has_room_for_page() {
        return Reply::Refused(RpcError::new(
            ErrorCode::Busy,
            "read the pages that were sent before",
        ));
    }
    execute(context, driver, call)
        .unwrap_or_else(|error| Reply::Refused(MethodError::Store(error).into_rpc()))
}

/// # Errors
/// The store failed: the transaction is void.
fn execute(context: &MethodContext, driver: &mut Driver, call: &Call) -> Result<Reply, StoreError> {
    let (method, params) = match &call.request {
        Ok(request) => request,
        Err(error) => return Ok(Reply::Refused(error.clone())),
    };
    match dispatch::execute(context, driver, *method, params) {
        Ok(reply) => Ok(reply),
        Err(MethodError::Refused(error)) => Ok(Reply::Refused(error)),
        Err(MethodError::Store(error)) => Err(error),
    }
}
