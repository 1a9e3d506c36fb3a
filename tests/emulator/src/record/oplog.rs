//! Operation records (§11.4, appendices 3 to 5): `OPLOG`, a blank, seven values joined by TAB.

use serde::Serialize;

use super::after;
use crate::deviation::{Flaw, Kind};
use crate::text;

/// One operation at the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oplog {
    /// What was done. Codes run past the document's table.
    pub op: i64,
    /// Who did it: the PIN of an administrator, or 0.
    pub operator: String,
    /// When, by the terminal's clock.
    pub time: String,
    /// The object: a PIN, an alarm, a number of an option, or a text.
    pub who: String,
    /// The three further objects.
    pub values: [String; 3],
}

/// Reads a row.
pub fn parse(row: &str) -> Result<Oplog, Flaw> {
    let values: Vec<&str> = after(row, "OPLOG")?.split('\t').collect();
    let [op, operator, time, who, v1, v2, v3] = values.as_slice() else {
        return Err(Flaw::new(
            Kind::FieldCount,
            format!("OPLOG has {} values joined by TAB, not 7", values.len()),
        ));
    };
    Ok(Oplog {
        op: text::number("the operation code", op, 0..=65535)?,
        operator: text::pin(operator)?,
        time: text::time(time)?,
        who: (*who).to_owned(),
        values: [*v1, *v2, *v3].map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_example_and_words_of_the_field() {
        assert_eq!(parse("OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0").unwrap().operator, "14");
        assert_eq!(
            parse("OPLOG 82\t0\t2026-08-12 08:16:23\tadd adms address\t0\t0\t0").unwrap().who,
            "add adms address"
        );
    }

    #[test]
    fn what_is_wrong() {
        for (row, kind) in [
            ("OPLOG4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0", Kind::UnknownRow),
            ("OPLOG 4 14 2015-07-30 10:22:34 0 0 0 0", Kind::FieldCount),
            ("OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0", Kind::FieldCount),
            ("OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0\t0", Kind::FieldCount),
            ("OPLOG x\t14\t2015-07-30 10:22:34\t0\t0\t0\t0", Kind::Value),
            ("OPLOG 4\t\t2015-07-30 10:22:34\t0\t0\t0\t0", Kind::Pin),
            ("OPLOG 4\t14\t2015-07-30\t0\t0\t0\t0", Kind::Time),
        ] {
            assert_eq!(parse(row).map_err(|flaw| flaw.kind), Err(kind), "{row}");
        }
    }
}
