//! Uploads (§11): a batch of a stream, the server's word about it, the cursor.

use std::collections::BTreeMap;

use super::{Client, Trouble};
use crate::protocol::ack::{self, Ack};
use crate::protocol::codes::Language;
use crate::protocol::stream::Stream;
use crate::store::{Batch, Seq, StoreError};
use crate::uplink::Uplink;

/// What field firmware sends at once, and what servers that read their socket once can read.
const FIRST: Size = Size { rows: 62, bytes: 8 << 10 };

/// How much goes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    rows: usize,
    bytes: usize,
}

/// How much goes in one request of each stream: small at first, more while the server
/// confirms the count of rows, less after trouble.
pub(super) struct Uploads {
    most_bytes: usize,
    sizes: BTreeMap<&'static str, Size>,
}

impl Uploads {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, sizes: BTreeMap::new() }
    }

    fn size(&self, stream: Stream, most: usize) -> Size {
        let size = self.sizes.get(stream.name()).copied().unwrap_or(FIRST);
        Size { bytes: size.bytes.min(most), ..size }
    }

    fn grow(&mut self, stream: Stream) {
        let size = self.size(stream, usize::MAX);
        if size.bytes < self.most_bytes {
            self.sizes.insert(
                stream.name(),
                Size { rows: size.rows * 2, bytes: (size.bytes * 2).min(self.most_bytes) },
            );
        }
    }

    fn shrink(&mut self, stream: Stream) {
        let size = self.size(stream, usize::MAX);
        let halved = Size { rows: (size.rows.min(FIRST.rows) / 2).max(1), bytes: FIRST.bytes };
        self.sizes.insert(stream.name(), halved);
    }

    fn restore(&mut self, stream: Stream) {
        if self.size(stream, usize::MAX).rows < FIRST.rows {
            self.sizes.insert(stream.name(), FIRST);
        }
    }
}

/// The body of an upload.
struct Body {
    bytes: Vec<u8>,
    rows: u64,
    last: Seq,
}

impl<U: Uplink> Client<U> {
    /// Whether rows of a stream wait that may go up.
    pub(super) fn has_rows(&self, stream: Stream) -> Result<bool, StoreError> {
        let flag = self.options.trans_flag;
        Ok(stream.kinds().iter().any(|kind| flag.allows(*kind)) && self.store.has_rows(stream)?)
    }

    pub(super) fn upload(&mut self, stream: Stream) -> Result<(), Trouble> {
        let limit = self.options.max_post_size.map_or(usize::MAX, |bytes| bytes as usize);
        let size = self.uploads.size(stream, limit);
        let Some(batch) = self.store.next_batch(stream, size.rows)? else { return Ok(()) };
        let body = write(&batch, size.bytes, self.settings.language);
        let is_full =
            body.rows as usize == size.rows || body.last < batch.rows[batch.rows.len() - 1].0;
        if body.rows > 0 {
            match self.deliver(stream, &body) {
                Ok(true) if is_full => self.uploads.grow(stream),
                Ok(_) => self.uploads.restore(stream),
                Err(trouble) => {
                    self.uploads.shrink(stream);
                    return Err(trouble);
                }
            }
        }
        Ok(self.store.acknowledge(stream, batch.pass, body.last)?)
    }

    /// Posts a body until the server took it. Whether it confirmed the count of rows.
    fn deliver(&mut self, stream: Stream, body: &Body) -> Result<bool, Trouble> {
        // A stamp never goes back, also when old rows go up once more.
        let table = stream.table();
        let stamp = body.last.max(self.store.acknowledged(table)?);
        let target = self.target("/iclock/cdata").with("table", table.name()).with("Stamp", stamp);
        let mut sent_before = false;
        loop {
            let mut response = self.post(&target, &body.bytes)?;
            let answer = response.read_up_to(ack::ANSWER_BYTES)?;
            match ack::read(response.status, &answer) {
                Ack::Taken(Some(count)) if count < body.rows && !sent_before => sent_before = true,
                Ack::Taken(Some(count)) if count < body.rows => {
                    // Some servers count only the rows that are new to them.
                    log::debug!(
                        "the server counts {count} of {} rows, twice; taken as delivered",
                        body.rows
                    );
                    return Ok(false);
                }
                Ack::Taken(count) => return Ok(count.is_some()),
                Ack::Refused(words) => return Err(Trouble::Refused(words)),
            }
        }
    }
}

/// Writes as many rows of a batch as fit into `most` bytes, one at least.
fn write(batch: &Batch, most: usize, language: Language) -> Body {
    let mut body = Body { bytes: Vec::new(), rows: 0, last: batch.rows[0].0 };
    for (seq, record) in &batch.rows {
        let before = body.bytes.len();
        match record {
            Some(record) => record.write(&mut body.bytes, language),
            None => log::error!(
                "row {seq} of the {} cannot be read and was passed over",
                batch.stream.name()
            ),
        }
        if body.bytes.len() > most && body.rows > 0 {
            body.bytes.truncate(before);
            break;
        }
        body.rows += u64::from(record.is_some());
        body.last = *seq;
    }
    body
}
