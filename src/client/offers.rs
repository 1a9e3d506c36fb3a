//! Rows that are offered alone: suspects whose time has come, and a refused row with its
//! neighbours.

use std::time::Duration;

use super::delivery::{Answer, Delivery, deliver};
use super::progress::Progress;
use super::row_search::{Offer, Verdict, compare};
use super::suspects::{self, Occasions, Refusal};
use super::trouble::Trouble;
use super::upload_body;
use super::upload_tools::Tools;
use crate::protocol::stream::Table;
use crate::store::{Cause, Pass, PendingRow, RefusedRow, StoreError};
use crate::uplink;

/// A request that failed after so long held up everything else.
pub(super) const STALL: Duration = Duration::from_secs(1);

/// What became of a row that was offered.
struct Offered {
    offer: Offer,
    /// What went wrong; `None` also if the server sent commands in place of an answer.
    trouble: Option<Trouble>,
    /// The server did not count it.
    is_uncounted: bool,
    cause: Cause,
}

/// A request that was refused.
pub(super) struct Refused {
    pub(super) trouble: Trouble,
    pub(super) cause: Cause,
    /// No answer came, for a long time.
    pub(super) is_stall: bool,
}

/// Whether a request that began at `begun` failed after a long time without an answer.
pub(super) fn is_stall(trouble: &Trouble, begun: Duration, now: Duration) -> bool {
    matches!(trouble, Trouble::Link(uplink::Failure::Broken(..)))
        && now.saturating_sub(begun) >= STALL
}

/// Offers rows of a table.
pub(super) struct Offers<'a> {
    pub(super) table: Table,
    pub(super) progress: &'a mut Progress,
    /// The server's counts mean nothing.
    pub(super) ignores_counts: &'a mut bool,
}

