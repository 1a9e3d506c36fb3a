//! Answering queries (§12.4): the rows first, by the upload path, then the result.

use super::{Activity, Client, Trouble};
use crate::commands::query::ROWS_A_PACK;
use crate::protocol::ack::{self, Ack};
use crate::protocol::codes::ReturnCode;
use crate::protocol::record::Record;
use crate::protocol::stream::Table;
use crate::uplink::Uplink;

impl<U: Uplink> Client<U> {
    pub(super) fn answer_query(&mut self) -> Result<(), Trouble> {
        let Some(query) = self.store.query()? else { return Ok(()) };
        let rows = self.store.query_rows(&query, ROWS_A_PACK)?;
        let Some(last) = rows.last().map(|(seq, _)| *seq) else {
            let store = &self.store;
            return Ok(store.atomically(|| {
                store.end_query(query.command)?;
                store.finish_command(query.command, ReturnCode::DONE, &[])
            })?);
        };
        let mut body = Vec::new();
        for (_, user) in rows {
            Record::User(user).write(&mut body, self.settings.language);
        }
        let target = self
            .target("/iclock/cdata")
            .with("table", Table::Operlog.name())
            .with("Stamp", self.store.acknowledged(Table::Operlog)?)
            .with("CmdId", &query.id)
            .with("Count", query.count)
            .with("PackCnt", query.packs)
            .with("PackIdx", query.pack + 1);
        let mut response = self.post(&target, &body)?;
        let answer = response.read_up_to(ack::ANSWER_BYTES)?;
        match ack::read(response.status, &answer) {
            Ack::Taken(_) => Ok(self.store.query_went(query.command, last)?),
            Ack::Refused(words) if self.has_failed_too_often(Activity::Query) => {
                log::warn!("query {} is given up, the server refuses its rows: {words}", query.id);
                let store = &self.store;
                Ok(store.atomically(|| {
                    store.end_query(query.command)?;
                    store.finish_command(query.command, ReturnCode::TIMED_OUT, &[])
                })?)
            }
            Ack::Refused(words) => Err(Trouble::Refused(words)),
        }
    }
}
