//! Carries out one command (§12), if the owner of the terminal allows it: hands it to its family,
//! turns a refusal into its answer, and records in the audit log what the owner has to be able to
//! look up.

use super::context::Context;
use super::data::{Data, Updated};
use super::door::Doors;
use super::error::{CommandError, data_error};
use super::file::Files;
use super::info::info;
use super::joined;
use super::options::set_option;
use super::order;
use super::outcome::{Effects, End};
use super::pending::{PendingCommand, excerpt};
use super::query::Queries;
use super::row_work::{AT_ONCE, RowWork};
use super::upgrade::{check_upgrade, is_installed};
use crate::device::Device;
use crate::driver_requests::DriverRequest;
use crate::policy::Family;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::Command;
use crate::protocol::data_table::DataTable;
use crate::protocol::fields::Refusal;
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::protocol::touches::Touches;
use crate::store::options::{CHECK, REBOOT};
use crate::store::{Audit, Lane, StoreError};

/// Carries out one command after the other.
pub(super) struct Executor<'a> {
    context: &'a Context<'a>,
    device: &'a mut dyn Device,
}

impl<'a> Executor<'a> {
    pub(super) fn new(context: &'a Context<'a>, device: &'a mut dyn Device) -> Self {
        Self { context, device }
    }

    /// Carries out a command. The caller holds the transaction and stores the result.
    ///
    /// # Errors
    /// If the store fails. A refusal is an [`End`] like any other.
    pub(super) fn run(
        &mut self,
        pending: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<(End, Touches), StoreError> {
        let command = match Command::parse(pending.text) {
            Ok(command) => command,
            Err(refusal) => return Ok((self.refuse(pending, &refusal)?, Touches::default())),
        };
        let (family, denied) = (Family::of(&command), self.context.policy.denies(&command));
        let touches = command.touches();
        if denied.is_none()
            && !pending.is_resumed
            && let Some(after) = order::must_wait(self.context.store, &touches)?
        {
            return Ok((End::Waits(after), touches));
        }
        let done = match denied {
            Some(family) => Err(denied_by_owner(family).into()),
            None => self.execute(command, pending, effects),
        };
        let end = match done {
            Ok(end) => end,
            Err(CommandError::Refused(refusal)) => self.refuse(pending, &refusal)?,
            Err(CommandError::Store(error)) => return Err(error),
        };
        if denied.is_some() || family.is_some_and(Family::is_audited) {
            effects.audited = true;
            self.audit(pending, &end)?;
        }
        // Nothing waits for a query whose rows were copied.
        let is_copied = matches!(end, End::Query { is_copied: true });
        Ok((end, if is_copied { Touches::default() } else { touches }))
    }

    /// Takes back what a driver was to do for a command, if it was not told yet.
    pub(super) fn forget(&mut self, row: i64) {
        self.device.forget(row);
    }

    fn execute(
        &mut self,
        command: Command<'_>,
        pending: &PendingCommand<'_>,
        effects: &mut Effects,
    ) -> Result<End, CommandError> {
        let context = self.context;
        match command {
            Command::Update(table, record) if !joined::is_joined(record) => {
                return self.update(table, record);
            }
            Command::Update(_, records) | Command::Delete(_, records) => {
                // Without room for their text they are carried out at once: deletions always are.
                if joined::are_many(records)
                    && context.store.jobs().has_room_for(pending.text.len())?
                {
                    return Ok(End::Job(Lane::Work));
                }
                let (result, is_partly) = Data::new(context).take_all(&command)?;
                if is_partly {
                    context.store.command_log().set_partly_done(pending.row)?;
                }
                result?;
            }
            Command::Query(table, record) => {
                return Queries::new(context).begin(pending.row, table, record);
            }
            Command::ClearLog
            | Command::ClearPhoto
            | Command::ClearData
            | Command::VerifySum(_) => {
                if command == Command::ClearData {
                    log::warn!("command {} clears all data; the owner allows it", pending.id);
                }
                let until = context.store.high_water_mark();
                let mut work = RowWork::begin(context, &command, until)?;
                return Ok(match work.go_on(context, AT_ONCE)? {
                    Some(rest) => End::Now(ReturnCode::DONE, rest),
                    None => End::Job(Lane::Work),
                });
            }
            Command::SetOption(option) => {
                effects.option_set = true;
                set_option(context, &*self.device, option)?;
            }
            Command::SetClock(time) => self.set_clock(time, pending)?,
            Command::Check => {
                // Kept in the store until the handshake that follows, also across a restart.
                context.store.options().set(CHECK, "1")?;
                context.store.outbox().ask_for(Stream::ALL)?;
                effects.handshake = true;
            }
            Command::Log => {
                context.store.outbox().ask_for(Stream::ALL)?;
                effects.upload = true;
            }
            Command::ReloadOptions => self.device.reload().map_err(Refusal::parameter)?,
            Command::Reboot => self.accept_reboot(pending)?,
            Command::Info => {
                return Ok(End::Now(ReturnCode::DONE, info(context, &*self.device)?));
            }
            Command::GetFile(path) => return self.get_file(&path, pending),
            Command::PutFile(put) => {
                Files::new(context).check_put(&put)?;
                return Ok(End::Job(Lane::Work));
            }
            Command::Upgrade(upgrade) => {
                check_upgrade(context.policy, &upgrade)?;
                // Asked anew by a server that did not see that it is done.
                if !pending.is_new && is_installed(context.store, &upgrade)? {
                    log::info!("upgrade {} runs already", pending.id);
                    return Ok(End::DONE);
                }
                return Ok(End::Job(Lane::Work));
            }
            Command::Shell(_) => return Ok(End::Job(Lane::Work)),
            Command::Enroll(_) => return Ok(End::Job(Lane::Enrolment)),
            Command::Unlock => return self.ask_door(pending, DriverRequest::Unlock, effects),
            Command::Unalarm => return self.ask_door(pending, DriverRequest::Unalarm, effects),
            Command::Unknown => {
                let why = match pending.text.trim_ascii() {
                    [] => "it is empty: nothing stands after its id",
                    _ => "this terminal does not support the command",
                };
                return Err(Refusal::new(ReturnCode::UNSUPPORTED, why).into());
            }
        }
        Ok(End::DONE)
    }

    /// Sets the clock, once: what was cut off is not done late, since the time would be that of the
    /// arrival.
    fn set_clock(&self, time: LocalTime, pending: &PendingCommand<'_>) -> Result<(), Refusal> {
        if pending.attempts > 1 {
            let why = "punchd was stopped before the clock was set, and it is not set late";
            return Err(Refusal::new(ReturnCode::TIMED_OUT, why));
        }
        self.context.clock_setter.set(time)
    }

    fn update(&self, table: DataTable<'_>, record: &[u8]) -> Result<End, CommandError> {
        match Data::new(self.context).update(table, record)? {
            Updated::Stored => Ok(End::DONE),
            Updated::PictureAt(url) if self.context.policy.allows(Family::PutFile) => {
                Files::new(self.context).locate(&url)?;
                Ok(End::Job(Lane::Work))
            }
            Updated::PictureAt(_) => Err(denied_by_owner(Family::PutFile).into()),
        }
    }

    fn get_file(&self, path: &str, pending: &PendingCommand<'_>) -> Result<End, CommandError> {
        match Files::new(self.context).open(path) {
            Ok((_, size)) => {
                let code = ReturnCode(i64::try_from(size).unwrap_or(i64::MAX));
                Ok(End::File(code, path.to_owned()))
            }
            // The answer names the file also if it cannot be sent.
            Err(refusal) => {
                self.report(pending, &refusal)?;
                Ok(End::Now(refusal.code, path.as_bytes().to_vec()))
            }
        }
    }

    /// The loop reboots when the server has the answer.
    fn accept_reboot(&self, pending: &PendingCommand<'_>) -> Result<(), CommandError> {
        if self.device.can_reboot() {
            return Ok(self.context.store.options().set(REBOOT, pending.id)?);
        }
        let why = "the owner has set no program that reboots ([device] reboot)";
        Err(Refusal::new(ReturnCode::UNSUPPORTED, why).into())
    }

    fn ask_door(
        &mut self,
        pending: &PendingCommand<'_>,
        request: DriverRequest,
        effects: &mut Effects,
    ) -> Result<End, CommandError> {
        Doors::new(self.device).ask(pending.row, pending.attempts, request)?;
        effects.driver_asked = true;
        Ok(End::Job(Lane::Door))
    }

    fn refuse(&self, pending: &PendingCommand<'_>, refusal: &Refusal) -> Result<End, StoreError> {
        self.report(pending, refusal)?;
        Ok(End::Now(refusal.code, Vec::new()))
    }

    /// Says which rule was broken: in the log and, for `DATA`, in the error log that the server
    /// gets (§11.16).
    fn report(&self, pending: &PendingCommand<'_>, refusal: &Refusal) -> Result<(), StoreError> {
        let text = match excerpt(pending.text) {
            text if text.is_empty() => text,
            text => format!(": {text}"),
        };
        log::warn!(
            "command {} was refused with {}: {}{text}",
            pending.id,
            refusal.code,
            refusal.why
        );
        if pending.name == "DATA" {
            self.context.store.error_log().add(&data_error(pending.id, refusal))?;
        }
        Ok(())
    }

    fn audit(&self, pending: &PendingCommand<'_>, end: &End) -> Result<(), StoreError> {
        let result = match end {
            End::Now(code, _) | End::File(code, _) => Some(code.0),
            End::Query { .. } | End::Job(_) | End::Waits(_) => None,
        };
        let audit = Audit {
            at: self.context.now,
            server: self.context.server.to_owned(),
            id: pending.id.to_owned(),
            what: excerpt(pending.text),
            result,
        };
        self.context.store.audit_log().record(pending.row, &audit)
    }
}

fn denied_by_owner(family: Family) -> Refusal {
    let why = format!("the owner of the terminal does not allow it ([commands] {})", family.key());
    Refusal::new(ReturnCode::UNSUPPORTED, why)
}
