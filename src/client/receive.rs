//! The bytes of a download: written to its part on disk, and safe there before it is written down
//! how far it is. They are received in time slices: between two of them the response stays open,
//! and other exchanges go on.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::base64_stream::Base64Stream;
use super::context::Context;
use super::trouble::Trouble;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::reactor;
use crate::store::{Download, Job};
use crate::uplink::{Failure, ReadLimit, Response};

/// A chunk of so many bytes makes up for one failure, and is the smallest that is asked for.
pub(super) const SMALLEST_CHUNK: u64 = 16 << 10;
/// How long a time slice is: so long a punch may have to wait for it.
const TIME_SLICE: Duration = Duration::from_secs(1);
/// Drivers wait while what came is made safe. It is done after so many bytes: more where the disk is
/// quick, fewer where it is slow.
const SAVED_AFTER: RangeInclusive<u64> = 64 << 10..=4 << 20;
/// How long that is to take.
const SAVE_TIME: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(80);
/// Bytes after which what came is made safe, by how long that took before.
pub(super) struct SaveAfter(u64);

impl Default for SaveAfter {
    fn default() -> Self {
        Self(256 << 10)
    }
}

impl SaveAfter {
    /// Making `bytes` safe took so long. Of fewer than are made safe together that says nothing.
    fn took(&mut self, bytes: u64, took: Duration) {
        if took > *SAVE_TIME.end() {
            self.0 = (self.0 / 2).max(*SAVED_AFTER.start());
        } else if took < *SAVE_TIME.start() && bytes >= self.0 {
            self.0 = (self.0 * 2).min(*SAVED_AFTER.end());
        }
    }
}

/// A hundredth of a file of so many bytes, 512 KiB at least: what a kill or a power cut may cost.
pub(super) fn hundredth(total: u64) -> u64 {
    (total / 100).max(512 << 10)
}

/// Failures for which it counts that a download has to start again.
pub(super) const START_OVER: u32 = 6;

/// Where a file comes from.
pub(super) struct Source {
    /// A path at the server, or a whole URL.
    pub(super) target: String,
    /// It comes as base64 text.
    pub(super) base64: bool,
    /// Most bytes that it may have on disk.
    pub(super) most: u64,
}

impl Source {
    /// A failure while it is fetched. That of another place says nothing of the connection to
    /// the server.
    pub(super) fn trouble(&self, failure: Failure) -> Trouble {
        match failure == Failure::Stopping || self.target.starts_with('/') {
            true => Trouble::Link(failure),
            false => Trouble::Refused(failure.to_string()),
        }
    }
}

/// What a time slice led to.
pub(super) enum Fetched {
    /// The response is not over: it goes on in the next time slice.
    Paused,
    /// All is there.
    Whole,
    /// There is more to fetch.
    More,
    /// The file cannot be had.
    Refused(Refusal),
}

/// A response of which the body is received. It stays open over several steps of its job.
pub(super) struct Reception {
    /// The job's row and turn.
    job: (i64, i64),
    response: Response,
    receiver: Receiver,
    /// How long the head of the response took.
    pub(super) waited: Duration,
    /// How long it took so far, without the time between the time slices.
    pub(super) took: Duration,
    /// The end of the last time slice, on the monotonic clock.
    pub(super) paused_at: Duration,
}

