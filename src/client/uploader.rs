//! Uploads (§11): a batch of a table, the server's answer to it, the cursors; and rows that the
//! server refuses, found by bisecting and set aside.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch_size::BatchSize;
use super::context::Context;
use super::session::Session;
use super::set_aside::set_aside;
use super::trouble::Trouble;
use super::upload_body::{self, Body, Encoded};
use crate::protocol::ack::Ack;
use crate::protocol::stream::{Stream, Table};
use crate::store::{Batch, Pass, PendingRow, Seq, StoreError};

/// So many rows after a refused one are offered by themselves, to see whether it is the row's
/// fault or the server's.
const COMPARISON_ROWS: usize = 4;

/// Uploads batches, each table's of a size of its own.
pub(super) struct Uploader {
    most_bytes: usize,
    batch_sizes: BTreeMap<Table, BatchSize>,
}

/// A row that was refused by itself.
struct RefusedRow {
    stream: Stream,
    seq: Seq,
    message: String,
}

/// The server's answer to a body.
enum Answer {
    /// Taken; whether it confirmed the count of rows.
    Taken { counted: bool },
    /// Not taken.
    Refused { message: String, too_large: bool },
}

impl Uploader {
    /// `most_bytes`: the owner's limit for the body of an upload.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, batch_sizes: BTreeMap::new() }
    }

    /// Whether the table's only row was refused, and another has come since that can show
    /// whether that was the row's fault.
    pub(super) fn has_comparison_row(
        &self,
        context: &Context,
        session: &Session,
        table: Table,
    ) -> Result<bool, StoreError> {
        if !self.batch_sizes.get(&table).is_some_and(BatchSize::is_sole_row) {
            return Ok(false);
        }
        let batch = context.store.outbox().next_batch(&session.allowed(table), 2)?;
        Ok(batch.is_some_and(|batch| batch.rows.len() > 1))
    }

    /// Uploads the next batch of a table. `punches_at`: when punches may go up, since isolating a
    /// refused row of another table does not delay them.
    pub(super) fn upload(
        &mut self,
        context: &mut Context,
        session: &mut Session,
        table: Table,
        punches_at: Duration,
    ) -> Result<(), Trouble> {
        let limit = session.largest_post();
        let streams = session.allowed(table);
        let batch_size = *self.batch_size(table);
        let most = batch_size.rows(table);
        let Some(batch) = context.store.outbox().next_batch(&streams, most)? else {
            return Ok(());
        };
        let body = upload_body::write(context, session, &batch.rows, batch_size.bytes(limit));
        let sent = &batch.rows[..body.used];
        if body.rows == 0 {
            return Ok(context.store.outbox().acknowledge(table, batch.pass, sent)?);
        }
        if body.used == 1 && body.bytes.len() > limit {
            let bytes = body.bytes.len();
            let message =
                format!("it has {bytes} bytes, more than the server's MaxPostSize={limit}");
            return Ok(set_aside(context, batch.pass, sent, &message)?);
        }
        let is_full = body.used < batch.rows.len() || batch.rows.len() == most;
        match deliver(context, session, table, batch.pass, sent, &body) {
            Ok(Answer::Taken { counted }) => {
                self.batch_size(table).taken(body.used, counted && is_full);
                Ok(context.store.outbox().acknowledge(table, batch.pass, sent)?)
            }
            Ok(Answer::Refused { too_large, .. }) if body.used > 1 => {
                // Half of it at once; this ends at a single row.
                self.batch_size(table).refused(body.used, body.bytes.len(), too_large);
                Ok(())
            }
            Ok(Answer::Refused { message, .. }) => {
                let refused = RefusedRow { stream: sent[0].stream, seq: sent[0].seq, message };
                self.compare(context, session, table, batch.pass, refused, punches_at)
            }
            Err(trouble) => {
                self.batch_size(table).broken();
                Err(trouble)
            }
        }
    }

    /// A row was refused by itself. If the server takes one of the next rows and then refuses
    /// this one again, it is the row's fault, and the row is set aside; otherwise it is the
    /// server's, and the row waits.
    fn compare(
        &mut self,
        context: &mut Context,
        session: &mut Session,
        table: Table,
        pass: Pass,
        refused: RefusedRow,
        punches_at: Duration,
    ) -> Result<(), Trouble> {
        let batch =
            context.store.outbox().next_batch(&session.allowed(table), 1 + COMPARISON_ROWS)?;
        let Some(Batch { rows, pass: now, .. }) = batch else { return Ok(()) };
        // Drivers were served meanwhile: the row may have changed, and is another one then.
        if now != pass || (rows[0].stream, rows[0].seq) != (refused.stream, refused.seq) {
            return Ok(());
        }
        if pass == Pass::Retry {
            return Ok(set_aside(context, pass, &rows[..1], &refused.message)?);
        }
        for nth in 1..rows.len() {
            // A punch does not wait for rows of another table; the comparison is repeated after
            // it.
            if table != Table::Attlog && punches_can_go(context, session, punches_at)? {
                return Ok(());
            }
            if !offer(context, session, table, pass, &rows[nth])? {
                continue;
            }
            let mut refused_again = Vec::new();
            for (before, row) in rows[..nth].iter().enumerate() {
                if !offer(context, session, table, pass, row)? {
                    refused_again.push(before);
                }
            }
            for before in refused_again {
                set_aside(context, pass, &rows[before..=before], &refused.message)?;
            }
            self.batch_size(table).taken(nth + 1, false);
            return Ok(context.store.outbox().acknowledge(table, pass, &rows[nth..=nth])?);
        }
        self.batch_size(table).refused_one(rows.len() == 1);
        Err(Trouble::Refused(refused.message))
    }

    fn batch_size(&mut self, table: Table) -> &mut BatchSize {
        self.batch_sizes.entry(table).or_insert_with(|| BatchSize::new(self.most_bytes))
    }
}

