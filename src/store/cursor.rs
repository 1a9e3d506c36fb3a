//! A cursor: how far a stream is.

use super::rows::{NewRows, Seq};

/// How far a stream is.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    pub(super) sent: Seq,
    pub(super) resend: Option<(Seq, Seq)>,
    /// New rows up to this number go up, although `TransFlag` does not name them.
    pub(super) asked: Seq,
}

impl Cursor {
    /// After which number, and up to which, new rows are to go up; `None` if none are.
    pub(super) fn range_of_new(&self, new_rows: NewRows) -> Option<(Seq, Seq)> {
        match new_rows {
            NewRows::All => Some((self.sent, Seq::MAX)),
            NewRows::Asked => (self.asked > self.sent).then_some((self.sent, self.asked)),
        }
    }
}
