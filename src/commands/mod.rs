//! Commands of the server, each with an effect once and a result that stays until the
//! server took it. `list` takes them as they come; here is what each of them means.

mod data;
mod door;
mod enroll;
mod file;
mod info;
mod list;
mod options;
pub mod query;
mod shell;
mod sync;
mod upgrade;

pub use info::DeviceProfile;

use crate::device::Device;
use crate::driver_requests::DriverRequest;
use crate::policy::{Family, Policy};
use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::command::{Command, CommandLine, reply_name};
use crate::protocol::fields::Refusal;
use crate::protocol::record::ErrorLog;
use crate::protocol::stream::Stream;
use crate::store::options::{CHECK, REBOOT};
use crate::store::{Audit, Lane, Moment, Store, StoreError};

/// Most queries that wait for their turn.
const MOST_QUERIES: u64 = 1000;

/// What the commands work on.
pub struct Executor<'a> {
    /// The store.
    pub store: &'a Store,
    /// The device.
    pub device: &'a mut dyn Device,
    /// What is told about it.
    pub profile: &'a DeviceProfile,
    /// The terminal's language.
    pub language: Language,
    /// Answer `VERIFY SUM` with `AttlogCount` too.
    pub attlog_count: bool,
    /// What the owner allows.
    pub policy: &'a Policy,
    /// The server that asks.
    pub server: &'a str,
    /// Seconds since 1970, if the clock is set.
    pub now: Option<i64>,
    /// The same, for what is written into the journals.
    pub moment: Moment,
    /// Longest command in bytes.
    pub command_bytes: usize,
}

/// What the loop should do after a chunk of a command list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Commands that were not known before.
    pub fresh: usize,
    /// The options are to be read again.
    pub handshake: bool,
    /// New data is to be sent now.
    pub upload: bool,
    /// An option was set: its name in lower case is of interest to the session.
    pub option_set: bool,
    /// A driver was asked for something that cannot wait.
    pub asked: bool,
    /// Something was put on record.
    audited: bool,
}

impl Effects {
    fn add(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.handshake |= other.handshake;
        self.upload |= other.upload;
        self.option_set |= other.option_set;
        self.asked |= other.asked;
        self.audited |= other.audited;
    }
}

/// How a command ended.
enum End {
    /// With a code, and what follows `CMD=…` in the reply.
    Now(ReturnCode, Vec<u8>),
    /// With the content of a file.
    File(u64, String),
    /// It goes on in the background; the result is stored later.
    Later,
    /// The same, as a job: step by step, across restarts.
    Job(Lane),
}

/// What a step of a job led to.
pub enum Step {
    /// There is more to do, now or when a program ends.
    GoesOn,
    /// The file that was fetched is not what was promised; why.
    Corrupt(String),
    /// The job is over, with this answer.
    Ended(ReturnCode, Vec<u8>),
    /// The job is over, and its answer is stored together with what it did.
    Stored,
}

/// A command that was begun.
struct PendingCommand<'a> {
    row: i64,
    attempts: u32,
    line: CommandLine<'a>,
    overlong: bool,
}