impl Reception {
    /// Prepares to receive the bytes of a response from where the job's download stands, up to the number
    /// `until` of the file, or to its end. `took`: how long the head of the response took.
    pub(super) fn begin(
        context: &Context,
        job: &Job,
        source: &Source,
        response: Response,
        until: Option<u64>,
        took: Duration,
    ) -> Result<Self, Trouble> {
        let download = job.download.clone();
        let file = match context.spool.open_part(job.row, download.kept) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let attempts = job.attempts + START_OVER;
                context.store.jobs().set_download(job.row, &Download::default(), attempts)?;
                let why = format!("{error}: it is fetched again from its start");
                return Err(Trouble::Refused(why));
            }
            file => file.map_err(disk_trouble)?,
        };
        let receiver = Receiver {
            row: job.row,
            attempts: job.attempts,
            most: source.most,
            file,
            base64: source.base64.then(Base64Stream::default),
            began: download.fetched,
            came: download.fetched,
            unsaved: 0,
            until,
            download,
        };
        let (job, paused_at) = ((job.row, job.turn), Duration::ZERO);
        Ok(Self { job, response, receiver, waited: took, took, paused_at })
    }

    /// Bytes of the whole file, if that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.receiver.download.total
    }

    /// Whether it is this job's.
    pub(super) fn is_of(&self, job: &Job) -> bool {
        self.job == (job.row, job.turn)
    }

    /// Receives for [`TIME_SLICE`]. After anything but [`Fetched::Paused`] the response is over.
    pub(super) fn receive(
        &mut self,
        context: &Context,
        source: &Source,
        save_after: &mut SaveAfter,
    ) -> Result<Fetched, Trouble> {
        let began = context.clock.monotonic();
        self.response.reads.set(TIME_SLICE);
        let fetched = loop {
            if let Some(fetched) = self.receive_some(context, source, save_after)? {
                break fetched;
            }
            if context.clock.monotonic().saturating_sub(began) >= TIME_SLICE {
                break Fetched::Paused;
            }
        };
        self.paused_at = context.clock.monotonic();
        self.took += self.paused_at.saturating_sub(began);
        Ok(fetched)
    }

    /// Receives what one read brings. `None` if there is more to read at once.
    fn receive_some(
        &mut self,
        context: &Context,
        source: &Source,
        save_after: &mut SaveAfter,
    ) -> Result<Option<Fetched>, Trouble> {
        let Self { response, receiver, .. } = self;
        let mut bytes = [0; 16 << 10];
        let read = match response.status {
            416 => Ok(0),
            _ => response.body.read(&mut bytes),
        };
        if read.as_ref().is_err_and(ReadLimit::is_in) {
            return Ok(Some(Fetched::Paused));
        }
        let amount = *read.as_ref().unwrap_or(&0);
        let is_end = amount == 0;
        if let Some(refusal) = receiver.write(&bytes[..amount])? {
            return Ok(Some(Fetched::Refused(refusal)));
        }
        if is_end && read.is_ok() && receiver.until.is_none() {
            receiver.download.total = Some(receiver.came);
        }
        if receiver.is_to_be_saved(is_end, save_after)
            && let Some(refusal) = receiver.save(context, is_end, save_after)?
        {
            return Ok(Some(Fetched::Refused(refusal)));
        }
        if let Err(error) = read {
            return Err(source.trouble(response.broke_off(error)));
        }
        if is_end { receiver.finish().map(Some) } else { Ok(None) }
    }
}

/// Refuses what the disk has no room for, even with the free pages that the store gives back.
pub(super) fn refuse_if_no_room(context: &Context, bytes: u64) -> Result<Option<Refusal>, Trouble> {
    let retention = context.store.retention();
    // It may be copied, or unpacked, beside itself.
    let needed = bytes.saturating_mul(2);
    // What is kept for punches is no part of it; what the store added and has not written to its
    // file yet is not free.
    let mut free = retention.capacity()?.files();
    if needed > free {
        while retention.make_room_for_file(needed)? {
            reactor::yield_now()?;
        }
        free = retention.capacity()?.files();
    }
    if needed <= free {
        return Ok(None);
    }
    let why = format!(
        "the disk has no room for {bytes} bytes: {free} are free beside those that are kept for punches ([limits] free_mib)"
    );
    Ok(Some(Refusal::new(ReturnCode::CAPACITY, why)))
}

/// Takes the bytes of one response.
struct Receiver {
    row: i64,
    /// Failures of the job so far.
    attempts: u32,
    /// Most bytes that the file may have on disk.
    most: u64,
    file: File,
    base64: Option<Base64Stream>,
    download: Download,
    /// Bytes of the file that were there before.
    began: u64,
    /// Bytes of the file that came, also those that are not decoded yet.
    came: u64,
    /// How many of them came since it was last written down how far it is.
    unsaved: u64,
    until: Option<u64>,
}

