//! Answering queries (§12.4): the rows first, by the upload path, then the result.

use super::{Activity, Client, Trouble};
use crate::commands::query::rows_a_pack;
use crate::protocol::ack::Ack;
use crate::protocol::codes::ReturnCode;
use crate::store::{Query, StoreError};
use crate::uplink::Uplink;

impl<U: Uplink> Client<U> {
    pub(super) fn answer_query(&mut self) -> Result<(), Trouble> {
        let Some(query) = self.store.queries().next()? else { return Ok(()) };
        let rows = self.store.queries().rows(&query, rows_a_pack(query.asked.stream))?;
        let Some(last) = rows.last().map(|row| row.seq) else {
            return Ok(self.end_query(&query, ReturnCode::DONE)?);
        };
        let table = query.asked.stream.table();
        let body = self.body(&rows);
        let body = self.encrypted(table, &body).unwrap_or(body);
        let (name, stamp) =
            self.settings.dialect.stamp(table, self.store.outbox().acknowledged(table)?);
        let target = self
            .target("/iclock/cdata")
            .with("table", table.name())
            .with(name, stamp)
            .with("CmdId", &query.id)
            .with("Count", query.count)
            .with("PackCnt", query.packs)
            .with("PackIdx", query.pack + 1);
        match self.post(&target, &body)?.1 {
            Ack::Taken(_) => Ok(self.store.queries().advance(query.command, last)?),
            Ack::Refused(message) if self.has_failed_too_often(Activity::Query) => {
                log::warn!(
                    "query {} is given up, the server refuses its rows: {message}",
                    query.id
                );
                Ok(self.end_query(&query, ReturnCode::TIMED_OUT)?)
            }
            Ack::Refused(message) => Err(Trouble::Refused(message)),
        }
    }

    fn end_query(&self, query: &Query, code: ReturnCode) -> Result<(), StoreError> {
        self.store.atomically(|| {
            self.store.queries().end(query.command)?;
            self.store.command_log().finish(query.command, code, &[])
        })
    }
}
