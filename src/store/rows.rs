//! Row types that several subjects of the store share: what goes in, and what goes up.

use std::time::Duration;

use crate::protocol::record::{
    AttPhoto, CardPhotoKind, ErrorLog, IdNumber, Jpeg, Operand, Pin, Record, Screening, Status,
    WorkCode,
};
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;

/// The number of a row in the store's one sequence.
pub type Seq = i64;

/// The last change of a row.
#[derive(Clone, Copy, Debug)]
pub struct LastChange {
    /// Its number.
    pub at: Seq,
    /// The number of the last change on the terminal, or 0.
    pub(super) local: Seq,
    /// Bytes of its data.
    pub bytes: u64,
}

/// Where a change comes from: only what was changed on the terminal goes up by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A driver, the keypad, an enrolment.
    Terminal,
    /// A command of the server.
    Server,
}

/// What stands in the column `held` of a row whose `time` is in UTC, in place of a boot.
pub(super) const IN_UTC: &str = "utc";

/// When something happened, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// At this time of the terminal's wall clock.
    At(LocalTime),
    /// While the zone was awaited. The row is kept back until [`Undated`](super::Undated) gives it
    /// its local time. UTC survives a reboot; the monotonic clock would not.
    AwaitingZone {
        /// Seconds since 1970.
        utc: i64,
    },
    /// While the clock was not set: seconds on the monotonic clock of a boot. The row is
    /// kept back until [`Undated`](super::Undated) gives it its time.
    AwaitingClock {
        /// Which boot.
        boot: String,
        /// Seconds on its monotonic clock.
        seconds: i64,
    },
}

impl Moment {
    /// Now: by the wall clock; in UTC while the zone is awaited; on the monotonic clock of a boot
    /// while the clock is not set.
    pub fn of(local: Option<LocalTime>, utc: Option<i64>, boot: &str, monotonic: Duration) -> Self {
        match (local, utc) {
            (Some(local), _) => Self::At(local),
            (None, Some(utc)) => Self::AwaitingZone { utc },
            (None, None) => {
                Self::AwaitingClock { boot: boot.to_owned(), seconds: monotonic.as_secs() as i64 }
            }
        }
    }

    pub(super) fn columns(&self) -> (i64, Option<&str>) {
        match self {
            Self::At(time) => (time.seconds(), None),
            Self::AwaitingZone { utc } => (*utc, Some(IN_UTC)),
            Self::AwaitingClock { boot, seconds } => (*seconds, Some(boot)),
        }
    }
}

/// A punch on its way into the journal.
#[derive(Clone, Debug)]
pub struct NewPunch {
    /// Who.
    pub pin: Pin,
    /// When.
    pub moment: Moment,
    /// Attendance status.
    pub status: Status,
    /// How the person was verified.
    pub verify: Status,
    /// What the person works on.
    pub workcode: WorkCode,
    /// What the terminal saw of mask and temperature.
    pub screening: Screening,
    /// The identity card that was used, if any (§11.7).
    pub card: Option<WithCard>,
}

#[cfg(test)]
impl NewPunch {
    /// A punch of tests, with a fingerprint and nothing else.
    pub(crate) fn of(pin: &str, moment: Moment) -> Self {
        Self {
            pin: Pin::new(pin).unwrap(),
            moment,
            status: 0,
            verify: 1,
            workcode: WorkCode::new("").unwrap(),
            screening: Screening::default(),
            card: None,
        }
    }
}

/// The identity card of a punch.
#[derive(Clone, Debug)]
pub struct WithCard {
    /// Its number.
    pub number: IdNumber,
    /// Whether card and person were verified, and it is no attendance.
    pub verification: bool,
}

/// An operation on its way into the journal.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// What was done (App. 3).
    pub code: u16,
    /// When.
    pub moment: Moment,
    /// Who did it.
    pub operator: Operand,
    /// To whom or what (App. 4).
    pub who: Operand,
    /// Three values more (App. 4).
    pub values: [Operand; 3],
}

/// A photo taken at a punch, on its way into the store.
#[derive(Debug)]
pub struct NewPhoto {
    /// Whose punch.
    pub pin: Pin,
    /// When.
    pub moment: Moment,
    /// With an identity card: what the photo shows, and the card's number.
    pub card: Option<(CardPhotoKind, IdNumber)>,
    /// The picture.
    pub photo: Jpeg,
}

/// Which of a stream's two cursors rows belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Rows that were never sent.
    New,
    /// Rows that the server wants once more.
    Resend,
    /// A row that was set aside and is tried once more.
    Retry,
}

/// A stream that an upload may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The stream.
    pub stream: Stream,
    /// Which of its new rows.
    pub new_rows: NewRows,
}

/// Which new rows of a stream go up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewRows {
    /// All.
    All,
    /// Those that the server asked for by [`Outbox::ask_for`](super::Outbox::ask_for).
    Asked,
}

impl From<Stream> for Outgoing {
    /// The stream with all its rows.
    fn from(stream: Stream) -> Self {
        Self { stream, new_rows: NewRows::All }
    }
}

/// Pending rows of one table, of all its streams, in the order of their numbers.
#[derive(Debug)]
pub struct Batch {
    /// By which cursors.
    pub pass: Pass,
    /// The rows; never empty.
    pub rows: Vec<PendingRow>,
}

