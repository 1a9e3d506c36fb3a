//! Suspects: rows that the server refused while it took others. They are passed over and stay
//! pending; refused on some occasions over some time, they are set aside (quarantine).

use super::context::Context;
use super::row_search::REPEATS;
use crate::protocol::record::{ErrorCode, ErrorLog};
use crate::protocol::stream::{Stream, Table};
use crate::store::{Pass, PendingRow, RefusedRow, StoreError};

/// Device, PUSH module, error, a number of our own.
const ROW_REFUSED: &str = "D01E1001";
/// How often a row is offered once more on the occasion that may set it aside: at a server of which every second request
/// fails by chance, no healthy row is refused so often.
const LAST_REPEATS: u32 = 10;
/// Seconds from one offer of a row that is set aside to the next.
const A_DAY: i64 = 86_400;

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
    /// One more refusal.
    pub(super) fn refused(earlier: Option<Self>, now: i64) -> Self {
        let Self { count, first } = earlier.unwrap_or(Self { count: 0, first: now });
        // A clock that was set back does not keep a row from its verdict for ever.
        Self { count: count.saturating_add(1), first: first.min(now) }
    }

    /// How often the row is offered once more on the next occasion.
    pub(super) fn repeats(&self, now: i64) -> u32 {
        if Self::refused(Some(*self), now).is_enough(now) { LAST_REPEATS } else { REPEATS }
    }

    /// Whether the row is set aside now.
    pub(super) fn is_enough(&self, now: i64) -> bool {
        self.count >= OCCASIONS && now - self.first >= LEAST_SECONDS
    }

    /// Seconds until it is offered again: `ErrorDelay`, five minutes, ten; set aside, after an
    /// hour, then daily.
    pub(super) fn pause(&self, now: i64, error_delay: i64) -> i64 {
        match self.count {
            count if self.is_enough(now) => {
                if count == OCCASIONS {
                    3600
                } else {
                    A_DAY
                }
            }
            // Longer the longer nothing shows whether it is the row: it may cost a time-out each time.
            0 | 1 => (now - self.first).clamp(error_delay, 600.max(error_delay)),
            2 => 300,
            _ => 600,
        }
    }
}

/// Records that a row was refused, or that it could not be told (`is_refusal` is false); `earlier`
/// is what was known of it. A row that was the next of its stream by `pass` is passed over.
///
/// To be called within a transaction.
pub(super) fn record(
    context: &Context,
    pass: Pass,
    row: &PendingRow,
    earlier: Option<&RefusedRow>,
    is_refusal: bool,
    message: &str,
    error_delay: u32,
) -> Result<(), StoreError> {
    if row.content.is_none() {
        return set_unreadable_aside(context, pass, row, earlier.is_some());
    }
    let now = context.clock.utc();
    let known = earlier.map(|known| Occasions { count: known.refusals, first: known.first });
    let occasions = match is_refusal {
        true => Occasions::refused(known, now),
        false => known.unwrap_or(Occasions { count: 0, first: now }),
    };
    let was_aside = earlier.is_some_and(|known| known.is_aside);
    let is_aside = was_aside || (is_refusal && occasions.is_enough(now));
    context.store.quarantine().put(
        pass,
        &RefusedRow {
            stream: row.stream,
            seq: row.seq,
            message: message.to_owned(),
            first: occasions.first,
            refusals: occasions.count,
            offer_at: now + occasions.pause(now, error_delay.into()),
            is_aside,
            retry: false,
        },
    )?;
    let (seq, stream) = (row.seq, row.stream.name());
    if is_aside && !was_aside {
        log::warn!(
            "row {seq} of the {stream} is set aside (punchd quarantine): the server refused it \
             {} times while it took others: {message}",
            occasions.count
        );
        // An error about an error that was refused would be refused as well.
        if row.stream != Stream::Errors
            && let Some(error) = error_about(row, message)
        {
            context.store.error_log().add(&error)?;
        }
    } else if is_refusal && earlier.is_none() {
        log::warn!(
            "row {seq} of the {stream} is passed over and offered again later: the server refuses \
             it and takes others: {message}"
        );
    }
    Ok(())
}

/// The server took these rows of a table, which were the next. Those that could not be read were
/// not in the request.
pub(super) fn acknowledge(
    context: &Context,
    table: Table,
    pass: Pass,
    rows: &[PendingRow],
) -> Result<(), StoreError> {
    context.store.atomically(|| {
        context.store.outbox().acknowledge_within(table, pass, rows)?;
        let mut unreadable = rows.iter().filter(|row| row.content.is_none());
        // Their stream has advanced.
        unreadable.try_for_each(|row| set_unreadable_aside(context, Pass::Retry, row, false))
    })
}

/// Sets a row aside that this version cannot read from the store, and looks at it daily: it was
/// accepted once, and a later version may read it.
fn set_unreadable_aside(
    context: &Context,
    pass: Pass,
    row: &PendingRow,
    is_known: bool,
) -> Result<(), StoreError> {
    let (now, seq, stream) = (context.clock.utc(), row.seq, row.stream);
    let message = "this version of punchd cannot read the row from its store".to_owned();
    if !is_known {
        log::error!(
            "row {seq} of the {} is set aside (punchd quarantine): {message}",
            stream.name()
        );
    }
    let (offer_at, is_aside, retry) = (now + A_DAY, true, false);
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
        },
    )
}

/// The line of the error log about a row that is set aside: an error of the PUSH module, as App. 9
/// builds its codes.
fn error_about(row: &PendingRow, message: &str) -> Option<ErrorLog> {
    let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    let code = ErrorCode::new(ROW_REFUSED).ok()?;
    let about = serde_json::json!({"stream": row.stream.name(), "row": row.seq});
    ErrorLog::new(code, &format!("row refused: {message}"), None, about).ok()
}
