//! Files of data commands (§12.8.2): `Action=SyncData` replaces a whole table, all or nothing;
//! `Action=AppendData` carries out each line by itself.
//!
//! A table is replaced in steps, between which drivers are served. The whole file is checked first,
//! and room for it is made: until then nothing has changed, and a refusal changes nothing. From then on
//! the table is replaced to its end. How far it is, is stored with the rows of each step, so that a
//! start after a power cut goes on there. Meanwhile a driver finds the new row of one person and the
//! old row of another.

use std::io;
use std::path::Path;

use super::context::Context;
use super::data::Data;
use super::data_lines::DataLines;
use super::error::CommandError;
use super::file::archive_limits;
use super::pin::unknown_user;
use crate::files::FileError;
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::{Command, CommandLine};
use crate::protocol::fields::Refusal;
use crate::protocol::file::SyncTable;
use crate::protocol::lines::Line;
use crate::protocol::record::{Template, TemplateForm, User, UserChange};
use crate::store::{Job, Origin, Replacement};

/// Bytes of a user with its indexes.
const USER_BYTES: u64 = 256;

/// Bytes of a template beside its data, with its indexes.
const TEMPLATE_BYTES: u64 = 128;

/// Most lines that are carried out in one transaction: each changes some pages, which a commit writes.
const MOST_LINES: u32 = 64;

/// Serves drivers; an error ends the work.
type YieldNow<'y> = dyn FnMut() -> io::Result<()> + 'y;

/// Carries out files of data commands. Both are long work: they call `yield_now`, which ends them
/// by an error.
#[derive(Clone, Copy)]
pub(crate) struct DataFiles<'a> {
    context: &'a Context<'a>,
}

/// A record of a table.
enum SyncRecord {
    User(UserChange),
    Template(Template),
}

/// What the check of a file found.
#[derive(Default)]
struct Checked {
    records: u64,
    /// Bytes that the new rows take beyond those of the rows that they replace.
    bytes: u64,
    /// Records of users who changed after the command came, and stay.
    newer: u64,
}

