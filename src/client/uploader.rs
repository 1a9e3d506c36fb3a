//! Uploads (§11): a batch of a table, the server's answer to it, the cursors. What the server
//! refuses is searched for (`row_search`), and a row that it refuses while it takes others is
//! passed over (`suspects`).

use std::collections::BTreeMap;

use super::batch_size::BatchSize;
use super::context::Context;
use super::delivery::{Answer, Delivery, deliver};
use super::offers::{Offers, Refused, is_stall};
use super::progress::{Progress, SHORTEST_ROW};
use super::row_search::{Failure, Next};
use super::session::Session;
use super::suspects;
use super::trouble::Trouble;
use super::upload_body;
use super::upload_tools::Tools;
use crate::protocol::stream::{Stream, Table};
use crate::store::{Batch, Cause, Outgoing, Pass, PendingRow, Seq, StoreError};
use crate::uplink;

/// Uploads batches, each table's of a size of its own.
pub(super) struct Uploader {
    first_size: BatchSize,
    tables: BTreeMap<Table, Progress>,
    /// The server's counts mean nothing: it says 0 of every row.
    ignores_counts: bool,
    /// The server's `MaxPostSize` at the last upload.
    limit: Option<usize>,
}

impl Uploader {
    /// `first_size`: how much goes in the first request of a table.
    pub(super) fn new(first_size: BatchSize) -> Self {
        Self { first_size, tables: BTreeMap::new(), ignores_counts: false, limit: None }
    }

    /// Whether the table's only row was refused, and another has come since that can show
    /// whether that was the row's fault.
    pub(super) fn has_comparison_row(
        &self,
        context: &Context,
        session: &Session,
        table: Table,
    ) -> Result<bool, StoreError> {
        if !self.tables.get(&table).is_some_and(|progress| progress.sole_row) {
            return Ok(false);
        }
        let batch = context.store.outbox().next_batch(&session.allowed(table), 2)?;
        Ok(batch.is_some_and(|batch| batch.rows.len() > 1))
    }

    /// Whether the server took rows of the table just now.
    pub(super) fn took_others(&self, table: Table) -> bool {
        self.tables.get(&table).is_some_and(|progress| progress.offers_next)
    }

    /// A request that was no upload of this table was answered as it should be.
    pub(super) fn other_request_answered(&mut self, but: Option<Table>) {
        for (table, progress) in &mut self.tables {
            if Some(*table) != but {
                progress.search.other_request_answered();
            }
        }
    }

    /// Uploads the next batch of a table, or offers a suspect whose time has come.
    pub(super) fn upload(&mut self, tools: &mut Tools<'_>, table: Table) -> Result<(), Trouble> {
        self.follow_limit(tools)?;
        let streams = tools.session.allowed(table);
        let (store, now) = (tools.context.store.clone(), tools.context.clock.utc());
        let took_others = std::mem::take(&mut self.progress(table).offers_next);
        let is_turn = !store.quarantine().is_empty()?
            && (took_others || !store.outbox().has_rows(&streams)?);
        if is_turn
            && let Some((refused, row)) = store.quarantine().due(&streams, now, took_others)?
        {
            return self.offers(table).offer_suspect(tools, &refused, row, took_others);
        }
        let progress = self.progress(table);
        let is_repeated = progress.search.is_repeating();
        let limit = Progress::limit(tools.session.largest_post());
        let bytes = if is_repeated { limit } else { progress.size.bytes(limit) };
        // No more rows are read than may fit.
        let rows = progress.size.rows().min(bytes / SHORTEST_ROW + 1);
        let most = if table.is_single() { 1 } else { progress.search.most_rows(rows) };
        let Some(batch) = store.outbox().next_batch(&streams, most)? else { return Ok(()) };
        let body = upload_body::write(tools.context, tools.session, &batch.rows, bytes)?;
        let sent = &batch.rows[..body.used];
        if body.rows == 0 {
            return Ok(suspects::acknowledge(tools, table, batch.pass, sent)?);
        }
        let (rows, size) = (body.used, body.bytes.len());
        progress.warn_of_limit(tools.session.largest_post(), rows, size, table);
        // A body that is divided confirms no size.
        let is_full =
            !body.is_divided && (body.used < batch.rows.len() || batch.rows.len() == most);
        let (first, last) = (sent[0].seq, sent[sent.len() - 1].seq);
        let (pass, may_be_known) = (batch.pass, progress.may_know(batch.pass, first));
        let delivery = Delivery { table, pass, rows: sent, body: &body, may_be_known };
        let begun = tools.context.clock.monotonic();
        let answer = deliver(tools, &delivery, self.ignores_counts);
        let progress = self.progress(table);
        let mut cause = Cause::Answer;
        let (failure, trouble) = match answer {
            Ok(Answer::Taken { counted }) => {
                progress.taken(body.used, counted);
                if counted && is_full && !progress.search.is_searching() {
                    progress.size.confirmed();
                }
                return Ok(suspects::acknowledge(tools, table, pass, sent)?);
            }
            // The commands were executed; the same bytes go again.
            Ok(Answer::Commands) => return Err(Trouble::Unsettled),
            Ok(Answer::NotCounted { message }) => {
                (progress.by_count, cause) = (true, Cause::Count);
                (Failure::Refused, Trouble::Refused(message))
            }
            Ok(Answer::Refused { message, too_large }) => {
                if too_large {
                    cause = Cause::Size;
                }
                if too_large && body.used > 1 {
                    progress.size.too_large(body.bytes.len());
                }
                (Failure::Refused, Trouble::Refused(message))
            }
            Ok(Answer::Trouble(message)) => (Failure::Trouble, Trouble::Refused(message)),
            // It is no fault of the rows that the server does one thing at a time.
            Err(trouble) if tools.beside_held && trouble.is_no_answer() => {
                progress.failed(last);
                return Err(trouble);
            }
            Err(trouble @ (Trouble::Link(uplink::Failure::Broken(..)) | Trouble::NotKnown(_))) => {
                (Failure::Trouble, trouble)
            }
            Err(trouble) => (Failure::Unrelated, trouble),
        };
        let is_stall = is_stall(&trouble, begun, tools.context.clock.monotonic());
        if is_stall {
            cause = Cause::Silence;
        }
        if cause != Cause::Count {
            progress.failed(last);
        }
        progress.size.failed();
        match progress.search.failed(body.used, failure) {
            Next::SameAfterPause => {
                let delay = tools.session.error_delay();
                Err(progress.pause(table, trouble, is_stall, delay))
            }
            Next::HalfAtOnce => {
                if matches!(trouble, Trouble::NotKnown(_)) {
                    tools.session.disconnect_if_forgotten(tools.context.clock.monotonic());
                }
                // Half of them may cost another time-out, and a half of that.
                if is_stall && progress.search.may_pass_together() {
                    let first = (sent[0].stream, sent[0].seq);
                    return self.pass_together(
                        tools,
                        table,
                        &streams,
                        (pass, first),
                        sent.len(),
                        &trouble,
                    );
                }
                Err(Trouble::Unsettled)
            }
            Next::Compare => {
                let first = (sent[0].stream, sent[0].seq);
                let refused = Refused { trouble, cause, is_stall };
                self.compare_next(tools, table, &streams, (pass, first), refused)
            }
        }
    }

