//! How the uploads of one table go: how much goes in a request, what is searched for, and what is
//! known of the server's counts.

use std::time::Duration;

use super::batch_size::BatchSize;
use super::row_search::RowSearch;
use super::trouble::Trouble;
use crate::protocol::stream::{Stream, Table};
use crate::store::{Pass, Seq};

/// Fewer bytes than the shortest row of any table has: no limit that a server can mean.
pub(super) const SHORTEST_ROW: usize = 32;
/// Pauses after the third time without an answer, and after each further one.
const LONG_PAUSES: [u32; 2] = [300, 600];

/// How uploads of one table go.
pub(super) struct Progress {
    pub(super) size: BatchSize,
    pub(super) search: RowSearch,
    /// Rows are searched that the server did not count.
    pub(super) by_count: bool,
    /// The last rows that the server took were counted by it, every one.
    pub(super) last_counted: bool,
    /// The next rows may have reached the server before: a request with them failed, or this is the
    /// first since the start.
    pub(super) may_be_known: bool,
    /// The only row there was has been refused; nothing shows whether it is the row's fault.
    pub(super) sole_row: bool,
    /// After rows that were taken, a suspect whose time has come is offered: new rows go first, and
    /// do not keep suspects waiting for ever.
    pub(super) offers_next: bool,
    /// A suspect whose offers were interrupted, and how often it was refused so far.
    pub(super) interrupted: Option<((Stream, Seq), u32)>,
    /// How often in a row the server did not answer in time.
    stalls: u32,
    /// The server's `MaxPostSize` of which a warning was given.
    warned_of: Option<usize>,
}

impl Progress {
    /// Nothing was sent yet. `size`: how much goes in the first request.
    pub(super) fn new(size: BatchSize) -> Self {
        Self {
            size,
            search: RowSearch::default(),
            by_count: false,
            last_counted: false,
            may_be_known: true,
            sole_row: false,
            offers_next: false,
            interrupted: None,
            stalls: 0,
            warned_of: None,
        }
    }

    /// Whether the server may know rows of a batch already; it may say `OK:0` to them then. Where it
    /// did not count the rows before either, `OK:0` means no more.
    pub(super) fn may_know(&self, pass: Pass) -> bool {
        !self.by_count && (pass != Pass::New || self.may_be_known || !self.last_counted)
    }

    /// Most bytes in a request, if the server's `MaxPostSize` is `limit`.
    pub(super) fn limit(limit: usize) -> usize {
        if limit < SHORTEST_ROW { usize::MAX } else { limit }
    }

    /// Warns, once, of a limit that is less than one row: such a row goes alone, or, where no row
    /// can be as short, the limit is not heeded at all.
    pub(super) fn warn_of_limit(&mut self, limit: usize, rows: usize, bytes: usize, table: Table) {
        let is_too_small = limit < SHORTEST_ROW || (rows == 1 && bytes > limit);
        if is_too_small && self.warned_of.replace(limit) != Some(limit) {
            log::warn!(
                "the server's MaxPostSize={limit} is less than one row of {} ({} bytes): it is not \
                 heeded for such a row",
                table.name(),
                bytes / rows.max(1)
            );
        }
    }

    /// The server took the next `rows` rows; whether it counted every one.
    pub(super) fn taken(&mut self, rows: usize, counted: bool) {
        self.sole_row = false;
        self.offers_next = true;
        self.may_be_known = false;
        self.last_counted = counted;
        self.stalls = 0;
        self.passed(rows);
    }

    /// The next `rows` rows are settled.
    pub(super) fn passed(&mut self, rows: usize) {
        self.search.passed(rows);
        self.by_count &= self.search.is_searching();
    }

    /// What follows from a failure after which the table waits. Where no answer came in time,
    /// other tables do not wait for the next handshake, and the pauses grow: each attempt holds
    /// up everything else for the time-out. Punches come back after each `ErrorDelay`.
    pub(super) fn pause(
        &mut self,
        table: Table,
        trouble: Trouble,
        is_stall: bool,
        delay: u32,
    ) -> Trouble {
        if !is_stall || table == Table::Attlog {
            return trouble;
        }
        self.stalls = self.stalls.saturating_add(1);
        let seconds = match self.stalls {
            1 | 2 => delay,
            3 => LONG_PAUSES[0].max(delay),
            _ => LONG_PAUSES[1].max(delay),
        };
        let pause = Some(Duration::from_secs(seconds.into()));
        Trouble::Later { message: trouble.to_string(), pause }
    }
}
