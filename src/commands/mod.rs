//! Commands of the server (§12): each takes effect once, and its result is kept until the server has
//! taken it. `Commands` gives a type for each family; `executor` says which command is of which.

mod arrival;
mod context;
mod data;
mod data_lines;
mod door;
mod enroll;
mod error;
mod executor;
mod file;
mod info;
mod joined;
mod list;
mod options;
mod order;
mod outcome;
mod pending;
mod pin;
mod profile;
mod query;
mod repeats;
mod resume;
mod row_work;
mod shell;
mod signed_file;
mod sync;
mod unknown_keys;
mod upgrade;
mod url;

pub(crate) use arrival::ListOrigin;
pub(crate) use context::{ClockSetter, Context};
pub(crate) use error::{CommandError, data_error};
pub(crate) use joined::{RecordProgress, is_joined};
pub(crate) use order::waits_besides;
pub(crate) use outcome::{Effects, Step};
pub(crate) use pending::ListedCommand;
pub use profile::DeviceProfile;
pub(crate) use query::rows_a_pack;
pub(crate) use row_work::RowWork;
pub(crate) use signed_file::remove as remove_candidate;
pub(crate) use unknown_keys::UnknownKeys;

use data::Data;
use door::Doors;
use enroll::Enrolments;
use file::Files;
use list::CommandList;
use shell::Shell;
use sync::DataFiles;
use upgrade::Upgrades;

use crate::device::Device;
use crate::files::Spool;
use crate::protocol::command::Command;
use crate::store::Job;

/// The families of commands, over one context and the device.
pub(crate) struct Commands<'a> {
    context: Context<'a>,
    device: &'a mut dyn Device,
}

impl<'a> Commands<'a> {
    pub(crate) fn new(context: Context<'a>, device: &'a mut dyn Device) -> Self {
        Self { context, device }
    }

    /// Command lists, as they come from the server.
    pub(crate) fn list(&mut self) -> CommandList<'_> {
        CommandList::new(&self.context, self.device)
    }

    /// Takes a `CLEAR` or a `VERIFY SUM` that is a job one step on ([`RowWork::step`]).
    pub(crate) fn row_work(
        &self,
        job: &Job,
        command: &Command<'_>,
        under_way: &mut Vec<(i64, RowWork)>,
    ) -> Result<Step, CommandError> {
        RowWork::step(&self.context, job, command, under_way)
    }

    /// Records of `DATA UPDATE`.
    pub(crate) fn data(&self) -> Data<'_> {
        Data::new(&self.context)
    }

    /// `GetFile` and `PutFile`.
    pub(crate) fn files(&self) -> Files<'_> {
        Files::new(&self.context)
    }

    /// Files of data commands.
    pub(crate) fn data_files(&self) -> DataFiles<'_> {
        DataFiles::new(&self.context)
    }

    /// `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO`.
    pub(crate) fn enrolments(&mut self) -> Enrolments<'_> {
        Enrolments::new(&self.context, self.device)
    }

    /// `AC_UNLOCK` and `AC_UNALARM`.
    pub(crate) fn doors(&mut self) -> Doors<'_> {
        Doors::new(self.device)
    }

    /// `SHELL`.
    pub(crate) fn shell(&mut self) -> Shell<'_> {
        Shell::new(&self.context, self.device)
    }

    /// `UPGRADE`, whose file is in the spool.
    pub(crate) fn upgrades<'s>(&'s mut self, spool: &'s Spool) -> Upgrades<'s> {
        Upgrades::new(&self.context, self.device, spool)
    }
}
