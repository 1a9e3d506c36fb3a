//! What stands in the answer to a poll beside commands, or in place of them.

use super::command_list::List;
use super::trouble::Trouble;
use crate::protocol::ack::{self, Ack};
use crate::protocol::date;
use crate::protocol::foreign::BYTE_ORDER_MARK;
use crate::protocol::refusal::Answer;

/// Looks at the lines that are no commands.
#[derive(Default)]
pub(super) struct NoCommands {
    /// What the server said last in place of commands, if the protocol has no such answer.
    strange: Option<String>,
}

impl NoCommands {
    /// Refuses an answer without commands that is a web page or says that the terminal is not known, and
    /// warns of other lines.
    pub(super) fn check(
        &mut self,
        list: &List,
        has_fragment: bool,
        answer: Answer<'_>,
    ) -> Result<(), Trouble> {
        check_others(list, has_fragment, answer)?;
        if !has_fragment {
            self.warn_of_strange(list, answer);
        }
        Ok(())
    }

    /// Tells once of an answer that is neither commands nor what servers in use say when they have
    /// none, such as a command without its beginning.
    fn warn_of_strange(&mut self, list: &List, answer: Answer<'_>) {
        let first = list.others.first().filter(|_| list.commands == 0);
        let strange = first.filter(|first| !is_usual(first)).cloned();
        if let Some(first) = strange.as_ref().filter(|first| Some(*first) != self.strange.as_ref())
        {
            let shown: String = answer.without_secrets(first).chars().take(80).collect();
            log::warn!(
                "the server answered the poll for commands with {shown:?}, which is no command and \
                 is not carried out: a command begins with C:ID: (C:1:REBOOT), and OK says that \
                 there is none"
            );
        }
        self.strange = strange;
    }
}

/// Whether servers in use answer so when they have no command: OK, the options of the handshake, a
/// date.
fn is_usual(line: &str) -> bool {
    let line = line.trim_start_matches(BYTE_ORDER_MARK).trim();
    let is_options = line.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("GET OPTION"));
    line.is_empty() || ack::is_bare_ok(line) || is_options || date::parse(line).is_some()
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
