//! Asking for commands (§12).

use std::time::Duration;

use super::command_list::{CommandReader, List};
use super::context::Context;
use super::poll_info::PollInfo;
use super::server_date::ServerDate;
use super::session::Session;
use super::trouble::Trouble;
use crate::protocol::ack::{self, Ack};
use crate::protocol::refusal::Answer;
use crate::store::AnswerKind;

/// Asks for commands.
#[derive(Default)]
pub(super) struct Poller {
    /// When the next poll is due, on the monotonic clock.
    due_at: Duration,
    info: PollInfo,
}

impl Poller {
    pub(super) fn due_at(&self) -> Duration {
        self.due_at
    }

    /// The next poll is due now.
    pub(super) fn hurry(&mut self) {
        self.due_at = Duration::ZERO;
    }

    /// Asks for commands and carries them out.
    pub(super) fn poll(
        &mut self,
        context: &mut Context,
        session: &mut Session,
        commands: &mut CommandReader,
    ) -> Result<(), Trouble> {
        let info = self.info.changed(context)?;
        let target = context.target("/iclock/getrequest");
        let target = match &info {
            Some(info) => target.with("INFO", info),
            None => target,
        };
        let mut response = context.get(&target)?;
        let date = ServerDate::of(&response, context.clock.monotonic());
        date.apply(context, &session.options)?;
        if let Some(info) = info {
            self.info.sent(info);
        }
        let is_retry = commands.has_fragment();
        let list = commands.read(context, session, &mut response, AnswerKind::Poll)?;
        check_others(&list, commands.has_fragment(), response.answer(b""))?;
        list.is_answer(context)?;
        // Where one command came there may be more, unless it was known before. What may have
        // been cut off is asked for again at once, but only once.
        let at_once = list.fresh > 0 || (commands.has_fragment() && !is_retry);
        let pause = if at_once { 0 } else { session.options.delay };
        self.due_at = context.clock.monotonic() + Duration::from_secs(pause.into());
        Ok(())
    }
}

/// Refuses an answer without commands that is a web page or says that the terminal is not known, and
/// warns of other lines among commands. Whatever else has no command (options, a date, nothing at
/// all) is no failure.
fn check_others(list: &List, has_fragment: bool, answer: Answer<'_>) -> Result<(), Trouble> {
    let first = list.others.first().map_or("", String::as_str).trim_start();
    if list.commands == 0 && !has_fragment {
        match ack::read(&Answer { body: first.as_bytes(), ..answer }) {
            Ack::NotKnown(message) => return Err(Trouble::NotKnown(message)),
            Ack::Trouble(message) if first.starts_with('<') => {
                return Err(Trouble::Refused(message));
            }
            _ => {}
        }
    }
    for line in list.others.iter().filter(|_| list.commands > 0) {
        let shown: String = answer.without_secrets(line).chars().take(80).collect();
        log::warn!("a line of the server's command list is no command and was skipped: {shown:?}");
    }
    Ok(())
}
