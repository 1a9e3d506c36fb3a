//! The report of `punchd status`: the connection, what is pending, what the server asked for.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::protocol::stream::Stream;
use crate::store::{Audit, Job, RefusedRow, Result, Store};

/// Most rows in quarantine that a report names.
const MOST_QUARANTINED: usize = 100;
/// Most commands under way that a report names.
const MOST_JOBS: usize = 20;
/// Most entries of the audit log in a report.
const MOST_AUDITED: usize = 100;

/// The state of the connection, kept up to date by the loop.
pub struct Status {
    serial: String,
    clock: Rc<dyn Clock>,
    connection: RefCell<Connection>,
}

/// The connection to the server.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The server's URL.
    pub server: String,
    /// Whether the handshake succeeded and nothing failed since.
    pub online: bool,
    /// When the server last answered correctly, in seconds since 1970.
    pub last_contact: Option<i64>,
    /// What went wrong last, in plain language, and when; cleared by the next success of the
    /// same kind.
    pub trouble: Option<(String, i64)>,
    /// Rows that count as delivered although the server did not count them.
    pub not_counted: u64,
    /// The time on the wall clock is known.
    pub clock_set: bool,
}

impl Status {
    /// The status of a terminal that has had no exchange with its server yet.
    pub fn new(serial: &str, clock: Rc<dyn Clock>) -> Self {
        Self { serial: serial.to_owned(), clock, connection: RefCell::default() }
    }

    /// Reports a change of the connection.
    pub fn update(&self, change: impl FnOnce(&mut Connection)) {
        change(&mut self.connection.borrow_mut());
    }

    /// The connection as the loop reported it last.
    pub fn connection(&self) -> Connection {
        self.connection.borrow().clone()
    }

    /// Everything, as `punchd status --json` prints it.
    pub fn report(&self, store: &Store) -> Result<Value> {
        let connection = self.connection.borrow();
        let mut streams = serde_json::Map::new();
        for stream in Stream::ALL {
            let pending = store.outbox().backlog(stream)?;
            let (suspects, set_aside) = store.quarantine().count(stream)?;
            streams.insert(
                stream.name().into(),
                json!({
                    // A suspect is passed over and stays pending.
                    "pending": pending.new + suspects,
                    "suspect": suspects,
                    "again": pending.resend,
                    "quarantined": set_aside,
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
            "suspects": suspects(store)?,
            "not_counted": connection.not_counted,
            "quarantine": quarantine(store)?,
            "replies_pending": store.command_log().count_replies()?,
            "punches": store.journal().count_punches()?,
            "users": store.people().count()?,
            "jobs": store.jobs().list(MOST_JOBS)?.iter().map(job).collect::<Vec<_>>(),
            "audit": store.audit_log().latest(MOST_AUDITED)?.iter().map(audited).collect::<Vec<_>>(),
        }))
    }
}

/// A command that is under way.
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

/// An entry of the audit log.
fn audited(audit: &Audit) -> Value {
    json!({
        "at": audit.at,
        "server": audit.server,
        "id": audit.id,
        "what": audit.what,
        "result": audit.result,
    })
}

/// The rows that are set aside, with the server's message; the first of them.
pub fn quarantine(store: &Store) -> Result<Vec<Value>> {
    refused_rows(store, true)
}

/// The rows that are passed over and offered again, with the server's message; the first of them.
pub fn suspects(store: &Store) -> Result<Vec<Value>> {
    refused_rows(store, false)
}

fn refused_rows(store: &Store, is_aside: bool) -> Result<Vec<Value>> {
    let rows = store.quarantine().list(is_aside, MOST_QUARANTINED)?;
    let describe = |row: &RefusedRow| {
        json!({
            "stream": row.stream.name(),
            "seq": row.seq,
            "words": row.message,
            "at": row.first,
            "refusals": row.refusals,
            "next_offer": row.offer_at,
            "retry": row.retry,
        })
    };
    Ok(rows.iter().map(describe).collect())
}
