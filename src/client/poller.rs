//! Asking for commands (§12).

use std::time::Duration;

use super::command_list::{CommandReader, Read, Reading};
use super::context::{self, Context};
use super::no_commands::NoCommands;
use super::poll_info::PollInfo;
use super::server_date::ServerDate;
use super::session::Session;
use super::trouble::Trouble;
use crate::store::AnswerKind;
use crate::uplink::{Cause, Exchange, HeldExchange, ReadLimit, Request, Response};

/// How long the body of an answer may take before the poll is held.
const SLOW_BODY: Duration = Duration::from_secs(2);

/// What waited while a poll was held goes before the next one for as long as that was, and no longer.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// How long a server is remembered as one that does one thing at a time.
const A_DAY: Duration = Duration::from_secs(86_400);

/// Asks for commands.
#[derive(Default)]
pub(super) struct Poller {
    /// When the next poll is due, on the monotonic clock.
    due_at: Duration,
    /// There was a session before.
    had_session: bool,
    info: PollInfo,
    held: Option<HeldPoll>,
    /// Before that what waited for a held poll goes first.
    rests_until: Duration,
    /// The server does one thing at a time: until then nothing goes beside a held poll.
    alone_until: Duration,
    /// The last poll was held, and its connection was closed without an answer.
    was_closed: bool,
    no_commands: NoCommands,
}

/// A poll that the server holds until it has a command, or whose answer comes slowly. What cannot wait
/// goes on meanwhile, on another connection. It is read to its end: the server may have handed a
/// command to it.
struct HeldPoll {
    /// Since when, on the monotonic clock.
    since: Duration,
    /// The INFO that was sent with it.
    info: Option<String>,
    answer: Answering,
}

/// How far the answer is.
enum Answering {
    Head(Box<dyn HeldExchange>),
    Body { response: Box<Response>, reading: Box<Reading>, is_retry: bool },
}

/// What a poll led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// Its answer was read and carried out.
    Answered,
    /// It is held.
    Held,
}

/// What a poll works with.
pub(super) struct PollTools<'a> {
    pub(super) context: &'a mut Context,
    pub(super) session: &'a mut Session,
    pub(super) commands: &'a mut CommandReader,
}

impl Poller {
    pub(super) fn due_at(&self) -> Duration {
        self.due_at
    }

    /// A session has begun. Its first poll is due at once; that of the first session after `offset`, so
    /// that a fleet that starts together does not poll in step from then on.
    pub(super) fn begin_session(&mut self, now: Duration, offset: Duration) {
        self.due_at = if self.had_session { now } else { now + offset };
        self.had_session = true;
    }

    /// Goes on for another one with the same server, and with the poll that it holds.
    pub(super) fn take_over(&mut self, earlier: &mut Self) {
        self.held = earlier.held.take();
        self.had_session = earlier.had_session;
    }

    /// Until when what waited for a held poll goes before the next one.
    pub(super) fn rests_until(&self) -> Duration {
        self.rests_until
    }

    /// A request beside a poll that the server holds got no answer.
    pub(super) fn serves_one_at_a_time(&mut self, now: Duration) {
        if !self.is_alone(now) {
            log::info!(
                "the server answers nothing beside a poll that it holds: for a day punches wait for the \
                 answer to the poll"
            );
        }
        self.alone_until = now + A_DAY;
    }

    /// Whether nothing goes beside a held poll.
    pub(super) fn is_alone(&self, now: Duration) -> bool {
        now < self.alone_until
    }

    /// Since when a poll is held, if one is.
    pub(super) fn held_since(&self) -> Option<Duration> {
        self.held.as_ref().map(|held| held.since)
    }

