//! Remote enrolment (§12.9): `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO`.

use super::codes::{Language, ReturnCode};
use super::fields::{Fields, Refusal};
use super::record::Pin;
use super::tables::BioType;

/// Highest `RETRY`.
const MOST_RETRIES: u8 = 99;
/// Most characters of `CardNo`.
const LONGEST_CARD: usize = 24;

/// What is to be enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The finger with this number (`FID`).
    Finger(u8),
    /// The card of the user.
    Card,
    /// A template of this type, in any form.
    Bio(BioType),
}

impl Sought {
    /// The type of the template; `None` for a card.
    pub fn bio_type(self) -> Option<BioType> {
        match self {
            Self::Finger(_) => Some(BioType::FINGERPRINT),
            Self::Card => None,
            Self::Bio(bio_type) => Some(bio_type),
        }
    }

    /// The number of the finger, if the server gives one.
    pub fn number(self) -> Option<u8> {
        match self {
            Self::Finger(number) => Some(number),
            Self::Card | Self::Bio(_) => None,
        }
    }
}

/// A parsed enrolment command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enroll {
    /// The user.
    pub pin: Pin,
    /// What is to be enrolled.
    pub sought: Sought,
    /// Number of further tries after a failure.
    pub retry: u8,
    /// Whether existing data may be replaced.
    pub overwrite: bool,
    /// The card number of the user, if the server gives one.
    pub card: Option<String>,
}

/// How an enrolment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The user has the data already, and it may not be replaced.
    Exists,
    /// Bad quality, or three presses that differ.
    Failed,
    /// Another user has the same.
    Duplicate,
    /// It was cancelled at the terminal.
    Cancelled,
    /// The sensor is busy.
    Busy,
    /// It took too long.
    TimedOut,
}

impl Outcome {
    /// What the command answers: `ENROLL_MF` has codes of its own.
    pub fn code(self, sought: Sought) -> ReturnCode {
        if sought == Sought::Card {
            return match self {
                Self::Exists | Self::Failed | Self::Duplicate => ReturnCode::CARD_FAILED,
                Self::TimedOut => ReturnCode::CARD_TIMED_OUT,
                Self::Cancelled => ReturnCode::CARD_CANCELLED,
                Self::Busy => ReturnCode::BUSY,
            };
        }
        match self {
            Self::Exists => ReturnCode::ENROLL_EXISTS,
            Self::Failed => ReturnCode::ENROLL_FAILED,
            Self::Duplicate => ReturnCode::ENROLL_DUPLICATE,
            Self::Cancelled => ReturnCode::ENROLL_CANCELLED,
            Self::Busy => ReturnCode::ENROLL_BUSY,
            Self::TimedOut => ReturnCode::TIMED_OUT,
        }
    }
}

impl Enroll {
    /// Parses the text after `ENROLL_FP`.
    pub fn finger(record: &[u8]) -> Result<Self, Refusal> {
        let fields = fields(record)?;
        fields.required("fid")?;
        let number = fields.number("fid")?.unwrap_or(u8::MAX);
        if number > BioType::FINGERPRINT.last_number() {
            return Err(Refusal::field("fid", "is not a number from 0 to 9"));
        }
        Self::read(&fields, Sought::Finger(number))
    }

    /// Parses the text after `ENROLL_MF`. A new card replaces the old one.
    pub fn card(record: &[u8]) -> Result<Self, Refusal> {
        Ok(Self { overwrite: true, ..Self::read(&fields(record)?, Sought::Card)? })
    }

    /// Parses the text after `ENROLL_BIO`.
    pub fn bio(record: &[u8]) -> Result<Self, Refusal> {
        let fields = fields(record)?;
        fields.required("type")?;
        let bio_type = fields.number("type")?.and_then(BioType::new);
        let bio_type =
            bio_type.ok_or_else(|| Refusal::field("type", "is not a number from 0 to 9"))?;
        Self::read(&fields, Sought::Bio(bio_type))
    }

