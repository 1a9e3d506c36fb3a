//! Uploads (§11): a batch of a table, the server's word about it, the cursors.

use std::collections::BTreeMap;

use super::{Client, Trouble};
use crate::protocol::ack::{self, Ack};
use crate::protocol::codes::Language;
use crate::protocol::stream::{Stream, Table};
use crate::store::{Pass, PendingRow, StoreError};
use crate::uplink::Uplink;

/// What field firmware sends at once, and what servers that read their socket once can read.
const FIRST: Size = Size { rows: 62, bytes: 8 << 10 };

/// Most rows in one request, whatever their size.
const MOST_ROWS: usize = 4096;

/// How much goes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    rows: usize,
    bytes: usize,
}

/// How much goes in one request of each table: small at first, more while the server
/// confirms the count of rows, less after trouble.
pub(super) struct Uploads {
    most_bytes: usize,
    sizes: BTreeMap<&'static str, Size>,
}

impl Uploads {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, sizes: BTreeMap::new() }
    }

    fn size(&self, table: Table, most: usize) -> Size {
        let size = self.sizes.get(table.name()).copied().unwrap_or(FIRST);
        Size { bytes: size.bytes.min(most), ..size }
    }

    fn grow(&mut self, table: Table) {
        let size = self.size(table, usize::MAX);
        let rows = (size.rows * 2).min(MOST_ROWS);
        let bytes = (size.bytes * 2).min(self.most_bytes);
        self.sizes.insert(table.name(), Size { rows, bytes });
    }

    fn shrink(&mut self, table: Table) {
        let size = self.size(table, usize::MAX);
        let halved = Size { rows: (size.rows.min(FIRST.rows) / 2).max(1), bytes: FIRST.bytes };
        self.sizes.insert(table.name(), halved);
    }

    fn restore(&mut self, table: Table) {
        if self.size(table, usize::MAX).rows < FIRST.rows {
            self.sizes.insert(table.name(), FIRST);
        }
    }
}

/// The body of an upload.
struct Body {
    bytes: Vec<u8>,
    /// How many rows it holds.
    rows: u64,
    /// How many of a batch are done with it.
    used: usize,
}

impl<U: Uplink> Client<U> {
    /// Whether rows of a table wait that may go up.
    pub(super) fn has_rows(&self, table: Table) -> Result<bool, StoreError> {
        self.store.has_rows(&self.allowed(table))
    }

    /// The streams of a table that the server wants.
    fn allowed(&self, table: Table) -> Vec<Stream> {
        let flag = self.options.trans_flag;
        let wanted = |stream: &Stream| stream.kinds().iter().any(|kind| flag.allows(*kind));
        table.streams().filter(wanted).collect()
    }

    pub(super) fn upload(&mut self, table: Table) -> Result<(), Trouble> {
        let limit = self.options.max_post_size.map_or(usize::MAX, |bytes| bytes as usize);
        let size = self.uploads.size(table, limit);
        let streams = self.allowed(table);
        let Some(batch) = self.store.next_batch(&streams, size.rows)? else { return Ok(()) };
        let body = write(&batch.rows, size.bytes, self.settings.language);
        let taken = &batch.rows[..body.used];
        if body.rows > 0 {
            let is_full = body.used < batch.rows.len() || batch.rows.len() == size.rows;
            match self.deliver(table, batch.pass, taken, &body) {
                Ok(true) if is_full => self.uploads.grow(table),
                Ok(_) => self.uploads.restore(table),
                Err(trouble) => {
                    self.uploads.shrink(table);
                    return Err(trouble);
                }
            }
        }
        Ok(self.store.acknowledge(table, batch.pass, taken)?)
    }

    /// Posts a body until the server took it. Whether it confirmed the count of rows.
    fn deliver(
        &mut self,
        table: Table,
        pass: Pass,
        rows: &[PendingRow],
        body: &Body,
    ) -> Result<bool, Trouble> {
        let last = rows.last().map_or(0, |row| row.seq);
        // New rows never set a table's stamp back: a kind that was held up may come late.
        let stamp = match pass {
            Pass::New => last.max(self.store.acknowledged(table)?),
            Pass::Again => last,
        };
        let target = self.target("/iclock/cdata").with("table", table.name()).with("Stamp", stamp);
        let mut sent_before = false;
        loop {
            let mut response = self.post(&target, &body.bytes)?;
            let answer = response.read_up_to(ack::ANSWER_BYTES)?;
            match ack::read(response.status, &answer) {
                Ack::Taken(Some(count)) if count < body.rows && !sent_before => sent_before = true,
                Ack::Taken(Some(count)) if count < body.rows => {
                    // Some servers count only the rows that are new to them.
                    log::debug!("{count} of {} rows counted, twice: taken as delivered", body.rows);
                    return Ok(false);
                }
                Ack::Taken(count) => return Ok(count.is_some()),
                Ack::Refused(words) => return Err(Trouble::Refused(words)),
            }
        }
    }
}

/// Writes as many rows as fit into `most` bytes, one at least.
fn write(rows: &[PendingRow], most: usize, language: Language) -> Body {
    let mut body = Body { bytes: Vec::new(), rows: 0, used: 0 };
    for row in rows {
        let before = body.bytes.len();
        match &row.record {
            Some(record) => record.write(&mut body.bytes, language),
            None => log::error!(
                "row {} of the {} cannot be read and was passed over",
                row.seq,
                row.stream.name()
            ),
        }
        if body.bytes.len() > most && body.rows > 0 {
            body.bytes.truncate(before);
            break;
        }
        body.rows += u64::from(row.record.is_some());
        body.used += 1;
    }
    body
}
