//! Uploads (§11): a batch of a table, the server's word about it, the cursors; and rows that
//! the server refuses, found by halving and set aside.

use std::collections::BTreeMap;

use super::batch_size::BatchSize;
use super::{Client, Settings, Trouble};
use crate::protocol::ack::Ack;
use crate::protocol::record::{ErrorCode, ErrorLog, Record};
use crate::protocol::stream::{Stream, Table};
use crate::store::{Batch, Content, Pass, PendingRow, Seq, StoreError};
use crate::uplink::Uplink;

/// So many rows after a refused one are offered by themselves, to see whether it is the row's
/// fault or the server's.
const PROBES: usize = 4;

/// The batch_size of each table.
pub(super) struct Uploads {
    most_bytes: usize,
    batch_sizes: BTreeMap<Table, BatchSize>,
}

impl Uploads {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, batch_sizes: BTreeMap::new() }
    }

    fn batch_size(&mut self, table: Table) -> &mut BatchSize {
        self.batch_sizes.entry(table).or_insert_with(|| BatchSize::new(self.most_bytes))
    }

    /// Whether the only row of a table has been refused.
    fn is_sole_row(&self, table: Table) -> bool {
        self.batch_sizes.get(&table).is_some_and(BatchSize::is_sole_row)
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

/// A row that was refused by itself.
struct Refused {
    stream: Stream,
    seq: Seq,
    message: String,
}

/// The server's word about a body.
enum Word {
    /// Taken; whether it confirmed the count of rows.
    Taken { counted: bool },
    /// Not taken.
    Refused { message: String, too_large: bool },
}

impl<U: Uplink> Client<U> {
    /// Whether rows of a table wait that may go up.
    pub(super) fn has_rows(&self, table: Table) -> Result<bool, StoreError> {
        self.store.outbox().has_rows(&self.allowed(table))
    }

    /// Whether a row has come that can show what the refusal of the only one means.
    pub(super) fn has_comparison_row(&self, table: Table) -> Result<bool, StoreError> {
        if !self.uploads.is_sole_row(table) {
            return Ok(false);
        }
        let batch = self.store.outbox().next_batch(&self.allowed(table), 2)?;
        Ok(batch.is_some_and(|batch| batch.rows.len() > 1))
    }

    /// The streams of a table that the server wants, and that the version of this session has.
    pub(super) fn allowed(&self, table: Table) -> Vec<Stream> {
        let flag = self.options.trans_flag;
        let version = self.version();
        let wanted = |stream: &Stream| {
            let kinds = stream.kinds();
            let is_on = kinds.is_empty() || kinds.iter().any(|kind| flag.allows(*kind));
            is_on && stream.since() <= version
        };
        table.streams().filter(wanted).collect()
    }

    pub(super) fn upload(&mut self, table: Table) -> Result<(), Trouble> {
        let limit = self.largest_post();
        let streams = self.allowed(table);
        let batch_size = *self.uploads.batch_size(table);
        let most = batch_size.rows(table);
        let Some(batch) = self.store.outbox().next_batch(&streams, most)? else { return Ok(()) };
        let body = self.write(&batch.rows, batch_size.bytes(limit));
        let sent = &batch.rows[..body.used];
        if body.rows == 0 {
            return Ok(self.store.outbox().acknowledge(table, batch.pass, sent)?);
        }
        if body.used == 1 && body.bytes.len() > limit {
            let message = format!(
                "it has {} bytes, more than the server's MaxPostSize={limit}",
                body.bytes.len()
            );
            return Ok(self.quarantine(batch.pass, sent, &message)?);
        }
        let is_full = body.used < batch.rows.len() || batch.rows.len() == most;
        match self.deliver(table, batch.pass, sent, &body) {
            Ok(Word::Taken { counted }) => {
                self.uploads.batch_size(table).taken(body.used, counted && is_full);
                Ok(self.store.outbox().acknowledge(table, batch.pass, sent)?)
            }
            Ok(Word::Refused { too_large, .. }) if body.used > 1 => {
                // Half of it at once; this ends at a single row.
                self.uploads.batch_size(table).refused(body.used, body.bytes.len(), too_large);
                Ok(())
            }
            Ok(Word::Refused { message, .. }) => {
                let refused = Refused { stream: sent[0].stream, seq: sent[0].seq, message };
                self.isolate(table, &streams, batch.pass, refused)
            }
            Err(trouble) => {
                self.uploads.batch_size(table).broken();
                Err(trouble)
            }
        }
    }

    /// A row was refused by itself. If the server takes one of the next rows and then refuses
    /// this one again, it is the row's fault, and the row is set aside; otherwise it is the
    /// server's, and the row waits.
    fn isolate(
        &mut self,
        table: Table,
        streams: &[Stream],
        pass: Pass,
        refused: Refused,
    ) -> Result<(), Trouble> {
        let Some(Batch { rows, pass: now, .. }) =
            self.store.outbox().next_batch(streams, 1 + PROBES)?
        else {
            return Ok(());
        };
        // Drivers were served meanwhile: the row may have changed, and is another one then.
        if now != pass || (rows[0].stream, rows[0].seq) != (refused.stream, refused.seq) {
            return Ok(());
        }
        if pass == Pass::Retry {
            return Ok(self.quarantine(pass, &rows[..1], &refused.message)?);
        }
        for nth in 1..rows.len() {
            // A punch does not wait for a bisect in another table; the bisect begins anew after it.
            if table != Table::Attlog && self.punches_can_go()? {
                return Ok(());
            }
            if !self.offer(table, pass, &rows[nth])? {
                continue;
            }
            let mut aside = Vec::new();
            for (before, row) in rows[..nth].iter().enumerate() {
                if !self.offer(table, pass, row)? {
                    aside.push(before);
                }
            }
            for before in aside {
                self.quarantine(pass, &rows[before..=before], &refused.message)?;
            }
            self.uploads.batch_size(table).taken(nth + 1, false);
            return Ok(self.store.outbox().acknowledge(table, pass, &rows[nth..=nth])?);
        }
        self.uploads.batch_size(table).refused_one(rows.len() == 1);
        Err(Trouble::Refused(refused.message))
    }

    /// Offers a row by itself. Whether the server took it; one that cannot be sent is no
    /// proof of anything.
    fn offer(&mut self, table: Table, pass: Pass, row: &PendingRow) -> Result<bool, Trouble> {
        let row = std::slice::from_ref(row);
        let body = self.write(row, usize::MAX);
        if body.rows == 0 || body.bytes.len() > self.largest_post() {
            return Ok(false);
        }
        Ok(matches!(self.deliver(table, pass, row, &body)?, Word::Taken { .. }))
    }

    /// Most bytes in the body of a POST, as the server has it.
    fn largest_post(&self) -> usize {
        self.options.max_post_size.map_or(usize::MAX, |bytes| bytes as usize)
    }

    /// Sets rows aside with the server's message, and tells of it in the error log.
    fn quarantine(&self, pass: Pass, rows: &[PendingRow], message: &str) -> Result<(), StoreError> {
        let now = self.clock.utc();
        self.store.atomically(|| {
            self.store.quarantine().set_aside(pass, rows, message, now)?;
            for row in rows {
                let stream = row.stream.name();
                log::warn!("row {} of the {stream} is set aside: {message}", row.seq);
                // An error about an error that was refused would be refused as well.
                if row.stream != Stream::Errors
                    && pass != Pass::Retry
                    && let Some(error) = refused_row(row, message)
                {
                    self.store.error_log().add(&error)?;
                }
            }
            Ok(())
        })
    }

    /// Posts a body until the server said something about it.
    fn deliver(
        &mut self,
        table: Table,
        pass: Pass,
        rows: &[PendingRow],
        body: &Body,
    ) -> Result<Word, Trouble> {
        let last = rows.last().map_or(0, |row| row.seq);
        // New rows never set a table's stamp back: a kind that was held up may come late.
        let stamp = match pass {
            Pass::New | Pass::Retry => last.max(self.store.outbox().acknowledged(table)?),
            Pass::Resend => last,
        };
        let (name, value) = self.settings.dialect.stamp(table, stamp);
        let target = self.target("/iclock/cdata").with("table", table.name()).with(name, value);
        let packed = self.packed(table, &body.bytes);
        let target = if packed.is_some() { target.with("ContentType", "tgz") } else { target };
        let changed = packed.or_else(|| self.encrypted(table, &body.bytes));
        let bytes = changed.as_deref().unwrap_or(&body.bytes);
        let mut sent_before = false;
        loop {
            let (status, word) = self.post(&target, bytes)?;
            match word {
                Ack::Taken(Some(count)) if count < body.rows && !sent_before => sent_before = true,
                Ack::Taken(Some(count)) if count < body.rows => {
                    // Some servers count only the rows that are new to them.
                    log::debug!("{count} of {} rows counted, twice: taken as delivered", body.rows);
                    return Ok(Word::Taken { counted: false });
                }
                Ack::Taken(count) => return Ok(Word::Taken { counted: count.is_some() }),
                Ack::Refused(message) => {
                    return Ok(Word::Refused { message, too_large: status == 413 });
                }
            }
        }
    }

    /// Writes as many rows as fit into `most` bytes, one at least.
    fn write(&self, rows: &[PendingRow], most: usize) -> Body {
        let mut body = Body { bytes: Vec::new(), rows: 0, used: 0 };
        for row in rows {
            let before = body.bytes.len();
            self.write_row(row, &mut body.bytes);
            if body.bytes.len() > most && body.rows > 0 {
                body.bytes.truncate(before);
                break;
            }
            body.rows += u64::from(row.content.is_some());
            body.used += 1;
        }
        body
    }

    /// The rows as a body, all of them.
    pub(super) fn body(&self, rows: &[PendingRow]) -> Vec<u8> {
        self.write(rows, usize::MAX).bytes
    }

    fn write_row(&self, row: &PendingRow, out: &mut Vec<u8>) {
        let Settings { dialect, profile, language, .. } = &self.settings;
        match &row.content {
            Some(Content::Record(Record::Punch(punch))) => {
                dialect.write_punch(punch, row.seq, out);
                out.push(b'\n');
            }
            Some(Content::Record(record)) => record.write(out, *language),
            Some(Content::Photo(photo)) => {
                photo.write(out, &profile.serial, self.options.photos_base64);
            }
            None => log::error!(
                "row {} of the {} cannot be read and was passed over",
                row.seq,
                row.stream.name()
            ),
        }
    }

    /// The body as tgz, if the owner wants that and it is worth it (§11.14).
    fn packed(&self, table: Table, bytes: &[u8]) -> Option<Vec<u8>> {
        if !self.settings.dialect.packed || table != Table::Operlog || bytes.len() < WORTH_PACKING {
            return None;
        }
        pack(bytes).ok().filter(|packed| packed.len() < bytes.len())
    }
}

/// The line of the error log about a row that the server refuses: an error of the PUSH
/// module, as App. 9 builds its codes.
fn refused_row(row: &PendingRow, message: &str) -> Option<ErrorLog> {
    let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    let code = ErrorCode::new(ROW_REFUSED).ok()?;
    let about = serde_json::json!({"stream": row.stream.name(), "row": row.seq});
    ErrorLog::new(code, &format!("row refused: {message}"), None, about).ok()
}

/// Device, PUSH module, error, a number of our own.
const ROW_REFUSED: &str = "D01E1001";

/// A body shorter than this is not packed: the archive alone takes 1.5 KB before it shrinks.
const WORTH_PACKING: usize = 1024;

/// An archive with one file. The same bytes give the same archive, so that a request that is
/// sent again is the same.
fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::default(),
    ));
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, "operlog.txt", bytes)?;
    archive.into_inner()?.finish()
}