impl<'a> DataFiles<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context }
    }

    /// Replaces all rows that a table had when the command came by the records of a file. Rows that
    /// changed since are newer and stay. Returns how many records.
    pub(crate) fn sync(
        self,
        job: &Job,
        table: SyncTable,
        records: u64,
        part: &Path,
        yield_now: &mut YieldNow<'_>,
    ) -> Result<u64, CommandError> {
        let store = self.context.store;
        let mut replacement = match Replacement::under_way(store.people(), job)? {
            Some(replacement) if replacement.records() > 0 => replacement,
            // Or its file was lost, and was fetched again.
            begun => {
                self.check_file(job, table, records, part, yield_now)?;
                let begin = || Replacement::begin(store.people(), job.row, job.high_water_mark);
                begun.unwrap_or_else(begin)
            }
        };
        self.put_records(&mut replacement, table, part, yield_now)?;
        loop {
            yield_now().map_err(FileError::from)?;
            if store.atomically(|| replacement.delete_old(store.people(), table))? {
                return Ok(records);
            }
        }
    }

    /// Refuses a file that is not what it should be, or for which there is no room.
    fn check_file(
        self,
        job: &Job,
        table: SyncTable,
        records: u64,
        part: &Path,
        yield_now: &mut YieldNow<'_>,
    ) -> Result<(), CommandError> {
        let mut checked = Checked::default();
        let mut lines = self.open(part)?;
        loop {
            yield_now().map_err(FileError::from)?;
            if lines.slice(u32::MAX, &mut |line| self.check(job, table, &line, &mut checked))? {
                break;
            }
        }
        if checked.records != records {
            let why = format!("is {records}, but the file has {} records", checked.records);
            return Err(Refusal::field("recordcount", why).into());
        }
        let store = self.context.store;
        if table == SyncTable::Users {
            let others = store.people().count_changed_after(job.high_water_mark)?;
            store.people().require_within_limit(records + others - checked.newer.min(others))?;
        }
        while !store.retention().make_room_for_table(checked.bytes)? {
            yield_now().map_err(FileError::from)?;
        }
        Ok(())
    }

    /// Refuses a line that is not a record of the table.
    fn check(
        self,
        job: &Job,
        table: SyncTable,
        line: &Line,
        checked: &mut Checked,
    ) -> Result<(), CommandError> {
        let store = self.context.store;
        checked.records += 1;
        let bytes = match self.parse(table, line)? {
            SyncRecord::User(change) => {
                let last = store.people().last_change(&change.pin)?;
                let is_newer = last.is_some_and(|last| last.at > job.high_water_mark);
                checked.newer += u64::from(is_newer);
                if last.is_some() { 0 } else { USER_BYTES }
            }
            SyncRecord::Template(template) => {
                if store.people().last_change(&template.pin)?.is_none() {
                    return Err(unknown_user(&template.pin).into());
                }
                let last = store.biometrics().last_change(&template)?;
                let replaced = last.map_or(0, |last| last.bytes);
                let row = if last.is_some() { 0 } else { TEMPLATE_BYTES };
                row + (template.data.as_bytes().len() as u64).saturating_sub(replaced)
            }
        };
        checked.bytes += bytes;
        Ok(())
    }

    /// Stores the records, but for those that stand before what is done already.
    fn put_records(
        self,
        replacement: &mut Replacement,
        table: SyncTable,
        part: &Path,
        yield_now: &mut YieldNow<'_>,
    ) -> Result<(), CommandError> {
        let store = self.context.store;
        let mut lines = self.open(part)?;
        let (mut nth, mut is_over) = (0, false);
        while !is_over {
            yield_now().map_err(FileError::from)?;
            let done = replacement.records();
            is_over = store.atomically(|| {
                let is_over = lines.slice(MOST_LINES, &mut |line| {
                    nth += 1;
                    if nth > done { self.put(replacement, table, &line) } else { Ok(()) }
                })?;
                replacement.record(store.people(), nth)?;
                Ok::<_, CommandError>(is_over)
            })?;
        }
        Ok(())
    }

    /// Stores a record, unless what it replaces changed after the command came, and not by this file.
    /// A user keeps no field that the record does not carry.
    fn put(
        self,
        replacement: &Replacement,
        table: SyncTable,
        line: &Line,
    ) -> Result<(), CommandError> {
        let store = self.context.store;
        let (people, biometrics) = (store.people(), store.biometrics());
        match self.parse(table, line)? {
            SyncRecord::User(change) => {
                let last = people.last_change(&change.pin)?;
                let is_newer = match last {
                    None => replacement.was_deleted(people, &change.pin)?,
                    last => replacement.is_newer(last),
                };
                if !is_newer {
                    let mut user = User::new(change.pin.clone());
                    change.apply(&mut user);
                    people.put_unlimited(&user, Origin::Server)?;
                }
            }
            SyncRecord::Template(template) => {
                // Who was deleted since the check stays so.
                let is_there = people.last_change(&template.pin)?.is_some();
                let is_newer = match biometrics.last_change(&template)? {
                    None => replacement.was_template_deleted(biometrics, &template)?,
                    last => replacement.is_newer(last),
                };
                if is_there && !is_newer {
                    biometrics.put_template_unlimited(&template, Origin::Server)?;
                }
            }
        }
        Ok(())
    }

    /// The record in a line.
    fn parse(self, table: SyncTable, line: &Line) -> Result<SyncRecord, Refusal> {
        let (record, language) = (record_of(table, line)?, self.context.language);
        let form = match table {
            SyncTable::Users => {
                return UserChange::parse(record, language).map(SyncRecord::User);
            }
            SyncTable::Fingerprints => TemplateForm::Fingerprint,
            SyncTable::Faces => TemplateForm::Face,
        };
        self.context.unknown_keys.look_at(table.data_table(), record);
        Template::parse(form, record, language).map(SyncRecord::Template)
    }

    /// Carries out the data commands of a file, each by itself: one that is refused does not stop
    /// the others. Then the first refusal is returned.
    ///
    /// # Errors
    /// If the store fails: what was done stays, and can be done again.
    pub(crate) fn append(
        self,
        part: &Path,
        yield_now: &mut YieldNow<'_>,
    ) -> Result<(), CommandError> {
        let data = Data::new(self.context);
        let (mut first, mut refused) = (None, 0);
        let mut lines = self.open(part)?.joined(self.context.command_bytes);
        let mut is_over = false;
        while !is_over {
            yield_now().map_err(FileError::from)?;
            is_over = self.context.store.atomically(|| {
                lines.slice(MOST_LINES, &mut |line| match text(&line)
                    .map_err(CommandError::from)
                    .and_then(|text| data.apply(text))
                {
                    Err(CommandError::Refused(refusal)) => {
                        refused += 1;
                        first.get_or_insert(refusal);
                        Ok(())
                    }
                    done => done,
                })
            })?;
        }
        match first {
            None => Ok(()),
            Some(refusal) => {
                let why =
                    format!("{refused} lines of the file were refused, the first: {}", refusal.why);
                Err(Refusal { why, ..refusal }.into())
            }
        }
    }

    fn open(self, part: &Path) -> Result<DataLines, FileError> {
        DataLines::open(part, &archive_limits(self.context.policy), self.context.command_bytes)
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
