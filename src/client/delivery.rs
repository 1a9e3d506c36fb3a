//! One upload and what the server says to it, until that is clear.

use std::io::Read as _;
use std::time::Duration;

use super::context::not_now;
use super::trouble::Trouble;
use super::upload_body::{self, Body, Encoded};
use super::upload_tools::Tools;
use crate::commands::ListOrigin;
use crate::protocol::ack::{self, Ack};
use crate::protocol::command::CommandLine;
use crate::protocol::refusal;
use crate::protocol::stream::Table;
use crate::store::{AnswerKind, Pass, PendingRow};
use crate::uplink::{Request, Response};

/// How often commands may come in place of an answer before the upload pauses.
const MOST_COMMAND_ANSWERS: u32 = 3;

/// How long an upload may take while a poll is held: a command that comes meanwhile waits for it.
const BESIDE_HELD: Duration = Duration::from_secs(10);

/// Rows of a table as a body.
pub(super) struct Delivery<'a> {
    pub(super) table: Table,
    pub(super) pass: Pass,
    pub(super) rows: &'a [PendingRow],
    pub(super) body: &'a Body,
    /// Whether the rows may have reached the server before: it may say `OK:0` to them then.
    pub(super) may_be_known: bool,
}

/// What the server said.
pub(super) enum Answer {
    /// It took all rows; whether it confirmed their count.
    Taken { counted: bool },
    /// It counts fewer rows than were sent, twice the same number.
    NotCounted { message: String },
    /// It refuses the request.
    Refused { message: String, too_large: bool },
    /// It is in trouble, or one of the rows is.
    Trouble(String),
    /// It sent commands, which were executed; it did not say whether it took the rows.
    Commands,
}

/// Posts rows until the server's answer is clear. `ignores_counts`: its counts mean nothing.
pub(super) fn deliver(
    tools: &mut Tools<'_>,
    delivery: &Delivery<'_>,
    ignores_counts: bool,
) -> Result<Answer, Trouble> {
    let (sent, mut first_count) = (delivery.body.rows, None);
    let mut may_be_known = delivery.may_be_known;
    loop {
        let answer = post(tools, delivery)?;
        may_be_known |= tools.context.was_repeated();
        let count = match answer {
            Some(Ack::Taken(Some(count))) if count < sent && !ignores_counts => count,
            Some(Ack::Taken(count)) => {
                if let Some(missing @ 1..) = count.map(|count| sent.saturating_sub(count)) {
                    tools.not_counted(missing);
                }
                return Ok(Answer::Taken { counted: count == Some(sent) });
            }
            Some(Ack::TooLarge(message)) => {
                return Ok(Answer::Refused { message, too_large: true });
            }
            Some(Ack::Refused(message)) => {
                return Ok(Answer::Refused { message, too_large: false });
            }
            Some(other) => return Ok(Answer::Trouble(other.message())),
            None => return Ok(Answer::Commands),
        };
        // The document says that the count is what was processed, but some servers count only the
        // rows that are new to them: the same bytes show which.
        match first_count {
            None => first_count = Some(count),
            // A row that is new to the server, alone, and is not counted: its neighbours show why.
            Some(_) if count == 0 && sent == 1 && !may_be_known => {
                let message = "the server counted 0 of 1 row, twice".to_owned();
                return Ok(Answer::NotCounted { message });
            }
            Some(first) if count == 0 || count < first => {
                if first == 0 {
                    tools.not_counted(sent);
                }
                return Ok(Answer::Taken { counted: false });
            }
            // It counts new rows, and both answers together are all of them.
            Some(first) if count > first && first + count == sent => {
                return Ok(Answer::Taken { counted: false });
            }
            Some(first) => {
                let times =
                    if count == first { "twice".into() } else { format!("and {first} before") };
                let message = format!("the server counted {count} of {sent} rows, {times}");
                return Ok(Answer::NotCounted { message });
            }
        }
    }
}

/// Posts the rows once. Commands in the answer are executed; `None`: they came in place of an
/// acknowledgement.
fn post(tools: &mut Tools<'_>, delivery: &Delivery<'_>) -> Result<Option<Ack>, Trouble> {
    let Delivery { table, pass, rows, body, .. } = delivery;
    let Tools { context, session, .. } = tools;
    let last = rows.last().map_or(0, |row| row.seq);
    // New rows never set a table's stamp back: a kind that was not sent for a time may come late.
    let stamp = match pass {
        Pass::New | Pass::Retry => last.max(context.store.outbox().acknowledged(*table)?),
        Pass::Resend => last,
    };
    let (name, value) = context.settings.dialect.stamp(*table, stamp);
    let path = context.settings.dialect.upload_path(*table);
    let mut target = context.target(path).with("table", table.name()).with(name, value);
    let encoded = upload_body::encode(context, session, *table, &body.bytes);
    let bytes = match &encoded {
        Encoded::Plain => &body.bytes,
        Encoded::Packed(bytes) => {
            target = target.with("ContentType", "tgz");
            bytes
        }
        Encoded::Encrypted(bytes) => bytes,
    };
    let within = tools.beside_held.then_some(BESIDE_HELD);
    let request = Request { within, ..Request::post(target.as_str(), bytes) };
    let mut response = tools.context.exchange(&request)?;
    let Tools { context, session, .. } = tools;
    let start = response.read_up_to(ack::ANSWER_BYTES)?;
    if !(ack::is_success(response.status) && CommandLine::begins(&start)) {
        session.command_answers = 0;
        let ack = not_now(
            ack::read(&refusal::Answer { wants_ok: true, ..response.answer(&start) }),
            response.retry_after,
        )?;
        if matches!(ack, Ack::Taken(_)) {
            if has_command(&start) {
                execute_after_ok(tools, response, start)?;
            } else {
                ListOrigin::new(AnswerKind::Upload).is_complete(&context.store)?;
            }
        }
        return Ok(Some(ack));
    }
    session.command_answers += 1;
    if session.command_answers > MOST_COMMAND_ANSWERS {
        session.command_answers = 0;
        let message = "the server answers uploads with commands and never says OK to the rows";
        return Err(Trouble::Refused(message.into()));
    }
    execute(tools, response, start)?;
    Ok(None)
}

/// Whether a line is a command.
fn has_command(body: &[u8]) -> bool {
    body.split(|byte| *byte == b'\n').any(CommandLine::begins)
}

/// Carries out the commands that follow an `OK` to the rows. If the rest of the answer does not come,
/// the rows are taken all the same.
fn execute_after_ok(
    tools: &mut Tools<'_>,
    response: Response,
    start: Vec<u8>,
) -> Result<(), Trouble> {
    match execute(tools, response, start) {
        Err(Trouble::Link(failure)) => {
            log::warn!("the commands in the answer to an upload came in part: {failure}");
            Ok(())
        }
        done => done,
    }
}

/// Carries out the commands in an answer that begins with `start`.
fn execute(tools: &mut Tools<'_>, mut response: Response, start: Vec<u8>) -> Result<(), Trouble> {
    let Tools { context, session, commands, .. } = tools;
    let rest = std::mem::replace(&mut response.body, Box::new(std::io::empty()));
    response.body = Box::new(std::io::Cursor::new(start).chain(rest));
    let list = commands.read(context, session, &mut response, AnswerKind::Upload)?;
    Ok(list.is_answer(context)?)
}
