//! Enrolment from afar (§12.9): `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO`.

use super::codes::{Language, ReturnCode};
use super::fields::{Fields, Refusal};
use super::record::Pin;
use super::tables::BioType;

/// Most tries that a server may ask for.
const MOST_RETRIES: u8 = 99;
/// Longest card number that is handed on.
const LONGEST_CARD: usize = 24;

/// What a person is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A finger of this number (`FID`).
    Finger(u8),
    /// A card.
    Card,
    /// Something of them, in any form.
    Bio(BioType),
}

impl Sought {
    /// What it is of; nothing of the body is on a card.
    pub fn bio_type(self) -> Option<BioType> {
        match self {
            Self::Finger(_) => Some(BioType::FINGERPRINT),
            Self::Card => None,
            Self::Bio(bio_type) => Some(bio_type),
        }
    }

    /// Which one of several, if the server says so.
    pub fn number(self) -> Option<u8> {
        match self {
            Self::Finger(number) => Some(number),
            Self::Card | Self::Bio(_) => None,
        }
    }
}

/// An enrolment that the server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enroll {
    /// Who.
    pub pin: Pin,
    /// What.
    pub sought: Sought,
    /// How often it is tried again if it fails.
    pub retry: u8,
    /// Whether it may take the place of what is there.
    pub overwrite: bool,
    /// The number of the person's card, if the server gives one.
    pub card: Option<String>,
}

/// How an enrolment ended, as the commands tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The person has it already, and it may not be replaced.
    Exists,
    /// Bad quality, or three presses that were not the same.
    Failed,
    /// Somebody else has it.
    Duplicate,
    /// The person or somebody at the terminal gave it up.
    Cancelled,
    /// The sensor is occupied.
    Busy,
    /// Nobody came, or it took too long.
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
    /// Reads what follows `ENROLL_FP`.
    pub fn finger(record: &[u8]) -> Result<Self, Refusal> {
        let fields = fields(record)?;
        fields.required("fid")?;
        let number = fields.number("fid")?.unwrap_or(u8::MAX);
        if number > BioType::FINGERPRINT.last_number() {
            return Err(Refusal::field("fid", "is not within 0 to 9"));
        }
        Self::read(&fields, Sought::Finger(number))
    }

    /// Reads what follows `ENROLL_MF`. A card takes the place of the one before.
    pub fn card(record: &[u8]) -> Result<Self, Refusal> {
        Ok(Self { overwrite: true, ..Self::read(&fields(record)?, Sought::Card)? })
    }

    /// Reads what follows `ENROLL_BIO`.
    pub fn bio(record: &[u8]) -> Result<Self, Refusal> {
        let fields = fields(record)?;
        fields.required("type")?;
        let bio_type = fields.number("type")?.and_then(BioType::new);
        let bio_type = bio_type.ok_or_else(|| Refusal::field("type", "is not within 0 to 9"))?;
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
            Some(_) => return Err(Refusal::field("cardno", "is no card number")),
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
    fn what_the_document_shows_is_read() {
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
