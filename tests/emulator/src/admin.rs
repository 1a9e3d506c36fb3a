//! The admin interface: JSON over HTTP on a port of its own.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /state` | | the figures |
//! | `GET /attlog` `/oplog` `/users` `/templates` `/photos` `/idcards` `/errors` `/options` | | what came in |
//! | `GET /replies` `/requests` `/deviations` | | what came in |
//! | `GET /requests/<number>` | | the bytes of a request that deviated, in base64; of the last 256 |
//! | `GET /personas` | | their names, and what each does |
//! | `POST /commands` | one command a line | their ids |
//! | `POST /faults` | a [`Fault`], or `{"percent":20,"seed":7}` | |
//! | `DELETE /faults` | | |
//! | `POST /release` | | stalled requests end |
//! | `POST /handshake` | lines `key=value`; `key` alone takes it out | |
//! | `POST /allow` | names of [`Kind`]s | |
//! | `POST /persona` | a name | |
//! | `POST /clock` | seconds by which its clock is ahead | |
//! | `POST /files/<path>` | the bytes | |
//! | `POST /reset` | | all that came in is forgotten |

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::connection::Shared;
use crate::deviation::Kind;
use crate::fault::{Fault, Weather};
use crate::file::Offered;
use crate::http::{Head, Request};
use crate::received::{Received, Summary};
use crate::service::{Service, is_here, refusal, respond};
use crate::settings::{Manners, Persona};
use crate::state::State;

const PATHS: &str = "\
    GET /state /attlog /oplog /users /templates /photos /idcards /errors /options /replies /requests \
    /requests/NUMBER /deviations /personas; \
    POST /commands /faults /release /handshake /allow /persona /clock /reset /files/PATH; \
    DELETE /faults";

pub(crate) fn listen(shared: &Arc<Shared>, address: SocketAddr) -> io::Result<Service> {
    Service::start(shared, address, "admin", |shared, inbound| {
        respond(shared, inbound, check, answer)
    })
}

/// Why a request is refused, if it is: a browser sent it for a web site. Programs send no `Origin`. A site whose
/// name leads here (DNS rebinding) sends none either; its name has a dot.
fn check(head: &Head) -> Result<(), String> {
    let for_browsers = "for browsers there is the page (--page)";
    if let Some(origin) = head.field("origin") {
        return Err(format!("Origin is {origin:?}: {for_browsers}"));
    }
    let host = head.field("host").unwrap_or_default();
    match is_here(host) || !host.contains('.') {
        true => Ok(()),
        false => Err(format!("Host is {host:?}, and no address: {for_browsers}")),
    }
}

/// Does what a request asks for.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    let outcome = handle(&mut shared.lock(), request);
    if request.head.method != "GET" {
        shared.announce();
    }
    match outcome {
        Ok(value) => Answer::ok(format!("{value:#}\n")).with("Content-Type", "application/json"),
        Err((status, why)) => refusal(status, &why),
    }
}

type Outcome = Result<Value, (u16, String)>;

fn handle(state: &mut State, request: &Request) -> Outcome {
    let path = request.path.as_str();
    match request.head.method.as_str() {
        "GET" => show(state, path),
        "POST" => act(state, path, &request.body),
        "DELETE" if path == "/faults" => {
            state.faults.clear();
            Ok(Value::Null)
        }
        _ => Err(nothing_there(path)),
    }
}

fn show(state: &State, path: &str) -> Outcome {
    let received = &state.received;
    match path {
        "/state" => json(&state.summary()),
        "/attlog" => json(received.attlog()),
        "/oplog" => json(received.oplog()),
        "/users" => json(&received.users().values().collect::<Vec<_>>()),
        "/templates" => json(received.templates()),
        "/photos" => {
            Ok(json!({ "attendance": received.att_photos(), "people": received.photos() }))
        }
        "/idcards" => json(received.id_cards()),
        "/errors" => json(received.errors()),
        "/options" => json(received.options()),
        "/replies" => json(received.replies()),
        "/requests" => json(&received.requests().collect::<Vec<_>>()),
        "/deviations" => json(received.deviations()),
        "/personas" => Ok(Persona::ALL
            .map(|persona| json!({ "name": persona, "about": persona.about() }))
            .into_iter()
            .collect()),
        _ => show_request(received, path),
    }
}

