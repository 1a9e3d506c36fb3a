//! Commands that go on beyond their command list, one step at a time: a time slice of a download,
//! a program that is started or has ended.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::activity::Activity;
use super::context::Context;
use super::downloads::Downloads;
use super::driver_request;
use super::job_end::{Progress, end, finish, forget, refuse};
use super::receive::{Fetched, Source};
use super::trouble::Trouble;
use crate::commands::{CommandError, RecordProgress, RowWork, Step, data_error, is_joined};
use crate::policy::Family;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::protocol::fields::Refusal;
use crate::protocol::file::{Action, PutFile, Upgrade};
use crate::protocol::record::{BioPhotoUpdate, LONGEST_PHOTO};
use crate::protocol::touches::Things;
use crate::reactor;
use crate::signature;
use crate::store::options::{REBOOT, UPGRADE_FAILED};
use crate::store::{Download, Job, Lane, Replacement, Stage, StoreError, Trial};
use crate::uplink::Failure;

/// Jobs that are looked at together: one in trouble does not hold up the others.
const LOOKED_AT: usize = 8;
/// How often a download may fail. Each chunk that comes makes up for one failure.
const MOST_FAILURES: u32 = 20;
/// Failures for which it counts that a file was fetched and is not what it should be.
const WRONG_FILE: u32 = 7;
/// The same for one with which the program did not come to its end.
const FELL_OVER: u32 = 3;

/// Takes jobs on, step by step.
#[derive(Default)]
pub(super) struct Jobs {
    downloads: Downloads,
    records: RecordProgress,
    /// The `CLEAR` and `VERIFY SUM` under way, by their rows.
    row_work: Vec<(i64, RowWork)>,
    /// The place in the order of commands of the job that took the last step.
    turn: i64,
}

/// Whether a program runs, or a driver is at a request, that a reboot would cut off. Each of them has
/// a limit of time.
pub(super) fn reboot_would_cut(context: &Context) -> Result<bool, StoreError> {
    let jobs = context.store.jobs().in_lane(Lane::Work, LOOKED_AT)?;
    let a_program_runs = jobs.iter().any(|job| job.stage == Stage::HandedOver);
    Ok(a_program_runs || driver_request::is_under_way(context)?)
}

/// Ends the upgrades whose new program could not be started, or did not stand its trial. Returns their rows.
pub(super) fn fail_upgrades(context: &mut Context, message: &str) -> Result<Vec<i64>, StoreError> {
    let mut rows = Vec::new();
    for job in context.store.jobs().upgrades_to_prove()? {
        refuse_upgrade(context, &job, &Refusal::new(ReturnCode::STORAGE, message))?;
        rows.push(job.row);
    }
    Ok(rows)
}

/// Ends an upgrade that is not installed, and says why: to the owner in the log, in the audit log and in
/// `status`, to the server in the error log (§11.16).
fn refuse_upgrade(
    context: &mut Context,
    job: &Job,
    refusal: &Refusal,
) -> Result<Progress, StoreError> {
    let (id, why) = (&job.id, &refusal.why);
    log::error!("upgrade {id} is not installed ({}): {why}", refusal.code);
    let store = Rc::clone(&context.store);
    store.atomically(|| {
        store.options().set(UPGRADE_FAILED, &format!("upgrade {id}: {why}"))?;
        store.audit_log().add_reason(job.row, why)?;
        store.error_log().add(&data_error(&job.id, refusal))?;
        Trial::clear(store.options())?;
        store.jobs().finish(job.row, refusal.code, &[])
    })?;
    if let Err(error) = context.spool.remove(job.row) {
        log::warn!("{error}");
    }
    Ok(forget(context, job))
}

impl Jobs {
    /// The jobs that can take a step, in turn: a long download does not hold up a short one. What
    /// would start a program waits for a reboot that is due.
    pub(super) fn ready(&mut self, context: &Context) -> Result<Vec<Activity>, StoreError> {
        let mut jobs = context.store.jobs().in_lane(Lane::Work, LOOKED_AT)?;
        let reboots = !jobs.is_empty() && context.store.options().get(REBOOT)?.is_some();
        jobs.retain(|job| {
            let begins = job.touches.writes.meets(Things::DEVICE) && job.stage != Stage::HandedOver;
            let rests = job.stage == Stage::OnTrial || context.device.is_running(job.row);
            !(rests || reboots && begins)
        });
        self.downloads.close_if_of_none(&jobs);
        let next = jobs.iter().position(|job| job.turn > self.turn).unwrap_or(0);
        jobs.rotate_left(next);
        Ok(jobs.iter().map(|job| Activity::Job(job.row)).collect())
    }

    /// Closes a response that rests for too long.
    pub(super) fn close_if_idle(&mut self, now: Duration) {
        self.downloads.close_if_idle(now);
    }

