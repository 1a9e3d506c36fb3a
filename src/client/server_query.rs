//! Questions of drivers to the server: background verification (§12.11.3), remote attendance
//! (§14).
//!
//! Each has a time of its own, much shorter than the timeouts of the other exchanges: a
//! person waits. A failure is reported to the driver and the log and has no other effect; if
//! the connection is broken, the next exchange finds that out.

use super::context::Context;
use super::person;
use super::trouble::Trouble;
use crate::protocol::ack::{self, Ack};
use crate::protocol::record::Punch;
use crate::server_queries::{Outcome, Question, ServerQuery};
use crate::uplink::Failure;

/// Takes questions of drivers to the server.
#[derive(Debug, Default)]
pub(super) struct ServerQueryRunner {
    /// What went wrong last; logged once.
    failure: String,
}

impl ServerQueryRunner {
    /// Takes the oldest question to the server.
    pub(super) fn run(&mut self, context: &mut Context) {
        let Some(query) = context.server_queries.next(context.clock.monotonic()) else { return };
        let done = match &query.question {
            Question::Verify(attempt) => verify(context, &query, attempt),
            Question::Remote(pin) => person::fetch(context, &query, pin),
        };
        let outcome = match done {
            Ok(outcome) => {
                self.failure.clear();
                outcome
            }
            Err(trouble) => {
                let message = trouble.to_string();
                if !matches!(trouble, Trouble::Link(Failure::Stopping)) && self.failure != message {
                    log::warn!("asking the server for a driver failed: {message}");
                    self.failure.clone_from(&message);
                }
                Outcome::Failed(message)
            }
        };
        context.server_queries.set_outcome(query.number, outcome);
    }
}

/// Whether a person may pass: the server says OK, or it does not.
fn verify(context: &mut Context, query: &ServerQuery, attempt: &Punch) -> Result<Outcome, Trouble> {
    let mut row = Vec::new();
    context.settings.dialect.write_punch(attempt, 0, &mut row);
    row.push(b'\n');
    let target = context.target("/iclock/cdata").with("type", "PostVerifyData");
    let mut response = context.exchange_until(query.until, &target, Some(&row))?;
    let answer = response.read_up_to(ack::ANSWER_BYTES)?;
    Ok(match ack::read(&response.answer(&answer)) {
        Ack::Taken(_) => Outcome::Allowed(true),
        denied => {
            log::info!("{} may not pass: {}", attempt.pin, denied.message());
            Outcome::Allowed(false)
        }
    })
}
