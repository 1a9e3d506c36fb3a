//! How much goes in one request: little at first, more while the server confirms the count of
//! rows, little again after a failure.

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
}

impl BatchSize {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { rows: FIRST_ROWS, bytes: FIRST_BYTES.min(most_bytes), most_bytes }
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
        self.rows = FIRST_ROWS;
        self.bytes = FIRST_BYTES.min(self.most_bytes);
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
        let mut batch_size = BatchSize::new(64 << 10);
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
    fn a_server_that_finds_requests_too_large_gets_smaller_ones_for_good() {
        let mut batch_size = BatchSize::new(64 << 10);
        (0..10).for_each(|_| batch_size.confirmed());
        batch_size.too_large(40_000);
        (0..10).for_each(|_| batch_size.confirmed());
        assert_eq!(batch_size.bytes(usize::MAX), 20_000);
    }
}
