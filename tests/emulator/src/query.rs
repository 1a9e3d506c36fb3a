//! The packs in which rows come up that a `DATA QUERY` asked for: `Count`, `PackCnt`, `PackIdx`,
//! `CmdId` in the query of the upload, as field firmware has them.

use std::collections::BTreeMap;

use crate::deviation::{Flaw, Kind};
use crate::http::Request;
use crate::state::State;

/// What came of the rows one command asked for, of one table.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    /// `Count` and `PackCnt`, as the first pack had them.
    announced: Option<(usize, usize)>,
    /// The number of rows in each pack.
    rows: BTreeMap<usize, usize>,
}

impl Packs {
    /// Takes pack `index`; says what is wrong with it.
    fn take(
        &mut self,
        count: usize,
        packs: usize,
        index: usize,
        rows: usize,
    ) -> Result<(), String> {
        let announced = *self.announced.get_or_insert((count, packs));
        if announced != (count, packs) {
            let (n, m) = announced;
            return Err(format!("Count and PackCnt were {n} and {m}, now {count} and {packs}"));
        }
        if index == 0 || index > packs {
            return Err(format!("PackIdx={index} is not one of 1 to PackCnt={packs}"));
        }
        self.rows.insert(index, rows);
        let total: usize = self.rows.values().sum();
        if self.rows.len() == packs && total != count {
            return Err(format!("Count is {count}, but the {packs} packs hold {total} rows"));
        }
        Ok(())
    }
}

impl State {
    /// Takes an upload of `rows` rows that answers a query. Says whether it is one.
    pub(crate) fn take_pack(
        &mut self,
        request: &Request,
        table: &str,
        rows: usize,
    ) -> (bool, Option<Flaw>) {
        let values = ["Count", "PackCnt", "PackIdx", "CmdId"].map(|name| request.parameter(name));
        if values.iter().all(Option::is_none) {
            return (false, None);
        }
        let checked = match values {
            [Some(count), Some(packs), Some(index), Some(id)] => {
                self.check_pack(table, [count, packs, index], id, rows)
            }
            _ => Err("of Count, PackCnt, PackIdx and CmdId some are missing".into()),
        };
        (true, checked.err().map(|text| Flaw::new(Kind::Query, text)))
    }

    fn check_pack(
        &mut self,
        table: &str,
        numbers: [&str; 3],
        id: &str,
        rows: usize,
    ) -> Result<(), String> {
        let [Ok(count), Ok(packs), Ok(index)] = numbers.map(str::parse) else {
            return Err(format!("Count, PackCnt, PackIdx are {numbers:?}, not numbers"));
        };
        match self.commands.handed_out(id) {
            None => return Err(format!("CmdId={id} is no command that was handed out")),
            Some(command) if !command.text.starts_with("DATA QUERY ") => {
                return Err(format!("CmdId={id} was {:?}, not DATA QUERY", command.text));
            }
            Some(_) => {}
        }
        let packs_of = self.queries.entry((id.to_owned(), table.to_owned())).or_default();
        packs_of.take(count, packs, index, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_hold_what_was_announced() {
        let mut packs = Packs::default();
        assert_eq!(packs.take(100, 2, 1, 62), Ok(()));
        assert_eq!(packs.take(100, 2, 1, 62), Ok(()));
        assert_eq!(packs.take(100, 2, 2, 38), Ok(()));
        for (count, of, index, rows) in
            [(100, 2, 2, 37), (101, 2, 2, 38), (100, 2, 0, 1), (100, 2, 3, 1)]
        {
            assert!(packs.take(count, of, index, rows).is_err(), "{index} of {of}");
        }
    }
}
