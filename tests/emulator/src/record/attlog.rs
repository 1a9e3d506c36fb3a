//! Attendance records (§11.2) and those of identity cards (§11.7): values joined by TAB.

use serde::Serialize;

use crate::deviation::{Flaw, Kind};
use crate::text;

/// One punch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Punch {
    /// Who.
    pub pin: String,
    /// When, by the terminal's clock.
    pub time: String,
    /// In, out, …; of a card verification: 0 passed, 1 failed, 2 blacklisted.
    pub status: i64,
    /// How (appendix 7).
    pub verify: i64,
    /// The work code; field firmware leaves it empty.
    pub workcode: String,
    /// The values after the work code; of an identity card, those before its number.
    pub reserved: Vec<String>,
    /// The identity card, if the row has one.
    pub card: Option<Card>,
    /// Whether a TAB ends the row, behind its values.
    pub tab_at_end: bool,
}

/// Mask and temperature, the three values behind the seventh, as newer firmware has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Screening {
    /// 0 no mask, 1 mask, 255 not known.
    pub mask: u8,
    /// Degrees Celsius, 0 for not known.
    pub temperature: String,
    /// The same in degrees Fahrenheit.
    pub converted: String,
}

/// The end of an identity card's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Card {
    /// The number of the citizen.
    pub id_num: String,
    /// `true`: a verification of card and person. `false`: attendance.
    pub verification: bool,
}

/// Reads a row of 7 values, of 9 with an identity card, or of 7 to 11 as field firmware has them.
pub fn parse(row: &str) -> Result<Punch, Flaw> {
    let mut values: Vec<&str> = row.split('\t').collect();
    // Of eight values the last may be empty: that is a value as well as a TAB at the end.
    let tab_at_end = values.len() > 8 && values.last() == Some(&"");
    if tab_at_end {
        values.pop();
    }
    let [pin, time, status, verify, workcode, rest @ ..] = values.as_slice() else {
        return Err(wrong_count(values.len()));
    };
    if !(2..=6).contains(&rest.len()) {
        return Err(wrong_count(values.len()));
    }
    let (reserved, card) = match rest {
        [a, b, id_num, kind @ ("0" | "1")] if is_id_num(id_num) => {
            (vec![*a, *b], Some(Card { id_num: (*id_num).to_owned(), verification: *kind == "1" }))
        }
        _ => (rest.to_vec(), None),
    };
    let verification = card.as_ref().is_some_and(|card| card.verification);
    Ok(Punch {
        pin: text::pin(pin)?,
        time: text::time(time)?,
        status: text::number("Status", status, if verification { 0..=2 } else { 0..=255 })?,
        verify: text::number("Verify", verify, if verification { 1..=3 } else { 0..=255 })?,
        workcode: (*workcode).to_owned(),
        reserved: reserved.into_iter().map(str::to_owned).collect(),
        card,
        tab_at_end,
    })
}

