//! Commands that go on beyond their command list, one step at a time: a chunk of a download,
//! a program that is started or has ended.

use std::io;

use super::download::{Fetched, Source};
use super::{Activity, Client, Trouble};
use crate::commands::Step;
use crate::policy::Family;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::protocol::fields::Refusal;
use crate::protocol::file::{Action, PutFile};
use crate::protocol::record::{BioPhotoUpdate, LONGEST_PHOTO};
use crate::reactor;
use crate::store::{Download, Job, Lane, Stage, StoreError};
use crate::uplink::{Failure, Uplink};

/// Jobs that are looked at together: one in trouble does not hold up the others.
const LOOKED_AT: usize = 8;
/// What goes wrong with a download before it is given up. Each chunk that comes makes up for
/// one failure.
const MOST_TROUBLE: u32 = 20;
/// What it counts for that a download has to begin anew.
const ANEW: u32 = 7;

impl<U: Uplink> Client<U> {
    /// The jobs that can take a step, each held back by its own trouble. A program that runs
    /// is waited for: what came after it may need what it does.
    pub(super) fn jobs_ready(&self) -> Result<Vec<Activity>, StoreError> {
        let jobs = self.store.jobs().in_lane(Lane::Work, LOOKED_AT)?;
        let ready = jobs.iter().take_while(|job| !self.device.is_running(job.row));
        Ok(ready.map(|job| Activity::Job(job.row)).collect())
    }

    /// Takes a job one step on.
    pub(super) fn work(&mut self, row: i64) -> Result<(), Trouble> {
        let Some(job) = self.store.jobs().get(row)? else { return Ok(()) };
        if job.stage == Stage::Fetching && job.attempts >= MOST_TROUBLE {
            log::warn!("command {} is given up, it went wrong again and again", job.id);
            return Ok(self.end(&job, ReturnCode::NOT_FETCHED, &[])?);
        }
        let done = self.step_on(&job);
        match &done {
            Err(Trouble::Link(Failure::Stopping)) => {}
            // What was written down meanwhile stays: only the trouble is counted.
            Err(Trouble::Refused(_) | Trouble::Link(_)) => {
                self.store.jobs().add_failures(row, 1)?
            }
            Err(Trouble::Store(_)) | Ok(()) => {}
        }
        done
    }

    /// Whether a program runs that a reboot would cut off.
    pub(super) fn a_program_runs(&self) -> Result<bool, StoreError> {
        let jobs = self.store.jobs().in_lane(Lane::Work, LOOKED_AT)?;
        Ok(jobs.iter().any(|job| job.stage == Stage::HandedOver))
    }

    fn step_on(&mut self, job: &Job) -> Result<(), Trouble> {
        let command = match Command::parse(&job.text) {
            Ok(command) => command,
            Err(refusal) => return Ok(self.refuse_job(job, &refusal)?),
        };
        let policy = &self.settings.policy;
        let by_url = matches!(command, Command::Update(..)) && !policy.allows(Family::PutFile);
        if by_url || policy.denies(&command).is_some() {
            let refusal = Refusal::new(ReturnCode::UNSUPPORTED, "the owner allows it no more");
            return Ok(self.refuse_job(job, &refusal)?);
        }
        match command {
            Command::Shell(line) => {
                let step = self.executor().shell(job, line)?;
                self.take_step(job, step)
            }
            Command::Upgrade(upgrade) => {
                if !self.has_come(job, |client| {
                    let target = client.target("/iclock/file").with("url", upgrade.url);
                    let target = target.as_str().to_owned();
                    Ok(Source { target, base64: upgrade.base64, most: upgrade.size })
                })? {
                    return Ok(());
                }
                // What was just fetched is known to the store only.
                let Some(job) = self.store.jobs().get(job.row)? else { return Ok(()) };
                let spool = std::rc::Rc::clone(&self.spool);
                let step = self.executor().upgrade(&job, &upgrade, &spool, &mut yield_now)?;
                if matches!(step, Step::Corrupt(_)) {
                    // What was given up because the program stops is not corrupt.
                    reactor::yield_now()?;
                }
                self.take_step(&job, step)
            }
            Command::PutFile(put) => {
                let most = self.settings.policy.file_bytes;
                if self.has_come(job, |client| client.source(put.url, most))? {
                    self.put(job, &put)?;
                }
                Ok(())
            }
            Command::Update(_, record) => {
                let language = self.settings.language;
                let Ok(BioPhotoUpdate::At { pin, bio_type, url }) =
                    BioPhotoUpdate::parse(record, language)
                else {
                    let refusal = Refusal::parameter("it names no picture to fetch");
                    return Ok(self.refuse_job(job, &refusal)?);
                };
                if !self.has_come(job, |client| client.source(&url, LONGEST_PHOTO as u64))? {
                    return Ok(());
                }
                let picture = std::fs::read(self.spool.part(job.row)).map_err(unreadable)?;
                let taken = self.executor().take_picture(&pin, bio_type, picture)?;
                match taken {
                    Ok(()) => self.end(job, ReturnCode::DONE, &[])?,
                    Err(refusal) => self.refuse_job(job, &refusal)?,
                }
                Ok(())
            }
            _ => Ok(self.end(job, ReturnCode::UNSUPPORTED, &[])?),
        }
    }

