//! Remote attendance (§14): a person whom the terminal does not know is fetched from the server,
//! and is a guest for a while.

use std::rc::Rc;

use super::context::Context;
use super::trouble::Trouble;
use crate::commands::CommandError;
use crate::protocol::ack;
use crate::protocol::codes::Language;
use crate::protocol::command::{Command, CommandLine};
use crate::protocol::data_table::DataTable;
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::lines::{Line, Lines};
use crate::protocol::record::Pin;
use crate::server_queries::{Outcome, ServerQuery};

/// Most lines of an answer about a person.
const MOST_LINES: usize = 200;
/// Most bytes of it: every template of a person, and more.
const MOST_BYTES: usize = 4 << 20;

/// A user or a template in the server's answer.
type PersonRecord<'l> = (DataTable<'l>, &'l [u8]);

/// Fetches a person whom the terminal does not know.
pub(super) fn fetch(
    context: &mut Context,
    query: &ServerQuery,
    pin: &Pin,
) -> Result<Outcome, Trouble> {
    let (lines, is_whole) = fetch_lines(context, query, pin)?;
    if !is_whole && !lines.is_empty() && fetch_lines(context, query, pin)?.0 != lines {
        let message = "the server's answer is cut off; it names no Content-Length";
        return Err(Trouble::Refused(message.into()));
    }
    let language = context.settings.language;
    let records = lines.iter().filter_map(|line| record_of(language, pin, line).transpose());
    let records: Vec<_> =
        records.collect::<Result<_, _>>().map_err(|refusal| not_usable(pin, &refusal))?;
    if records.is_empty() {
        return Ok(Outcome::Nobody);
    }
    // Drivers were served meanwhile; the one who asked may have gone.
    if context.server_queries.is_open(query.number, context.clock.monotonic()) {
        store_guest(context, pin, &records)?;
    }
    Ok(Outcome::Here)
}

/// The lines that the server has about a person, and whether the last of them is whole.
fn fetch_lines(
    context: &mut Context,
    query: &ServerQuery,
    pin: &Pin,
) -> Result<(Vec<Vec<u8>>, bool), Trouble> {
    let target = context.target("/iclock/cdata").with("table", "RemoteAtt").with("PIN", pin);
    let mut response = context.exchange_until(query.until, &target, None)?;
    if response.status != 200 {
        let body = response.read_up_to(ack::ANSWER_BYTES)?;
        return Err(Trouble::Refused(response.answer(&body).refusal()));
    }
    let mut lines = Lines::new(context.settings.command_bytes.min(MOST_BYTES));
    let mut found = Vec::new();
    let (mut chunk, mut bytes) = (vec![0; 16 << 10], 0);
    loop {
        let amount = response.body.read(&mut chunk).map_err(|error| response.broke_off(error))?;
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
            let lines = whole(found)?;
            return match lines.first() {
                Some(page) if page.trim_ascii_start().starts_with(b"<") => {
                    Err(Trouble::Refused(response.answer(page).refusal()))
                }
                _ => Ok((lines, is_whole)),
            };
        }
    }
}

/// Makes a guest of what came about a person, all of it or nothing.
fn store_guest(
    context: &mut Context,
    pin: &Pin,
    records: &[PersonRecord<'_>],
) -> Result<(), Trouble> {
    let (store, stay) = (Rc::clone(&context.store), context.server_queries.rules().stay);
    let now = context.clock.utc_if_set();
    let commands = context.commands();
    let done = store.atomically(|| {
        match store.guests().get(pin)? {
            // What the server names no longer is deleted.
            Some(_) => store.guests().delete_fetched(pin)?,
            // Somebody has made the person a user meanwhile.
            None if store.people().get(pin)?.is_some() => return Ok(()),
            None => {}
        }
        let before = store.high_water_mark();
        for (table, record) in records {
            commands.data().update_guest(*table, record)?;
        }
        store.guests().mark_fetched(pin, before)?;
        Ok(store.guests().put(pin, now, stay)?)
    });
    match done {
        Ok(()) => {
            log::info!("{pin} is a guest for {} minutes", stay.as_secs() / 60);
            Ok(())
        }
        Err(CommandError::Refused(refusal)) => Err(not_usable(pin, &refusal)),
        Err(CommandError::Store(error)) => Err(error.into()),
    }
}

/// The record in a line, if it is of this person. Other lines are skipped: `NONE`, options,
/// commands, other persons. A record without a valid PIN is refused.
fn record_of<'l>(
    language: Language,
    pin: &Pin,
    line: &'l [u8],
) -> Result<Option<PersonRecord<'l>>, Refusal> {
    // Some servers write it as a command, with an id that nobody answers.
    let text = CommandLine::parse(line).map_or(line, |line| line.text);
    let Ok(Command::Update(table, record)) = Command::parse(text) else { return Ok(None) };
    if !matches!(table, DataTable::Users | DataTable::Templates(_)) {
        return Ok(None);
    }
    let fields = Fields::parse(record, &["PIN"], language)?;
    let whose = Pin::from_fields(&fields)?;
    if whose != *pin {
        log::warn!("asked about {pin}, the server sent a line about {whose}, which was skipped");
    }
    Ok((whose == *pin).then_some((table, record)))
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

fn not_usable(pin: &Pin, refusal: &Refusal) -> Trouble {
    Trouble::Refused(format!("what the server has about {pin} cannot be used: {}", refusal.why))
}
