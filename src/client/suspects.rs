//! Suspects: rows that the server refused while it took others. They are passed over and stay
//! pending; refused on some occasions over some time, they are set aside (quarantine).

use super::row_search::REPEATS;
use super::upload_tools::Tools;
use crate::protocol::foreign::plain;
use crate::protocol::record::{ErrorCode, ErrorLog};
use crate::protocol::stream::{Stream, Table};
use crate::store::{Cause, Pass, PendingRow, RefusedRow, Store, StoreError};

/// Device, PUSH module, error, a number of our own.
const ROW_REFUSED: &str = "D01E1001";
/// How often a row is offered once more on the occasion that may set it aside: at a server of which every second request
/// fails by chance, no healthy row is refused so often.
const LAST_REPEATS: u32 = 10;

/// The occasions on which a suspect was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Occasions {
    /// How many.
    pub(super) count: u32,
    /// When it was refused first, in seconds.
    pub(super) first: i64,
}

/// Refusals, and seconds from the first of them, after which a suspect is set aside.
const OCCASIONS: u32 = 3;
const LEAST_SECONDS: i64 = 600;

impl Occasions {
    /// Those of a row that was refused before.
    pub(super) fn of(known: &RefusedRow) -> Self {
        Self { count: known.refusals, first: known.first }
    }

    /// One more refusal.
    pub(super) fn refused(earlier: Option<Self>, now: i64) -> Self {
        let Self { count, first } = earlier.unwrap_or(Self { count: 0, first: now });
        // A clock that was set back does not keep a row from its verdict for ever.
        Self { count: count.saturating_add(1), first: first.min(now) }
    }

    /// How often the row is offered once more on the next occasion.
    pub(super) fn repeats(&self, now: i64, is_aside: bool) -> u32 {
        let may_be_last = Self::refused(Some(*self), now).is_enough(now);
        if may_be_last && !is_aside { LAST_REPEATS } else { REPEATS }
    }

    /// Whether the row is set aside now.
    pub(super) fn is_enough(&self, now: i64) -> bool {
        self.count >= OCCASIONS && now - self.first >= LEAST_SECONDS
    }

    /// Whether the server had a bad time since the first refusal, and lately: another exchange failed
    /// at `failed_at`.
    pub(super) fn is_bad_time(&self, now: i64, failed_at: Option<i64>) -> bool {
        let is_late = |at| at > self.first && (0..LEAST_SECONDS).contains(&(now - at));
        failed_at.is_some_and(is_late)
    }

    /// Seconds from a refusal until a suspect is offered again: `ErrorDelay`, five minutes, ten. In a
    /// bad time of the server always `ErrorDelay`: the row goes soon after it.
    pub(super) fn pause(&self, error_delay: i64, is_bad_time: bool) -> i64 {
        match self.count {
            _ if is_bad_time => error_delay,
            0 | 1 => error_delay,
            2 => 300,
            _ => 600,
        }
    }
}

/// Seconds until a row is offered again that is set aside: the first time, and from then on.
const FIRST_OFFER: i64 = 3600;
const NEXT_OFFERS: i64 = 86_400;
/// Most seconds until a suspect is offered again of which nothing shows whether it is at fault.
const MOST_UNCLEAR: i64 = 600;

/// An exchange failed now: rows that were refused lately may have been refused because the server has a
/// bad time. They are offered after `ErrorDelay`; not those of the table that was uploaded, if one was.
pub(super) fn exchange_failed(
    store: &Store,
    uploaded: Option<Table>,
    now: i64,
    error_delay: i64,
) -> Result<(), StoreError> {
    let others = Stream::ALL.into_iter().filter(|stream| Some(stream.table()) != uploaded);
    store.quarantine().hurry(others, now - LEAST_SECONDS, now + error_delay)
}

/// A row that was refused.
pub(super) struct Refusal<'a> {
    /// A row that was the next of its stream by this pass is passed over.
    pub(super) pass: Pass,
    pub(super) row: &'a PendingRow,
    /// What was known of it.
    pub(super) earlier: Option<&'a RefusedRow>,
    /// Whether the server took others meanwhile, so that the refusal counts.
    pub(super) counts: bool,
    pub(super) cause: Cause,
    pub(super) message: &'a str,
}

impl Refusal<'_> {
    /// What is known of the row now. Another exchange failed last at `failed_at`.
    fn outcome(&self, now: i64, error_delay: i64, failed_at: Option<i64>) -> RefusedRow {
        let known = self.earlier.map(Occasions::of);
        let was_aside = self.earlier.is_some_and(|known| known.is_aside);
        let mut occasions = known.unwrap_or(Occasions { count: 0, first: now });
        let (is_aside, pause) = if self.counts {
            occasions = Occasions::refused(known, now);
            let is_aside = was_aside || occasions.is_enough(now);
            let pause = match (was_aside, is_aside) {
                (true, _) => NEXT_OFFERS,
                (false, true) => FIRST_OFFER,
                (false, false) => {
                    let is_bad_time =
                        self.cause != Cause::Silence && occasions.is_bad_time(now, failed_at);
                    occasions.pause(error_delay, is_bad_time)
                }
            };
            (is_aside, pause)
        } else if was_aside {
            (true, FIRST_OFFER)
        } else {
            // Longer the longer nothing shows whether it is the row: it may cost a time-out each
            // time. In a bad time of the server punches are worth that.
            let is_punch = self.row.stream.table() == Table::Attlog;
            let is_soon = is_punch && occasions.is_bad_time(now, failed_at);
            let most = if is_soon { 2 * error_delay } else { MOST_UNCLEAR.max(error_delay) };
            (false, (now - occasions.first).clamp(error_delay, most))
        };
        RefusedRow {
            stream: self.row.stream,
            seq: self.row.seq,
            message: self.message.to_owned(),
            first: occasions.first,
            refusals: occasions.count,
            offer_at: now + pause,
            is_aside,
            retry: false,
            cause: self.cause,
            is_unclear: !self.counts,
        }
    }
}

