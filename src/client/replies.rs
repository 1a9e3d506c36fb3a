//! Sending the results of commands (§13).
//!
//! A batch that is refused is halved at once, until it goes or one reply is left: that one is
//! deferred, and sent by itself from then on, so that it holds up no other.

use super::context::Context;
use super::settings::Settings;
use super::trouble::Trouble;
use crate::protocol::ack::Ack;
use crate::protocol::codes::ReturnCode;
use crate::protocol::query::Target;
use crate::protocol::reply::{MOST_IN_ONE_POST, Reply};
use crate::store::Due;
use crate::uplink::{Body, Content, Request};

/// How often the server may refuse the file of a command.
const MOST_REFUSALS: u32 = 5;

/// Sends the results of commands.
pub(super) struct Replies {
    /// Most replies in the next POST.
    batch: usize,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self { batch: MOST_IN_ONE_POST }
    }

    /// Sends the oldest results, as many as go in one POST.
    pub(super) fn send(&mut self, context: &mut Context) -> Result<(), Trouble> {
        let most = if context.settings.dialect.replies_alone { 1 } else { self.batch };
        let due = context.store.command_log().replies_due(most)?;
        let Some(first) = due.first() else { return Ok(()) };
        let together = match first.reply.goes_alone() {
            true => 1,
            false => due.iter().take_while(|due| !due.reply.goes_alone()).count(),
        };
        match post(context, &due[..together]).inspect_err(|_| defer_file(context, first))? {
            Ack::Taken(_) => {
                self.batch = (self.batch * 2).min(MOST_IN_ONE_POST);
                Ok(())
            }
            _ if together > 1 => {
                self.batch = together / 2;
                Ok(())
            }
            not_taken => {
                context.store.command_log().reply_refused(first.row)?;
                Err(Trouble::Refused(not_taken.message()))
            }
        }
    }
}

/// Sends a result that the server refused before.
pub(super) fn send_refused(context: &mut Context) -> Result<(), Trouble> {
    let Some(due) = context.store.command_log().refused_reply()? else { return Ok(()) };
    let (row, reply) = (due.row, &due.reply);
    if reply.file.is_some() && due.refusals > MOST_REFUSALS {
        log::warn!("the file that command {} asked for cannot be sent and is given up", reply.id);
        let log = context.store.command_log();
        return Ok(log.finish(row, ReturnCode::STORAGE, &reply.rest)?);
    }
    let sent = post(context, std::slice::from_ref(&due));
    match sent.inspect_err(|_| defer_file(context, &due))? {
        Ack::Taken(_) => Ok(()),
        not_taken => {
            context.store.command_log().reply_refused(row)?;
            Err(Trouble::Refused(not_taken.message()))
        }
    }
}

/// A reply with a file during which the connection failed is not the first to be sent again.
fn defer_file(context: &Context, due: &Due) {
    if due.reply.file.is_some()
        && let Err(error) = context.store.command_log().reply_refused(due.row)
    {
        log::warn!("{error}");
    }
}

/// Posts replies. What the server took is done.
fn post(context: &mut Context, due: &[Due]) -> Result<Ack, Trouble> {
    let target = context.target("/iclock/devicecmd");
    let ack = match due.first().and_then(|due| Some((due, due.reply.file.as_ref()?))) {
        Some((due, path)) => post_file(context, &target, &due.reply, path)?,
        None => {
            let mut body = Vec::new();
            for due in due {
                let Settings { profile, dialect, .. } = &context.settings;
                due.reply.write(&profile.serial, dialect.one_line_replies, &mut body);
            }
            context.post(&target, &body)?
        }
    };
    if matches!(ack, Ack::Taken(_)) {
        let rows: Vec<i64> = due.iter().map(|due| due.row).collect();
        context.store.command_log().replies_taken(&rows)?;
    }
    Ok(ack)
}

/// Posts a reply with the content of a file, as it is now. The content is read while it is sent,
/// and never held in memory.
fn post_file(
    context: &mut Context,
    target: &Target,
    reply: &Reply,
    path: &str,
) -> Result<Ack, Trouble> {
    let (mut reply, mut body) = (reply.clone(), Vec::new());
    let opened = context.commands().files().open(path);
    match &opened {
        Ok((_, size)) => reply.code = ReturnCode(i64::try_from(*size).unwrap_or(i64::MAX)),
        Err(refusal) => {
            log::warn!("command {} failed with {}: {}", reply.id, refusal.code, refusal.why);
            (reply.code, reply.file) = (refusal.code, None);
        }
    }
    let Settings { profile, dialect, .. } = &context.settings;
    reply.write(&profile.serial, dialect.one_line_replies, &mut body);
    let file = opened.as_ref().ok().map(|(file, size)| (file as &dyn Content, *size));
    let body = Body { bytes: &body, file };
    context.send(&Request { body: Some(body), ..Request::get(target.as_str()) })
}