    /// Where a file comes from that the server named by a URL.
    fn source(&mut self, url: &str, most: u64) -> Result<Source, Refusal> {
        Ok(Source { target: self.executor().locate(url)?, base64: false, most })
    }

    /// Fetches the next chunk of a job's file. Whether all of it is there.
    fn has_come(
        &mut self,
        job: &Job,
        source: impl FnOnce(&mut Self) -> Result<Source, Refusal>,
    ) -> Result<bool, Trouble> {
        if job.stage != Stage::Fetching || job.download.is_whole() {
            return Ok(true);
        }
        let fetched = match source(self) {
            Ok(source) => self.fetch(job, &source)?,
            Err(refusal) => Fetched::Refused(refusal),
        };
        match fetched {
            Fetched::Whole => Ok(true),
            Fetched::More => Ok(false),
            Fetched::Refused(refusal) => {
                self.refuse_job(job, &refusal)?;
                Ok(false)
            }
        }
    }

    /// Does with a fetched file what the command says.
    fn put(&mut self, job: &Job, put: &PutFile<'_>) -> Result<(), StoreError> {
        let Some(job) = self.store.jobs().get(job.row)? else { return Ok(()) };
        let part = self.spool.part(job.row);
        if std::fs::metadata(&part).map_or(0, |part| part.len()) != job.download.kept {
            // Put in its place already, or lost: it is fetched again.
            return self.store.jobs().set_download(
                job.row,
                &Download::default(),
                job.attempts + ANEW,
            );
        }
        let size = job.download.kept;
        // Written down first: a file that makes the program fall over does so three times.
        self.store.jobs().add_failures(job.row, ANEW)?;
        let executor = self.executor();
        let done = match put.action {
            Action::Keep => executor.keep(put, &part, &mut yield_now).map(|()| size),
            Action::Sync { table, records } => {
                executor.sync(&job, table, records, &part, &mut yield_now)?
            }
            Action::Append => executor.append(&part, &mut yield_now)?.map(|()| size),
        };
        if done.is_err() && reactor::yield_now().is_err() {
            // Done again, as a whole, at the next start: nothing was wrong.
            return self.store.jobs().set_download(job.row, &job.download, job.attempts);
        }
        match done {
            Ok(answer) => {
                let answer = i64::try_from(answer).unwrap_or(i64::MAX);
                self.end(&job, ReturnCode(answer), &[])
            }
            Err(refusal) => self.refuse_job(&job, &refusal),
        }
    }

    fn take_step(&mut self, job: &Job, step: Step) -> Result<(), Trouble> {
        match step {
            Step::GoesOn => Ok(()),
            Step::Ended(code, rest) => Ok(self.end(job, code, &rest)?),
            Step::Stored => {
                self.forget(job);
                Ok(())
            }
            Step::Corrupt(why) => {
                self.store.jobs().set_download(
                    job.row,
                    &Download::default(),
                    job.attempts + ANEW,
                )?;
                Err(Trouble::Refused(format!("the file of command {} is wrong: {why}", job.id)))
            }
        }
    }

    fn refuse_job(&mut self, job: &Job, refusal: &Refusal) -> Result<(), StoreError> {
        log::warn!("command {} failed with {}: {}", job.id, refusal.code, refusal.why);
        self.end(job, refusal.code, &[])
    }

    /// Ends a job with its answer; what it had on disk goes after that.
    pub(super) fn end(
        &mut self,
        job: &Job,
        code: ReturnCode,
        rest: &[u8],
    ) -> Result<(), StoreError> {
        self.store.atomically(|| self.store.jobs().finish(job.row, code, rest))?;
        self.forget(job);
        if let Err(error) = self.spool.remove(job.row) {
            log::warn!("{error}");
        }
        Ok(())
    }

    /// A job is over.
    pub(super) fn forget(&mut self, job: &Job) {
        self.device.forget(job.row);
        self.backoffs.remove(&Activity::Job(job.row));
    }

    /// The program that now stands in place of this one could not be started.
    pub fn restart_failed(&mut self, message: &str) -> Result<(), StoreError> {
        for job in self.store.jobs().in_lane(Lane::Work, LOOKED_AT)? {
            if job.stage == Stage::Running {
                log::error!("upgrade {} failed: {message}", job.id);
                self.end(&job, ReturnCode::STORAGE, &[])?;
            }
        }
        Ok(())
    }
}

/// Serves drivers during long work, and ends it when the program is asked to stop.
fn yield_now() -> io::Result<()> {
    Ok(reactor::yield_now()?)
}

fn unreadable(error: io::Error) -> Trouble {
    Trouble::Refused(format!("a download cannot be read: {error}"))
}
