//! Command lists (§12): a body is read as a stream of lines, and its commands are carried out as
//! they come, however many there are.

use std::time::Duration;

use super::context::Context;
use super::server_change;
use super::session::Session;
use super::trouble::Trouble;
use crate::commands::{ListOrigin, ListedCommand};
#[cfg(feature = "exchange")]
use crate::exchange;
use crate::protocol::command::CommandLine;
use crate::protocol::lines::{Line, Lines};
use crate::protocol::records::RecordJoiner;
use crate::protocol::text::decode_for_log;
use crate::reactor;
use crate::store::options::LIST;
use crate::store::{AnswerKind, StoreError};
use crate::uplink::{ReadLimit, Response};

/// Bytes of a body that are read together.
const CHUNK: usize = 16 << 10;
/// Bytes of commands that are carried out together: a list of more is a long one.
const BATCH: usize = 64 << 10;
/// Lines that are carried out in one transaction: a list of more is a long one, too, since drivers
/// wait for the transaction.
const SHORT_LIST: usize = 64;
/// How long commands may wait for those that come after them.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// Most results that wait for the server before no more commands are taken.
const MOST_WAITING: u64 = 200_000;
/// Results that may wait in any case.
const LEAST_TAKEN: u64 = 100;

/// Reads command lists and carries them out.
#[derive(Default)]
pub(super) struct CommandReader {
    /// What stood after the last line end of a body without a known end.
    fragment: Option<Vec<u8>>,
}

impl CommandReader {
    /// Whether the end of the last list may have been cut off.
    pub(super) fn has_fragment(&self) -> bool {
        self.fragment.is_some()
    }

    /// Reads a body and carries out its commands. Of a body that does not start like the protocol
    /// none is carried out.
    pub(super) fn read(
        &mut self,
        context: &mut Context,
        session: &mut Session,
        response: &mut Response,
        kind: AnswerKind,
    ) -> Result<List, Trouble> {
        let mut reading = self.begin(context, kind)?;
        loop {
            match self.go_on(context, session, response, reading)? {
                Read::Whole(list) => return Ok(list),
                Read::Paused(paused) => reading = paused,
            }
        }
    }

    /// Prepares to read a body.
    pub(super) fn begin(
        &mut self,
        context: &Context,
        kind: AnswerKind,
    ) -> Result<Reading, Trouble> {
        server_change::forget_other(context)?;
        context.store.command_log().void_those_before()?;
        let was_cut_off = context.store.options().get(LIST)?.is_some();
        let mode = if was_cut_off { Mode::AfterCutOff } else { Mode::Short };
        let earlier = self.fragment.take();
        #[cfg_attr(not(feature = "exchange"), expect(unused_mut))]
        let mut list = List::new(kind, room(context)?, mode);
        #[cfg(feature = "exchange")]
        if kind == AnswerKind::Handshake {
            list.is_barred = context.settings.exchange == exchange::Mode::Required;
        }
        Ok(Reading {
            list,
            kind,
            lines: Lines::new(context.settings.command_bytes),
            joiner: RecordJoiner::new(context.settings.command_bytes),
            is_missing: earlier.is_some(),
            earlier,
            batch: Vec::new(),
            bytes: 0,
            begun: context.clock.monotonic(),
        })
    }

    /// Reads on, to the end or to the limit of the response's reads, and carries out the commands that
    /// came.
    pub(super) fn go_on(
        &mut self,
        context: &mut Context,
        session: &mut Session,
        response: &mut Response,
        mut reading: Reading,
    ) -> Result<Read, Trouble> {
        let done = self.read_lines(context, session, response, &mut reading);
        if matches!(done, Ok(IsOver(false))) {
            return Ok(Read::Paused(reading));
        }
        let Reading { mut list, kind, .. } = reading;
        // The list that was cut off is finished only when it was read to its end.
        let is_over = match list.mode {
            Mode::Short => false,
            Mode::Long => true,
            Mode::AfterCutOff => kind == AnswerKind::Poll && list.commands > 0 && done.is_ok(),
        };
        if is_over {
            context.store.options().clear(LIST)?;
        }
        done?;
        // A body without a known end may be the beginning of one. Only if it says something, and that is
        // no command, it can be told from the beginning of a list.
        let says_no_command = list.commands == 0 && !list.others.is_empty() && !self.has_fragment();
        list.is_whole = !list.is_full && (response.framed || says_no_command);
        Ok(Read::Whole(list))
    }

