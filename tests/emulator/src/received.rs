//! What came in, kept in memory: every row with how often it came, every reply, every request,
//! every deviation.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Serialize, Serializer};

use crate::deviation::{Deviation, Flaw, Kind};
use crate::record::as_base64;
use crate::record::attlog::Punch;
use crate::record::attphoto::AttPhoto;
use crate::record::errorlog::ErrorLog;
use crate::record::idcard::IdCard;
use crate::record::oplog::Oplog;
use crate::record::photo::Photo;
use crate::record::template::Template;
use crate::record::user::User;

const REQUESTS_KEPT: usize = 100_000;
/// Of so many requests that deviate the bytes are kept, so many of each.
const DEVIANTS_KEPT: usize = 256;
const BYTES_KEPT: usize = 8 * 1024;

/// A row: what it says, its bytes, how often it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row<T> {
    /// What it says.
    #[serde(flatten)]
    pub record: T,
    /// Its bytes, without the line end.
    #[serde(serialize_with = "as_text")]
    pub raw: Vec<u8>,
    /// The terminal it came from first.
    pub sn: String,
    /// How often it came.
    pub times: u32,
}

/// An attendance row.
pub type AttRow = Row<Punch>;

/// Rows in the order in which they first came, each once.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    rows: Vec<Row<T>>,
    places: HashMap<Vec<u8>, usize>,
    /// How many came in all, each as often as it came.
    total: u64,
}

impl<T> Default for Rows<T> {
    fn default() -> Rows<T> {
        Rows { rows: Vec::new(), places: HashMap::new(), total: 0 }
    }
}

impl<T> Rows<T> {
    /// Takes a row; says whether it is new.
    pub(crate) fn take(&mut self, record: T, raw: &[u8], sn: &str) -> bool {
        self.total += 1;
        if let Some(place) = self.places.get(raw) {
            self.rows[*place].times += 1;
            return false;
        }
        self.places.insert(raw.to_vec(), self.rows.len());
        self.rows.push(Row { record, raw: raw.to_vec(), sn: sn.to_owned(), times: 1 });
        true
    }
}

/// A reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// The id of the command.
    pub id: String,
    /// `Return`.
    pub ret: i64,
    /// `CMD`.
    pub cmd: String,
    /// What follows `Content=`, or the lines after an INFO reply.
    #[serde(serialize_with = "as_optional_text")]
    pub content: Option<Vec<u8>>,
    /// The whole reply as it came.
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
    /// How often it came.
    pub times: u32,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Counted from 1.
    pub number: u64,
    /// The method.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// What it was for, as [`On`](crate::On) names it.
    pub exchange: String,
    /// The status answered; 0 for none.
    pub status: u16,
    /// The length of the body.
    pub body_length: usize,
    /// When, in milliseconds since 1970 by the true clock.
    pub at_ms: u64,
    /// The connection, counted from 1.
    pub connection: u64,
    /// The port it came from.
    pub remote_port: u16,
}

/// The bytes of a request that deviated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Deviant {
    /// The number of the request, counted from 1.
    pub number: u64,
    /// Header and body, cut after 8 KiB.
    #[serde(serialize_with = "as_base64")]
    pub bytes: Vec<u8>,
    /// How many they were.
    pub length: usize,
}

/// Everything that came in.
#[derive(Debug, Default)]
pub struct Received {
    pub(crate) attlog: Rows<Punch>,
    pub(crate) oplog: Rows<Oplog>,
    pub(crate) users: BTreeMap<String, Row<User>>,
    pub(crate) templates: Rows<Template>,
    pub(crate) att_photos: Rows<AttPhoto>,
    pub(crate) photos: Rows<Photo>,
    pub(crate) id_cards: Rows<IdCard>,
    pub(crate) errors: Rows<ErrorLog>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) options_times: u32,
    pub(crate) verifications: Vec<Punch>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) requests: VecDeque<Seen>,
    pub(crate) request_count: u64,
    pub(crate) deviations: Vec<Deviation>,
    deviants: VecDeque<Deviant>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) file_bytes: u64,
    punch_of: HashMap<(String, String), usize>,
}

/// The figures of `GET /state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the names say it
pub struct Summary {
    pub punches: usize,
    pub punch_rows_received_total: u64,
    pub duplicates: u64,
    pub operations: usize,
    pub users: usize,
    pub templates: usize,
    pub photos: usize,
    pub errors: usize,
    pub requests: u64,
    pub commands_queued: usize,
    pub commands_answered: usize,
    pub deviations: usize,
}

impl Received {
    /// Attendance rows.
    pub fn attlog(&self) -> &[AttRow] {
        &self.attlog.rows
    }

    /// Bytes of files that were answered, parts that are asked for twice counted twice.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Attendance rows as often as they came.
    pub fn punch_rows_received_total(&self) -> u64 {
        self.attlog.total
    }

    /// The last body of attendance rows that was decrypted, as it came.
    pub fn sealed(&self) -> Option<&[u8]> {
        self.sealed.as_deref()
    }

