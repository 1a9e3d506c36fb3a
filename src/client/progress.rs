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
    /// No row was taken since the start: the first ones may have reached the server before it.
    is_first: bool,
    /// The highest row of a request without a count that failed: the server may have rows up to it.
    failed_to: Seq,
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
            is_first: true,
            failed_to: 0,
            sole_row: false,
            offers_next: false,
            interrupted: None,
            stalls: 0,
            warned_of: None,
        }
    }

    /// Whether the server may know rows of a batch already, the first of which is `first`; it may say
    /// `OK:0` to them then. Where it did not count the rows before either, `OK:0` means no more.
    pub(super) fn may_know(&self, pass: Pass, first: Seq) -> bool {
        let is_known = self.is_first || first <= self.failed_to;
        !self.by_count && (pass != Pass::New || is_known || !self.last_counted)
    }

    /// A request with rows up to this one failed without a count: the server may have them all the same.
    pub(super) fn failed(&mut self, last: Seq) {
        self.failed_to = self.failed_to.max(last);
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
        self.is_first = false;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_went_without_a_count_may_be_known_until_it_is_taken() {
        let mut progress = Progress::new(BatchSize::new(10, 1 << 20));
        // The first rows may have gone before the start.
        assert!(progress.may_know(Pass::New, 1));
        progress.taken(1, true);
        assert!(!progress.may_know(Pass::New, 2));
        // Row 3 went beside row 2, which failed, and had no answer either: it stays so when row 2 is taken.
        progress.failed(3);
        assert!(progress.may_know(Pass::New, 2));
        progress.taken(1, true);
        assert!(progress.may_know(Pass::New, 3));
        progress.taken(1, true);
        assert!(!progress.may_know(Pass::New, 4));
        // Where rows are searched that the server did not count, its counts mean something.
        progress.failed(4);
        progress.by_count = true;
        assert!(!progress.may_know(Pass::New, 4));
    }
}