fn show_request(received: &Received, path: &str) -> Outcome {
    let number = path.strip_prefix("/requests/").and_then(|number| number.parse().ok());
    let number: u64 = number.ok_or_else(|| nothing_there(path))?;
    let gone = || (404, format!("the bytes of request {number} are not kept"));
    json(received.deviant(number).ok_or_else(gone)?)
}

fn act(state: &mut State, path: &str, bytes: &[u8]) -> Outcome {
    let body = String::from_utf8_lossy(bytes);
    match path {
        "/commands" => return Ok(json!({ "ids": queue(state, &body) })),
        "/faults" => arm(state, &body)?,
        "/release" => state.released += 1,
        "/handshake" => set_options(state, &body),
        "/allow" => allow(state, &body)?,
        "/persona" => state.settings.manners = Manners::of(persona(body.trim())?),
        "/clock" => {
            // A century is enough, and no time overflows.
            let seconds = body.trim().parse().ok().filter(|it: &i64| it.abs() < 3_200_000_000);
            state.clock_offset =
                seconds.ok_or_else(|| (400, "not a number of seconds".to_owned()))?;
        }
        "/reset" => state.reset(),
        _ => {
            let name = path.strip_prefix("/files/").ok_or_else(|| nothing_there(path))?;
            state.files.insert(name.to_owned(), Offered::new(bytes.to_vec()));
        }
    }
    Ok(Value::Null)
}

fn nothing_there(path: &str) -> (u16, String) {
    (404, format!("there is nothing at {path}, or not by this method; there is: {PATHS}"))
}

fn json<T: Serialize + ?Sized>(what: &T) -> Outcome {
    serde_json::to_value(what).map_err(|error| (500, error.to_string()))
}

fn queue(state: &mut State, body: &str) -> Vec<String> {
    body.lines().filter(|line| !line.is_empty()).map(|text| state.queue(text)).collect()
}

fn persona(name: &str) -> Result<Persona, (u16, String)> {
    Persona::named(name).ok_or_else(|| (400, format!("there is no persona {name:?}")))
}

fn arm(state: &mut State, body: &str) -> Result<(), (u16, String)> {
    match serde_json::from_str::<Weather>(body) {
        Ok(weather) => state.faults.weather(Some(weather)),
        Err(_) => {
            let fault: Fault =
                serde_json::from_str(body).map_err(|error| (400, error.to_string()))?;
            state.faults.arm(fault);
        }
    }
    Ok(())
}

fn set_options(state: &mut State, body: &str) {
    for line in body.lines().filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            Some((key, value)) => state.set_option(key, value),
            None => state.removed_options.push(line.to_owned()),
        }
    }
}

fn allow(state: &mut State, body: &str) -> Result<(), (u16, String)> {
    for name in body.split_whitespace() {
        let kind =
            Kind::named(name).ok_or_else(|| (400, format!("there is no deviation {name:?}")))?;
        state.allowed.insert(kind);
    }
    Ok(())
}

impl State {
    /// Queues a command under the next id, which it gives back.
    pub(crate) fn queue(&mut self, text: &str) -> String {
        self.commands.queue(&self.settings.id_prefix, text)
    }

    pub(crate) fn summary(&self) -> Summary {
        self.received.summary(self.commands.queued(), self.commands.answered())
    }

    pub(crate) fn set_option(&mut self, key: &str, value: &str) {
        self.removed_options.retain(|removed| !removed.eq_ignore_ascii_case(key));
        match self.options.iter_mut().find(|(name, _)| name == key) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.options.push((key.to_owned(), value.to_owned())),
        }
    }
}