    fn read(fields: &Fields, sought: Sought) -> Result<Self, Refusal> {
        let pin = Pin::from_fields(fields)?;
        let retry = fields.number("retry")?.unwrap_or(0);
        if retry > MOST_RETRIES {
            return Err(Refusal::field("retry", format_args!("is more than {MOST_RETRIES}")));
        }
        let overwrite = match fields.number::<u8>("overwrite")? {
            None | Some(0) => false,
            Some(1) => true,
            Some(_) => return Err(Refusal::field("overwrite", "is neither 0 nor 1")),
        };
        let card = match fields.get("cardno") {
            None | Some("" | "0") => None,
            Some(card) if is_card(card) => Some(card.to_owned()),
            Some(_) => {
                return Err(Refusal::field(
                    "cardno",
                    "is not a card number: letters, digits and [ ], up to 24 characters",
                ));
            }
        };
        Ok(Self { pin, sought, retry, overwrite, card })
    }
}

fn fields(record: &[u8]) -> Result<Fields, Refusal> {
    let known = ["PIN", "FID", "TYPE", "CardNo", "RETRY", "OVERWRITE"];
    Fields::parse(record, &known, Language::ENGLISH)
}

fn is_card(text: &str) -> bool {
    text.len() <= LONGEST_CARD
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enroll(sought: Sought, retry: u8, overwrite: bool) -> Enroll {
        Enroll { pin: Pin::new("408").unwrap(), sought, retry, overwrite, card: None }
    }

    #[test]
    fn the_examples_of_the_document_are_parsed() {
        let face = Sought::Bio(BioType::VISIBLE_FACE);
        assert_eq!(
            Enroll::finger(b"PIN=408\tFID=6\tRETRY=3\tOVERWRITE=1"),
            Ok(enroll(Sought::Finger(6), 3, true))
        );
        assert_eq!(Enroll::finger(b"pin=408\tfid=0"), Ok(enroll(Sought::Finger(0), 0, false)));
        assert_eq!(Enroll::card(b"PIN=408\tRETRY=3"), Ok(enroll(Sought::Card, 3, true)));
        assert_eq!(
            Enroll::bio(b"TYPE=9\tPIN=408\tCardNo=\tRETRY=1\tOVERWRITE=0"),
            Ok(enroll(face, 1, false))
        );
        let with_card = Enroll::bio(b"TYPE=9\tPIN=408\tCardNo=133440\tRETRY=1\tOVERWRITE=0");
        assert_eq!(with_card.unwrap().card.as_deref(), Some("133440"));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_field() {
        type Read = fn(&[u8]) -> Result<Enroll, Refusal>;
        for (read, record, field) in [
            (Enroll::finger as Read, "FID=1", "pin"),
            (Enroll::finger, "PIN=\tFID=1", "pin"),
            (Enroll::finger, "PIN=a b\tFID=1", "pin"),
            (Enroll::finger, "PIN=1", "fid"),
            (Enroll::finger, "PIN=1\tFID=10", "fid"),
            (Enroll::finger, "PIN=1\tFID=-1", "fid"),
            (Enroll::finger, "PIN=1\tFID= ", "fid"),
            (Enroll::finger, "PIN=1\tFID=1\tRETRY=100", "retry"),
            (Enroll::finger, "PIN=1\tFID=1\tRETRY=x", "retry"),
            (Enroll::finger, "PIN=1\tFID=1\tOVERWRITE=2", "overwrite"),
            (Enroll::finger, "PIN=1 FID=1", "pin"),
            (Enroll::card, "RETRY=1", "pin"),
            (Enroll::bio, "PIN=1", "type"),
            (Enroll::bio, "PIN=1\tTYPE=10", "type"),
            (Enroll::bio, "PIN=1\tTYPE=9\tCardNo=1;2", "cardno"),
        ] {
            let refusal = read(record.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, ReturnCode::PARAMETER, "{record}");
            assert!(refusal.why.contains(field), "{record}: {}", refusal.why);
        }
    }

    #[test]
    fn outcomes_have_the_codes_of_their_command() {
        use Outcome::{Busy, Cancelled, Duplicate, Exists, Failed, TimedOut};
        for (outcome, finger, card) in [
            (Exists, 2, -4),
            (Failed, 4, -4),
            (Duplicate, 5, -4),
            (Cancelled, 6, -6),
            (Busy, 7, -1005),
            (TimedOut, -1003, -5),
        ] {
            assert_eq!(outcome.code(Sought::Finger(0)).0, finger, "{outcome:?}");
            assert_eq!(outcome.code(Sought::Bio(BioType::FACE)).0, finger, "{outcome:?}");
            assert_eq!(outcome.code(Sought::Card).0, card, "{outcome:?}");
        }
    }
}
