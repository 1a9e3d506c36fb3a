//! Uploads (§11): a batch of a table, the server's answer to it, the cursors. What the server
//! refuses is searched for (`row_search`), and a row that it refuses while it takes others is
//! passed over (`suspects`).

use std::collections::BTreeMap;

use super::batch_size::BatchSize;
use super::context::Context;
use super::delivery::{Answer, Delivery, deliver};
use super::row_search::{Failure, Next, Offer, REPEATS, RowSearch, compare};
use super::session::Session;
use super::suspects::{self, Occasions};
use super::trouble::Trouble;
use super::upload_body;
use super::upload_tools::Tools;
use crate::protocol::stream::Table;
use crate::store::{Batch, Pass, PendingRow, RefusedRow, StoreError};
use crate::uplink;

/// So many rows after a refused one are offered alone, to see whether it is the row's fault or the
/// server's.
const COMPARISON_ROWS: usize = 4;

/// Uploads batches, each table's of a size of its own.
pub(super) struct Uploader {
    most_bytes: usize,
    tables: BTreeMap<Table, Progress>,
    /// The server's counts mean nothing: it says 0 of every row.
    ignores_counts: bool,
}

/// How uploads of one table go.
struct Progress {
    size: BatchSize,
    search: RowSearch,
    /// Rows are searched that the server did not count.
    by_count: bool,
    /// The only row there was has been refused; nothing shows whether it is the row's fault.
    sole_row: bool,
    /// After rows that were taken, a suspect whose time has come is offered: new rows go first, and
    /// do not keep suspects waiting for ever.
    offers_next: bool,
    /// The server's `MaxPostSize`, if it is less than one row of the table: it is not heeded.
    ignored_limit: Option<usize>,
}

impl Progress {
    /// Most bytes in a request, if the server's `MaxPostSize` is `limit`.
    fn limit(&self, limit: usize) -> usize {
        if self.ignored_limit == Some(limit) { usize::MAX } else { limit }
    }

    fn ignore_limit(&mut self, limit: usize, row_bytes: usize, table: Table) {
        self.ignored_limit = Some(limit);
        log::warn!(
            "the server's MaxPostSize={limit} is less than one row of {} ({row_bytes} bytes): it is \
             ignored for this table",
            table.name()
        );
    }
}

/// A suspect that is offered.
struct Known<'a> {
    refused: &'a RefusedRow,
    /// The server took other rows of the table just before.
    taken_before: bool,
}