    /// Operation rows.
    pub fn oplog(&self) -> &[Row<Oplog>] {
        &self.oplog.rows
    }

    /// Users by PIN: the latest row of each, and how many rows there were of it.
    pub fn users(&self) -> &BTreeMap<String, Row<User>> {
        &self.users
    }

    /// Templates of all four forms.
    pub fn templates(&self) -> &[Row<Template>] {
        &self.templates.rows
    }

    /// Photos of users and for comparison.
    pub fn photos(&self) -> &[Row<Photo>] {
        &self.photos.rows
    }

    /// Photos of punches.
    pub fn att_photos(&self) -> &[Row<AttPhoto>] {
        &self.att_photos.rows
    }

    /// Identity cards.
    pub fn id_cards(&self) -> &[Row<IdCard>] {
        &self.id_cards.rows
    }

    /// Errors.
    pub fn errors(&self) -> &[Row<ErrorLog>] {
        &self.errors.rows
    }

    /// The terminal's configuration, the latest value of each key.
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// How often the configuration came.
    pub fn options_times(&self) -> u32 {
        self.options_times
    }

    /// The attempts sent for background verification.
    pub fn verifications(&self) -> &[Punch] {
        &self.verifications
    }

    /// Replies, in the order in which they first came.
    pub fn replies(&self) -> &[Reply] {
        &self.replies
    }

    /// The latest reply to a command.
    pub fn reply(&self, id: &str) -> Option<&Reply> {
        self.replies.iter().rev().find(|reply| reply.id == id)
    }

    /// The last 100 000 requests.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &Seen> {
        self.requests.iter()
    }

    /// How many requests of a kind came, of those that are kept: `poll`, `upload:ATTLOG`, ….
    pub fn count(&self, exchange: &str) -> usize {
        self.requests.iter().filter(|seen| seen.exchange == exchange).count()
    }

    /// How many requests came in all.
    pub fn request_count(&self) -> u64 {
        self.request_count
    }

    /// What was done otherwise than the document says, and not allowed.
    pub fn deviations(&self) -> &[Deviation] {
        &self.deviations
    }

    /// Takes a punch. One with the PIN and the time of another must have its bytes.
    pub(crate) fn take_punch(
        &mut self,
        punch: Punch,
        raw: &[u8],
        sn: &str,
    ) -> (bool, Option<Flaw>) {
        let key = (punch.pin.clone(), punch.time.clone());
        let new = self.attlog.take(punch, raw, sn);
        let first = *self.punch_of.entry(key).or_insert(self.attlog.rows.len() - 1);
        let first = &self.attlog.rows[first].raw;
        let differs = new && first != raw;
        let text =
            |first: &[u8]| format!("the row came before as {:?}", String::from_utf8_lossy(first));
        (new, differs.then(|| Flaw::new(Kind::RowDiffers, text(first))))
    }

    /// Takes a user: the latest row counts.
    pub(crate) fn take_user(&mut self, user: User, raw: &[u8], sn: &str) -> bool {
        let times = self.users.get(&user.pin).map_or(0, |row| row.times) + 1;
        let row = Row { record: user, raw: raw.to_vec(), sn: sn.to_owned(), times };
        match self.users.insert(row.record.pin.clone(), row) {
            Some(before) => before.raw != raw,
            None => true,
        }
    }

    pub(crate) fn take_request(&mut self, seen: Seen) {
        if self.requests.len() == REQUESTS_KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(seen);
    }

    /// Keeps the bytes of the last request.
    pub(crate) fn keep_bytes(&mut self, parts: &[&[u8]]) {
        let bytes = parts.iter().copied().flatten().copied().take(BYTES_KEPT).collect();
        let length = parts.iter().map(|part| part.len()).sum();
        if self.deviants.len() == DEVIANTS_KEPT {
            self.deviants.pop_front();
        }
        self.deviants.push_back(Deviant { number: self.request_count, bytes, length });
    }

    /// The bytes of a request, if it was one of the last that deviated.
    pub(crate) fn deviant(&self, number: u64) -> Option<&Deviant> {
        self.deviants.iter().rev().find(|deviant| deviant.number == number)
    }

    pub(crate) fn summary(&self, queued: usize, answered: usize) -> Summary {
        let total = self.attlog.total;
        Summary {
            punches: self.attlog.rows.len(),
            punch_rows_received_total: total,
            duplicates: total - self.attlog.rows.len() as u64,
            operations: self.oplog.rows.len(),
            users: self.users.len(),
            templates: self.templates.rows.len(),
            photos: self.photos.rows.len() + self.att_photos.rows.len(),
            errors: self.errors.rows.len(),
            requests: self.request_count,
            commands_queued: queued,
            commands_answered: answered,
            deviations: self.deviations.len(),
        }
    }
}

fn as_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    String::from_utf8_lossy(bytes).serialize(serializer)
}

fn as_optional_text<S: Serializer>(
    bytes: &Option<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(String::from_utf8_lossy).serialize(serializer)
}
