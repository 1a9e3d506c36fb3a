//! `DATA QUERY` (§12.4): the rows go up like new ones, the answer comes after them. And `VERIFY
//! SUM` (§12.6.3), which counts the rows that a query would send.

use super::context::Context;
use super::error::CommandError;
use super::outcome::End;
use super::pin::{pin_of, unknown_user};
use crate::protocol::codes::ReturnCode;
use crate::protocol::data_table::{DataTable, Verb};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::record::{Pin, TemplateForm};
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::store::{Asked, Seq};

/// Most rows in one request of an answer; a photo has a request of its own.
const ROWS: u64 = 60;

/// Rows in one request of an answer.
pub(crate) fn rows_a_pack(stream: Stream) -> u64 {
    if stream.table().is_single() { 1 } else { ROWS }
}

/// Begins queries, and counts.
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
        let rows = store.queries().begin(row, &asked, rows_a_pack(asked.stream))?;
        let is_copied = asked.pin.is_some();
        Ok(if rows > 0 { End::Query { is_copied } } else { End::DONE })
    }

    /// How many punches there are between two times, as the answer.
    pub(super) fn verify_sum(&self, record: &[u8]) -> Result<End, CommandError> {
        let (from, to) = self.times(record)?;
        let count = self.context.store.queries().count_rows(
            &between(Stream::Punches, (from, to)),
            0,
            Seq::MAX,
        )?;
        let mut rest = format!("&StartTime={from}&EndTime={to}&AttlogSum={count}");
        if self.context.attlog_count {
            rest.push_str(&format!("&AttlogCount={count}"));
        }
        Ok(End::Now(ReturnCode::DONE, rest.into_bytes()))
    }

    /// What a query asks for.
    fn asked(&self, table: DataTable<'_>, record: &[u8]) -> Result<Asked, Refusal> {
        let language = self.context.language;
        match table {
            // Servers in the field ask for all users by leaving the PIN out.
            DataTable::Users if record.is_empty() => Ok(Asked::users(None)),
            DataTable::Users => Ok(Asked::users(Some(&pin_of(record, language)?))),
            DataTable::Templates(TemplateForm::Fingerprint) => {
                let pin = pin_of(record, language)?;
                let number = Fields::parse(record, &["PIN", "FID"], language)?.number("fid")?;
                Ok(Asked { stream: Stream::Fingerprints, number, ..Asked::users(Some(&pin)) })
            }
            DataTable::Punches => Ok(between(Stream::Punches, self.times(record)?)),
            DataTable::Photos => Ok(between(Stream::Photos, self.times(record)?)),
            DataTable::IdCards
            | DataTable::Templates(_)
            | DataTable::Pictures(_)
            | DataTable::Entries(_)
            | DataTable::Unknown(_) => Err(table.refuse(Verb::Query)),
        }
    }

    /// `StartTime` and `EndTime`.
    fn times(&self, record: &[u8]) -> Result<(LocalTime, LocalTime), Refusal> {
        let fields = Fields::parse(record, &["StartTime", "EndTime"], self.context.language)?;
        let time = |key| {
            let text = fields.required(key)?;
            LocalTime::parse(text.trim())
                .ok_or_else(|| Refusal::field(key, "is not a time of the form YYYY-MM-DD hh:mm:ss"))
        };
        let (from, to) = (time("starttime")?, time("endtime")?);
        if from > to {
            return Err(Refusal::field("endtime", "is before starttime"));
        }
        Ok((from, to))
    }
}

/// The rows of a stream between two times.
fn between(stream: Stream, times: (LocalTime, LocalTime)) -> Asked {
    Asked { stream, times: Some(times), ..Asked::users(None) }
}
