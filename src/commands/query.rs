//! `DATA QUERY` (§12.4): the rows go up like new ones, the answer comes after them. And `VERIFY
//! SUM` (§12.6.3), which counts the rows that a query would send.

use super::context::Context;
use super::error::CommandError;
use super::outcome::End;
use super::pin::unknown_user;
use crate::protocol::data_table::{DataTable, Verb};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::record::{PictureKind, Pin, TemplateForm};
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::store::{Asked, Seq, StoreError};

/// Most rows in one request of an answer; a photo has a request of its own.
const ROWS: u64 = 60;

/// Rows in one request of an answer.
pub(crate) fn rows_a_pack(stream: Stream) -> u64 {
    if stream.table().is_single() { 1 } else { ROWS }
}

/// Begins queries.
pub(super) struct Queries<'a> {
    context: &'a Context<'a>,
}

impl<'a> Queries<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context }
    }

    /// Begins to answer the query of the command in this row of the command log.
    pub(super) fn begin(
        &self,
        row: i64,
        table: DataTable<'_>,
        record: &[u8],
    ) -> Result<End, CommandError> {
        let store = self.context.store;
        let asked = self.asked(table, record)?;
        if let Some(pin) = asked.pin.as_deref().and_then(|pin| Pin::new(pin).ok())
            && store.people().get(&pin)?.is_none()
        {
            return Err(unknown_user(&pin).into());
        }
        let has_rows = store.queries().begin(row, &asked, rows_a_pack(asked.stream))?;
        let is_copied = asked.pin.is_some();
        Ok(if has_rows { End::Query { is_copied } } else { End::DONE })
    }

    /// What a query asks for. What the record does not name narrows nothing: servers in the field
    /// ask for all users, and for the whole log.
    fn asked(&self, table: DataTable<'_>, record: &[u8]) -> Result<Asked, Refusal> {
        let stream = match table {
            DataTable::Punches | DataTable::Photos => {
                let times = times(self.context, record)?;
                self.context.unknown_keys.look_at_query(table, record, &["StartTime", "EndTime"]);
                let stream = match table {
                    DataTable::Punches => Stream::Punches,
                    _ => Stream::Photos,
                };
                return Ok(Asked { from: times.0, to: times.1, ..Asked::all(stream) });
            }
            DataTable::Users => Stream::Users,
            DataTable::IdCards => Stream::IdCards,
            DataTable::Templates(TemplateForm::Fingerprint) => Stream::Fingerprints,
            DataTable::Templates(TemplateForm::Face) => Stream::Faces,
            DataTable::Templates(TemplateForm::FingerVein) => Stream::FingerVeins,
            DataTable::Templates(TemplateForm::Unified) => Stream::Unified,
            DataTable::Pictures(PictureKind::User) => Stream::UserPics,
            DataTable::Pictures(PictureKind::Comparison) => Stream::BioPhotos,
            DataTable::Entries(_) | DataTable::Unknown(_) => {
                return Err(table.refuse(Verb::Query));
            }
        };
        let keys: &[&str] = match table {
            DataTable::Templates(TemplateForm::Unified) => &["PIN", "Type", "No"],
            DataTable::Templates(_) => &["PIN", "FID"],
            DataTable::Pictures(PictureKind::Comparison) => &["PIN", "Type"],
            _ => &["PIN"],
        };
        self.context.unknown_keys.look_at_query(table, record, keys);
        let fields = Fields::parse(record, keys, self.context.language)?;
        let pin = match fields.get("pin") {
            Some(_) => Some(Pin::from_fields(&fields)?.to_string()),
            None => None,
        };
        let number = match fields.number("fid")? {
            Some(number) => Some(number),
            None => fields.number("no")?,
        };
        Ok(Asked { pin, number, bio_type: fields.number("type")?, ..Asked::all(stream) })
    }
}

/// How many punches there are between two times: a count under way.
#[derive(Debug)]
pub(crate) struct Sum {
    asked: Asked,
    times: (LocalTime, LocalTime),
    /// Punches up to this number are counted; those after the other one came later.
    after: Seq,
    until: Seq,
    count: u64,
}

impl Sum {
    pub(super) fn begin(context: &Context<'_>, record: &[u8], until: Seq) -> Result<Self, Refusal> {
        let missing = |key| Refusal::field(key, "is missing");
        let (from, to) = times(context, record)?;
        let from = from.ok_or_else(|| missing("starttime"))?;
        let to = to.ok_or_else(|| missing("endtime"))?;
        let asked = Asked { from: Some(from), to: Some(to), ..Asked::all(Stream::Punches) };
        Ok(Self { asked, times: (from, to), after: 0, until, count: 0 })
    }

    /// Counts some more. The answer, once all are counted.
    pub(super) fn step(&mut self, context: &Context<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let queries = context.store.queries();
        if let Some(upto) = queries.window(&self.asked, self.after, self.until)? {
            self.count += queries.count_rows(&self.asked, self.after, upto)?;
            self.after = upto;
            return Ok(None);
        }
        let ((from, to), count) = (self.times, self.count);
        let mut rest = format!("&StartTime={from}&EndTime={to}&AttlogSum={count}");
        if context.attlog_count {
            rest.push_str(&format!("&AttlogCount={count}"));
        }
        Ok(Some(rest.into_bytes()))
    }
}

/// `StartTime` and `EndTime`, as far as they are there.
fn times(
    context: &Context<'_>,
    record: &[u8],
) -> Result<(Option<LocalTime>, Option<LocalTime>), Refusal> {
    let fields = Fields::parse(record, &["StartTime", "EndTime"], context.language)?;
    let time = |key| {
        let text = fields.get(key).map(str::trim).filter(|text| !text.is_empty());
        let why = "is not a time of the form YYYY-MM-DD hh:mm:ss";
        text.map(|text| LocalTime::parse(text).ok_or_else(|| Refusal::field(key, why))).transpose()
    };
    let (from, to) = (time("starttime")?, time("endtime")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Refusal::field("endtime", "is before starttime"));
    }
    Ok((from, to))
}
