//! The operation log (§11.4; codes in App. 3 and App. 4).

use super::Invalid;
use super::invalid::clean;
use crate::protocol::codes::Language;
use crate::protocol::text;
use crate::protocol::time::LocalTime;

/// A value of an operation: a number, a PIN or a text; `0` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand(String);

impl Operand {
    /// Checks an operand. An error names `field`. An empty text becomes `0`.
    pub fn new(field: &'static str, text: &str) -> Result<Self, Invalid> {
        clean(field, text, 64).map(|text| Self(if text.is_empty() { "0".into() } else { text }))
    }

    /// The operand as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Operand {
    fn default() -> Self {
        Self("0".into())
    }
}

/// An operation on the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What was done (App. 3; firmware in the field uses further numbers).
    pub code: u16,
    /// Who did it, `0` if nobody was logged in.
    pub operator: Operand,
    /// By the wall clock of the terminal.
    pub time: LocalTime,
    /// To whom or what (App. 4).
    pub who: Operand,
    /// Three more values (App. 4).
    pub values: [Operand; 3],
}

impl Operation {
    /// An operation of the terminal itself, without operands.
    pub fn plain(code: u16, time: LocalTime) -> Self {
        Self {
            code,
            operator: Operand::default(),
            time,
            who: Operand::default(),
            values: Default::default(),
        }
    }

    /// Writes the row without its line end.
    pub fn write(&self, out: &mut Vec<u8>, language: Language) {
        let Self { code, operator, time, who, values: [v1, v2, v3] } = self;
        let [operator, who, v1, v2, v3] = [operator, who, v1, v2, v3].map(Operand::as_str);
        let row = format!("OPLOG {code}\t{operator}\t{time}\t{who}\t{v1}\t{v2}\t{v3}");
        out.extend_from_slice(&text::encode(&row, language));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_in_the_document() {
        let operation = Operation {
            operator: Operand::new("operator", "14").unwrap(),
            ..Operation::plain(4, LocalTime::parse("2015-07-30 10:22:34").unwrap())
        };
        let mut row = Vec::new();
        operation.write(&mut row, Language::ENGLISH);
        assert_eq!(row, b"OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0");
    }

    #[test]
    fn texts_are_carried_and_control_characters_are_not() {
        assert_eq!(Operand::new("who", "add adms address").unwrap().as_str(), "add adms address");
        assert_eq!(Operand::new("who", "a\tb").unwrap_err().field, "who");
        assert_eq!(Operand::new("v1", &"x".repeat(65)).unwrap_err().field, "v1");
    }
}