    fn read_lines(
        &mut self,
        context: &mut Context,
        session: &mut Session,
        response: &mut Response,
        reading: &mut Reading,
    ) -> Result<IsOver, Trouble> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let amount = match response.body.read(&mut chunk) {
                // What came is not held back.
                Err(error) if ReadLimit::is_in(&error) => {
                    reading.execute(context, session)?;
                    return Ok(IsOver(false));
                }
                read => read.map_err(|error| response.broke_off(error))?,
            };
            if amount > 0 {
                reading.push(&chunk[..amount]);
            } else {
                self.last_lines(!response.framed, reading);
            }
            reading.look_for_earlier();
            // A list that comes slowly is not held back either.
            let waited = context.clock.monotonic().saturating_sub(reading.begun);
            if amount == 0 || reading.bytes >= BATCH || waited > BATCH_TIME {
                reading.execute(context, session)?;
            }
            if amount == 0 {
                if reading.is_missing && self.fragment.is_none() {
                    log::warn!(
                        "the last line of a command list, which may have been cut off, did not come \
                         again: it is not carried out"
                    );
                }
                return Ok(IsOver(true));
            }
            // The options of a handshake are wanted all the same.
            if reading.list.is_full && reading.kind == AnswerKind::Poll {
                return Ok(IsOver(true));
            }
        }
    }

    /// What stands at the end of a body: the last command, and the text after the last line end. That
    /// is a whole line if the end of the body is known; otherwise (`may_be_cut`) only if the next body
    /// ends with the same bytes.
    fn last_lines(&mut self, may_be_cut: bool, reading: &mut Reading) {
        let Reading { lines, joiner, batch, earlier, list, .. } = reading;
        let rest = lines.rest();
        let may_be_command = |bytes: &[u8]| CommandLine::begins(bytes) || joiner.continues(bytes);
        let is_open =
            may_be_cut && matches!(&rest, Some(Line::Whole(bytes)) if may_be_command(bytes));
        list.may_be_cut = may_be_cut && rest.is_some() && !is_open;
        if let Some(rest) = rest {
            // A command before it is whole; a record belongs to the command before it.
            joiner.push(rest, |line| batch.push(line));
        }
        let mut last = joiner.take();
        // What takes no records has been passed on.
        if is_open && last.is_none() {
            last = batch.pop();
        }
        match last {
            Some(Line::Whole(bytes)) if is_open && earlier.as_deref() != Some(&bytes[..]) => {
                log::debug!("the end of the command list may be cut off: asking again");
                self.fragment = Some(bytes);
            }
            last => batch.extend(last),
        }
    }
}

/// Whether a body was read to its end, or to where it is wanted.
struct IsOver(bool);

/// How far a body was read.
pub(super) enum Read {
    /// The limit of the reads was reached: it goes on later.
    Paused(Reading),
    /// To its end.
    Whole(List),
}

/// A body that is being read.
pub(super) struct Reading {
    list: List,
    kind: AnswerKind,
    lines: Lines,
    joiner: RecordJoiner,
    /// What stood at the end of the body before it, and may have been cut off.
    earlier: Option<Vec<u8>>,
    /// It has not come again yet.
    is_missing: bool,
    /// The lines that are not carried out yet.
    batch: Vec<Line>,
    /// How many bytes they have, and since when they wait.
    bytes: usize,
    begun: Duration,
}

impl Reading {
    fn push(&mut self, bytes: &[u8]) {
        let Self { lines, joiner, batch, .. } = self;
        lines.push(bytes, |line| joiner.push(line, |line| batch.push(line)));
        self.bytes += bytes.len();
    }

    fn look_for_earlier(&mut self) {
        let Self { is_missing, batch, earlier, .. } = self;
        *is_missing = *is_missing && !batch.iter().any(|line| is_it(line, earlier.as_deref()));
    }

    /// Carries out the commands of the batch.
    fn execute(&mut self, context: &mut Context, session: &mut Session) -> Result<(), Trouble> {
        let Self { list, batch, .. } = self;
        let is_long = self.bytes >= BATCH || batch.len() > SHORT_LIST;
        if is_long && list.mode == Mode::Short {
            context.store.options().set(LIST, "1")?;
            list.mode = Mode::Long;
        }
        let commands = list.commands_among(std::mem::take(batch));
        list.execute(context, session, &commands)?;
        (self.bytes, self.begun) = (0, context.clock.monotonic());
        Ok(())
    }
}

/// Whether a line is the one that may have been cut off before.
fn is_it(line: &Line, earlier: Option<&[u8]>) -> bool {
    matches!(line, Line::Whole(bytes) if Some(bytes.as_slice()) == earlier)
}

/// How many commands can be taken: as many as their results have room beside the reserve of the
/// punches, and a few in any case, so that deletions go.
fn room(context: &Context) -> Result<u64, StoreError> {
    let waiting = context.store.command_log().count_replies()?;
    let fit = context.store.retention().capacity()?.commands();
    let least = LEAST_TAKEN.saturating_sub(waiting);
    Ok(MOST_WAITING.saturating_sub(waiting).min(fit.max(least)))
}

/// How the commands of a list are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Together. For each it is written down that it was tried.
    #[default]
    Short,
    /// In large transactions. For all of them together it is written down that they were tried.
    Long,
    /// As a short list, since the last list was cut off.
    AfterCutOff,
}