impl Offers<'_> {
    /// Offers a row that the server refused before. `took_others`: the request before this one
    /// carried rows of the table, and the server took them. Otherwise a refusal shows nothing.
    pub(super) fn offer_suspect(
        &mut self,
        tools: &mut Tools<'_>,
        known: &RefusedRow,
        row: PendingRow,
        took_others: bool,
    ) -> Result<(), Trouble> {
        if row.content.is_none() {
            let refusal = Refusal {
                pass: Pass::Retry,
                row: &row,
                earlier: Some(known),
                counts: false,
                cause: Cause::Answer,
                message: "",
            };
            return Ok(suspects::record(tools, &refusal)?);
        }
        let key = (row.stream, row.seq);
        let interrupted = self.progress.interrupted.take();
        let earlier = interrupted.filter(|(of, _)| *of == key).map(|(_, refused)| refused);
        let took_others = took_others || earlier.is_some();
        let now = tools.context.clock.utc();
        let most =
            if took_others { 1 + Occasions::of(known).repeats(now, known.is_aside) } else { 1 };
        let mut refused = earlier.unwrap_or(0);
        loop {
            let offered = self.offer(tools, Pass::Retry, &row, known.cause == Cause::Count)?;
            match offered.offer {
                Offer::Taken => {
                    log::info!("row {} of the {} was taken after all", row.seq, row.stream.name());
                    let store = tools.context.store.clone();
                    store.outbox().acknowledge(self.table, Pass::Retry, &[row])?;
                    // It shows as much about the next suspect; new rows go first.
                    self.progress.offers_next = !self.has_new_rows(tools)?;
                    return Ok(());
                }
                Offer::Unclear => return Err(offered.trouble.unwrap_or(Trouble::Unsettled)),
                Offer::Refused | Offer::Silent => refused += 1,
            }
            // A server that has forgotten the terminal refuses everything until the handshake.
            let is_forgotten = matches!(offered.trouble, Some(Trouble::NotKnown(_)));
            let now = tools.context.clock.monotonic();
            if is_forgotten && !tools.session.disconnect_if_forgotten(now) {
                // One has just been made: the next may come after `ErrorDelay`.
                let at = tools.context.clock.utc() + i64::from(tools.session.error_delay());
                tools.context.store.quarantine().postpone(row.stream, row.seq, at)?;
                self.progress.interrupted = Some((key, refused));
                return Err(Trouble::Unsettled);
            }
            if refused >= most {
                let trouble = offered.trouble.unwrap_or_else(nothing_said);
                let message = if took_others { trouble.of_row() } else { trouble.to_string() };
                let refusal = Refusal {
                    pass: Pass::Retry,
                    row: &row,
                    earlier: Some(known),
                    counts: took_others,
                    cause: offered.cause,
                    message: &message,
                };
                suspects::record(tools, &refusal)?;
                return Err(Trouble::Unsettled);
            }
            // After a time-out others have a turn.
            if is_forgotten || offered.offer == Offer::Silent || self.others_wait(tools)? {
                self.progress.interrupted = Some((key, refused));
                return Err(Trouble::Unsettled);
            }
        }
    }

    /// Whether rows wait that outrank a suspect.
    fn others_wait(&self, tools: &mut Tools<'_>) -> Result<bool, StoreError> {
        match self.table {
            Table::Attlog => self.has_new_rows(tools),
            _ => tools.punches_can_go(),
        }
    }

    fn has_new_rows(&self, tools: &Tools<'_>) -> Result<bool, StoreError> {
        tools.context.store.outbox().has_rows(&tools.session.allowed(self.table))
    }

    /// Passes over rows that got no answer together, if the row after them, the last of these, is
    /// taken. Whether they are settled: each of them is offered alone, while new rows go on.
    pub(super) fn pass_over_together(
        &mut self,
        tools: &mut Tools<'_>,
        pass: Pass,
        rows: &[PendingRow],
        trouble: &Trouble,
    ) -> Result<bool, Trouble> {
        let Some((after, refused)) = rows.split_last() else { return Ok(false) };
        let mut offer = || Ok::<_, Trouble>(self.offer(tools, pass, after, false)?.offer);
        let offered = match offer()? {
            Offer::Refused => offer()?,
            other => other,
        };
        if offered != Offer::Taken {
            return Ok(false);
        }
        log::warn!(
            "{} rows of {} are passed over, each is offered alone: {trouble}",
            refused.len(),
            self.table.name()
        );
        let (message, store) = (trouble.to_string(), tools.context.store.clone());
        store.atomically(|| {
            for row in refused {
                let (earlier, counts, cause) = (None, false, Cause::Silence);
                let refusal = Refusal { pass, row, earlier, counts, cause, message: &message };
                suspects::keep(tools, &refusal)?;
            }
            store.outbox().acknowledge_within(self.table, pass, std::slice::from_ref(after))
        })?;
        self.progress.taken(rows.len(), false);
        self.progress.search.found();
        Ok(true)
    }

    /// Compares the first of these rows, which are the next by `pass` and of which the first was
    /// refused alone, with the others.
    pub(super) fn compare(
        &mut self,
        tools: &mut Tools<'_>,
        pass: Pass,
        rows: &[PendingRow],
        refused: Refused,
    ) -> Result<(), Trouble> {
        let (table, search) = (self.table, self.progress.search);
        let by_count = self.progress.by_count;
        let took_others = search.took_others() || (by_count && self.progress.last_counted);
        let neighbours = search.neighbours(refused.is_stall);
        let (mut is_interrupted, mut all_uncounted, mut unclear) = (false, by_count, None);
        let mut any_taken = rows.len() == 1 && took_others;
        let verdict = compare(rows.len(), neighbours, took_others, refused.is_stall, |nth| {
            // A punch does not wait for rows of another table; the comparison is repeated later.
            is_interrupted |= table != Table::Attlog && tools.punches_can_go()?;
            if is_interrupted || unclear.is_some() {
                return Ok(Offer::Unclear);
            }
            // A row that cannot be read from the store shows nothing.
            if rows[nth].content.is_none() {
                return Ok(Offer::Refused);
            }
            let mut offered = self.offer(tools, pass, &rows[nth], by_count)?;
            // It took a row just now, and has forgotten the terminal since: that shows nothing about
            // a row that it refused in other words.
            let is_forgotten = any_taken && !matches!(refused.trouble, Trouble::NotKnown(_));
            if is_forgotten && matches!(offered.trouble, Some(Trouble::NotKnown(_))) {
                tools.session.disconnect_if_forgotten(tools.context.clock.monotonic());
                offered.offer = Offer::Unclear;
            }
            any_taken |= offered.offer == Offer::Taken;
            all_uncounted &= offered.is_uncounted;
            if offered.offer == Offer::Unclear {
                unclear = offered.trouble;
            }
            Ok::<_, Trouble>(offered.offer)
        })?;
        let Refused { trouble, cause, is_stall } = refused;
        let delay = tools.session.error_delay();
        match verdict {
            Verdict::Settled(found) => {
                let message = trouble.of_row();
                let store = tools.context.store.clone();
                store.atomically(|| {
                    for (nth, row) in rows[..found.settled].iter().enumerate() {
                        let counts = found.suspects.contains(&nth);
                        if !counts && !found.unclear.contains(&nth) {
                            let row = std::slice::from_ref(row);
                            store.outbox().acknowledge_within(table, pass, row)?;
                            continue;
                        }
                        let (message, earlier) = (&message, None);
                        suspects::record_within(
                            tools,
                            &Refusal { pass, row, earlier, counts, cause, message },
                        )?;
                    }
                    Ok::<_, StoreError>(())
                })?;
                self.progress.sole_row = false;
                self.progress.passed(found.settled);
                if !found.suspects.is_empty() {
                    self.progress.search.found();
                }
                Ok(())
            }
            Verdict::NoneTaken if by_count && all_uncounted => {
                // Only neighbours show that the counts mean nothing; of a row alone they show that
                // the server knew it.
                *self.ignores_counts |= rows.len() > 1;
                self.take_uncounted(tools, pass, &rows[..1])
            }
            // Alone, and without an answer: it must not stall the rest again and again.
            Verdict::NoneTaken if is_stall && rows.len() == 1 => {
                self.pass_over(tools, pass, &rows[0], &trouble)
            }
            Verdict::NoneTaken => {
                self.progress.search.servers_trouble();
                self.progress.sole_row = rows.len() == 1;
                Err(self.progress.pause(table, trouble, is_stall, delay))
            }
            Verdict::Unclear if is_interrupted && is_stall => {
                self.pass_over(tools, pass, &rows[0], &trouble)
            }
            Verdict::Unclear => Err(unclear.unwrap_or(Trouble::Unsettled)),
        }
    }

    /// Passes a row over that may be at fault; nothing shows whether it is.
    fn pass_over(
        &mut self,
        tools: &mut Tools<'_>,
        pass: Pass,
        row: &PendingRow,
        trouble: &Trouble,
    ) -> Result<(), Trouble> {
        let message = trouble.to_string();
        let (earlier, counts, cause) = (None, false, Cause::Silence);
        let message = &message;
        suspects::record(tools, &Refusal { pass, row, earlier, counts, cause, message })?;
        self.progress.passed(1);
        Err(Trouble::Unsettled)
    }

    /// The server said 0 of a row, and of its neighbours if there are any: it counts as delivered.
    fn take_uncounted(
        &mut self,
        tools: &mut Tools<'_>,
        pass: Pass,
        rows: &[PendingRow],
    ) -> Result<(), Trouble> {
        tools.not_counted(rows.len() as u64);
        self.progress.taken(rows.len(), false);
        Ok(tools.context.store.outbox().acknowledge(self.table, pass, rows)?)
    }

    /// Offers a row alone. `by_count`: `OK:0` is a refusal.
    fn offer(
        &mut self,
        tools: &mut Tools<'_>,
        pass: Pass,
        row: &PendingRow,
        by_count: bool,
    ) -> Result<Offered, Trouble> {
        let rows = std::slice::from_ref(row);
        let body = upload_body::write(tools.context, tools.session, rows, usize::MAX)?;
        let mut offered = Offered {
            offer: Offer::Unclear,
            trouble: None,
            is_uncounted: false,
            cause: Cause::Answer,
        };
        if body.rows == 0 {
            return Ok(offered);
        }
        let delivery =
            Delivery { table: self.table, pass, rows, body: &body, may_be_known: !by_count };
        let refused = |message| Some(Trouble::Refused(message));
        let begun = tools.context.clock.monotonic();
        let answer = deliver(tools, &delivery, *self.ignores_counts && !by_count);
        if !matches!(answer, Ok(Answer::Taken { .. } | Answer::NotCounted { .. })) {
            self.progress.failed(row.seq);
        }
        match answer {
            Ok(Answer::Taken { .. }) => offered.offer = Offer::Taken,
            Ok(Answer::NotCounted { message }) => {
                offered.trouble = refused(message);
                (offered.offer, offered.is_uncounted) = (Offer::Refused, true);
                offered.cause = Cause::Count;
            }
            Ok(Answer::Refused { message, too_large }) => {
                (offered.offer, offered.trouble) = (Offer::Refused, refused(message));
                offered.cause = if too_large { Cause::Size } else { Cause::Answer };
            }
            Ok(Answer::Trouble(message)) => {
                (offered.offer, offered.trouble) = (Offer::Refused, refused(message));
            }
            Ok(Answer::Commands) => {}
            Err(Trouble::Store(error)) => return Err(error.into()),
            Err(trouble @ (Trouble::Link(uplink::Failure::Broken(..)) | Trouble::NotKnown(_))) => {
                offered.offer = Offer::Refused;
                if is_stall(&trouble, begun, tools.context.clock.monotonic()) {
                    (offered.offer, offered.cause) = (Offer::Silent, Cause::Silence);
                }
                offered.trouble = Some(trouble);
            }
            Err(trouble) => offered.trouble = Some(trouble),
        }
        Ok(offered)
    }
}

fn nothing_said() -> Trouble {
    Trouble::Refused("a row could not be sent alone".into())
}
