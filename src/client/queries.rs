//! Answering queries (§12.4): the rows first, by the upload path, then the result.

use super::context::Context;
use super::session::Session;
use super::trouble::Trouble;
use super::upload_body;
use super::waiting_commands::refuse_deletions_after;
use crate::commands::rows_a_pack;
use crate::protocol::ack::Ack;
use crate::protocol::codes::ReturnCode;
use crate::reactor;
use crate::store::{PendingRow, Query, StoreError};
use crate::uplink::Failure;

/// How often the server may refuse the rows of a query.
const MOST_REFUSALS: u32 = 5;

/// Sends the next pack of an answer. `failures`: how often that has failed in a row; `is_stuck`: it
/// has failed for so long, while other requests succeeded, that the query is given up.
pub(super) fn answer(
    context: &mut Context,
    session: &Session,
    failures: u32,
    is_stuck: bool,
) -> Result<(), Trouble> {
    let Some(query) = context.store.queries().next()? else { return Ok(()) };
    if !context.store.queries().count_on(&query, rows_a_pack(query.asked.stream))? {
        return Ok(());
    }
    let rows = next_rows(context, &query)?;
    let Some(last) = rows.last().map(|row| row.seq) else {
        return Ok(end(context, &query, ReturnCode::DONE)?);
    };
    // Rows that the server's version does not have are left out.
    let rows: Vec<_> = rows.into_iter().filter(|row| upload_body::has_form(session, row)).collect();
    if rows.is_empty() {
        return Ok(context.store.queries().skip(query.command, last)?);
    }
    let table = query.asked.stream.table();
    let body = upload_body::write(context, session, &rows, usize::MAX)?;
    let last = rows[body.used - 1].seq;
    if (body.rows as usize) < body.used {
        log::error!("rows that query {} asks for cannot be read from the store", query.id);
    }
    let body = body.bytes;
    let body = upload_body::encrypted(context, session, table, &body).unwrap_or(body);
    let acknowledged = context.store.outbox().acknowledged(table)?;
    let (name, stamp) = context.settings.dialect.stamp(table, acknowledged);
    let target = context
        .target(context.settings.dialect.upload_path(table))
        .with("table", table.name())
        .with(name, stamp)
        .with("CmdId", &query.id)
        .with("Count", query.count)
        .with("PackCnt", query.packs)
        .with("PackIdx", query.pack + 1);
    let (trouble, gives_up) = match context.post(&target, &body) {
        Ok(Ack::Taken(_)) => {
            return Ok(context.store.queries().advance(query.command, last)?);
        }
        // A server in trouble says nothing of the rows.
        Ok(Ack::Trouble(message)) => (Trouble::Refused(message), is_stuck),
        Ok(not_taken) => {
            (Trouble::Refused(not_taken.message()), is_stuck || failures >= MOST_REFUSALS)
        }
        Err(trouble @ (Trouble::Store(_) | Trouble::Link(Failure::Stopping))) => {
            return Err(trouble);
        }
        Err(trouble) => (trouble, is_stuck),
    };
    if !gives_up {
        return Err(trouble);
    }
    let id = &query.id;
    log::warn!("query {id} is given up: the server does not take its rows: {trouble}");
    refuse_deletions_after(context, query.command)?;
    Ok(end(context, &query, ReturnCode::TIMED_OUT)?)
}

/// The next rows of an answer, as many as go together. Drivers are served while they are looked for.
fn next_rows(context: &Context, query: &Query) -> Result<Vec<PendingRow>, Trouble> {
    let (queries, most) = (context.store.queries(), rows_a_pack(query.asked.stream));
    let (mut rows, mut after) = (Vec::new(), query.after);
    while query.count > 0
        && let Some(upto) = queries.window(&query.asked, after, query.until)?
    {
        rows.extend(queries.rows(query, after, upto, most - rows.len() as u64)?);
        if rows.len() as u64 >= most || upto >= query.until {
            break;
        }
        after = upto;
        reactor::yield_now()?;
    }
    Ok(rows)
}

fn end(context: &Context, query: &Query, code: ReturnCode) -> Result<(), StoreError> {
    context.store.atomically(|| {
        context.store.queries().end(query.command)?;
        context.store.jobs().finish(query.command, code, &[])
    })
}
