//! Files of data commands (§12.8.2): `Action=SyncData` replaces a whole table, all or nothing;
//! `Action=AppendData` carries out each line by itself.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::context::Context;
use super::data::Data;
use super::error::CommandError;
use super::file::archive_limits;
use super::pin::pin_of;
use crate::files::{FileError, open_list};
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::{Command, CommandLine};
use crate::protocol::fields::Refusal;
use crate::protocol::file::SyncTable;
use crate::protocol::lines::{Line, Lines};
use crate::protocol::record::{Template, TemplateForm, User, UserChange};
use crate::protocol::records::RecordJoiner;
use crate::store::{Job, Origin, Seq};

/// Bytes that are read together.
const CHUNK: usize = 16 << 10;

/// Carries out files of data commands. Both are long work: they call `yield_now`, which ends them
/// by an error.
#[derive(Clone, Copy)]
pub(crate) struct DataFiles<'a> {
    context: &'a Context<'a>,
}

impl<'a> DataFiles<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context }
    }

    /// Replaces all rows that a table had when the command came by the records of a file. Rows that
    /// changed since are newer and stay. The whole file is checked first, then stored in one
    /// transaction. Returns how many records.
    pub(crate) fn sync(
        self,
        job: &Job,
        table: SyncTable,
        records: u64,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<u64, CommandError> {
        let found = self.read(part, yield_now, |lines| {
            lines.iter().try_for_each(|line| self.check(table, line)).map_err(CommandError::from)
        })?;
        if found != records {
            let why = format!("is {records}, but the file has {found} records");
            return Err(Refusal::field("recordcount", why).into());
        }
        let store = self.context.store;
        store.atomically(|| {
            let before = store.high_water_mark();
            // Drivers are not served meanwhile: no transaction is open across a wait.
            let stored = self.read(part, &mut || Ok(()), |lines| {
                lines
                    .iter()
                    .try_for_each(|line| self.replace(table, line, job.high_water_mark..before))
            })?;
            store.people().delete_unchanged(table, job.high_water_mark)?;
            if table == SyncTable::Users {
                store.people().require_within_limit()?;
                store.people().report_losses_after(before)?;
            }
            Ok(stored)
        })
    }

    /// Carries out the data commands of a file, each by itself: one that is refused does not stop
    /// the others. Then the first refusal is returned.
    ///
    /// # Errors
    /// If the store fails: what was done stays, and can be done again.
    pub(crate) fn append(
        self,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<(), CommandError> {
        let data = Data::new(self.context);
        let (mut first, mut refused) = (None, 0);
        let mut apply = |lines: &[Line]| {
            self.context.store.atomically(|| {
                for line in lines {
                    match text(line).map_err(CommandError::from).and_then(|text| data.apply(text)) {
                        Ok(()) => {}
                        Err(CommandError::Refused(refusal)) => {
                            refused += 1;
                            first.get_or_insert(refusal);
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
        };
        let mut joiner = RecordJoiner::for_file(self.context.command_bytes);
        self.read(part, yield_now, |lines| {
            let mut whole = Vec::new();
            for line in lines {
                joiner.push(line, |line| whole.push(line));
            }
            apply(&whole)
        })?;
        apply(&joiner.take().into_iter().collect::<Vec<_>>())?;
        match first {
            None => Ok(()),
            Some(refusal) => {
                let why =
                    format!("{refused} lines of the file were refused, the first: {}", refusal.why);
                Err(Refusal { why, ..refusal }.into())
            }
        }
    }

    /// Reads a file and passes on its lines, some at a time. Returns how many lines.
    fn read(
        self,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
        mut each: impl FnMut(Vec<Line>) -> Result<(), CommandError>,
    ) -> Result<u64, CommandError> {
        let mut file = open_list(part, &archive_limits(self.context.policy))?;
        let (mut lines, mut count) = (Lines::new(self.context.command_bytes), 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            yield_now().map_err(FileError::from)?;
            let amount = file.read(&mut chunk).map_err(FileError::from)?;
            let mut whole = Vec::new();
            if amount > 0 {
                lines.push(&chunk[..amount], |line| whole.push(line));
            } else {
                whole.extend(lines.rest());
            }
            count += whole.len() as u64;
            each(whole)?;
            if amount == 0 {
                return Ok(count);
            }
        }
    }

    /// Refuses a line that is not a record of the table.
    fn check(self, table: SyncTable, line: &Line) -> Result<(), Refusal> {
        let (record, language) = (record_of(table, line)?, self.context.language);
        let form = match table {
            SyncTable::Users => return UserChange::parse(record, language).map(drop),
            SyncTable::Fingerprints => TemplateForm::Fingerprint,
            SyncTable::Faces => TemplateForm::Face,
        };
        Template::parse(form, record, language).map(drop)
    }

    /// Stores a record, unless what it replaces changed after the command came and before now. A
    /// user keeps no field that the record does not carry.
    fn replace(self, table: SyncTable, line: &Line, newer: Range<Seq>) -> Result<(), CommandError> {
        let Context { store, language, .. } = *self.context;
        let record = record_of(table, line)?;
        let pin = pin_of(record, language)?;
        let changed = store.people().last_changed(table, &pin)?;
        if changed.is_some_and(|at| at > newer.start && at <= newer.end) {
            return Ok(());
        }
        if table != SyncTable::Users {
            return Data::new(self.context).update(table.data_table(), record).map(drop);
        }
        let change = UserChange::parse(record, language)?;
        let mut user = User::new(change.pin.clone());
        change.apply(&mut user);
        store.people().put_unlimited(&user, Origin::Server)?;
        Ok(())
    }
}

/// The record in a line `DATA UPDATE table record`, with or without `C:id:` before it.
fn record_of(table: SyncTable, line: &Line) -> Result<&[u8], Refusal> {
    let table = table.data_table();
    match Command::parse(text(line)?)? {
        Command::Update(named, record) if named == table => Ok(record),
        _ => Err(Refusal::parameter(format!("a line of the file is not DATA UPDATE {table}"))),
    }
}

/// The command in a line of a file.
fn text(line: &Line) -> Result<&[u8], Refusal> {
    match line {
        Line::Overlong(_) => {
            Err(Refusal::new(ReturnCode::TOO_LONG, "a line of the file is too long"))
        }
        Line::Whole(bytes) if CommandLine::begins(bytes) => {
            CommandLine::parse(bytes).map(|line| line.text).map_err(Refusal::parameter)
        }
        Line::Whole(bytes) => Ok(bytes),
    }
}
