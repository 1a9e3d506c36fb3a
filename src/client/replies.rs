//! Sending the results of commands (§13).
//!
//! A batch that is refused is halved at once, until it goes or one reply is left: that one
//! steps aside and is tried by itself from then on, so that it holds up no other.

use super::{Client, Trouble};
use crate::protocol::ack::Ack;
use crate::protocol::reply::MOST_IN_ONE_POST;
use crate::store::Due;
use crate::uplink::Uplink;

impl<U: Uplink> Client<U> {
    pub(super) fn send_replies(&mut self) -> Result<(), Trouble> {
        let most = if self.settings.dialect.replies_alone { 1 } else { self.replies_at_once };
        let due = self.store.replies_due(most)?;
        let Some(first) = due.first() else { return Ok(()) };
        let together = match first.reply.goes_alone() {
            true => 1,
            false => due.iter().take_while(|due| !due.reply.goes_alone()).count(),
        };
        match self.post_replies(&due[..together])? {
            Ok(()) => {
                self.replies_at_once = (self.replies_at_once * 2).min(MOST_IN_ONE_POST);
                Ok(())
            }
            Err(_) if together > 1 => {
                self.replies_at_once = together / 2;
                Ok(())
            }
            Err(words) => {
                self.store.reply_refused(first.row)?;
                Err(Trouble::Refused(words))
            }
        }
    }

    pub(super) fn send_refused_reply(&mut self) -> Result<(), Trouble> {
        let Some(due) = self.store.refused_reply()? else { return Ok(()) };
        let row = due.row;
        self.post_replies(&[due])?.or_else(|words| {
            self.store.reply_refused(row)?;
            Err(Trouble::Refused(words))
        })
    }

    /// Posts replies. The inner error holds the server's words, if it refused them.
    fn post_replies(&mut self, due: &[Due]) -> Result<Result<(), String>, Trouble> {
        let mut body = Vec::new();
        for due in due {
            due.reply.write(&mut body);
        }
        match self.post(&self.target("/iclock/devicecmd"), &body)?.1 {
            Ack::Taken(_) => {
                let rows: Vec<i64> = due.iter().map(|due| due.row).collect();
                self.store.replies_taken(&rows)?;
                Ok(Ok(()))
            }
            Ack::Refused(words) => Ok(Err(words)),
        }
    }
}
