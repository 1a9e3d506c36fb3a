//! Downloads, chunk by chunk: a chunk is a request of its own, so that punches go between
//! them; what came is on disk before it is written down, so that a restart goes on from there.

use std::io::Write;
use std::time::Duration;

use super::base64_stream::Base64Stream;
use super::{Client, Trouble};
use crate::protocol::ack;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::store::{Download, Job};
use crate::uplink::{Failure, Part, Request, Response, Uplink};

/// How long a chunk should take: so long a punch may have to wait for it.
const CHUNK_TIME: Duration = Duration::from_secs(3);
/// Bytes of the first chunk, and of the smallest.
pub(super) const FIRST_CHUNK: u64 = 128 << 10;
const SMALLEST_CHUNK: u64 = 16 << 10;
/// Bytes of the largest chunk: so much is fetched twice if it breaks off.
const LARGEST_CHUNK: u64 = 512 << 10;
/// Bytes after which it is written down how far a download is.
const SAVED_AFTER: u64 = 256 << 10;
/// What it counts for that a download has to begin anew.
const ANEW: u32 = 6;

/// Where a file comes from.
pub(super) struct Source {
    /// A path at the server, or a whole URL.
    pub(super) target: String,
    /// It comes as base64 text.
    pub(super) base64: bool,
    /// Most bytes that it may have on disk.
    pub(super) most: u64,
}

/// What a chunk led to.
pub(super) enum Fetched {
    /// All is there.
    Whole,
    /// There is more to fetch.
    More,
    /// It cannot be had.
    Refused(Refusal),
}

impl<U: Uplink> Client<U> {
    /// Fetches the next chunk of a job's file.
    pub(super) fn fetch(&mut self, job: &Job, source: &Source) -> Result<Fetched, Trouble> {
        let known = &job.download;
        let last = known.fetched + self.chunk - 1;
        let part = Part {
            from: known.fetched,
            to: known.total.map_or(last, |total| last.min(total.saturating_sub(1))),
            // A weak tag cannot be asked for; it is compared all the same.
            version: known.version.as_deref().filter(|version| version.starts_with('"')),
        };
        let request = Request { part: Some(part), ..Request::get(&source.target) };
        let started = self.clock.monotonic();
        let response = self.uplink.exchange(&request).map_err(|failure| elsewhere(source, failure));
        let mut response = response?;
        let download = match self.begin(job, &part, &mut response)? {
            Some(download) => download,
            None => {
                self.store.jobs().set_download(
                    job.row,
                    &Download::default(),
                    job.attempts + ANEW,
                )?;
                let why = "the file changed while it was fetched, it is fetched anew";
                return Err(Trouble::Refused(why.into()));
            }
        };
        if let Some(refusal) = self.too_much(&download, source)? {
            return Ok(Fetched::Refused(refusal));
        }
        let until = response.file.range.filter(|_| response.status == 206).map(|(_, to, _)| to + 1);
        let done = self.receive(job, source, download, &mut response, until)?;
        let took = self.clock.monotonic().saturating_sub(started);
        self.chunk = match took {
            took if took > CHUNK_TIME => (self.chunk / 2).max(SMALLEST_CHUNK),
            took if took < CHUNK_TIME / 4 => (self.chunk * 2).min(LARGEST_CHUNK),
            _ => self.chunk,
        };
        Ok(done)
    }

