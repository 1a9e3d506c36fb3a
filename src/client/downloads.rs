//! Downloads, chunk by chunk: a chunk is a request of its own, received in time slices, so that
//! punches and polls go between them, also where a server knows no ranges and sends the whole
//! file. What came is on disk before it is written down, so that a restart goes on from there.

use std::time::Duration;

use super::context::{Context, refused_until};
use super::receive::{
    Fetched, Reception, SMALLEST_CHUNK, START_OVER, SaveAfter, Source, hundredth, refuse_if_no_room,
};
use super::trouble::Trouble;
use crate::protocol::ack;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::{Download, Job, StoreError};
use crate::uplink::{Part, Request, Response};

/// How long a chunk should take.
const CHUNK_TIME: Duration = Duration::from_secs(3);
/// Bytes of the first chunk.
const FIRST_CHUNK: u64 = 256 << 10;
/// Bytes of the largest chunk: each waits for a round trip. Where that wait is more than one part in
/// [`WAIT_SHARE`] of its time, chunks grow faster, and to more time.
const LARGEST_CHUNK: u64 = 32 << 20;
const WAIT_SHARE: u32 = 20;
/// A shorter wait is no delay of the line worth a larger loss.
const SHORT_WAIT: Duration = Duration::from_millis(50);
/// How long a response stays open although its job takes no step, as without a session.
const LONGEST_REST: Duration = Duration::from_secs(120);
/// Most responses that are open: a short download goes beside a long one.
const MOST_OPEN: usize = 2;

/// Fetches files, in chunks that take about [`CHUNK_TIME`].
pub(super) struct Downloads {
    /// Bytes of the next chunk.
    chunk: u64,
    /// How long the last one waited for the head of its response: one that waited for longer shows no
    /// delay of the line.
    last_wait: Duration,
    /// The responses that are not over.
    open: Vec<Reception>,
    save_after: SaveAfter,
}

impl Default for Downloads {
    fn default() -> Self {
        Self {
            chunk: FIRST_CHUNK,
            last_wait: Duration::MAX,
            open: Vec::new(),
            save_after: SaveAfter::default(),
        }
    }
}

impl Downloads {
    /// Closes responses of jobs that are not among these.
    pub(super) fn close_if_of_none(&mut self, jobs: &[Job]) {
        self.open.retain(|open| jobs.iter().any(|job| open.is_of(job)));
    }

    /// Closes a response that rests for too long: the server may have given it up.
    pub(super) fn close_if_idle(&mut self, now: Duration) {
        self.open.retain(|open| now.saturating_sub(open.paused_at) <= LONGEST_REST);
    }

    /// Fetches for a time slice: goes on with the job's response, or asks for the next chunk. A job
    /// waits while [`MOST_OPEN`] responses to others are open.
    pub(super) fn fetch(
        &mut self,
        context: &mut Context,
        job: &Job,
        source: &Source,
    ) -> Result<Fetched, Trouble> {
        let mut reception = match self.open.iter().position(|open| open.is_of(job)) {
            Some(place) => self.open.swap_remove(place),
            None if self.open.len() >= MOST_OPEN => return Ok(Fetched::Paused),
            None => match self.ask(context, job, source)? {
                Ok(reception) => reception,
                Err(refusal) => return Ok(Fetched::Refused(refusal)),
            },
        };
        let fetched = reception.receive(context, source, &mut self.save_after)?;
        if matches!(fetched, Fetched::Paused) {
            self.open.push(reception);
        } else {
            let waited = std::mem::replace(&mut self.last_wait, reception.waited);
            let delay = waited.min(reception.waited);
            self.chunk = next_chunk(self.chunk, delay, reception.took, reception.total());
        }
        Ok(fetched)
    }

    /// Asks for the next chunk of a job's file.
    fn ask(
        &self,
        context: &mut Context,
        job: &Job,
        source: &Source,
    ) -> Result<Result<Reception, Refusal>, Trouble> {
        let known = &job.download;
        let last = known.fetched + self.chunk - 1;
        let part = Part {
            from: known.fetched,
            to: known.total.map_or(last, |total| last.min(total.saturating_sub(1))),
            // A weak tag cannot be asked for; it is compared all the same.
            version: known.version.as_deref().filter(|version| version.starts_with('"')),
        };
        let request = Request { part: Some(part), ..Request::get(&source.target) };
        let asked_at = context.clock.monotonic();
        let response = context.exchange(&request);
        let mut response = response.map_err(|failure| source.trouble(failure))?;
        let mut job = job.clone();
        if !resume(context, &mut job, &part, &mut response)? {
            start_over(context, &mut job)?;
            let why = "the file changed while it was fetched: it is fetched again from its start";
            return Err(Trouble::Refused(why.into()));
        }
        if let Some(refusal) = refuse_if_too_long(context, &job.download, source)? {
            return Ok(Err(refusal));
        }
        let until = response.file.range.filter(|_| response.status == 206).map(|(_, to, _)| to + 1);
        let took = context.clock.monotonic().saturating_sub(asked_at);
        Reception::begin(context, &job, source, response, until, took).map(Ok)
    }
}