impl Executor<'_> {
    /// Carries out a `DATA UPDATE` or `DATA DELETE` that is no command of its own: a line of a
    /// file, or of a remote user (§14). The caller holds the transaction.
    ///
    /// # Errors
    /// If the store fails. A refusal changed nothing.
    pub fn apply(&self, text: &[u8]) -> Result<Result<(), Refusal>, StoreError> {
        match Command::parse(text) {
            Ok(Command::Update(table, record)) => self.update(table, record),
            Ok(Command::Delete(table, record)) => self.delete(table, record),
            Ok(_) => Ok(Err(Refusal::parameter("it is neither DATA UPDATE nor DATA DELETE"))),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Carries out what the owner allows, and puts on record what matters to them.
    fn authorize(
        &mut self,
        pending: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<End, StoreError> {
        let command = match Command::parse(pending.line.text) {
            Ok(command) => command,
            Err(refusal) => return self.refuse(pending, &refusal),
        };
        let family = Family::of(&command);
        let denied = self.policy.denies(&command);
        let end = match denied {
            None => self.execute(command, pending, effects)?,
            Some(family) => {
                let why = format!("the owner does not allow it ([commands] {})", family.key());
                self.refuse(pending, &Refusal::new(ReturnCode::UNSUPPORTED, why))?
            }
        };
        if denied.is_some() || family.is_some_and(Family::is_audited) {
            effects.audited = true;
            let result = match &end {
                End::Now(code, _) => Some(code.0),
                End::File(size, _) => i64::try_from(*size).ok(),
                End::Later | End::Job(_) => None,
            };
            let audit = Audit {
                at: self.now,
                server: self.server.to_owned(),
                id: pending.line.id.to_owned(),
                what: excerpt(pending.line.text),
                result,
            };
            self.store.audit_log().record(pending.row, &audit)?;
        }
        Ok(end)
    }

    fn execute(
        &mut self,
        command: Command<'_>,
        pending: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<End, StoreError> {
        let done = || Ok(End::Now(ReturnCode::DONE, Vec::new()));
        let result = match command {
            Command::Update(table, record) => match self.picture_at(table, record) {
                Some(url) => match self.locate(&url) {
                    Ok(_) => return Ok(End::Job(Lane::Work)),
                    Err(refusal) => Err(refusal),
                },
                None => self.update(table, record)?,
            },
            Command::Delete(table, record) => self.delete(table, record)?,
            Command::Query(..) if self.store.queries().count()? >= MOST_QUERIES => {
                Err(Refusal::new(
                    ReturnCode::BUSY,
                    format!("{MOST_QUERIES} queries wait for their turn already"),
                ))
            }
            Command::Query(table, record) => match self.query(pending.row, table, record)? {
                Ok(end) => return Ok(end),
                Err(refusal) => Err(refusal),
            },
            Command::VerifySum(record) => match self.verify_sum(record)? {
                Ok(end) => return Ok(end),
                Err(refusal) => Err(refusal),
            },
            Command::ClearLog => {
                self.store.retention().clear_uploaded(&[Stream::Punches, Stream::IdPunches])?;
                return done();
            }
            Command::ClearPhoto => {
                self.store.retention().clear_uploaded(&[Stream::Photos, Stream::IdPhotos])?;
                return done();
            }
            Command::ClearData => {
                self.store.retention().clear_data()?;
                log::warn!("command {} cleared all data, as the owner allows", pending.line.id);
                return done();
            }
            Command::SetOption(option) => {
                effects.option_set = true;
                self.set_option(option)?
            }
            Command::Check => {
                // Outlives a restart: the handshake that follows clears it.
                self.store.options().set(CHECK, "1")?;
                effects.handshake = true;
                return done();
            }
            Command::Log => {
                effects.upload = true;
                return done();
            }
            Command::ReloadOptions => self.device.reload().map_err(Refusal::parameter),
            Command::Reboot if self.device.can_reboot() => {
                // The act comes when the server has this answer.
                self.store.options().set(REBOOT, pending.line.id)?;
                return done();
            }
            Command::Info => return Ok(End::Now(ReturnCode::DONE, self.info()?)),
            Command::GetFile(path) => match self.get_file(path) {
                Ok(size) => return Ok(End::File(size, path.to_owned())),
                Err(refusal) => {
                    // Its name stands in the answer also if it is not there.
                    let end = self.refuse(pending, &refusal)?;
                    let End::Now(code, _) = end else { return Ok(end) };
                    return Ok(End::Now(code, path.as_bytes().to_vec()));
                }
            },
            Command::PutFile(put) => match self.check_put(&put) {
                Ok(()) => return Ok(End::Job(Lane::Work)),
                Err(refusal) => Err(refusal),
            },
            Command::Shell(_) => return Ok(End::Job(Lane::Work)),
            Command::Upgrade(upgrade) => match self.check_upgrade(&upgrade) {
                Ok(()) => return Ok(End::Job(Lane::Work)),
                Err(refusal) => Err(refusal),
            },
            Command::Enroll(_) => return Ok(End::Job(Lane::Enrolment)),
            Command::Unlock => match self.door(pending, DriverRequest::Unlock, effects) {
                Ok(end) => return Ok(end),
                Err(refusal) => Err(refusal),
            },
            Command::Unalarm => match self.door(pending, DriverRequest::Unalarm, effects) {
                Ok(end) => return Ok(end),
                Err(refusal) => Err(refusal),
            },
            Command::Reboot | Command::Unknown => {
                Err(Refusal::new(ReturnCode::UNSUPPORTED, "this terminal does not know it"))
            }
        };
        match result {
            Ok(()) => done(),
            Err(refusal) => self.refuse(pending, &refusal),
        }
    }

    /// Says which rule was broken, in the log and, of data, in the error log (§11.16).
    fn refuse(&self, pending: &PendingCommand<'_>, refusal: &Refusal) -> Result<End, StoreError> {
        log::warn!(
            "command {} was refused with {}: {}: {}",
            pending.line.id,
            refusal.code,
            refusal.why,
            excerpt(pending.line.text)
        );
        if reply_name(pending.line.text) == "DATA" {
            self.store.error_log().add(&data_error(pending.line.id, refusal))?;
        }
        Ok(End::Now(refusal.code, Vec::new()))
    }
}

/// What the error log says of data that was refused: an error of the module that passes data
/// on (06), with the return code for its number.
fn data_error(id: &str, refusal: &Refusal) -> ErrorLog {
    let number = refusal.code.0.unsigned_abs().min(9999);
    let message: String = refusal.why.chars().filter(|c| !c.is_control()).take(200).collect();
    ErrorLog::of_data(&format!("D06E{number:04}"), &message, id)
}

/// The beginning of a command, fit for a log.
fn excerpt(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&text[..text.len().min(80)]);
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
