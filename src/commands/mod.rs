//! Commands of the server, each with an effect once and a result that stays until the
//! server took it.
//!
//! A piece of a command list is carried out in two transactions: the first writes down that
//! the commands are about to run, the second holds their effects *and* their results. So a
//! command that is cut off leaves no trace but that it was tried; one that makes the
//! program fall over is tried three times and not for ever.

mod data;
mod info;
mod options;
pub mod query;

pub use info::Device;

use md5::{Digest, Md5};

use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::command::{Command, CommandLine, reply_name};
use crate::protocol::fields::Refusal;
use crate::protocol::lines::Line;
use crate::protocol::stream::Stream;
use crate::store::options::{CHECK, REBOOT};
use crate::store::{Begun, Store, StoreError};
use crate::terminal::Terminal;

/// How often a command is begun that never comes to an end.
const MOST_ATTEMPTS: u32 = 3;

/// What the commands work on.
pub struct Executor<'a> {
    /// The store.
    pub store: &'a Store,
    /// The device.
    pub terminal: &'a mut dyn Terminal,
    /// What is told about it.
    pub device: &'a Device,
    /// The terminal's language.
    pub language: Language,
    /// Answer `VERIFY SUM` with `AttlogCount` too.
    pub attlog_count: bool,
    /// Whether the owner allows `CLEAR DATA`.
    pub may_clear_data: bool,
}

/// What the loop should do after a piece of a command list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Commands that were not known before.
    pub fresh: usize,
    /// The options are to be read again.
    pub handshake: bool,
    /// New data is to be sent now.
    pub upload: bool,
    /// An option was set: its name in lower case is of interest to the session.
    pub option_set: bool,
}

impl Notes {
    fn add(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.handshake |= other.handshake;
        self.upload |= other.upload;
        self.option_set |= other.option_set;
    }
}

/// How a command ended.
enum End {
    /// With a code, and what follows `CMD=…` in the reply.
    Now(ReturnCode, Vec<u8>),
    /// It goes on in the background; the result is stored later.
    Later,
}

/// A command that was begun.
struct Todo<'a> {
    row: i64,
    attempts: u32,
    line: CommandLine<'a>,
    overlong: bool,
}