impl Punch {
    /// Mask and temperature, if the terminal writes them.
    pub fn screening(&self) -> Result<Screening, Flaw> {
        let wrong = |text: String| Flaw::new(Kind::Value, text);
        let [_, _, mask, temperature, converted, ..] = self.reserved.as_slice() else {
            return Err(wrong_count(self.reserved.len() + 5));
        };
        let mask = match mask.as_str() {
            "0" => 0,
            "1" => 1,
            "255" => 255,
            other => return Err(wrong(format!("the mask is {other:?}, not 0, 1 or 255"))),
        };
        for (name, text) in [("temperature", temperature), ("converted temperature", converted)] {
            let parts = text.split_once('.');
            let is_number = |part: &str, most| {
                (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
            };
            let fits = parts.is_some_and(|(whole, rest)| is_number(whole, 3) && is_number(rest, 1));
            if !fits && text != "0" {
                return Err(wrong(format!("the {name} is {text:?}, not 0 and not 36.5")));
            }
        }
        let (temperature, converted) = (temperature.clone(), converted.clone());
        Ok(Screening { mask, temperature, converted })
    }

    /// How the row differs from the document, if it is a dialect of the field.
    pub fn dialect(&self) -> Option<Flaw> {
        let flaw = |text: String| Some(Flaw::new(Kind::AttlogDialect, text));
        match self.reserved.len() {
            2 | 3 if self.tab_at_end => flaw("a TAB ends the row".into()),
            2 if self.workcode.is_empty() => flaw("the workcode is empty".into()),
            2 if self.reserved.iter().any(String::is_empty) => {
                flaw("a reserved value is empty".into())
            }
            2 => None,
            n => flaw(format!("the row has {} values, not 7", n + 5)),
        }
    }
}

fn wrong_count(found: usize) -> Flaw {
    Flaw::new(Kind::FieldCount, format!("the row has {found} values joined by TAB, not 7"))
}

fn is_id_num(text: &str) -> bool {
    [15, 18].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_examples() {
        let punch = parse("1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0").unwrap();
        assert_eq!(
            (punch.pin.as_str(), punch.status, punch.verify, punch.dialect()),
            ("1452", 0, 1, None)
        );
        let punch =
            parse("1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0\t210218199105072345\t0").unwrap();
        assert_eq!(
            punch.card,
            Some(Card { id_num: "210218199105072345".into(), verification: false })
        );
        assert_eq!(punch.dialect(), None);
    }

    #[test]
    fn dialects_of_the_field_are_read_and_told() {
        for row in [
            "abc123\t2025-07-21 23:25:15\t0\t1\t0\t0\t0\t0\t0\t0\t6",
            "12\t2026-10-05 11:49:53\t1\t1\t\t0\t0\t",
            "2\t2022-07-12 16:00:20\t1\t15\t\t0\t0\t\t\t43",
            "2\t2022-07-12 16:00:20\t1\t15\t\t0\t0",
            "2\t2022-07-12 16:00:20\t1\t15\t0\t0\t",
            "0090\t2026-08-18 07:58:11\t255\t1\t0\t0\t0\t0\t0\t0\t",
            "2\t2022-07-12 16:00:20\t1\t15\t0\t0\t0\t255\t0\t0",
            "2\t2022-07-12 16:00:20\t1\t15\t0\t0\t0\t0\t0\t0\t7\t",
        ] {
            assert_eq!(
                parse(row).unwrap().dialect().map(|flaw| flaw.kind),
                Some(Kind::AttlogDialect),
                "{row}"
            );
        }
    }

    #[test]
    fn mask_and_temperature_are_read_behind_the_seventh_value() {
        let with = |end: &str| parse(&format!("2\t2022-07-12 16:00:20\t1\t15\t0\t0\t0\t{end}"));
        for (end, mask, temperature) in
            [("255\t0\t0", 255, "0"), ("1\t36.5\t97.7\t", 1, "36.5"), ("0\t0\t0\t6", 0, "0")]
        {
            let screening = with(end).unwrap().screening().unwrap();
            assert_eq!((screening.mask, screening.temperature.as_str()), (mask, temperature));
        }
        for end in ["2\t0\t0", "1\t36,5\t0", "1\t36.55\t0", "\t\t0", "1\t36.5\twarm", "255\t0"] {
            assert!(with(end).unwrap().screening().is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_wrong() {
        for (row, kind) in [
            ("", Kind::FieldCount),
            ("1\t2015-07-30 15:16:28\t0\t1\t0\t0", Kind::FieldCount),
            ("1 2015-07-30 15:16:28 0 1 0 0 0", Kind::FieldCount),
            ("1\t2015-07-30 15:16:28\t0\t1\t0\t0\t0\t0\t0\t0\t0\t0", Kind::FieldCount),
            ("\t2015-07-30 15:16:28\t0\t1\t0\t0\t0", Kind::Pin),
            ("1\t2015-07-32 15:16:28\t0\t1\t0\t0\t0", Kind::Time),
            ("1\t2015-07-30 15:16:28\t\t1\t0\t0\t0", Kind::Value),
            ("1\t2015-07-30 15:16:28\t0\tx\t0\t0\t0", Kind::Value),
            ("1\t2015-07-30 15:16:28\t3\t1\t0\t0\t0\t210218199105072345\t1", Kind::Value),
            ("1\t2015-07-30 15:16:28\t0\t0\t0\t0\t0\t210218199105072345\t1", Kind::Value),
        ] {
            assert_eq!(parse(row).map_err(|flaw| flaw.kind), Err(kind), "{row}");
        }
    }
}
