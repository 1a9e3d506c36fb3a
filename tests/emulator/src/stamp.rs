//! The stamps of a table.
//!
//! A stamp is the sequence number of the last row in its request. So new rows come under a greater
//! one than before, unless the server asked for old rows; and the same stamp means the same row.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::deviation::{Flaw, Kind};
use crate::http::Request;

/// Field firmware that keeps no stamps sends this one always.
const CONSTANT: u64 = 9999;

/// What is known of a table's stamps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stamp {
    /// The greatest one so far.
    pub greatest: u64,
    /// The last one.
    pub last: u64,
    /// Under each stamp, the hash of the last row.
    rows: HashMap<u64, u64>,
}

impl Stamp {
    /// Takes the stamp of a request with `new` rows among its own, of which `last_row` is the last.
    /// `again`: the server asked for old rows.
    pub(crate) fn take(
        &mut self,
        stamp: u64,
        new: usize,
        last_row: &[u8],
        again: bool,
    ) -> Option<Flaw> {
        let greatest = self.greatest;
        (self.greatest, self.last) = (greatest.max(stamp), stamp);
        if new > 0 && stamp <= greatest && !again {
            let constant = stamp == CONSTANT && greatest == CONSTANT;
            let kind = if constant { Kind::StampDialect } else { Kind::StampOrder };
            let text =
                format!("new rows came under Stamp={stamp}, but {greatest} was there before");
            return Some(Flaw::new(kind, text));
        }
        let mut row = DefaultHasher::new();
        last_row.hash(&mut row);
        let before = self.rows.insert(stamp, row.finish());
        let differs = stamp != CONSTANT && before.is_some_and(|before| before != row.finish());
        let text = format!("Stamp={stamp} came before with another last row");
        differs.then(|| Flaw::new(Kind::RowDiffers, text))
    }
}

/// The number after `Stamp=`, or after `OpStamp=` as field firmware spells it for OPERLOG.
pub(crate) fn of(request: &Request) -> (Option<u64>, Option<Flaw>) {
    let dialect = || Flaw::new(Kind::OpStampDialect, "the stamp is called OpStamp, not Stamp");
    let (text, flaw) = match (request.parameter("Stamp"), request.parameter("OpStamp")) {
        (Some(stamp), _) => (stamp, None),
        (None, Some(stamp)) => (stamp, Some(dialect())),
        (None, None) => return (None, Some(Flaw::new(Kind::MissingStamp, "there is no Stamp"))),
    };
    match text.parse() {
        Ok(stamp) => (Some(stamp), flaw),
        Err(_) => {
            (None, Some(Flaw::new(Kind::StampForm, format!("Stamp is {text:?}, not a number"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_rows_need_a_greater_stamp() {
        let mut stamp = Stamp::default();
        let kinds = [
            (10, 10, "j", false), // ten rows
            (10, 0, "j", false),  // the same again: the acknowledgement was lost
            (5, 0, "e", false),   // in smaller pieces
            (11, 1, "k", false),
            (11, 1, "l", false), // another row under the same stamp
            (4, 1, "d", false),  // a row that was not requested
            (4, 1, "d", true),
            (11, 0, "x", false), // the same stamp, another row
        ]
        .map(|(n, new, row, again)| stamp.take(n, new, row.as_bytes(), again).map(|f| f.kind));
        let (order, differs) = (Some(Kind::StampOrder), Some(Kind::RowDiffers));
        assert_eq!(kinds, [None, None, None, None, order, order, None, differs]);
    }

    #[test]
    fn a_constant_stamp_is_a_dialect() {
        let mut stamp = Stamp::default();
        assert_eq!(stamp.take(9999, 1, b"a", false), None);
        let flaw = stamp.take(9999, 1, b"b", false);
        assert_eq!(flaw.map(|flaw| flaw.kind), Some(Kind::StampDialect));
    }
}