/// Whether a punch waits that could go up at once.
fn punches_can_go(
    context: &Context,
    session: &mut Session,
    punches_at: Duration,
) -> Result<bool, StoreError> {
    let is_open = session.window.is_open(&session.options, &*context.clock);
    Ok(is_open
        && punches_at <= context.clock.monotonic()
        && context.store.outbox().has_rows(&session.allowed(Table::Attlog))?)
}

/// Offers a row by itself. Whether the server took it; one that cannot be sent is no
/// proof of anything.
fn offer(
    context: &mut Context,
    session: &Session,
    table: Table,
    pass: Pass,
    row: &PendingRow,
) -> Result<bool, Trouble> {
    let row = std::slice::from_ref(row);
    let body = upload_body::write(context, session, row, usize::MAX);
    if body.rows == 0 || body.bytes.len() > session.largest_post() {
        return Ok(false);
    }
    let answer = deliver(context, session, table, pass, row, &body)?;
    Ok(matches!(answer, Answer::Taken { .. }))
}

/// Posts a body until the server's answer to it is clear.
fn deliver(
    context: &mut Context,
    session: &Session,
    table: Table,
    pass: Pass,
    rows: &[PendingRow],
    body: &Body,
) -> Result<Answer, Trouble> {
    let last = rows.last().map_or(0, |row| row.seq);
    // New rows never set a table's stamp back: a kind that was held up may come late.
    let stamp = match pass {
        Pass::New | Pass::Retry => last.max(context.store.outbox().acknowledged(table)?),
        Pass::Resend => last,
    };
    let (name, value) = context.settings.dialect.stamp(table, stamp);
    let mut target = context.target("/iclock/cdata").with("table", table.name()).with(name, value);
    let encoded = upload_body::encode(context, session, table, &body.bytes);
    let bytes = match &encoded {
        Encoded::Plain => &body.bytes,
        Encoded::Packed(bytes) => {
            target = target.with("ContentType", "tgz");
            bytes
        }
        Encoded::Encrypted(bytes) => bytes,
    };
    let mut sent_before = false;
    loop {
        let (status, ack) = context.post(&target, bytes)?;
        match ack {
            Ack::Taken(Some(count)) if count < body.rows && !sent_before => sent_before = true,
            Ack::Taken(Some(count)) if count < body.rows => {
                // Some servers count only the rows that are new to them.
                log::debug!("the server counted {count} of {} rows twice: delivered", body.rows);
                return Ok(Answer::Taken { counted: false });
            }
            Ack::Taken(count) => return Ok(Answer::Taken { counted: count.is_some() }),
            Ack::Refused(message) => {
                return Ok(Answer::Refused { message, too_large: status == 413 });
            }
        }
    }
}