    /// Takes a job one step on.
    pub(super) fn step(&mut self, context: &mut Context, row: i64) -> Result<Progress, Trouble> {
        let Some(job) = context.store.jobs().get(row)? else { return Ok(Progress::Ended) };
        if fetches_signature(&job) && job.attempts >= MOST_FAILURES {
            let why = "it is not signed: there is no signature at its end, and none can be fetched from its \
                       URL with .minisig behind it";
            let refusal = Refusal::new(ReturnCode::STORAGE, why);
            return Ok(refuse_upgrade(context, &job, &refusal)?);
        }
        if job.stage == Stage::Fetching && job.attempts >= MOST_FAILURES {
            log::warn!("command {} is given up: its download failed too often", job.id);
            return Ok(end(context, &job, ReturnCode::NOT_FETCHED, &[])?);
        }
        self.turn = job.turn;
        let done = self.carry_out(context, &job);
        match &done {
            Err(Trouble::Link(Failure::Stopping)) => {}
            // What was written down meanwhile stays: only the failure is counted.
            Err(Trouble::Store(_)) | Ok(_) => {}
            Err(_) => context.store.jobs().add_failures(row, 1)?,
        }
        done
    }

    fn carry_out(&mut self, context: &mut Context, job: &Job) -> Result<Progress, Trouble> {
        let command = match Command::parse(&job.text) {
            Ok(command) => command,
            Err(refusal) => return Ok(refuse(context, job, &refusal)?),
        };
        let policy = &context.settings.policy;
        let is_picture = matches!(command, Command::Update(_, record) if !is_joined(record));
        let by_url = is_picture && !policy.allows(Family::PutFile);
        let is_denied = by_url || policy.denies(&command).is_some();
        // A table is replaced to its end: a part of it would be worse than what was allowed when it came.
        if is_denied && Replacement::under_way(context.store.people(), job)?.is_none() {
            let refusal = Refusal::new(
                ReturnCode::UNSUPPORTED,
                "the owner of the terminal does not allow it any more",
            );
            return Ok(refuse(context, job, &refusal)?);
        }
        match command {
            Command::Shell(line) => {
                let step = context.commands().shell().step(job, &line);
                apply_step(context, job, step)
            }
            Command::Upgrade(upgrade) => self.upgrade(context, job, &upgrade),
            Command::PutFile(put) => {
                let most = context.settings.policy.file_bytes;
                match self.fetch(context, job, |context| source(context, &put.url, most))? {
                    Some(progress) => Ok(progress),
                    None => Ok(put_file(context, job, &put)?),
                }
            }
            Command::Update(_, record) if is_picture => self.picture(context, job, record),
            Command::Update(..) | Command::Delete(..) => {
                let step = context.commands().data().step(job, &command, &mut self.records);
                apply_step(context, job, step.map_err(CommandError::Refused))
            }
            Command::ClearLog
            | Command::ClearPhoto
            | Command::ClearData
            | Command::VerifySum(_) => {
                let step = context.commands().row_work(job, &command, &mut self.row_work);
                apply_step(context, job, step)
            }
            _ => Ok(end(context, job, ReturnCode::UNSUPPORTED, &[])?),
        }
    }

    fn upgrade(
        &mut self,
        context: &mut Context,
        job: &Job,
        upgrade: &Upgrade<'_>,
    ) -> Result<Progress, Trouble> {
        let fetched = self.fetch(context, job, |context| {
            let is_signature = fetches_signature(job);
            let url = format!("{}{}", upgrade.url, if is_signature { ".minisig" } else { "" });
            let target = context.target("/iclock/file").with("url", &url).as_str().to_owned();
            Ok(match is_signature {
                true => Source { target, base64: false, most: signature::LONGEST as u64 },
                false => Source { target, base64: upgrade.base64, most: upgrade.size },
            })
        })?;
        if let Some(progress) = fetched {
            return Ok(progress);
        }
        // What was just fetched is known to the store only.
        let Some(job) = context.store.jobs().get(job.row)? else { return Ok(Progress::Ended) };
        let spool = Rc::clone(&context.spool);
        let step = context.commands().upgrades(&spool).step(&job, upgrade, &mut yield_now);
        if matches!(step, Ok(Step::Corrupt(_)) | Err(CommandError::Refused(_))) {
            // What was given up because the program stops is neither corrupt nor refused.
            reactor::yield_now()?;
        }
        match step {
            Err(CommandError::Refused(refusal)) => Ok(refuse_upgrade(context, &job, &refusal)?),
            step => apply_step(context, &job, step),
        }
    }

    /// A picture of a person that the server named by a URL.
    fn picture(
        &mut self,
        context: &mut Context,
        job: &Job,
        record: &[u8],
    ) -> Result<Progress, Trouble> {
        let language = context.settings.language;
        let Ok(BioPhotoUpdate::At { pin, bio_type, url }) = BioPhotoUpdate::parse(record, language)
        else {
            let refusal = Refusal::parameter("it names no picture to fetch");
            return Ok(refuse(context, job, &refusal)?);
        };
        let most = LONGEST_PHOTO as u64;
        if let Some(progress) = self.fetch(context, job, |context| source(context, &url, most))? {
            return Ok(progress);
        }
        let picture = std::fs::read(context.spool.part(job.row)).map_err(unreadable)?;
        let stored = context.commands().data().put_fetched_photo(
            &pin,
            bio_type,
            picture,
            job.high_water_mark,
        );
        Ok(finish(context, job, stored.map(|()| ReturnCode::DONE))?)
    }

