//! Commands as they come in an answer of the server: each is new, a repeat of one that came before, or
//! carried on after it was cut off. That is recorded in the transaction that begins the new ones.

use std::cell::Cell;

use super::context::Context;
use super::pending::{ListedCommand, PendingCommand};
use super::repeats::{Asked, asked};
use crate::protocol::codes::ReturnCode;
use crate::protocol::command::reply_name;
use crate::store::{AnswerKind, Askings, CommandState, Store, StoreError};

/// The answer in which commands come.
pub(crate) struct ListOrigin {
    kind: AnswerKind,
    /// Its number, once it had a command.
    number: Cell<Option<i64>>,
}

impl ListOrigin {
    /// An answer that had no command so far.
    pub(crate) fn new(kind: AnswerKind) -> Self {
        Self { kind, number: Cell::new(None) }
    }

    /// The whole answer came: what it shows of the commands that are not in it is kept.
    ///
    /// # Errors
    /// If the store fails: then nothing is shown.
    pub(crate) fn is_complete(&self, store: &Store) -> Result<(), StoreError> {
        let log = store.command_log();
        let mut askings = log.askings()?;
        if askings.saw_answer(self.kind, self.number.get()) {
            log.set_askings(&askings)?;
        }
        Ok(())
    }
}

/// Some commands of an answer, in a transaction of the caller.
pub(super) struct Arrival<'a> {
    context: &'a Context<'a>,
    origin: &'a ListOrigin,
    askings: Askings,
    list: i64,
    now: i64,
    /// With which result new commands are begun: `None` if they are carried out in another transaction.
    result: Option<ReturnCode>,
}

impl<'a> Arrival<'a> {
    pub(super) fn begin(
        context: &'a Context<'a>,
        origin: &'a ListOrigin,
        result: Option<ReturnCode>,
    ) -> Result<Self, StoreError> {
        let mut askings = context.store.command_log().askings()?;
        let list = match origin.number.get() {
            Some(number) => number,
            None => askings.begin_list(),
        };
        let now = askings.time.now(context.clock);
        Ok(Self { context, origin, askings, list, now, result })
    }

    /// Records that a command is about to run; `None` if it is a repeat.
    pub(super) fn take<'l>(
        &mut self,
        command: &ListedCommand<'l>,
    ) -> Result<Option<PendingCommand<'l>>, StoreError> {
        let log = self.context.store.command_log();
        let (at, name) = ((self.list, self.now), reply_name(command.text));
        let known = log.find(&command.digest, command.id)?;
        let begin = |result| -> Result<_, StoreError> {
            Ok((log.begin(&command.digest, command.id, &name, at, result)?, 1, result))
        };
        let (row, attempts, result) = match known {
            None => {
                let has_other_text = || log.has_other_text(&command.digest, command.id);
                self.askings.saw_id(command.id, has_other_text, self.list)?;
                begin(self.result)?
            }
            Some(known) => {
                let kind = self.origin.kind;
                match asked(command.text, &known, &self.askings, kind, self.now) {
                    // Twice in one list.
                    Asked::CutOff { .. } if known.list == self.list => return Ok(None),
                    Asked::CutOff { attempts } => {
                        log.begin_again(known.row, at)?;
                        (known.row, attempts + 1, None)
                    }
                    Asked::Repeat => {
                        if matches!(known.state, CommandState::Taken { .. }) {
                            log::info!(
                                "command {} came again and is answered with its result: it is not \
                                 carried out twice",
                                command.id
                            );
                        }
                        log.came_again(known.row, at)?;
                        return Ok(None);
                    }
                    Asked::Anew => {
                        log::info!("command {} came before and is asked anew", command.id);
                        begin(self.result)?
                    }
                }
            }
        };
        Ok(Some(PendingCommand {
            row,
            attempts,
            id: command.id,
            name,
            text: command.text,
            is_overlong: command.is_overlong,
            is_resumed: false,
            result,
            is_new: known.is_none(),
        }))
    }

    /// Keeps what the commands showed.
    pub(super) fn end(mut self) -> Result<(), StoreError> {
        self.askings.time.set(self.context.clock);
        self.context.store.command_log().set_askings(&self.askings)?;
        self.origin.number.set(Some(self.list));
        Ok(())
    }
}