/// Records that a row was refused.
pub(super) fn record(tools: &Tools<'_>, refusal: &Refusal<'_>) -> Result<(), StoreError> {
    tools.context.store.atomically(|| record_within(tools, refusal))
}

/// The same within a transaction of the caller's.
pub(super) fn record_within(tools: &Tools<'_>, refusal: &Refusal<'_>) -> Result<(), StoreError> {
    let Some(found) = keep(tools, refusal)? else { return Ok(()) };
    let was_aside = refusal.earlier.is_some_and(|known| known.is_aside);
    let is_new = refusal.earlier.is_none_or(|known| known.refusals == 0);
    let (seq, stream, message) = (refusal.row.seq, refusal.row.stream.name(), refusal.message);
    if found.is_aside && !was_aside {
        log::warn!(
            "row {seq} of the {stream} is set aside (punchd quarantine): the server refused it \
             {} times while it took others: {message}",
            found.refusals
        );
    } else if refusal.counts && is_new {
        log::warn!(
            "row {seq} of the {stream} is passed over and offered again later: the server refuses \
             it and takes others: {message}"
        );
    } else if refusal.earlier.is_none() {
        log::warn!("row {seq} of the {stream} is passed over and offered again later: {message}");
    }
    Ok(())
}

/// The same without a line in the log. Returns what is known of the row now; `None` if it cannot be
/// read from the store.
pub(super) fn keep(
    tools: &Tools<'_>,
    refusal: &Refusal<'_>,
) -> Result<Option<RefusedRow>, StoreError> {
    let Refusal { row, earlier, .. } = refusal;
    if row.content.is_none() {
        set_unreadable_aside(tools, refusal.pass, row, earlier.is_some())?;
        return Ok(None);
    }
    let (context, session) = (&tools.context, &tools.session);
    let delay = session.error_delay().into();
    let failed_at = session.failed_beside(row.stream.table());
    let found = refusal.outcome(context.clock.utc(), delay, failed_at);
    context.store.quarantine().put(refusal.pass, &found)?;
    // An error about an error that was refused would be refused as well.
    if found.is_aside
        && earlier.is_none_or(|known| !known.is_aside)
        && row.stream != Stream::Errors
        && let Some(error) = error_about(row, refusal.message)
    {
        context.store.error_log().add(&error)?;
    }
    Ok(Some(found))
}

/// The server took these rows of a table, which were the next. Those that could not be read were
/// not in the request.
pub(super) fn acknowledge(
    tools: &Tools<'_>,
    table: Table,
    pass: Pass,
    rows: &[PendingRow],
) -> Result<(), StoreError> {
    let store = &tools.context.store;
    store.atomically(|| {
        store.outbox().acknowledge_within(table, pass, rows)?;
        let mut unreadable = rows.iter().filter(|row| row.content.is_none());
        // Their stream has advanced.
        unreadable.try_for_each(|row| set_unreadable_aside(tools, Pass::Retry, row, false))
    })
}

/// Sets a row aside that this version cannot read from the store, and looks at it daily: it was
/// accepted once, and a later version may read it.
fn set_unreadable_aside(
    tools: &Tools<'_>,
    pass: Pass,
    row: &PendingRow,
    is_known: bool,
) -> Result<(), StoreError> {
    let context = &tools.context;
    let (now, seq, stream) = (context.clock.utc(), row.seq, row.stream);
    let message = "this version of punchd cannot read the row from its store".to_owned();
    if !is_known {
        log::error!(
            "row {seq} of the {} is set aside (punchd quarantine): {message}",
            stream.name()
        );
    }
    let (offer_at, is_aside, retry) = (now + NEXT_OFFERS, true, false);
    context.store.quarantine().put(
        pass,
        &RefusedRow {
            stream,
            seq,
            message,
            first: now,
            refusals: OCCASIONS,
            offer_at,
            is_aside,
            retry,
            cause: Cause::Answer,
            is_unclear: false,
        },
    )
}

/// The line of the error log about a row that is set aside: an error of the PUSH module, as App. 9
/// builds its codes.
fn error_about(row: &PendingRow, message: &str) -> Option<ErrorLog> {
    let message = plain(message, 200);
    let code = ErrorCode::new(ROW_REFUSED).ok()?;
    let about = serde_json::json!({"stream": row.stream.name(), "row": row.seq});
    ErrorLog::new(code, &format!("row refused: {message}"), None, about).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_set_aside_on_the_third_occasion_and_after_ten_minutes() {
        for (times, is_enough) in [
            (&[0][..], false),
            (&[0, 600], false),
            (&[0, 300, 599], false),
            (&[0, 300, 600], true),
            (&[0, 1, 2, 3, 4, 599], false),
            (&[0, 1, 2, 3, 600], true),
            // The clock was set back: ten minutes count from then.
            (&[5000, 0, 599], false),
            (&[5000, 0, 600], true),
        ] {
            let refused = |earlier, now: &i64| Some(Occasions::refused(earlier, *now));
            let occasions = times.iter().fold(None, refused).unwrap();
            assert_eq!(occasions.is_enough(*times.last().unwrap()), is_enough, "{times:?}");
        }
    }
}