    /// Asks for commands and carries them out.
    pub(super) fn poll(&mut self, tools: &mut PollTools<'_>) -> Result<Polled, Trouble> {
        let context = &mut *tools.context;
        let since = context.clock.monotonic();
        let info = self.info.changed(context)?;
        let target = context.target("/iclock/getrequest");
        let target = match &info {
            Some(info) => target.with("INFO", info),
            None => target,
        };
        match context.exchange_or_hold(&Request::get(target.as_str()))? {
            Exchange::Answered(response) => {
                response.reads.set(SLOW_BODY);
                let answer = begin(tools, *response, IsHeld(false))?;
                self.read_on(tools, HeldPoll { since, info, answer })
            }
            Exchange::Held(head) => {
                self.held = Some(HeldPoll { since, info, answer: Answering::Head(head) });
                Ok(Polled::Held)
            }
        }
    }

    /// Waits for the answer to the poll that is held, for so long, or until there is something else for
    /// the loop to do.
    pub(super) fn go_on(
        &mut self,
        tools: &mut PollTools<'_>,
        wait: Duration,
    ) -> Result<Polled, Trouble> {
        let Some(mut held) = self.held.take() else { return Ok(Polled::Answered) };
        if let Answering::Head(head) = &mut held.answer {
            let reads = ReadLimit::default();
            reads.set_until_woken(wait);
            let response = match head.head(&reads) {
                Ok(Some(response)) => response,
                Ok(None) => {
                    self.held = Some(held);
                    return Ok(Polled::Held);
                }
                // It is asked again at once; a second time in a row it is a failure.
                Err(failure) if failure.cause() == Some(Cause::Closed) && !self.was_closed => {
                    self.was_closed = true;
                    self.due_at = tools.context.clock.monotonic();
                    return Err(Trouble::Unsettled);
                }
                Err(failure) => return Err(failure.into()),
            };
            held.answer = begin(tools, response, IsHeld(true))?;
        }
        if let Answering::Body { response, .. } = &held.answer {
            response.reads.set_until_woken(wait);
        }
        self.read_on(tools, held)
    }

    /// Reads on, and carries out the commands that come.
    fn read_on(
        &mut self,
        tools: &mut PollTools<'_>,
        mut held: HeldPoll,
    ) -> Result<Polled, Trouble> {
        let Answering::Body { mut response, reading, is_retry } = held.answer else {
            return Ok(Polled::Answered);
        };
        let PollTools { context, session, commands } = tools;
        let list = match commands.go_on(context, session, &mut response, *reading)? {
            Read::Whole(list) => list,
            Read::Paused(reading) => {
                let reading = Box::new(reading);
                held.answer = Answering::Body { response, reading, is_retry };
                self.held = Some(held);
                return Ok(Polled::Held);
            }
        };
        if let Some(info) = held.info {
            self.info.sent(info);
        }
        let (has_fragment, answer) = (commands.has_fragment(), response.answer(b""));
        self.no_commands.check(&list, has_fragment, answer)?;
        list.is_answer(context)?;
        // Where one command came there may be more, unless it was known before. What may have
        // been cut off is asked for again at once, but only once.
        let at_once = list.fresh > 0 || (commands.has_fragment() && !is_retry);
        let pause = if at_once { 0 } else { session.options.delay };
        self.due_at = context.clock.monotonic() + Duration::from_secs(pause.into());
        self.was_closed = false;
        let now = context.clock.monotonic();
        let held = now.saturating_sub(held.since);
        self.rests_until = if held >= SLOW_BODY { now + held.min(LONGEST_REST) } else { now };
        Ok(Polled::Answered)
    }
}

/// Whether the server held the poll before it answered.
struct IsHeld(bool);

/// The head of the answer has come.
fn begin(
    tools: &mut PollTools<'_>,
    response: Response,
    is_held: IsHeld,
) -> Result<Answering, Trouble> {
    let PollTools { context, session, commands } = tools;
    let response = Box::new(context::success(response)?);
    // An answer that was held says little of the time, and nothing of the server's clock.
    if !is_held.0 || context.clock.utc_if_set().is_none() {
        let date = ServerDate::of(&response, context.clock.monotonic());
        date.apply(context, &session.options)?;
    }
    let is_retry = commands.has_fragment();
    let reading = Box::new(commands.begin(context, AnswerKind::Poll)?);
    Ok(Answering::Body { response, reading, is_retry })
}
