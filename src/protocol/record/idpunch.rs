//! Punches with an identity card (§11.7): attendance, or a verification that the card is the
//! person's.

use super::{IdNumber, Invalid, Punch};

/// A punch with an identity card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPunch {
    punch: Punch,
    number: IdNumber,
    verification: bool,
}

/// Highest outcome of a verification: 0 passed, 1 failed, 2 on the blacklist.
const LAST_OUTCOME: u8 = 2;
/// Ways of a verification: 1 face, 2 face and fingerprint, 3 fingerprint and face.
const WAYS: std::ops::RangeInclusive<u8> = 1..=3;

impl IdPunch {
    /// Attendance (`Type` 0): an ordinary punch.
    pub fn attendance(punch: Punch, number: IdNumber) -> Self {
        Self { punch, number, verification: false }
    }

    /// A verification of card and person (`Type` 1): the status of the punch is the outcome, 0
    /// to 2, and its way of verification is 1 to 3.
    pub fn verification(punch: Punch, number: IdNumber) -> Result<Self, Invalid> {
        if punch.status > LAST_OUTCOME {
            let why = format!("of a verification is {}; allowed are 0 to 2", punch.status);
            return Err(Invalid::new("status", why));
        }
        if !WAYS.contains(&punch.verify) {
            let why = format!("of a verification is {}; allowed are 1 to 3", punch.verify);
            return Err(Invalid::new("verify", why));
        }
        Ok(Self { punch, number, verification: true })
    }

    /// The punch, or the outcome of the verification.
    pub fn punch(&self) -> &Punch {
        &self.punch
    }

    /// The number of the person, from the card.
    pub fn number(&self) -> &IdNumber {
        &self.number
    }

    /// Whether it is a verification and not attendance.
    pub fn is_verification(&self) -> bool {
        self.verification
    }

    /// Writes the nine fields, without the line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.punch.write(out);
        let (number, kind) = (&self.number, u8::from(self.verification));
        out.extend_from_slice(format!("\t{number}\t{kind}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::{Pin, Screening, WorkCode};
    use crate::protocol::time::LocalTime;

    fn punch(status: u8, verify: u8) -> Punch {
        Punch {
            pin: Pin::new("1452").unwrap(),
            time: LocalTime::parse("2015-07-30 15:16:28").unwrap(),
            status,
            verify,
            workcode: WorkCode::new("").unwrap(),
            screening: Screening::default(),
        }
    }

    fn number() -> IdNumber {
        IdNumber::new("idnum", "210218199105072345").unwrap()
    }

    #[test]
    fn rows_are_as_in_the_document() {
        for (punch, end) in [
            (IdPunch::attendance(punch(0, 1), number()), "0\t1\t0\t0\t0\t210218199105072345\t0"),
            (
                IdPunch::verification(punch(2, 3), number()).unwrap(),
                "2\t3\t0\t0\t0\t210218199105072345\t1",
            ),
        ] {
            let mut row = Vec::new();
            punch.write(&mut row);
            let expected = format!("1452\t2015-07-30 15:16:28\t{end}");
            assert_eq!(String::from_utf8(row).unwrap(), expected);
        }
    }

    #[test]
    fn a_verification_has_three_outcomes_and_three_ways() {
        for (status, verify, field) in [(3, 1, "status"), (0, 0, "verify"), (0, 4, "verify")] {
            let invalid = IdPunch::verification(punch(status, verify), number()).unwrap_err();
            assert_eq!(invalid.field, field);
        }
        IdPunch::attendance(punch(255, 15), number());
    }
}