/// A row that is pending.
#[derive(Debug)]
pub struct PendingRow {
    /// Its number.
    pub seq: Seq,
    /// Its stream.
    pub stream: Stream,
    /// Its content; `None` if this version cannot read it: it is skipped, with a log line.
    pub content: Option<Content>,
}

impl PendingRow {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.content.as_ref().map_or(0, Content::size)
    }
}

/// The content of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A row among others of its table.
    Record(Record),
    /// A photo, which is a request of its own.
    Photo(AttPhoto),
}

impl Content {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Photo(photo) => photo.photo().as_bytes().len(),
            Self::Record(Record::Template(template)) => template.data.as_bytes().len(),
            Self::Record(Record::UserPic(picture)) => picture.photo.as_bytes().len(),
            Self::Record(Record::BioPhoto(picture)) => picture.photo.as_bytes().len(),
            Self::Record(Record::IdCard(card)) => {
                let fingerprints = card.fingerprints.iter().map(|data| data.as_bytes().len());
                card.photo.as_bytes().len() + fingerprints.sum::<usize>() + 500
            }
            Self::Record(Record::ErrorLog(error)) => bytes_of(error) + 100,
            Self::Record(_) => 100,
        }
    }
}

/// The bytes of what an error says, of which drivers write up to 16 KiB.
pub(super) fn bytes_of(error: &ErrorLog) -> usize {
    let additional = error.additional().and_then(|object| serde_json::to_string(object).ok());
    error.message().len() + additional.map_or(0, |text| text.len())
}

/// How much of a stream waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Rows that were never sent.
    pub new: u64,
    /// Those of them that the server asked for, whatever its `TransFlag` says.
    pub asked: u64,
    /// Rows that are resent.
    pub resend: u64,
    /// There may be more new rows, or more that are resent: no more of them were counted.
    pub is_at_least: bool,
    /// The number up to which everything was acknowledged.
    pub sent: Seq,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::record::{
        Algorithm, BioPhoto, ErrorCode, IdCard, Template, TemplateData, TemplateKind, TemplateSlot,
        User, UserPic,
    };
    use crate::protocol::tables::BioType;

    /// A batch is as large as the bytes that its rows take: what is large counts in full, and nothing
    /// counts for much more than it is.
    #[test]
    fn a_row_counts_for_about_the_bytes_that_it_takes() {
        const BYTES: usize = 9000;
        let pin = || Pin::new("7").unwrap();
        let photo = || {
            let mut bytes = vec![0; BYTES];
            bytes[..3].copy_from_slice(b"\xFF\xD8\xFF");
            bytes[BYTES - 2..].copy_from_slice(b"\xFF\xD9");
            Jpeg::new("photo", bytes).unwrap()
        };
        let error = |message: &str, additional: Value| {
            let code = ErrorCode::new("D01E0001").unwrap();
            Record::ErrorLog(ErrorLog::new(code, message, None, additional).unwrap())
        };
        let card = |field: &str| {
            let text = "QUJD".repeat(1000);
            let row =
                format!("IDCARD PIN=7\tIDNum=110105194912310\tGender=1\tNation=1\t{field}={text}");
            Record::IdCard(Box::new(IdCard::from_row(row.as_bytes()).unwrap()))
        };
        let template = Template {
            pin: pin(),
            slot: TemplateSlot::new(TemplateKind::Fingerprint, 6, 0).unwrap(),
            valid: true,
            duress: false,
            algorithm: Algorithm::new(0, 0, 0).unwrap(),
            data: TemplateData::new("data", vec![7; BYTES]).unwrap(),
        };
        let time = LocalTime::from_seconds(1_800_000_000).unwrap();
        let many: serde_json::Map<_, _> =
            (0..100).map(|nth| (format!("key {nth}"), "x".repeat(80).into())).collect();
        for (name, content, bytes) in [
            ("photo", Content::Photo(AttPhoto::new(time, pin(), photo())), BYTES),
            ("template", Content::Record(Record::Template(template)), BYTES),
            (
                "picture",
                Content::Record(Record::UserPic(UserPic { pin: pin(), photo: photo() })),
                BYTES,
            ),
            (
                "comparison photo",
                Content::Record(Record::BioPhoto(BioPhoto {
                    pin: pin(),
                    bio_type: BioType::FACE,
                    photo: photo(),
                })),
                BYTES,
            ),
            ("photo of a card", Content::Record(card("Photo")), 3000),
            ("first finger of a card", Content::Record(card("FPTemplate1")), 3000),
            ("second finger of a card", Content::Record(card("FPTemplate2")), 3000),
            ("message", Content::Record(error(&"x".repeat(512), Value::Null)), 512),
            (
                "one long value",
                Content::Record(error("", json!({"key": "x".repeat(BYTES)}))),
                BYTES,
            ),
            ("many values", Content::Record(error("", Value::Object(many))), 9000),
            ("user", Content::Record(Record::User(User::new(pin()))), 0),
        ] {
            let size = content.size();
            assert!((bytes..bytes + 1000).contains(&size), "{name}: {size}");
        }
    }
}
