//! What a viewer sees: the figures, and of each list the rows of one page, at most 50.
//!
//! Its length does not depend on how much came in, nor on how long a value is that came in: texts
//! are cut.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::Serialize;
use serde_json::{Value, json};

use super::picture;
use crate::command::Command;
use crate::received::{AttRow, Reply, Row};
use crate::record::attphoto::AttPhoto;
use crate::record::photo::Photo;
use crate::record::user::User;
use crate::session::Session;
use crate::settings::Persona;
use crate::state::{State, unix_time};

/// The most rows of a list, and of one with pictures.
const ROWS: usize = 50;
const PICTURES: usize = 12;
/// The most characters of a value, and of a text that is read.
const SHORT: usize = 120;
const LONG: usize = 2000;

/// All of it. `start`: at which row the page of a list begins, if not with the latest.
pub(crate) fn view(state: &State, start: impl Fn(&str) -> Option<usize>) -> Value {
    let received = &state.received;
    let newest = |name: &str, total: usize, rows: usize| {
        let last = total.saturating_sub(rows);
        let first = start(name).map_or(last, |start| start.min(last));
        first..(first + rows).min(total)
    };
    let ordered = |name: &str, total: usize| {
        let first = start(name).unwrap_or(0).min(total.saturating_sub(ROWS));
        first..(first + ROWS).min(total)
    };
    let (punches, replies) = (received.attlog(), received.replies());
    let (att_photos, photos) = (received.att_photos(), received.photos());
    let (commands, deviations) = (state.commands.all(), received.deviations());
    let places = newest("commands", commands.len(), ROWS);
    let answers = answers(&commands[places.clone()], replies);
    let at = newest("deviations", deviations.len(), ROWS);
    json!({
        "revision": state.revision,
        "now_ms": unix_time().as_millis() as u64,
        "figures": state.summary(),
        "persona": Persona::with(&state.settings.manners),
        "faults": faults(state),
        "terminals": terminals(state, ordered("terminals", state.sessions.len())),
        "punches": list(punches, newest("punches", punches.len(), ROWS), punch),
        "people": people(state, ordered("people", received.users().len())),
        "punch_photos": list(att_photos, newest("punch_photos", att_photos.len(), PICTURES), att_photo),
        "people_photos": list(photos, newest("people_photos", photos.len(), PICTURES), photo),
        "commands": list(commands, places, |it| command(it, answers.get(it.id.as_str()).copied())),
        "deviations": list(deviations, at, |it| json!({
            "kind": it.kind,
            "rule": it.kind.about(),
            "request": it.request,
            "of": it.of,
            "text": cut(&it.text, LONG),
            "has_bytes": received.deviant(it.request).is_some(),
        })),
    })
}

/// One page of a list: how many rows there are, where the page begins, its rows.
fn list<T>(all: &[T], page: Range<usize>, row: impl Fn(&T) -> Value) -> Value {
    let rows: Vec<Value> = all[page.clone()].iter().map(row).collect();
    listed(all.len(), page.start, rows)
}

fn listed(total: usize, start: usize, rows: Vec<Value>) -> Value {
    json!({ "total": total, "start": start, "rows": rows })
}

fn terminals(state: &State, page: Range<usize>) -> Value {
    let mut all: Vec<(&String, &Session)> = state.sessions.iter().collect();
    all.sort_by_key(|(sn, _)| *sn);
    list(&all, page, |(sn, session)| {
        let (terms, presence) = (&session.terms, &session.presence);
        json!({
            "sn": cut(sn, SHORT),
            "established": session.established,
            "version": terms.version.to_string(),
            "encoding": terms.charset,
            "requests": presence.requests,
            "at_ms": presence.at_ms,
            "exchange": cut(&presence.exchange, SHORT),
            "info": presence.info.as_deref().map(|info| cut(info, SHORT)),
        })
    })
}

fn punch(row: &AttRow) -> Value {
    let punch = &row.record;
    json!({
        "pin": punch.pin,
        "time": punch.time,
        "status": punch.status,
        "verify": punch.verify,
        "workcode": cut(&punch.workcode, SHORT),
        "sn": cut(&row.sn, SHORT),
        "times": row.times,
    })
}

fn people(state: &State, page: Range<usize>) -> Value {
    let all = state.received.users();
    let rows = all.values().skip(page.start).take(page.len()).map(person).collect();
    listed(all.len(), page.start, rows)
}

fn person(row: &Row<User>) -> Value {
    let user = &row.record;
    json!({
        "pin": user.pin,
        "name": cut(&user.name, SHORT),
        "pri": user.pri,
        "card": cut(&user.card, SHORT),
        "grp": cut(&user.grp, SHORT),
        "sn": cut(&row.sn, SHORT),
    })
}

fn att_photo(row: &Row<AttPhoto>) -> Value {
    let AttPhoto { pin, time, data, .. } = &row.record;
    json!({ "pin": pin, "of": time, "bytes": data.len(), "picture": picture::media_type(data) })
}

fn photo(row: &Row<Photo>) -> Value {
    let Photo { pin, form, data, .. } = &row.record;
    json!({ "pin": pin, "of": form, "bytes": data.len(), "picture": picture::media_type(data) })
}

/// The latest reply to each of these commands. The replies are gone through once.
fn answers<'a>(commands: &[Command], replies: &'a [Reply]) -> HashMap<&'a str, &'a Reply> {
    let answered = commands.iter().filter(|command| command.replies > 0);
    let mut open: HashSet<&str> = answered.map(|command| command.id.as_str()).collect();
    let mut found = HashMap::new();
    for reply in replies.iter().rev() {
        if open.is_empty() {
            break;
        }
        if open.remove(reply.id.as_str()) {
            found.insert(reply.id.as_str(), reply);
        }
    }
    found
}

fn command(command: &Command, reply: Option<&Reply>) -> Value {
    #[derive(Serialize)]
    struct Answered {
        ret: i64,
        content: Option<String>,
    }
    let content = |reply: &Reply| reply.content.as_deref().map(|bytes| cut_bytes(bytes, LONG));
    json!({
        "id": cut(&command.id, SHORT),
        "text": cut(&command.text, LONG),
        "handed_out": command.handed_out,
        "reply": reply.map(|reply| Answered { ret: reply.ret, content: content(reply) }),
    })
}

fn faults(state: &State) -> Value {
    let armed = state.faults.armed();
    let shown: Vec<Value> = armed
        .iter()
        .take(ROWS)
        .map(|fault| {
            let act = serde_json::to_value(&fault.act).unwrap_or_default();
            json!({
                "on": cut(&String::from(fault.on.clone()), SHORT),
                "times": (fault.times != u32::MAX).then_some(fault.times),
                "act": act["act"],
            })
        })
        .collect();
    let standing = state.faults.standing();
    json!({
        "total": armed.len(),
        "armed": shown,
        "percent": standing.map(|standing| standing.percent),
    })
}

fn cut_bytes(bytes: &[u8], most: usize) -> String {
    // A character has four bytes at most.
    cut(&String::from_utf8_lossy(&bytes[..bytes.len().min(most * 4 + 4)]), most)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