impl Uploader {
    /// `most_bytes`: the owner's limit for the body of an upload.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, tables: BTreeMap::new(), ignores_counts: false }
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
        let streams = tools.session.allowed(table);
        let (store, now) = (tools.context.store.clone(), tools.context.clock.utc());
        let taken_before = std::mem::take(&mut self.progress(table).offers_next);
        let is_turn = taken_before || !store.outbox().has_rows(&streams)?;
        if is_turn && let Some((refused, row)) = store.quarantine().due(&streams, now)? {
            return self.offer_suspect(tools, table, &refused, row, taken_before);
        }
        let progress = self.progress(table);
        let most =
            if table.is_single() { 1 } else { progress.search.most_rows(progress.size.rows()) };
        let is_repeated = progress.search.is_repeating();
        let limit = progress.limit(tools.session.largest_post());
        let bytes = if is_repeated { limit } else { progress.size.bytes(limit) };
        let Some(batch) = store.outbox().next_batch(&streams, most)? else { return Ok(()) };
        let body = upload_body::write(tools.context, tools.session, &batch.rows, bytes);
        let sent = &batch.rows[..body.used];
        if body.rows == 0 {
            return Ok(suspects::acknowledge(tools.context, table, batch.pass, sent)?);
        }
        if body.used == 1 && body.bytes.len() > limit {
            self.progress(table).ignore_limit(limit, body.bytes.len(), table);
        }
        let is_full = body.used < batch.rows.len() || batch.rows.len() == most;
        let delivery = Delivery { table, pass: batch.pass, rows: sent, body: &body };
        let answer = deliver(tools, &delivery, self.ignores_counts);
        let progress = self.progress(table);
        let (failure, trouble) = match answer {
            Ok(Answer::Taken { counted }) => {
                progress.sole_row = false;
                progress.offers_next = true;
                progress.search.passed(body.used);
                progress.by_count &= progress.search.is_searching();
                if counted && is_full && !progress.search.is_searching() {
                    progress.size.confirmed();
                }
                return Ok(suspects::acknowledge(tools.context, table, batch.pass, sent)?);
            }
            // The commands were executed; the same bytes go again.
            Ok(Answer::Commands) => return Ok(()),
            Ok(Answer::NotCounted { message }) => {
                progress.by_count = true;
                (Failure::Refused, Trouble::Refused(message))
            }
            Ok(Answer::Refused { message, too_large }) => {
                if too_large && body.used > 1 {
                    progress.size.too_large(body.bytes.len());
                }
                (Failure::Refused, Trouble::Refused(message))
            }
            Ok(Answer::Trouble(message)) => (Failure::Trouble, Trouble::Refused(message)),
            Err(trouble @ Trouble::Link(uplink::Failure::Broken(_))) => (Failure::Trouble, trouble),
            Err(trouble) => (Failure::Unrelated, trouble),
        };
        progress.size.failed();
        match progress.search.failed(body.used, failure) {
            Next::SameAfterPause => Err(trouble),
            Next::HalfAtOnce => Ok(()),
            Next::Compare => {
                let first = (sent[0].stream, sent[0].seq);
                let Some(Batch { rows, pass, .. }) =
                    store.outbox().next_batch(&streams, 1 + COMPARISON_ROWS)?
                else {
                    return Ok(());
                };
                // Drivers were served meanwhile: the row may have changed, and is another one then.
                if pass != batch.pass || (rows[0].stream, rows[0].seq) != first {
                    return Ok(());
                }
                self.compare(tools, table, pass, &rows, None, trouble)
            }
        }
    }

    /// Offers a row alone that the server refused before. `taken_before`: the request before this one
    /// carried rows of the table, and the server took them.
    fn offer_suspect(
        &mut self,
        tools: &mut Tools<'_>,
        table: Table,
        refused: &RefusedRow,
        row: PendingRow,
        taken_before: bool,
    ) -> Result<(), Trouble> {
        if row.content.is_none() {
            let known = Some(refused);
            return Ok(suspects::record(tools.context, Pass::Retry, &row, known, false, "", 0)?);
        }
        let trouble = match self.offer(tools, table, Pass::Retry, &row)? {
            (Offer::Taken, _) => {
                let store = tools.context.store.clone();
                log::info!("row {} of the {} was taken after all", row.seq, row.stream.name());
                return Ok(store.outbox().acknowledge(table, Pass::Retry, &[row])?);
            }
            (Offer::Unclear, trouble) => return Err(trouble.unwrap_or_else(nothing_said)),
            (Offer::Refused, trouble) => trouble.unwrap_or_else(nothing_said),
        };
        let streams = tools.session.allowed(table);
        let next = tools.context.store.outbox().next_batch(&streams, COMPARISON_ROWS)?;
        let (pass, others) = next.map_or((Pass::New, Vec::new()), |batch| (batch.pass, batch.rows));
        let mut rows = vec![row];
        rows.extend(others);
        let known = Known { refused, taken_before };
        self.compare(tools, table, pass, &rows, Some(known), trouble)
    }

    /// Compares the first of these rows, which was refused alone, with the others. `known`: it is
    /// a suspect already; otherwise all of them are the next by `pass`.
    fn compare(
        &mut self,
        tools: &mut Tools<'_>,
        table: Table,
        pass: Pass,
        rows: &[PendingRow],
        known: Option<Known<'_>>,
        trouble: Trouble,
    ) -> Result<(), Trouble> {
        let taken_before = known.as_ref().is_some_and(|known| known.taken_before);
        let known = known.map(|known| known.refused);
        let now = tools.context.clock.utc();
        let repeats = known.map_or(REPEATS, |known| {
            Occasions { count: known.refusals, first: known.first }.repeats(now)
        });
        let pass_of = |nth: usize| if nth == 0 && known.is_some() { Pass::Retry } else { pass };
        let mut is_over = false;
        let found = compare(rows.len(), repeats, taken_before, |nth| {
            // A punch does not wait for rows of another table; the comparison is repeated later.
            if !is_over && table != Table::Attlog && nth > 0 && tools.punches_can_go()? {
                is_over = true;
            }
            if is_over {
                return Ok(Offer::Unclear);
            }
            Ok::<_, Trouble>(self.offer(tools, table, pass_of(nth), &rows[nth])?.0)
        })?;
        let Some(found) = found else {
            if is_over {
                return Ok(());
            }
            if self.progress(table).by_count {
                // Only neighbours show that the counts mean nothing; of a row alone they show that the
                // server knew it.
                self.ignores_counts |= rows.len() > 1;
                return self.take_uncounted(tools, table, pass_of(0), &rows[..1]);
            }
            let progress = self.progress(table);
            progress.search.servers_trouble();
            progress.sole_row = rows.len() == 1 && known.is_none();
            if let Some(known) = known {
                let delay = tools.session.options.error_delay;
                let message = trouble.to_string();
                suspects::record(
                    tools.context,
                    Pass::Retry,
                    &rows[0],
                    Some(known),
                    false,
                    &message,
                    delay,
                )?;
                return Ok(());
            }
            return Err(trouble);
        };
        let (context, delay) = (&*tools.context, tools.session.options.error_delay);
        let message = trouble.to_string();
        context.store.atomically(|| {
            for (nth, row) in rows[..found.settled].iter().enumerate() {
                let earlier = known.filter(|_| nth == 0);
                let is_suspect = found.suspects.contains(&nth);
                if is_suspect || found.unclear.contains(&nth) {
                    suspects::record(
                        context,
                        pass_of(nth),
                        row,
                        earlier,
                        is_suspect,
                        &message,
                        delay,
                    )?;
                } else {
                    let row = std::slice::from_ref(row);
                    context.store.outbox().acknowledge_within(table, pass_of(nth), row)?;
                }
            }
            Ok::<_, StoreError>(())
        })?;
        let progress = self.progress(table);
        progress.sole_row = false;
        progress.search.passed(found.settled - usize::from(known.is_some()));
        progress.by_count &= progress.search.is_searching();
        Ok(())
    }

    /// The server said 0 of a row, and of its neighbours if there are any: it counts as delivered.
    fn take_uncounted(
        &mut self,
        tools: &mut Tools<'_>,
        table: Table,
        pass: Pass,
        rows: &[PendingRow],
    ) -> Result<(), Trouble> {
        tools.not_counted(rows.len() as u64);
        let progress = self.progress(table);
        progress.by_count = false;
        progress.search.servers_trouble();
        Ok(tools.context.store.outbox().acknowledge(table, pass, rows)?)
    }

    /// Offers a row alone. What became of it, and what went wrong.
    fn offer(
        &mut self,
        tools: &mut Tools<'_>,
        table: Table,
        pass: Pass,
        row: &PendingRow,
    ) -> Result<(Offer, Option<Trouble>), Trouble> {
        let row = std::slice::from_ref(row);
        let body = upload_body::write(tools.context, tools.session, row, usize::MAX);
        if body.rows == 0 {
            return Ok((Offer::Unclear, None));
        }
        let delivery = Delivery { table, pass, rows: row, body: &body };
        let by_count = self.progress(table).by_count;
        Ok(match deliver(tools, &delivery, self.ignores_counts && !by_count) {
            Ok(Answer::Taken { .. }) => (Offer::Taken, None),
            Ok(Answer::NotCounted { .. }) if !by_count => (Offer::Taken, None),
            Ok(
                Answer::NotCounted { message }
                | Answer::Refused { message, .. }
                | Answer::Trouble(message),
            ) => (Offer::Refused, Some(Trouble::Refused(message))),
            Ok(Answer::Commands) => (Offer::Unclear, None),
            Err(trouble @ Trouble::Link(uplink::Failure::Broken(_))) => {
                (Offer::Refused, Some(trouble))
            }
            Err(Trouble::Store(error)) => return Err(error.into()),
            Err(trouble) => (Offer::Unclear, Some(trouble)),
        })
    }

    fn progress(&mut self, table: Table) -> &mut Progress {
        self.tables.entry(table).or_insert_with(|| Progress {
            size: BatchSize::new(self.most_bytes),
            search: RowSearch::default(),
            by_count: false,
            sole_row: false,
            offers_next: false,
            ignored_limit: None,
        })
    }
}

fn nothing_said() -> Trouble {
    Trouble::Refused("a row could not be sent alone".into())
}
