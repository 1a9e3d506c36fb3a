//! Files of data commands: `Action=SyncData`, which replaces a table as a whole, and
//! `Action=AppendData`, which adds to what is there (§12.8.2).

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::Executor;
use super::file::refusal;
use crate::files::{FileError, open_list};
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::{Command, CommandLine};
use crate::protocol::fields::Refusal;
use crate::protocol::file::SyncTable;
use crate::protocol::lines::{Line, Lines};
use crate::protocol::record::{Template, TemplateForm, User, UserChange};
use crate::store::{Job, Origin, Seq, StoreError};

/// Bytes that are read together.
const CHUNK: usize = 16 << 10;

/// Why a file was not taken.
enum Stop {
    Refused(Refusal),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Executor<'_> {
    /// Puts the records of a file in the place of all that a table held when the command came;
    /// what changed since is newer, and stays. All or nothing: the file is read through and
    /// checked first, then stored in one transaction. How many records.
    ///
    /// # Errors
    /// If the store fails. A refusal changed nothing.
    pub fn sync(
        &self,
        job: &Job,
        table: SyncTable,
        records: u64,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Result<u64, Refusal>, StoreError> {
        let checked = self.lines(part, yield_now, |lines| {
            lines.iter().try_for_each(|line| self.check(table, line)).map_err(Stop::Refused)
        });
        let done = checked.and_then(|found| {
            if found != records {
                let why = format!("the file holds {found} records, RecordCount is {records}");
                return Err(Refusal::field("recordcount", why).into());
            }
            // Nobody is served in between: no transaction is open across a wait.
            self.store.atomically(|| {
                let before = self.store.high_water_mark();
                let stored = self.lines(part, &mut || Ok(()), |lines| {
                    lines.iter().try_for_each(|line| self.replace(table, line, job.mark..before))
                })?;
                self.store.people().delete_unchanged(table, job.mark)?;
                let most = self.profile.most_users;
                if self.store.people().count()? > most {
                    let why = format!("there would be more than {most} users");
                    return Err(Refusal::new(ReturnCode::CAPACITY, why).into());
                }
                Ok(stored)
            })
        });
        match done {
            Ok(stored) => Ok(Ok(stored)),
            Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
            Err(Stop::Store(error)) => Err(error),
        }
    }

    /// Carries out the data commands of a file, each by itself; what is refused does not stop
    /// the others. The first refusal, if there was one.
    ///
    /// # Errors
    /// If the store fails: what was done stays done, and can be done again.
    pub fn append(
        &self,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let (mut first, mut refused) = (None, 0);
        let done = self.lines(part, yield_now, |lines| {
            self.store.atomically(|| {
                for line in lines {
                    let done = match text(line) {
                        Ok(text) => self.apply(text)?,
                        Err(refusal) => Err(refusal),
                    };
                    if let Err(refusal) = done {
                        refused += 1;
                        first.get_or_insert(refusal);
                    }
                }
                Ok(())
            })
        });
        match done {
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
            Err(Stop::Store(error)) => return Err(error),
            Ok(_) => {}
        }
        Ok(match first {
            None => Ok(()),
            Some(refusal) => Err(Refusal {
                why: format!("{refused} of its commands were refused, the first: {}", refusal.why),
                ..refusal
            }),
        })
    }

    /// Reads a file line by line and hands them on in chunks. How many lines.
    fn lines(
        &self,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
        mut each: impl FnMut(&[Line]) -> Result<(), Stop>,
    ) -> Result<u64, Stop> {
        let unread = |error: io::Error| refusal(FileError::from(error));
        let mut file = open_list(part, &self.archive_limits()).map_err(refusal)?;
        let (mut lines, mut count) = (Lines::new(self.command_bytes), 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            yield_now().map_err(unread)?;
            let amount = file.read(&mut chunk).map_err(unread)?;
            let mut whole = Vec::new();
            if amount > 0 {
                lines.push(&chunk[..amount], |line| whole.push(line));
            } else {
                whole.extend(lines.rest());
            }
            each(&whole)?;
            count += whole.len() as u64;
            if amount == 0 {
                return Ok(count);
            }
        }
    }

    /// Refuses a line that is no record of the table.
    fn check(&self, table: SyncTable, line: &Line) -> Result<(), Refusal> {
        let record = record_of(table, line)?;
        let form = match table {
            SyncTable::Users => return UserChange::parse(record, self.language).map(drop),
            SyncTable::Fingerprints => TemplateForm::Fingerprint,
            SyncTable::Faces => TemplateForm::Face,
        };
        Template::parse(form, record, self.language).map(drop)
    }

    /// Stores a record; of a user nothing stays that the record does not carry.
    fn replace(&self, table: SyncTable, line: &Line, newer: Range<Seq>) -> Result<(), Stop> {
        let record = record_of(table, line)?;
        let pin = self.pin_of(record)?;
        if self
            .store
            .people()
            .last_changed(table, &pin)?
            .is_some_and(|at| at > newer.start && at <= newer.end)
        {
            return Ok(());
        }
        if table != SyncTable::Users {
            return self.update(table.data_table(), record)?.map_err(Stop::Refused);
        }
        let change = UserChange::parse(record, self.language)?;
        let mut user = User::new(change.pin.clone());
        change.apply(&mut user);
        self.store.people().put(&user, Origin::Server)?;
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
        Line::Whole(bytes) if bytes.starts_with(b"C:") => {
            CommandLine::parse(bytes).map(|line| line.text).map_err(Refusal::parameter)
        }
        Line::Whole(bytes) => Ok(bytes),
    }
}
