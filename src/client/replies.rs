//! Sending the results of commands (§13).
//!
//! A batch that is refused is halved at once, until it goes or one reply is left: that one
//! steps aside and is tried by itself from then on, so that it holds up no other.

use super::{Client, MOST_REFUSALS, Trouble};
use crate::protocol::ack::Ack;
use crate::protocol::codes::ReturnCode;
use crate::protocol::query::Target;
use crate::protocol::reply::{MOST_IN_ONE_POST, Reply};
use crate::store::Due;
use crate::uplink::{Body, Failure, Request, Uplink};

impl<U: Uplink> Client<U> {
    pub(super) fn send_replies(&mut self) -> Result<(), Trouble> {
        let most = if self.settings.dialect.replies_alone { 1 } else { self.replies_at_once };
        let due = self.store.command_log().replies_due(most)?;
        let Some(first) = due.first() else { return Ok(()) };
        let together = match first.reply.goes_alone() {
            true => 1,
            false => due.iter().take_while(|due| !due.reply.goes_alone()).count(),
        };
        match self.post_replies(&due[..together]).inspect_err(|_| self.step_aside(first))? {
            Ok(()) => {
                self.replies_at_once = (self.replies_at_once * 2).min(MOST_IN_ONE_POST);
                Ok(())
            }
            Err(_) if together > 1 => {
                self.replies_at_once = together / 2;
                Ok(())
            }
            Err(message) => {
                self.store.command_log().reply_refused(first.row)?;
                Err(Trouble::Refused(message))
            }
        }
    }

    pub(super) fn send_refused_reply(&mut self) -> Result<(), Trouble> {
        let Some(due) = self.store.command_log().refused_reply()? else { return Ok(()) };
        let row = due.row;
        if due.reply.file.is_some() && due.refusals > MOST_REFUSALS {
            log::warn!("the file of command {} does not get through and is given up", due.reply.id);
            return Ok(self.store.command_log().finish(
                row,
                ReturnCode::STORAGE,
                &due.reply.rest,
            )?);
        }
        let done = self.post_replies(std::slice::from_ref(&due));
        done.inspect_err(|_| self.step_aside(&due))?.or_else(|message| {
            self.store.command_log().reply_refused(row)?;
            Err(Trouble::Refused(message))
        })
    }

    /// A file that does not get through is not tried before everything else again.
    fn step_aside(&self, due: &Due) {
        if due.reply.file.is_some()
            && let Err(error) = self.store.command_log().reply_refused(due.row)
        {
            log::warn!("{error}");
        }
    }

    /// Posts a reply with the content of a file, as it is now: read as it goes, never held.
    fn post_file(
        &mut self,
        target: &Target,
        reply: &Reply,
        path: &str,
    ) -> Result<(u16, Ack), Failure> {
        let (mut reply, mut body) = (reply.clone(), Vec::new());
        let opened = self.executor().open_file(path);
        match &opened {
            Ok((_, size)) => reply.code = ReturnCode(i64::try_from(*size).unwrap_or(i64::MAX)),
            Err(refusal) => {
                log::warn!("command {} failed with {}: {}", reply.id, refusal.code, refusal.why);
                (reply.code, reply.file) = (refusal.code, None);
            }
        }
        reply.write(&self.settings.profile.serial, &mut body);
        let file = opened.as_ref().ok().map(|(file, size)| (file, *size));
        let body = Body { bytes: &body, file };
        self.post_request(&Request { body: Some(body), ..Request::get(target.as_str()) })
    }

    /// Posts replies. The inner error holds the server's message, if it refused them.
    fn post_replies(&mut self, due: &[Due]) -> Result<Result<(), String>, Trouble> {
        let target = self.target("/iclock/devicecmd");
        let answer = match due.first().and_then(|due| Some((due, due.reply.file.as_ref()?))) {
            Some((due, path)) => self.post_file(&target, &due.reply, path)?,
            None => {
                let mut body = Vec::new();
                for due in due {
                    due.reply.write(&self.settings.profile.serial, &mut body);
                }
                self.post(&target, &body)?
            }
        };
        match answer.1 {
            Ack::Taken(_) => {
                let rows: Vec<i64> = due.iter().map(|due| due.row).collect();
                self.store.command_log().replies_taken(&rows)?;
                Ok(Ok(()))
            }
            Ack::Refused(message) => Ok(Err(message)),
        }
    }
}