impl Receiver {
    /// Writes bytes that came. A refusal if they are not acceptable.
    fn write(&mut self, came: &[u8]) -> Result<Option<Refusal>, Trouble> {
        self.came += came.len() as u64;
        self.unsaved += came.len() as u64;
        if self.until.is_some_and(|until| self.came > until) {
            return Err(Trouble::Refused("a part is longer than was asked for".into()));
        }
        self.download.fetched = self.came;
        let bytes = match &mut self.base64 {
            None => came,
            Some(base64) => {
                if let Err(why) = base64.push(came) {
                    return Ok(Some(no_base64(&why)));
                }
                self.download.fetched -= base64.undecoded();
                base64.bytes()
            }
        };
        self.download.kept += bytes.len() as u64;
        if self.download.kept > self.most {
            let why = format!("the file has more than {} bytes", self.most);
            return Ok(Some(Refusal::new(ReturnCode::TOO_LONG, why)));
        }
        match self.file.write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                let why = format!("the disk is full: {error}");
                Ok(Some(Refusal::new(ReturnCode::CAPACITY, why)))
            }
            done => done.map(|()| None).map_err(disk_trouble),
        }
    }

    fn is_to_be_saved(&self, is_end: bool, save_after: &SaveAfter) -> bool {
        let after = save_after.0.min(self.download.total.map_or(u64::MAX, hundredth));
        self.unsaved >= after || (is_end && (self.unsaved > 0 || self.download.is_whole()))
    }

    /// Makes safe what came, and writes down how far it is. A refusal if there is no room for
    /// more.
    fn save(
        &mut self,
        context: &Context,
        is_end: bool,
        save_after: &mut SaveAfter,
    ) -> Result<Option<Refusal>, Trouble> {
        let began = context.clock.monotonic();
        self.file.sync_data().map_err(disk_trouble)?;
        // A chunk that came makes up for one failure.
        let is_chunk = is_end && self.more() >= SMALLEST_CHUNK;
        let attempts = self.attempts.saturating_sub(u32::from(is_chunk));
        context.store.jobs().set_download(self.row, &self.download, attempts)?;
        save_after.took(self.unsaved, context.clock.monotonic().saturating_sub(began));
        self.unsaved = 0;
        // Of a file whose length is known that was asked before.
        match self.download.total {
            Some(_) => Ok(None),
            None => refuse_if_no_room(context, self.download.kept / 2),
        }
    }

    /// Bytes that this response brought.
    fn more(&self) -> u64 {
        self.download.fetched.saturating_sub(self.began)
    }

    /// The response is over.
    fn finish(&self) -> Result<Fetched, Trouble> {
        if self.came < self.until.unwrap_or(self.came) {
            return Err(Trouble::Refused("a part is shorter than it says".into()));
        }
        let is_whole = self.download.is_whole();
        if !is_whole && self.until.is_some() && self.more() < SMALLEST_CHUNK / 2 {
            return Err(Trouble::Refused("the server sends too little at once".into()));
        }
        Ok(match is_whole {
            true => Fetched::Whole,
            false if self.download.total == Some(self.came) => {
                Fetched::Refused(no_base64("it ends within a group of four"))
            }
            false => Fetched::More,
        })
    }
}

fn no_base64(why: &str) -> Refusal {
    Refusal::new(ReturnCode::NOT_FETCHED, format!("the file is not base64: {why}"))
}

fn disk_trouble(error: io::Error) -> Trouble {
    Trouble::Refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_made_safe_together_on_a_quick_disk_and_less_on_a_slow_one() {
        const KIB: u64 = 1 << 10;
        for (what, before, bytes, took, after) in [
            ("quick", 256 * KIB, 256 * KIB, 5, 512 * KIB),
            ("quick, as much as there may be", 4096 * KIB, 4096 * KIB, 5, 4096 * KIB),
            ("quick, but only the end of a part", 256 * KIB, 100 * KIB, 5, 256 * KIB),
            ("neither", 256 * KIB, 256 * KIB, 50, 256 * KIB),
            ("slow", 256 * KIB, 100 * KIB, 100, 128 * KIB),
            ("the slowest", 64 * KIB, 64 * KIB, 5000, 64 * KIB),
        ] {
            let mut save_after = SaveAfter(before);
            save_after.took(bytes, Duration::from_millis(took));
            assert_eq!(save_after.0, after, "{what}");
        }
    }
}