    /// Passes over the next `count` rows, which got no answer together, if the row after them shows
    /// that the server takes others.
    fn pass_together(
        &mut self,
        tools: &mut Tools<'_>,
        table: Table,
        streams: &[Outgoing],
        first: First,
        count: usize,
        trouble: &Trouble,
    ) -> Result<(), Trouble> {
        let rows = next_rows(tools, streams, first, count + 1)?;
        let has_next = rows.len() > count;
        let mut offers = self.offers(table);
        if has_next && offers.pass_over_together(tools, first.0, &rows, trouble)? {
            return Ok(());
        }
        Err(Trouble::Unsettled)
    }

    /// Compares the next row, which was refused alone, with those after it.
    fn compare_next(
        &mut self,
        tools: &mut Tools<'_>,
        table: Table,
        streams: &[Outgoing],
        first: First,
        refused: Refused,
    ) -> Result<(), Trouble> {
        let neighbours = self.progress(table).search.neighbours(refused.is_stall);
        let most = 1 + neighbours.iter().max().unwrap_or(&0);
        match next_rows(tools, streams, first, most)?.as_slice() {
            [] => Err(Trouble::Unsettled),
            rows => self.offers(table).compare(tools, first.0, rows, refused),
        }
    }

    /// What the server found too large goes again when its limit changes, and after a restart,
    /// which may have changed the owner's.
    fn follow_limit(&mut self, tools: &mut Tools<'_>) -> Result<(), StoreError> {
        let limit = tools.session.largest_post();
        if self.limit.replace(limit) != Some(limit) {
            tools.context.store.quarantine().offer_too_large()?;
            self.tables.values_mut().for_each(|progress| progress.size = self.first_size);
        }
        Ok(())
    }

    fn progress(&mut self, table: Table) -> &mut Progress {
        self.tables.entry(table).or_insert_with(|| Progress::new(self.first_size))
    }

    fn offers(&mut self, table: Table) -> Offers<'_> {
        let first_size = self.first_size;
        let progress = self.tables.entry(table).or_insert_with(|| Progress::new(first_size));
        Offers { table, progress, ignores_counts: &mut self.ignores_counts }
    }
}

/// The row that is the next, and by which pass.
type First = (Pass, (Stream, Seq));

/// The next rows, at most `most`; none if another one is the first: drivers were served meanwhile, and
/// the row may have changed.
fn next_rows(
    tools: &Tools<'_>,
    streams: &[Outgoing],
    (pass, first): First,
    most: usize,
) -> Result<Vec<PendingRow>, StoreError> {
    let next = tools.context.store.outbox().next_batch(streams, most)?;
    let is_first =
        |batch: &Batch| batch.pass == pass && (batch.rows[0].stream, batch.rows[0].seq) == first;
    Ok(next.filter(is_first).map_or_else(Vec::new, |batch| batch.rows))
}
