//! Downloads, chunk by chunk: a chunk is a request of its own, so that punches go between
//! them; what came is on disk before it is written down, so that a restart goes on from there.

use std::time::Duration;

use super::context::Context;
use super::receive::{Fetched, SMALLEST_CHUNK, START_OVER, Source, receive, refuse_if_no_room};
use super::trouble::Trouble;
use crate::protocol::ack;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::{Download, Job};
use crate::uplink::{Part, Request, Response};

/// How long a chunk should take: so long a punch may have to wait for it.
const CHUNK_TIME: Duration = Duration::from_secs(3);
/// Bytes of the first chunk.
const FIRST_CHUNK: u64 = 128 << 10;
/// Bytes of the largest chunk: so much is fetched twice if it breaks off.
const LARGEST_CHUNK: u64 = 512 << 10;

/// Fetches files, in chunks that take about [`CHUNK_TIME`].
pub(super) struct Downloads {
    /// Bytes of the next chunk.
    chunk: u64,
}

impl Default for Downloads {
    fn default() -> Self {
        Self { chunk: FIRST_CHUNK }
    }
}

impl Downloads {
    /// Fetches the next chunk of a job's file.
    pub(super) fn fetch(
        &mut self,
        context: &mut Context,
        job: &Job,
        source: &Source,
    ) -> Result<Fetched, Trouble> {
        let known = &job.download;
        let last = known.fetched + self.chunk - 1;
        let part = Part {
            from: known.fetched,
            to: known.total.map_or(last, |total| last.min(total.saturating_sub(1))),
            // A weak tag cannot be asked for; it is compared all the same.
            version: known.version.as_deref().filter(|version| version.starts_with('"')),
        };
        let request = Request { part: Some(part), ..Request::get(&source.target) };
        let started = context.clock.monotonic();
        let response = context.uplink.exchange(&request);
        let mut response = response.map_err(|failure| source.trouble(failure))?;
        let Some(download) = resume_at(context, job, &part, &mut response)? else {
            let attempts = job.attempts + START_OVER;
            context.store.jobs().set_download(job.row, &Download::default(), attempts)?;
            let why = "the file changed while it was fetched: it is fetched again from its start";
            return Err(Trouble::Refused(why.into()));
        };
        if let Some(refusal) = refuse_if_too_long(context, &download, source)? {
            return Ok(Fetched::Refused(refusal));
        }
        let until = response.file.range.filter(|_| response.status == 206).map(|(_, to, _)| to + 1);
        let done = receive(context, job, source, download, &mut response, until)?;
        let took = context.clock.monotonic().saturating_sub(started);
        self.chunk = match took {
            took if took > CHUNK_TIME => (self.chunk / 2).max(SMALLEST_CHUNK),
            took if took < CHUNK_TIME / 4 => (self.chunk * 2).min(LARGEST_CHUNK),
            _ => self.chunk,
        };
        Ok(done)
    }
}

/// Reads the head of a response. Returns from where its bytes go on; `None` if what was fetched
/// so far is of another file.
fn resume_at(
    context: &Context,
    job: &Job,
    part: &Part<'_>,
    response: &mut Response,
) -> Result<Option<Download>, Trouble> {
    let known = &job.download;
    let version = response.file.version.clone();
    match response.status {
        206 => {
            let Some((from, to, total)) = response.file.range else {
                return Err(Trouble::Refused("a part without Content-Range".into()));
            };
            let fits = from == part.from && (from..=part.to).contains(&to) && to < total;
            let same =
                known.fetched == 0 || (known.total == Some(total) && known.version == version);
            Ok((fits && same).then(|| Download { total: Some(total), version, ..known.clone() }))
        }
        // The whole file: a server that knows no parts, or the file is another.
        200 if known.fetched == 0 => {
            if !response.framed {
                let why = "the server does not say how long the file is";
                return Err(Trouble::Refused(why.into()));
            }
            Ok(Some(Download { fetched: 0, kept: 0, total: response.file.length, version }))
        }
        200 => Ok(None),
        // Of an empty file there is no part.
        416 if known.fetched == 0 && response.file.is_empty => {
            Ok(Some(Download { fetched: 0, kept: 0, total: Some(0), version }))
        }
        416 => Ok(None),
        // Asked for again a few times: it may be put there late.
        403 | 404 | 410 => {
            context.store.jobs().set_download(job.row, known, job.attempts + START_OVER)?;
            let why = format!("the server has no such file (status {})", response.status);
            Err(Trouble::Refused(why))
        }
        _ => {
            // A body that breaks off says nothing of the connection to the server.
            let body = response.read_up_to(ack::ANSWER_BYTES).unwrap_or_default();
            Err(Trouble::Refused(response.answer(&body).refusal()))
        }
    }
}

/// Refuses a file that is too long, or longer than the disk has room for.
fn refuse_if_too_long(
    context: &Context,
    download: &Download,
    source: &Source,
) -> Result<Option<Refusal>, Trouble> {
    let Some(total) = download.total else { return Ok(None) };
    // Base64 text has a third more bytes than what it encodes, and line ends.
    let most = if source.base64 { source.most / 2 * 3 + 1024 } else { source.most };
    if total > most {
        let why = format!("the file has {total} bytes, {} are allowed", source.most);
        return Ok(Some(Refusal::new(ReturnCode::TOO_LONG, why)));
    }
    refuse_if_no_room(context, total - download.fetched)
}
