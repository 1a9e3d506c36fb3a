//! How much goes in one request: little at first, more while the server confirms the count of
//! rows, little again after a failure.

/// What field firmware sends at once, and what servers that read their socket once can read.
pub(crate) const FIRST_ROWS: usize = 62;
const FIRST_BYTES: usize = 8 << 10;
/// Most rows in one request, whatever their size.
pub(crate) const MOST_ROWS: usize = 4096;
/// Smallest limit in bytes that a server may force on us.
const LEAST_BYTES: usize = 1024;

/// How much goes in one request of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchSize {
    rows: usize,
    bytes: usize,
    first_rows: usize,
    most_bytes: usize,
}

impl BatchSize {
    /// `first_rows`: rows in a request until their count is confirmed. `most_bytes`: the owner's limit
    /// for a body.
    pub(super) fn new(first_rows: usize, most_bytes: usize) -> Self {
        let mut size = Self { rows: 0, bytes: 0, first_rows, most_bytes };
        size.failed();
        size
    }

    /// Most rows in the next request.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Most bytes in the next request; the server may have set a limit of its own.
    pub(super) fn bytes(&self, limit: usize) -> usize {
        self.bytes.min(limit)
    }

    /// The server took a full request and confirmed the count of its rows.
    pub(super) fn confirmed(&mut self) {
        self.rows = (self.rows * 2).min(MOST_ROWS);
        self.bytes = (self.bytes * 2).min(self.most_bytes);
    }

    /// A request failed: small ones for a while.
    pub(super) fn failed(&mut self) {
        self.rows = self.first_rows;
        // As many bytes for a row, whatever the owner wants.
        let bytes = FIRST_BYTES * self.first_rows.max(FIRST_ROWS) / FIRST_ROWS;
        self.bytes = bytes.min(self.most_bytes);
    }

    /// The server found a request of so many bytes too large: none is as large from now on.
    pub(super) fn too_large(&mut self, bytes: usize) {
        self.most_bytes = (bytes / 2).max(LEAST_BYTES);
        self.failed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_only_while_the_count_is_confirmed() {
        let mut batch_size = BatchSize::new(FIRST_ROWS, 64 << 10);
        assert_eq!((batch_size.rows(), batch_size.bytes(usize::MAX)), (62, 8192));
        for _ in 0..20 {
            batch_size.confirmed();
        }
        assert_eq!((batch_size.rows(), batch_size.bytes(usize::MAX)), (MOST_ROWS, 64 << 10));
        assert_eq!(batch_size.bytes(1000), 1000);
        batch_size.failed();
        assert_eq!((batch_size.rows(), batch_size.bytes(usize::MAX)), (62, 8192));
    }

    #[test]
    fn an_owner_may_know_that_more_go_at_once() {
        for (rows, bytes) in [(1, 8192), (62, 8192), (124, 16_384), (1000, 64 << 10)] {
            let mut batch_size = BatchSize::new(rows, 64 << 10);
            assert_eq!((batch_size.rows(), batch_size.bytes(usize::MAX)), (rows, bytes));
            batch_size.confirmed();
            batch_size.failed();
            assert_eq!((batch_size.rows(), batch_size.bytes(usize::MAX)), (rows, bytes));
        }
    }

    #[test]
    fn a_server_that_finds_requests_too_large_gets_smaller_ones_for_good() {
        let mut batch_size = BatchSize::new(FIRST_ROWS, 64 << 10);
        (0..10).for_each(|_| batch_size.confirmed());
        batch_size.too_large(40_000);
        (0..10).for_each(|_| batch_size.confirmed());
        assert_eq!(batch_size.bytes(usize::MAX), 20_000);
    }
}