    /// Fetches more of a job's file; `None` if all of it is there.
    fn fetch(
        &mut self,
        context: &mut Context,
        job: &Job,
        source: impl FnOnce(&mut Context) -> Result<Source, Refusal>,
    ) -> Result<Option<Progress>, Trouble> {
        let fetches = job.stage == Stage::Fetching || fetches_signature(job);
        if !fetches || job.download.is_whole() {
            return Ok(None);
        }
        let fetched = match source(context) {
            Ok(source) => self.downloads.fetch(context, job, &source)?,
            Err(refusal) => Fetched::Refused(refusal),
        };
        Ok(match fetched {
            Fetched::Whole => None,
            Fetched::Paused => Some(Progress::Paused),
            Fetched::More => Some(Progress::GoesOn),
            Fetched::Refused(refusal) if fetches_signature(job) => {
                let why = format!("its signature cannot be fetched: {}", refusal.why);
                Some(refuse_upgrade(context, job, &Refusal::new(ReturnCode::STORAGE, why))?)
            }
            Fetched::Refused(refusal) => Some(refuse(context, job, &refusal)?),
        })
    }
}

fn fetches_signature(job: &Job) -> bool {
    signature::IS_BUILT_IN && job.stage == Stage::FetchingSignature
}

/// Where a file comes from that the server named by a URL.
fn source(context: &mut Context, url: &str, most: u64) -> Result<Source, Refusal> {
    Ok(Source { target: context.commands().files().locate(url)?, base64: false, most })
}

/// Does with a fetched file what the command says.
fn put_file(context: &mut Context, job: &Job, put: &PutFile<'_>) -> Result<Progress, StoreError> {
    let store = Rc::clone(&context.store);
    let Some(job) = store.jobs().get(job.row)? else { return Ok(Progress::Ended) };
    let part = context.spool.part(job.row);
    if std::fs::metadata(&part).map_or(0, |part| part.len()) != job.download.kept {
        // Put in its place already, or lost: it is fetched again.
        start_over(context, &job)?;
        return Ok(Progress::GoesOn);
    }
    let size = job.download.kept;
    // Written down first: a file that makes the program fall over does so seven times; power may be cut
    // as often. A table that is replaced in part has more time.
    let is_begun = Replacement::under_way(store.people(), &job)?.is_some();
    store.jobs().add_failures(job.row, if is_begun { 1 } else { FELL_OVER })?;
    let commands = context.commands();
    let done = match put.action {
        Action::Keep => commands.files().put(put, &part, &mut yield_now).map(|()| size),
        Action::Sync { table, records } => {
            commands.data_files().sync(&job, table, records, &part, &mut yield_now)
        }
        Action::Append => commands.data_files().append(&part, &mut yield_now).map(|()| size),
    };
    let is_stopped = matches!(done, Err(CommandError::Refused(_))) && reactor::yield_now().is_err();
    if is_stopped || matches!(done, Err(CommandError::Store(_))) {
        // The program stops, or the store failed. Nothing was wrong with the file: it is done later.
        let _ = store.jobs().set_download(job.row, &job.download, job.attempts);
    }
    if is_stopped {
        return Ok(Progress::GoesOn);
    }
    let answer = done.map(|answer| ReturnCode(i64::try_from(answer).unwrap_or(i64::MAX)));
    finish(context, &job, answer)
}

fn apply_step(
    context: &mut Context,
    job: &Job,
    step: Result<Step, CommandError>,
) -> Result<Progress, Trouble> {
    match step {
        Ok(Step::Continues) => Ok(Progress::GoesOn),
        Ok(Step::Ended(code, rest)) => Ok(end(context, job, code, &rest)?),
        Ok(Step::Stored) => Ok(forget(context, job)),
        Err(CommandError::Refused(refusal)) => Ok(refuse(context, job, &refusal)?),
        Err(CommandError::Store(error)) => Err(error.into()),
        Ok(Step::Corrupt(why)) => {
            start_over(context, job)?;
            Err(Trouble::Refused(format!("the file of command {} is wrong: {why}", job.id)))
        }
    }
}

/// The file is fetched again from its start.
fn start_over(context: &Context, job: &Job) -> Result<(), StoreError> {
    let attempts = job.attempts + WRONG_FILE;
    Replacement::read_again(context.store.people(), job)?;
    context.store.jobs().set_download(job.row, &Download::default(), attempts)
}

/// Serves drivers during long work, and ends it when the program is asked to stop.
fn yield_now() -> io::Result<()> {
    Ok(reactor::yield_now()?)
}

fn unreadable(error: io::Error) -> Trouble {
    Trouble::Refused(format!("a download cannot be read: {error}"))
}
