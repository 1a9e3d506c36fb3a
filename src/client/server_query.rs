//! ServerQueries for drivers: background verification (§12.11.3), remote attendance (§14).
//!
//! Each has a time of its own, much shorter than the timeouts of the other exchanges: a
//! person waits. What fails is told to the driver and the log and touches nothing else; if
//! the way is broken, the next exchange finds out.

use std::rc::Rc;

use super::{Client, Trouble};
use crate::commands::Executor;
use crate::protocol::ack::{self, Ack};
use crate::protocol::command::Command;
use crate::protocol::data_table::DataTable;
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::lines::{Line, Lines};
use crate::protocol::record::{Pin, Punch};
use crate::server_queries::{Outcome, Question, ServerQuery};
use crate::store::StoreError;
use crate::store::options::VERIFICATION;
use crate::uplink::{Failure, Request, Response, Uplink};

/// Most lines of an answer about a person.
const MOST_LINES: usize = 200;
/// Most bytes of it: every template of a person, and more.
const MOST_BYTES: usize = 4 << 20;

/// How server_queries went last.
#[derive(Default)]
pub(super) struct Last {
    /// Whether the last exchange was one: then another activity has its turn.
    pub(super) was_last: bool,
    /// What was wrong; said once.
    trouble: String,
}

/// Why what came about a person was not taken.
enum NotTaken {
    Refused(String),
    Store(StoreError),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<U: Uplink> Client<U> {
    /// Asks the server what a driver wants to know.
    pub(super) fn run_server_query(&mut self) {
        let Some(server_query) = self.server_queries.next(self.clock.monotonic()) else { return };
        let done = match &server_query.question {
            Question::Verify(attempt) => self.verify(&server_query, attempt),
            Question::Remote(pin) => self.fetch_person(&server_query, pin),
        };
        let outcome = done.unwrap_or_else(|trouble| {
            let message = match trouble {
                Trouble::Link(failure @ Failure::Stopping) => {
                    return Outcome::Failed(failure.to_string());
                }
                Trouble::Link(failure) => failure.to_string(),
                Trouble::Refused(message) => message,
                Trouble::Store(error) => error.to_string(),
            };
            if self.server_query.trouble != message {
                log::warn!("asking for a driver: {message}");
                self.server_query.trouble.clone_from(&message);
            }
            Outcome::Failed(message)
        });
        if !matches!(outcome, Outcome::Failed(_)) {
            self.server_query.trouble.clear();
        }
        self.server_queries.end(server_query.number, outcome);
    }

    /// Whether a person may pass: the server says OK, or it does not.
    fn verify(&mut self, server_query: &ServerQuery, attempt: &Punch) -> Result<Outcome, Trouble> {
        let mut row = Vec::new();
        self.settings.dialect.write_punch(attempt, 0, &mut row);
        row.push(b'\n');
        let target = self.target("/iclock/cdata").with("type", "PostVerifyData");
        let mut response = self.ask(server_query, target.as_str(), Some(&row))?;
        let answer = response.read_up_to(ack::ANSWER_BYTES)?;
        Ok(match ack::read(response.status, &answer) {
            Ack::Taken(_) => Outcome::Allowed(true),
            Ack::Refused(message) => {
                log::info!("{} may not pass: {message}", attempt.pin);
                Outcome::Allowed(false)
            }
        })
    }

    /// Fetches a person whom the terminal does not know.
    fn fetch_person(&mut self, server_query: &ServerQuery, pin: &Pin) -> Result<Outcome, Trouble> {
        let (mut lines, is_whole) = self.fetch_lines(server_query, pin)?;
        if !is_whole && !lines.is_empty() && self.fetch_lines(server_query, pin)?.0 != lines {
            let message = "the server's answer is cut off; it names no Content-Length";
            return Err(Trouble::Refused(message.into()));
        }
        if lines.first().is_some_and(|line| line.trim_ascii_start().starts_with(b"<")) {
            return Err(Trouble::Refused(ack::refusal(200, &lines[0])));
        }
        let executor = self.executor();
        let mut refusal = None;
        lines.retain(|line| match is_of(&executor, pin, line) {
            Ok(is_mine) => is_mine,
            Err(refused) => {
                refusal.get_or_insert(refused);
                false
            }
        });
        if let Some(refusal) = refusal {
            return Err(not_taken(pin, &refusal));
        }
        if lines.is_empty() {
            return Ok(Outcome::Nobody);
        }
        // Drivers were served meanwhile; the one who asked may have gone.
        if self.server_queries.is_open(server_query.number, self.clock.monotonic()) {
            self.take_in(pin, &lines)?;
        }
        Ok(Outcome::Here)
    }

    /// Makes a guest of what came about a person, all of it or nothing.
    fn take_in(&mut self, pin: &Pin, lines: &[Vec<u8>]) -> Result<(), Trouble> {
        let (store, stay) = (Rc::clone(&self.store), self.server_queries.rules().stay);
        let now = self.clock.utc_if_set();
        let executor = self.executor();
        let done = store.atomically(|| {
            match store.guests().get(pin)? {
                // What the server does not name any longer goes.
                Some(_) => drop(store.people().delete(pin)?),
                // Somebody has made the person a user meanwhile.
                None if store.people().get(pin)?.is_some() => return Ok(()),
                None => {}
            }
            for line in lines {
                executor.apply(line)?.map_err(|refusal| NotTaken::Refused(refusal.why))?;
            }
            Ok(store.guests().put(pin, now, stay)?)
        });
        match done {
            Ok(()) => {
                log::info!("{pin} is here as a guest for {} minutes", stay.as_secs() / 60);
                Ok(())
            }
            Err(NotTaken::Refused(why)) => Err(not_taken(pin, &Refusal::parameter(why))),
            Err(NotTaken::Store(error)) => Err(error.into()),
        }
    }

    /// The lines that the server has about a person, and whether the last of them is whole.
    fn fetch_lines(
        &mut self,
        server_query: &ServerQuery,
        pin: &Pin,
    ) -> Result<(Vec<Vec<u8>>, bool), Trouble> {
        let target = self.target("/iclock/cdata").with("table", "RemoteAtt").with("PIN", pin);
        let mut response = self.ask(server_query, target.as_str(), None)?;
        if response.status != 200 {
            let body = response.read_up_to(ack::ANSWER_BYTES)?;
            return Err(Trouble::Refused(ack::refusal(response.status, &body)));
        }
        let mut lines = Lines::new(self.settings.command_bytes.min(MOST_BYTES));
        let mut found = Vec::new();
        let (mut chunk, mut bytes) = (vec![0; 16 << 10], 0);
        loop {
            let amount = response.body.read(&mut chunk).map_err(Failure::in_body)?;
            bytes += amount;
            let mut is_whole = true;
            if amount == 0 {
                let rest = lines.rest();
                is_whole = response.framed || rest.is_none();
                found.extend(rest);
            } else {
                lines.push(&chunk[..amount], |line| found.push(line));
            }
            if found.len() > MOST_LINES || bytes > MOST_BYTES {
                let message = format!(
                    "the server's answer about {pin} has more than {MOST_LINES} lines or {MOST_BYTES} bytes"
                );
                return Err(Trouble::Refused(message));
            }
            if amount == 0 {
                return Ok((whole(found)?, is_whole));
            }
        }
    }

    /// An exchange that ends when the driver's patience does.
    fn ask(
        &mut self,
        server_query: &ServerQuery,
        target: &str,
        body: Option<&[u8]>,
    ) -> Result<Response, Failure> {
        let left = server_query.until.saturating_sub(self.clock.monotonic());
        if left.is_zero() {
            return Err(Failure::new("there is no time left to ask the server"));
        }
        let request = body.map_or(Request::get(target), |body| Request::post(target, body));
        self.uplink.exchange(&Request { within: Some(left), ..request })
    }

    /// Keeps whether the server wants to be asked about everybody.
    pub(super) fn apply_verification(&self) -> Result<(), StoreError> {
        let option = self.options.others.get("postselfdefinedatatype");
        let is_wanted = option.is_some_and(|kind| kind.eq_ignore_ascii_case("PostVerifyData"));
        if self.store.options().get(VERIFICATION)?.is_some() == is_wanted {
            return Ok(());
        }
        if is_wanted {
            log::info!("from now on the server decides who may pass (PostVerifyData)");
            self.store.options().set(VERIFICATION, "1")
        } else {
            log::info!("from now on the terminal decides who may pass");
            self.store.options().clear(VERIFICATION)
        }
    }

    /// Takes guests off the terminal whose time is over; their punches stay.
    pub(super) fn see_guests_off(&self) -> Result<(), StoreError> {
        let Some(now) = self.clock.utc_if_set() else { return Ok(()) };
        let gone = self.store.guests().remove_expired(now, self.server_queries.rules().stay)?;
        if gone > 0 {
            log::info!("{gone} guests have left, their time was over");
        }
        Ok(())
    }
}

/// Whether a line is to be taken: part of a person, and of this one. Everything else is
/// passed over: `NONE`, options, commands, others. A line whose PIN makes no sense is not.
fn is_of(executor: &Executor<'_>, pin: &Pin, line: &[u8]) -> Result<bool, Refusal> {
    let Ok(Command::Update(table, record)) = Command::parse(line) else { return Ok(false) };
    if !matches!(table, DataTable::Users | DataTable::Templates(_)) {
        return Ok(false);
    }
    let fields = Fields::parse(record, &["PIN"], executor.language)?;
    let whose = Pin::from_fields(&fields)?;
    if whose != *pin {
        log::warn!("asked about {pin}, the server told about {whose}, which was passed over");
    }
    Ok(whose == *pin)
}

fn whole(lines: Vec<Line>) -> Result<Vec<Vec<u8>>, Trouble> {
    let whole = |line| match line {
        Line::Whole(bytes) => Ok(bytes),
        Line::Overlong(_) => {
            Err(Trouble::Refused("the server's answer has a line that is too long".into()))
        }
    };
    lines.into_iter().map(whole).collect()
}

fn not_taken(pin: &Pin, refusal: &Refusal) -> Trouble {
    Trouble::Refused(format!("what the server has about {pin} cannot be used: {}", refusal.why))
}
