//! `DATA QUERY` (§12.4): the rows go up by the upload path, the answer comes after them. And
//! `VERIFY SUM` (§12.6.3), which counts what a query would send.

use super::{End, Executor};
use crate::protocol::codes::ReturnCode;
use crate::protocol::data_table::{DataTable, Verb};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::record::{Pin, TemplateForm};
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::store::{Asked, Seq, StoreError};

/// Rows in one request of an answer; photos go one by one.
pub fn rows_a_pack(stream: Stream) -> u64 {
    if stream.table().is_single() { 1 } else { 60 }
}

impl Executor<'_> {
    pub(super) fn query(
        &self,
        row: i64,
        table: DataTable<'_>,
        record: &[u8],
    ) -> Result<Result<End, Refusal>, StoreError> {
        let asked = match self.asked(table, record) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(pin) = asked.pin.as_deref().and_then(|pin| Pin::new(pin).ok())
            && self.store.people().get(&pin)?.is_none()
        {
            let why = format!("there is no user {pin}");
            return Ok(Err(Refusal::new(ReturnCode::UNKNOWN_PIN, why)));
        }
        let rows = self.store.queries().begin(row, &asked, rows_a_pack(asked.stream))?;
        Ok(Ok(if rows > 0 { End::Later } else { End::Now(ReturnCode::DONE, Vec::new()) }))
    }

    /// What a query asks for.
    fn asked(&self, table: DataTable<'_>, record: &[u8]) -> Result<Asked, Refusal> {
        match table {
            // Field servers ask for everybody by leaving the PIN out.
            DataTable::Users if record.is_empty() => Ok(Asked::users(None)),
            DataTable::Users => Ok(Asked::users(Some(&self.pin_of(record)?))),
            DataTable::Templates(TemplateForm::Fingerprint) => {
                let pin = self.pin_of(record)?;
                let fields = Fields::parse(record, &["PIN", "FID"], self.language)?;
                let number = fields.number("fid")?;
                Ok(Asked { stream: Stream::Fingerprints, number, ..Asked::users(Some(&pin)) })
            }
            DataTable::Punches => self.times(record, Stream::Punches),
            DataTable::Photos => self.times(record, Stream::Photos),
            DataTable::IdCards
            | DataTable::Templates(_)
            | DataTable::Pictures(_)
            | DataTable::Entries(_)
            | DataTable::Unknown(_) => Err(table.refuse(Verb::Query)),
        }
    }

    /// A stream between `StartTime` and `EndTime`.
    fn times(&self, record: &[u8], stream: Stream) -> Result<Asked, Refusal> {
        let fields = Fields::parse(record, &["StartTime", "EndTime"], self.language)?;
        let time = |key| {
            let text = fields.required(key)?;
            LocalTime::parse(text.trim())
                .ok_or_else(|| Refusal::field(key, "is no time of the form YYYY-MM-DD hh:mm:ss"))
        };
        let (from, to) = (time("starttime")?, time("endtime")?);
        if from > to {
            return Err(Refusal::field("endtime", "is before starttime"));
        }
        Ok(Asked { stream, times: Some((from, to)), ..Asked::users(None) })
    }

    /// How many punches there are between two times.
    pub(super) fn verify_sum(&self, record: &[u8]) -> Result<Result<End, Refusal>, StoreError> {
        let asked = match self.times(record, Stream::Punches) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let count = self.store.queries().count_rows(&asked, 0, Seq::MAX)?;
        let Some((from, to)) = asked.times else { return Ok(Err(Refusal::parameter("no times"))) };
        let mut rest = format!("&StartTime={from}&EndTime={to}&AttlogSum={count}");
        if self.attlog_count {
            rest.push_str(&format!("&AttlogCount={count}"));
        }
        Ok(Ok(End::Now(ReturnCode::DONE, rest.into_bytes())))
    }
}