    /// Looks at the head of a response. From where its bytes go on; `None` if what was fetched
    /// so far is of another file.
    fn begin(
        &self,
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
                Ok((fits && same).then(|| Download {
                    total: Some(total),
                    version,
                    ..known.clone()
                }))
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
                self.store.jobs().set_download(job.row, known, job.attempts + ANEW)?;
                let why = format!("the server has no such file (status {})", response.status);
                Err(Trouble::Refused(why))
            }
            status => {
                // Message that break off are no news of the way to the server.
                let body = response.read_up_to(ack::ANSWER_BYTES).unwrap_or_default();
                Err(Trouble::Refused(ack::refusal(status, &body)))
            }
        }
    }

    /// Refuses a file that is too long, or longer than the disk has room for.
    fn too_much(&self, download: &Download, source: &Source) -> Result<Option<Refusal>, Trouble> {
        let Some(total) = download.total else { return Ok(None) };
        // Base64 text has a third more than what it means, and line ends.
        let most = if source.base64 { source.most / 2 * 3 + 1024 } else { source.most };
        if total > most {
            let why = format!("the file has {total} bytes, {} are allowed", source.most);
            return Ok(Some(Refusal::new(ReturnCode::TOO_LONG, why)));
        }
        self.no_room(total - download.fetched)
    }

    fn no_room(&self, bytes: u64) -> Result<Option<Refusal>, Trouble> {
        let free = self.spool.free().map_err(|error| Trouble::Refused(error.to_string()))?;
        // As much is left above the line as it takes: punches need room, too.
        if bytes.saturating_mul(2).saturating_add(self.settings.policy.free_bytes) <= free {
            return Ok(None);
        }
        let why = format!("the disk has no room for {bytes} bytes, {free} are free");
        Ok(Some(Refusal::new(ReturnCode::CAPACITY, why)))
    }

    /// Takes the bytes of a response, up to the number `until` of the file.
    fn receive(
        &mut self,
        job: &Job,
        source: &Source,
        mut download: Download,
        response: &mut Response,
        until: Option<u64>,
    ) -> Result<Fetched, Trouble> {
        let lost = |error: std::io::Error| Trouble::Refused(error.to_string());
        let mut file = match self.spool.open_part(job.row, download.kept) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.store.jobs().set_download(
                    job.row,
                    &Download::default(),
                    job.attempts + ANEW,
                )?;
                return Err(Trouble::Refused(format!("{error}; it is fetched anew")));
            }
            file => file.map_err(lost)?,
        };
        let mut base64_stream = source.base64.then(Base64Stream::default);
        let (mut came, mut unsaved) = (download.fetched, 0);
        let mut chunk = vec![0; 16 << 10];
        loop {
            let read = match response.status {
                416 => Ok(0),
                _ => response.body.read(&mut chunk),
            };
            let amount = *read.as_ref().unwrap_or(&0);
            came += amount as u64;
            unsaved += amount as u64;
            if until.is_some_and(|until| came > until) {
                return Err(Trouble::Refused("a part is longer than was asked for".into()));
            }
            download.fetched = came;
            let bytes = match &mut base64_stream {
                None => &chunk[..amount],
                Some(base64_stream) => {
                    if let Err(why) = base64_stream.push(&chunk[..amount]) {
                        return Ok(no_base64(&why));
                    }
                    download.fetched -= base64_stream.held();
                    base64_stream.bytes()
                }
            };
            download.kept += bytes.len() as u64;
            if download.kept > source.most {
                let why = format!("the file has more than {} bytes", source.most);
                return Ok(Fetched::Refused(Refusal::new(ReturnCode::TOO_LONG, why)));
            }
            match file.write_all(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    let why = format!("the disk is full: {error}");
                    return Ok(Fetched::Refused(Refusal::new(ReturnCode::CAPACITY, why)));
                }
                done => done.map_err(lost)?,
            }
            let is_end = amount == 0;
            if is_end && read.is_ok() && until.is_none() {
                download.total = Some(came);
            }
            if unsaved >= SAVED_AFTER || (is_end && (unsaved > 0 || download.is_whole())) {
                file.sync_data().map_err(lost)?;
                // A chunk that came makes up for one failure.
                let is_piece = is_end && download.fetched >= job.download.fetched + SMALLEST_CHUNK;
                let attempts = job.attempts.saturating_sub(u32::from(is_piece));
                self.store.jobs().set_download(job.row, &download, attempts)?;
                unsaved = 0;
                let unknown = if download.total.is_none() { download.kept } else { 0 };
                if let Some(refusal) = self.no_room(unknown / 2)? {
                    return Ok(Fetched::Refused(refusal));
                }
            }
            if let Err(error) = read {
                return Err(elsewhere(source, Failure::in_body(error)));
            }
            if is_end {
                if came < until.unwrap_or(came) {
                    return Err(Trouble::Refused("a part is shorter than it says".into()));
                }
                let more = download.fetched.saturating_sub(job.download.fetched);
                if !download.is_whole() && until.is_some() && more < SMALLEST_CHUNK / 2 {
                    return Err(Trouble::Refused("the server sends too little at once".into()));
                }
                return Ok(match download.is_whole() {
                    true => Fetched::Whole,
                    false if download.total == Some(came) => no_base64("it ends in its middle"),
                    false => Fetched::More,
                });
            }
        }
    }
}

fn no_base64(why: &str) -> Fetched {
    let why = format!("the file is no base64: {why}");
    Fetched::Refused(Refusal::new(ReturnCode::NOT_FETCHED, why))
}

/// Trouble with a place that is not the server says nothing of the way to the server.
fn elsewhere(source: &Source, failure: Failure) -> Trouble {
    match failure {
        Failure::Broken(message) if !source.target.starts_with('/') => Trouble::Refused(message),
        failure => Trouble::Link(failure),
    }
}