/// Bytes of the next chunk of a file after one that took so long, on a line with this delay.
fn next_chunk(chunk: u64, delay: Duration, took: Duration, total: Option<u64>) -> u64 {
    if took > CHUNK_TIME {
        (chunk / 2).max(SMALLEST_CHUNK)
    } else if delay >= SHORT_WAIT && delay * WAIT_SHARE > took && took < CHUNK_TIME / 2 {
        (chunk * 8).min(LARGEST_CHUNK)
    } else if took < CHUNK_TIME / 4 {
        // Where no wait is saved, a kill or a power cut costs a hundredth of a large file at most.
        let part = total.map_or(u64::MAX, hundredth);
        (chunk * 2).min(LARGEST_CHUNK.min(part)).max(chunk)
    } else {
        chunk
    }
}

/// Reads the head of a response, and sets from where the job's download goes on with its bytes. False
/// if what was fetched so far is of another file, and the response is of no use either.
fn resume(
    context: &Context,
    job: &mut Job,
    part: &Part<'_>,
    response: &mut Response,
) -> Result<bool, Trouble> {
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
            (job.download.total, job.download.version) = (Some(total), version);
            Ok(fits && same)
        }
        // The whole file: a server that knows no parts, or the file is another.
        200 => {
            if !response.framed {
                // That will hardly change.
                context.store.jobs().set_download(job.row, known, job.attempts + START_OVER)?;
                let why = "the server does not say how long the file is (Content-Length)";
                return Err(Trouble::Refused(why.into()));
            }
            if known.fetched > 0 {
                let (id, fetched) = (&job.id, known.fetched);
                log::warn!(
                    "the server sends the file of command {id} from its start, not from byte {fetched}: it knows no ranges, or the file changed"
                );
                start_over(context, job)?;
            }
            job.download = Download { total: response.file.length, version, ..Download::default() };
            Ok(true)
        }
        // Of an empty file there is no part.
        416 if known.fetched == 0 && response.file.is_empty => {
            job.download = Download { total: Some(0), version, ..Download::default() };
            Ok(true)
        }
        416 => Ok(false),
        // Asked for again a few times: it may be put there late.
        403 | 404 | 410 => {
            context.store.jobs().set_download(job.row, known, job.attempts + START_OVER)?;
            let Response { path, status, .. } = &response;
            let why = format!("the server has no file {path} (status {status})");
            Err(refused_until(why, response.retry_after))
        }
        _ => {
            // A body that breaks off says nothing of the connection to the server.
            let body = response.read_up_to(ack::ANSWER_BYTES).unwrap_or_default();
            Err(refused_until(response.answer(&body).refusal(), response.retry_after))
        }
    }
}

/// Drops what was fetched: the file is fetched again from its start.
fn start_over(context: &Context, job: &mut Job) -> Result<(), StoreError> {
    job.attempts += START_OVER;
    context.store.jobs().set_download(job.row, &Download::default(), job.attempts)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_the_delay_of_the_line_and_shrink_on_a_slow_one() {
        const KIB: u64 = 1 << 10;
        let millis = Duration::from_millis;
        for (what, chunk, delay, took, next) in [
            ("no delay, fast", 256 * KIB, 0, 10, 512 * KIB),
            ("no delay, as large as it gets", 32_768 * KIB, 0, 90, 32_768 * KIB),
            ("no delay, large enough", 2048 * KIB, 0, 800, 2048 * KIB),
            ("a round trip of 100 ms, fast", 256 * KIB, 100, 200, 2048 * KIB),
            ("the same, as large as it gets", 8192 * KIB, 100, 900, 32_768 * KIB),
            ("a busy machine, no delay", 512 * KIB, 20, 60, 1024 * KIB),
            ("the wait is small beside the rest", 2048 * KIB, 50, 1100, 2048 * KIB),
            ("a slow line", 512 * KIB, 600, 4000, 256 * KIB),
            ("the slowest", 16 * KIB, 600, 60_000, 16 * KIB),
        ] {
            let total = Some(4 << 30);
            assert_eq!(next_chunk(chunk, millis(delay), millis(took), total), next, "{what}");
        }
        let quick = |chunk, total| next_chunk(chunk, millis(0), millis(10), total);
        assert_eq!(quick(512 * KIB, Some(102_400 * KIB)), 1024 * KIB);
        assert_eq!(quick(1024 * KIB, Some(102_400 * KIB)), 1024 * KIB);
        assert_eq!(quick(256 * KIB, Some(1)), 512 * KIB);
        assert_eq!(quick(1024 * KIB, None), 2048 * KIB);
    }
}
