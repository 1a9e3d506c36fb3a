//! What the outside may see of the daemon: `punchd status`.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::protocol::stream::Stream;
use crate::store::{Audit, Job, Quarantined, Result, Store};

/// Most rows in quarantine that a report names.
const MOST_QUARANTINED: usize = 100;
/// Most commands under way that a report names.
const MOST_JOBS: usize = 20;
/// Most entries of the audit log in a report; those that a person is shown.
const MOST_AUDITED: usize = 100;
const SHOWN: usize = 10;

/// The state of the connection, kept up to date by the loop.
pub struct Status {
    serial: String,
    clock: Rc<dyn Clock>,
    connection: RefCell<Connection>,
}

/// How it stands with the server.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The server's URL.
    pub server: String,
    /// Whether the handshake succeeded and nothing failed since.
    pub online: bool,
    /// When the server last answered as it should, in seconds since 1970.
    pub last_contact: Option<i64>,
    /// What went wrong last, in plain language, and when; cleared by the next success of the
    /// same kind.
    pub trouble: Option<(String, i64)>,
    /// The time on the wall clock is known.
    pub clock_set: bool,
}

impl Status {
    /// The status of a terminal that has not spoken to its server yet.
    pub fn new(serial: &str, clock: Rc<dyn Clock>) -> Self {
        Self { serial: serial.to_owned(), clock, connection: RefCell::default() }
    }

    /// Changes what is known of the connection.
    pub fn update(&self, change: impl FnOnce(&mut Connection)) {
        change(&mut self.connection.borrow_mut());
    }

    /// What is known of the connection.
    pub fn connection(&self) -> Connection {
        self.connection.borrow().clone()
    }

    /// Everything, as `punchd status --json` prints it.
    pub fn report(&self, store: &Store) -> Result<Value> {
        let connection = self.connection.borrow();
        let mut streams = serde_json::Map::new();
        for stream in Stream::ALL {
            let pending = store.outbox().backlog(stream)?;
            streams.insert(
                stream.name().into(),
                json!({
                    "pending": pending.new,
                    "again": pending.resend,
                    "quarantined": store.quarantine().count(stream)?,
                    "sent_up_to": pending.sent,
                }),
            );
        }
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "serial": self.serial,
            "server": connection.server,
            "online": connection.online,
            "last_contact": connection.last_contact,
            "trouble": connection.trouble.as_ref().map(|(message, _)| message),
            "trouble_at": connection.trouble.as_ref().map(|(_, at)| at),
            "clock_set": connection.clock_set,
            "time": self.clock.local().map(|time| time.to_string()),
            "held": store.journal().count_awaiting_clock()?,
            "streams": streams,
            "full": store.retention().shortage(),
            "failing": store.write_failure(),
            "quarantine": quarantine(store)?,
            "replies_pending": store.command_log().count_replies()?,
            "punches": store.journal().count_punches()?,
            "users": store.people().count()?,
            "jobs": store.jobs().list(MOST_JOBS)?.iter().map(job).collect::<Vec<_>>(),
            "audit": store.audit_log().latest(MOST_AUDITED)?.iter().map(audited).collect::<Vec<_>>(),
        }))
    }
}

/// A command that goes on.
fn job(job: &Job) -> Value {
    let text = String::from_utf8_lossy(&job.text);
    json!({
        "id": job.id,
        "what": text.chars().take(80).collect::<String>(),
        "stage": job.stage.name(),
        "fetched": job.download.fetched,
        "total": job.download.total,
        "trouble": job.attempts,
    })
}

/// A command that is on record.
fn audited(audit: &Audit) -> Value {
    json!({
        "at": audit.at,
        "server": audit.server,
        "id": audit.id,
        "what": audit.what,
        "result": audit.result,
    })
}