impl Executor<'_> {
    /// Carries out a piece of a command list. Lines that are no commands are left out.
    ///
    /// # Errors
    /// If the store fails: then none of the piece has happened.
    pub fn run(&mut self, lines: &[Line]) -> Result<Notes, StoreError> {
        // Where one was cut off before, each runs by itself: if that one makes the program
        // fall over, its neighbours are not counted as tried.
        if lines.len() > 1 && self.any_was_cut_off(lines)? {
            let mut notes = Notes::default();
            for line in lines {
                notes.add(self.run_together(std::slice::from_ref(line))?);
            }
            return Ok(notes);
        }
        self.run_together(lines)
    }

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

    fn any_was_cut_off(&self, lines: &[Line]) -> Result<bool, StoreError> {
        for Line::Whole(bytes) | Line::Overlong(bytes) in lines {
            if self.store.is_unfinished(&digest(bytes))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run_together(&mut self, lines: &[Line]) -> Result<Notes, StoreError> {
        let todo = self.store.atomically(|| self.begin(lines))?;
        let mut notes = Notes { fresh: todo.len(), ..Notes::default() };
        let store = self.store;
        let done = store.atomically(|| {
            for command in &todo {
                self.carry_out(command, &mut notes)?;
            }
            Ok(())
        });
        if let Err(error) = done {
            // Not the commands' fault: these attempts do not count.
            let rows: Vec<i64> = todo.iter().map(|command| command.row).collect();
            let _ = self.store.attempt_void(&rows);
            return Err(error);
        }
        Ok(notes)
    }

    fn begin<'l>(&self, lines: &'l [Line]) -> Result<Vec<Todo<'l>>, StoreError> {
        let mut todo: Vec<Todo<'_>> = Vec::new();
        for line in lines {
            let (bytes, overlong) = match line {
                Line::Whole(bytes) => (bytes, false),
                Line::Overlong(bytes) => (bytes, true),
            };
            let line = match CommandLine::parse(bytes) {
                Ok(line) => line,
                Err(why) => {
                    log::warn!("a line of the server was skipped: {why}: {}", excerpt(bytes));
                    continue;
                }
            };
            let begun =
                self.store.begin_command(&digest(bytes), line.id, &reply_name(line.text))?;
            if let Begun::Now { row, attempts } = begun
                && todo.iter().all(|other| other.row != row)
            {
                todo.push(Todo { row, attempts, line, overlong });
            }
        }
        Ok(todo)
    }

    fn carry_out(&mut self, command: &Todo<'_>, notes: &mut Notes) -> Result<(), StoreError> {
        let end = if command.overlong {
            log::warn!("command {} is too long and was refused", command.line.id);
            End::Now(ReturnCode::TOO_LONG, Vec::new())
        } else if command.attempts > MOST_ATTEMPTS {
            log::error!(
                "command {} never came to an end in {MOST_ATTEMPTS} attempts and is given up: {}",
                command.line.id,
                excerpt(command.line.text)
            );
            End::Now(ReturnCode::TIMED_OUT, Vec::new())
        } else {
            self.obey(command, notes)?
        };
        match end {
            End::Now(code, rest) => self.store.finish_command(command.row, code, &rest),
            End::Later => self.store.command_goes_on(command.row),
        }
    }

    fn obey(&mut self, todo: &Todo<'_>, notes: &mut Notes) -> Result<End, StoreError> {
        let command = match Command::parse(todo.line.text) {
            Ok(command) => command,
            Err(refusal) => return Ok(refused(todo, &refusal)),
        };
        let done = || Ok(End::Now(ReturnCode::DONE, Vec::new()));
        let result = match command {
            Command::Update(table, record) => self.update(table, record)?,
            Command::Delete(table, record) => self.delete(table, record)?,
            Command::Query(table, record) => match self.query(todo.row, table, record)? {
                Ok(end) => return Ok(end),
                Err(refusal) => Err(refusal),
            },
            Command::VerifySum(record) => match self.verify_sum(record)? {
                Ok(end) => return Ok(end),
                Err(refusal) => Err(refusal),
            },
            Command::ClearLog => {
                self.store.clear_uploaded(&[Stream::Punches, Stream::IdPunches])?;
                return done();
            }
            Command::ClearPhoto => {
                self.store.clear_uploaded(&[Stream::Photos, Stream::IdPhotos])?;
                return done();
            }
            Command::ClearData if !self.may_clear_data => Err(Refusal::new(
                ReturnCode::UNSUPPORTED,
                "the owner does not allow it ([commands] clear_data)",
            )),
            Command::ClearData => {
                self.store.clear_data()?;
                log::warn!("command {} cleared all data, as the owner allows", todo.line.id);
                return done();
            }
            Command::SetOption(option) => {
                notes.option_set = true;
                self.set_option(option)?
            }
            Command::Check => {
                // Outlives a restart: the handshake that follows clears it.
                self.store.set_option(CHECK, "1")?;
                notes.handshake = true;
                return done();
            }
            Command::Log => {
                notes.upload = true;
                return done();
            }
            Command::ReloadOptions => self.terminal.reload().map_err(Refusal::parameter),
            Command::Reboot if self.terminal.can_reboot() => {
                // The act comes when the server has this answer.
                self.store.set_option(REBOOT, todo.line.id)?;
                return done();
            }
            Command::Info => return Ok(End::Now(ReturnCode::DONE, self.info()?)),
            Command::Reboot | Command::Unknown => {
                Err(Refusal::new(ReturnCode::UNSUPPORTED, "this terminal does not know it"))
            }
        };
        match result {
            Ok(()) => done(),
            Err(refusal) => Ok(refused(todo, &refusal)),
        }
    }
}

fn refused(todo: &Todo<'_>, refusal: &Refusal) -> End {
    log::warn!(
        "command {} was refused with {}: {}: {}",
        todo.line.id,
        refusal.code,
        refusal.why,
        excerpt(todo.line.text)
    );
    End::Now(refusal.code, Vec::new())
}

/// By what a command is known again: its id and its text.
fn digest(line: &[u8]) -> [u8; 16] {
    Md5::digest(line).into()
}

/// The beginning of a command, fit for a log.
fn excerpt(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&text[..text.len().min(80)]);
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