/// What a body held that may hold commands.
pub(super) struct List {
    origin: ListOrigin,
    /// All of it came.
    is_whole: bool,
    /// Its last line is no command and has no line end, and nothing else tells where the body ends: it may
    /// have been cut off.
    pub(super) may_be_cut: bool,
    /// How many commands.
    pub(super) commands: usize,
    /// How many of them were not known before.
    pub(super) fresh: usize,
    /// The lines that are no commands, at most [`MOST_OTHERS`] of them.
    pub(super) others: Vec<String>,
    mode: Mode,
    /// How many commands can be taken.
    room: u64,
    /// There were more.
    is_full: bool,
    /// None is taken: the owner requires encryption, and a handshake has none.
    #[cfg(feature = "exchange")]
    is_barred: bool,
    /// One was not taken for that, and the log says so.
    #[cfg(feature = "exchange")]
    has_barred: bool,
}

/// Most lines that are kept although they are no commands, and most bytes of each.
const MOST_OTHERS: usize = 300;
const LONGEST_OTHER: usize = 8 << 10;

impl List {
    fn new(kind: AnswerKind, room: u64, mode: Mode) -> Self {
        Self {
            origin: ListOrigin::new(kind),
            is_whole: false,
            may_be_cut: false,
            commands: 0,
            fresh: 0,
            others: Vec::new(),
            mode,
            room,
            is_full: false,
            #[cfg(feature = "exchange")]
            is_barred: false,
            #[cfg(feature = "exchange")]
            has_barred: false,
        }
    }

    /// The body is an answer of the server. If all of it came, it shows which commands the server does
    /// not ask for any more.
    pub(super) fn is_answer(&self, context: &Context) -> Result<(), StoreError> {
        if self.is_whole { self.origin.is_complete(&context.store) } else { Ok(()) }
    }

    /// Keeps the lines that are no commands; returns the others, as far as they can be taken.
    fn commands_among(&mut self, lines: Vec<Line>) -> Vec<Line> {
        let mut commands = Vec::new();
        for line in lines {
            let (Line::Whole(bytes) | Line::Overlong(bytes)) = &line;
            let is_command = CommandLine::begins(bytes) && self.is_of_the_protocol();
            #[cfg(feature = "exchange")]
            if is_command && self.is_barred {
                if !std::mem::replace(&mut self.has_barred, true) {
                    log::warn!(
                        "no command of the reply to the handshake, which is not encrypted, is carried out: \
                         [encryption] exchange is \"required\""
                    );
                }
                continue;
            }
            if is_command && self.commands as u64 >= self.room {
                if !std::mem::replace(&mut self.is_full, true) {
                    log::warn!(
                        "there is no room for more results of commands: no more commands are taken \
                         until the server has taken some; it has to send the rest again"
                    );
                }
            } else if is_command {
                self.commands += 1;
                commands.push(line);
            } else if self.others.len() < MOST_OTHERS {
                let shown = &bytes[..bytes.len().min(LONGEST_OTHER)];
                self.others.push(decode_for_log(shown).into_owned());
            }
        }
        commands
    }

    fn execute(
        &mut self,
        context: &mut Context,
        session: &mut Session,
        lines: &[Line],
    ) -> Result<(), Trouble> {
        let commands: Vec<_> = lines.iter().filter_map(ListedCommand::read).collect();
        let mut rest = &commands[..];
        while !rest.is_empty() {
            let (effects, done) = match self.mode {
                Mode::Long => context.commands().list().run_long(rest, &self.origin)?,
                Mode::Short | Mode::AfterCutOff => {
                    context.commands().list().run(rest, &self.origin)?
                }
            };
            session.apply_effects(context, &effects)?;
            self.fresh += effects.fresh;
            rest = &rest[done..];
            // Also behind the last ones: the next batch may be here already, and no read waits for it.
            reactor::yield_now()?;
        }
        Ok(())
    }

    /// Whether the body so far may be of the protocol: a web page that holds a line `C:1:…`
    /// is no command list.
    fn is_of_the_protocol(&self) -> bool {
        self.others.first().is_none_or(|first| !first.trim_start().starts_with('<'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        List::new(AnswerKind::Poll, 3, Mode::Short)
    }

    fn line(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn so_many_lines_that_are_no_commands_are_kept_and_so_much_of_each() {
        let mut list = list();
        let lines = (0..301).map(|nth| line(&format!("Option{nth}=1"))).collect();
        assert_eq!(list.commands_among(lines), []);
        assert_eq!((list.others.len(), list.others[299].as_str()), (300, "Option299=1"));
        // Commands behind them are taken all the same, as far as there is room.
        let commands: Vec<_> = (1..=4).map(|id| line(&format!("C:{id}:INFO"))).collect();
        assert_eq!(list.commands_among(commands).len(), 3);
        assert_eq!((list.commands, list.is_full, list.others.len()), (3, true, 300));
    }

    #[test]
    fn the_beginning_of_a_long_line_that_is_no_command_is_kept() {
        let mut list = list();
        list.commands_among([8192, 8193].map(|bytes| line(&"x".repeat(bytes))).into());
        assert_eq!(list.others.iter().map(String::len).collect::<Vec<_>>(), [8192; 2]);
    }
}
