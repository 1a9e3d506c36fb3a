//! `status`, `export` and `quarantine`: what the command line calls.

use std::time::Duration;

use serde_json::{Value, json};

use super::call::Reply;
use super::context::MethodContext;
use super::error::MethodError;
use crate::protocol::foreign;
use crate::rpc::{Params, RpcError};
use crate::store::Seq;
use crate::{csv, reactor, status};

/// How long rows are counted, before another driver has its turn.
const COUNTED_AT_ONCE: Duration = Duration::from_millis(2);
/// Punches in one page of an export.
const ROWS_A_PAGE: usize = 500;

/// The state of the terminal, the drivers that registered, and which of them provides what.
pub(super) fn status(context: &MethodContext) -> Result<Reply, MethodError> {
    // After a start there may be a million rows: others are served between the steps.
    if !context.store.outbox().count_backlog(COUNTED_AT_ONCE) {
        return Ok(Reply::NotYet);
    }
    let mut report = context.status.report(&context.store)?;
    let provided = context.driver_requests.provided().into_iter();
    let names = provided.map(|(service, driver)| (service.name().into(), driver.into()));
    report["provided"] = Value::Object(names.collect());
    report["drivers"] = json!(context.driver_requests.registered());
    foreign::make_plain(&mut report);
    Ok(Reply::Done(report))
}

/// A page of the punches as CSV.
pub(super) fn export(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let after = seq(params, "after")?.unwrap_or(0);
    let (rows, next) = context.store.journal().punches_after(after, ROWS_A_PAGE)?;
    let rows: Vec<String> = rows.iter().map(csv::row).collect();
    Ok(json!({"next": next, "rows": rows}))
}

/// Lists, retries or drops the rows that the server refuses.
pub(super) fn quarantine(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let seq = seq(params, "seq")?;
    let rows = match params.text("action")?.as_deref() {
        None | Some("list") => {
            let mut rows = json!(status::quarantine(&context.store)?);
            foreign::make_plain(&mut rows);
            return Ok(rows);
        }
        Some("retry") => context.store.quarantine().retry(seq)?,
        Some("drop") => {
            let rows = context.store.quarantine().drop_rows(seq)?;
            // They never go up: whoever looks for one of them later has to find this.
            if let (Some(seq), 1..) = (seq, rows) {
                log::warn!("row {seq} in quarantine was given up by a person");
            } else if rows > 0 {
                log::warn!("{rows} rows in quarantine were given up by a person");
            }
            rows
        }
        Some(_) => return Err(RpcError::param("action", "must be list, retry or drop").into()),
    };
    reactor::wake_loop();
    Ok(json!({"rows": rows}))
}

fn seq(params: &Params, field: &'static str) -> Result<Option<Seq>, RpcError> {
    Ok(params.number(field, Seq::MAX as u64)?.map(|seq| seq as Seq))
}
