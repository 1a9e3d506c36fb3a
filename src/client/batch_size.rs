//! How much goes in one request: little at first, more while the server confirms the count of
//! rows, less after a failure, and half as much each time to find a row that the server refuses.

use crate::protocol::stream::Table;

/// What field firmware sends at once, and what servers that read their socket once can read.
const FIRST_ROWS: usize = 62;
const FIRST_BYTES: usize = 8 << 10;
/// Most rows in one request, whatever their size.
const MOST_ROWS: usize = 4096;
/// Smallest limit in bytes that a server may force on us.
const LEAST_BYTES: usize = 1024;

/// How much goes in one request of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchSize {
    rows: usize,
    bytes: usize,
    most_bytes: usize,
    /// So many of the next rows were refused together: one of them at least is bad.
    bisecting: usize,
    /// The only row there was has been refused; nothing shows whether it is the row's fault.
    sole_row: bool,
}

impl BatchSize {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            rows: FIRST_ROWS,
            bytes: FIRST_BYTES.min(most_bytes),
            most_bytes,
            bisecting: 0,
            sole_row: false,
        }
    }

    /// Most rows in the next request of a table.
    pub(super) fn rows(&self, table: Table) -> usize {
        match self.bisecting {
            _ if table.is_single() => 1,
            0 => self.rows,
            bisecting => (bisecting / 2).max(1),
        }
    }

    /// Most bytes in the next request; the server may have set a limit of its own.
    pub(super) fn bytes(&self, limit: usize) -> usize {
        self.bytes.min(limit)
    }

    /// Whether the one row there was has been refused, so that another could tell more.
    pub(super) fn is_sole_row(&self) -> bool {
        self.sole_row
    }

    /// The server took so many rows. `counted`: it confirmed their number, and there was no
    /// room for more in the request.
    pub(super) fn taken(&mut self, rows: usize, counted: bool) {
        self.sole_row = false;
        if self.bisecting > 0 {
            self.bisecting = self.bisecting.saturating_sub(rows);
            if self.bisecting == 0 {
                self.rows = FIRST_ROWS;
            }
        } else if counted {
            self.rows = (self.rows * 2).min(MOST_ROWS);
            self.bytes = (self.bytes * 2).min(self.most_bytes);
        }
    }

    /// The server refused so many rows, more than one, in so many bytes.
    pub(super) fn refused(&mut self, rows: usize, bytes: usize, too_large: bool) {
        self.bisecting = rows;
        self.bytes = FIRST_BYTES.min(self.most_bytes);
        if too_large {
            self.most_bytes = (bytes / 2).max(LEAST_BYTES);
            self.bytes = self.bytes.min(self.most_bytes);
        }
    }

    /// The server refused a row by itself. `alone`: there was no other to compare with.
    pub(super) fn refused_one(&mut self, alone: bool) {
        self.bisecting = 1;
        self.sole_row = alone;
    }

    /// The connection failed: smaller batches for a while.
    pub(super) fn broken(&mut self) {
        self.sole_row = false;
        self.rows = (self.rows.min(FIRST_ROWS) / 2).max(1);
        self.bytes = FIRST_BYTES.min(self.most_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_only_while_the_count_is_confirmed() {
        let mut batch_size = BatchSize::new(64 << 10);
        batch_size.taken(62, false);
        assert_eq!((batch_size.rows(Table::Attlog), batch_size.bytes(usize::MAX)), (62, 8192));
        for _ in 0..20 {
            batch_size.taken(batch_size.rows(Table::Attlog), true);
        }
        assert_eq!(
            (batch_size.rows(Table::Attlog), batch_size.bytes(usize::MAX)),
            (MOST_ROWS, 64 << 10)
        );
        assert_eq!(batch_size.bytes(1000), 1000);
        batch_size.broken();
        assert_eq!((batch_size.rows(Table::Attlog), batch_size.bytes(usize::MAX)), (31, 8192));
        for _ in 0..20 {
            batch_size.taken(batch_size.rows(Table::Attlog), true);
        }
        assert_eq!(batch_size.rows(Table::Attlog), MOST_ROWS);
    }

    /// Plays a server that refuses some rows; returns which were found, and the requests.
    fn bisect(rows: usize, bad: &[usize]) -> (Vec<usize>, usize, usize) {
        let (mut batch_size, mut next, mut found) = (BatchSize::new(1 << 20), 0, Vec::new());
        let (mut requests, mut plain) = (0, 0);
        while next < rows {
            let bisecting_now = batch_size.bisecting > 0;
            let last = (next + batch_size.rows(Table::Attlog)).min(rows);
            requests += 1;
            plain += usize::from(!bisecting_now);
            if !bad.iter().any(|bad| (next..last).contains(bad)) {
                batch_size.taken(last - next, true);
                next = last;
            } else if last - next > 1 {
                batch_size.refused(last - next, 0, false);
            } else {
                // The next row goes by itself and shows that the server works.
                found.push(next);
                requests += 1;
                batch_size.taken(1, true);
                next += 1;
            }
        }
        (found, requests, plain)
    }

    #[test]
    fn bad_rows_are_found_by_halving() {
        for bad in [vec![0], vec![61], vec![30, 31], vec![5, 4000, 9999], vec![100, 101, 102]] {
            let (found, requests, plain) = bisect(10_000, &bad);
            assert_eq!(found, bad);
            let extra = requests - plain;
            let allowed = bad.len() * (3 * 12 + 3);
            assert!(extra <= allowed, "{bad:?}: {extra} requests more, {allowed} allowed");
        }
    }

    #[test]
    fn a_server_that_finds_requests_too_large_gets_smaller_ones_for_good() {
        let mut batch_size = BatchSize::new(64 << 10);
        (0..10).for_each(|_| batch_size.taken(1, true));
        batch_size.refused(100, 40_000, true);
        (0..10).for_each(|_| batch_size.taken(100, true));
        assert_eq!(batch_size.bytes(usize::MAX), 20_000);
    }
}