/// The rows that the server refuses, with its message; the first of them.
pub fn quarantine(store: &Store) -> Result<Vec<Value>> {
    let rows = store.quarantine().list(MOST_QUARANTINED)?;
    let describe = |row: &Quarantined| {
        json!({
            "stream": row.stream.name(),
            "seq": row.seq,
            "words": row.message,
            "at": row.at,
            "retry": row.retry,
        })
    };
    Ok(rows.iter().map(describe).collect())
}

/// A report for a person.
pub fn describe(report: &Value) -> String {
    let text = |key: &str| report[key].as_str().unwrap_or("?").to_owned();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |message: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{message}");
    };
    line(format_args!("terminal   {} (punchd {})", text("serial"), text("version")));
    let state = if report["online"] == true { "online" } else { "not connected" };
    line(format_args!("server     {}: {state}", text("server")));
    if let Some(at) = report["last_contact"].as_i64() {
        line(format_args!("contact    last at {} UTC", utc(at)));
    }
    if let Some(message) = report["trouble"].as_str() {
        let at = report["trouble_at"].as_i64().map(utc).unwrap_or_default();
        line(format_args!("trouble    {message} (at {at} UTC)"));
    }
    if let Some(time) = report["time"].as_str() {
        line(format_args!("time       {time} on the terminal's clock"));
    }
    if report["clock_set"] == false {
        line(format_args!("clock      not set; {} rows wait for it", report["held"]));
    }
    if let Some(shortage) = report["full"].as_str() {
        line(format_args!("FULL       new punches are refused: {shortage}"));
    }
    if let Some(message) = report["failing"].as_str() {
        line(format_args!("FAILING    nothing is recorded: {message}"));
    }
    let provided = report["provided"].as_object().into_iter().flatten();
    let provided: Vec<String> = provided
        .map(|(what, name)| format!("{what} by {}", name.as_str().unwrap_or("?")))
        .collect();
    if !provided.is_empty() {
        line(format_args!("drivers    {}", provided.join(", ")));
    }
    for (name, stream) in report["streams"].as_object().into_iter().flatten() {
        let again = match stream["again"].as_u64() {
            Some(again) if again > 0 => format!(", {again} to go up again"),
            _ => String::new(),
        };
        let aside = match stream["quarantined"].as_u64() {
            Some(count) if count > 0 => format!(", {count} in quarantine"),
            _ => String::new(),
        };
        line(format_args!("{name:<10} {} pending{again}{aside}", stream["pending"]));
    }
    for row in report["quarantine"].as_array().into_iter().flatten() {
        let message = row["words"].as_str().unwrap_or_default();
        line(format_args!("refused    row {} of the {}: {message}", row["seq"], row["stream"]));
    }
    line(format_args!("replies    {} pending", report["replies_pending"]));
    line(format_args!("kept       {} punches, {} users", report["punches"], report["users"]));
    for job in report["jobs"].as_array().into_iter().flatten() {
        let far = match (job["fetched"].as_u64(), job["total"].as_u64()) {
            (Some(fetched), Some(total)) => format!(", {fetched} of {total} bytes"),
            _ => String::new(),
        };
        let what = job["what"].as_str().unwrap_or_default();
        let stage = job["stage"].as_str().unwrap_or_default();
        line(format_args!("goes on    command {}: {what} ({stage}{far})", job["id"]));
    }
    for entry in report["audit"].as_array().into_iter().flatten().take(SHOWN) {
        let at = entry["at"].as_i64().map_or_else(|| "clock not set".into(), utc);
        let what = entry["what"].as_str().unwrap_or_default();
        let result = match entry["result"].as_i64() {
            Some(code) => format!("answered {code}"),
            None => "goes on".into(),
        };
        line(format_args!("asked      {at} UTC, {}: {what}: {result}", entry["id"]));
    }
    out
}

fn utc(seconds: i64) -> String {
    crate::protocol::time::LocalTime::from_seconds(seconds)
        .map_or_else(|| "?".into(), |time| time.to_string())
}
