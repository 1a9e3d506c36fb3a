//! Sending the results of commands (§13).

use super::{Client, Trouble};
use crate::protocol::ack::{self, Ack};
use crate::protocol::reply::MOST_IN_ONE_POST;
use crate::uplink::Uplink;

impl<U: Uplink> Client<U> {
    pub(super) fn send_replies(&mut self) -> Result<(), Trouble> {
        let most = if self.settings.replies_alone { 1 } else { self.replies_at_once };
        let due = self.store.replies_due(most)?;
        let Some(first) = due.first() else { return Ok(()) };
        let together = match first.reply.goes_alone() {
            true => 1,
            false => due.iter().take_while(|due| !due.reply.goes_alone()).count(),
        };
        let mut body = Vec::new();
        let mut rows = Vec::with_capacity(together);
        for due in &due[..together] {
            due.reply.write(&mut body);
            rows.push(due.row);
        }
        let mut response = self.post(&self.target("/iclock/devicecmd"), &body)?;
        let answer = response.read_up_to(ack::ANSWER_BYTES)?;
        match ack::read(response.status, &answer) {
            Ack::Taken(_) => {
                self.replies_at_once = MOST_IN_ONE_POST;
                Ok(self.store.replies_taken(&rows)?)
            }
            // One at a time from now on, until one goes: the others go round the bad one.
            Ack::Refused(words) => {
                self.replies_at_once = 1;
                if let [row] = rows[..] {
                    self.store.reply_refused(row)?;
                }
                Err(Trouble::Refused(words))
            }
        }
    }
}
