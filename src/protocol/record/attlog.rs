//! Attendance records (§11.2).

use super::{Invalid, Pin, Screening};
use crate::protocol::text::write_number;
use crate::protocol::time::LocalTime;

/// A number of a small table: the attendance status, or the way of verification (App. 7).
pub type Status = u8;

/// The last of the ways of verification of App. 7.
pub const HIGHEST_VERIFY: Status = 28;

/// A work code: up to 24 letters and digits, `0` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkCode(
    // Empty for none: most rows have none, and need no memory for it.
    String,
);

impl WorkCode {
    /// Checks a work code; an empty one is `0`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.len() > 24 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Invalid::new("workcode", "is not 0 to 24 letters and digits"));
        }
        Ok(Self(if text == "0" { "" } else { text }.to_owned()))
    }

    /// The code as it is sent; `0` for none.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "0" } else { &self.0 }
    }
}

/// One row of attendance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punch {
    /// Of whom.
    pub pin: Pin,
    /// By the wall clock of the terminal.
    pub time: LocalTime,
    /// Attendance status: 0 is in, 1 is out, the others as the site defines them.
    pub status: Status,
    /// Way of verification (App. 7).
    pub verify: Status,
    /// What the user works on.
    pub workcode: WorkCode,
    /// What the terminal saw of mask and temperature; only some dialects send it.
    pub screening: Screening,
}

impl Punch {
    /// Writes the document's seven fields, without the line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(self.workcode.as_str(), out);
    }

    /// The same with another text for the work code.
    pub(crate) fn write_with(&self, workcode: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(self.pin.as_str().as_bytes());
        out.push(b'\t');
        self.time.write(out);
        for number in [self.status, self.verify] {
            out.push(b'\t');
            write_number(number.into(), out);
        }
        out.push(b'\t');
        out.extend_from_slice(workcode.as_bytes());
        out.extend_from_slice(b"\t0\t0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_in_the_document() {
        let punch = Punch {
            pin: Pin::new("1452").unwrap(),
            time: LocalTime::parse("2015-07-30 15:16:28").unwrap(),
            status: 0,
            verify: 1,
            workcode: WorkCode::new("").unwrap(),
            screening: Screening::default(),
        };
        let mut row = Vec::new();
        punch.write(&mut row);
        assert_eq!(row, b"1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0");
        assert_eq!(WorkCode::new("0"), WorkCode::new(""));
        assert_eq!(WorkCode::new("00").unwrap().as_str(), "00");
    }

    #[test]
    fn what_could_break_a_row_is_refused() {
        for pin in ["", "a b", "1\t2", "1\n", "é", "1234567890123456789012345", "a=b"] {
            assert_eq!(Pin::new(pin).unwrap_err().field, "pin", "{pin:?}");
        }
        for code in ["a b", "\t", "1234567890123456789012345"] {
            assert_eq!(WorkCode::new(code).unwrap_err().field, "workcode", "{code:?}");
        }
    }
}
