//! The report of `punchd status`: the connection, what is pending and why, what needs a person, what
//! the server asked for.

mod attention;
mod clock_facts;
mod connection;
mod waiting;

pub use clock_facts::{ClockStep, LastDate};
pub use connection::{Connection, Failing, Reason, Schedule, UnderWay, WithheldStream};
pub use waiting::Waiting;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use attention::attention;
use clock_facts::zone_in_use;
use serde_json::{Value, json};
use waiting::{Rows, reasons};

use crate::clock::Clock;
use crate::protocol::stream::Stream;
use crate::protocol::text::decode_for_log;
use crate::store::options::UPGRADE_FAILED;
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

    /// Why rows wait, of those of these streams of which some do.
    pub fn waiting(
        &self,
        store: &Store,
        streams: &[Stream],
    ) -> Result<Vec<(Stream, Vec<Waiting>)>> {
        let rows = self.rows(store, streams)?.into_iter();
        let waiting = rows.map(|(rows, waiting)| (rows.stream, waiting));
        Ok(waiting.filter(|(_, waiting)| !waiting.is_empty()).collect())
    }

    /// The streams whose new rows the loop holds back: the server does not ask for them, or takes
    /// nothing at this time.
    pub fn held_back(&self) -> Vec<Stream> {
        let schedule = &self.connection.borrow().schedule;
        let is_closed = schedule.uploads > self.clock.monotonic();
        let is_withheld =
            |stream: &Stream| schedule.withheld.iter().any(|withheld| withheld.stream == *stream);
        Stream::ALL.into_iter().filter(|stream| is_closed || is_withheld(stream)).collect()
    }

    /// The rows of these streams, and why they wait.
    fn rows(&self, store: &Store, streams: &[Stream]) -> Result<Vec<(Rows, Vec<Waiting>)>> {
        let connection = self.connection.borrow();
        let rows = streams.iter().map(|stream| {
            let rows = Rows::of(store, *stream)?;
            let waiting = reasons(&rows, &connection, &*self.clock);
            Ok((rows, waiting))
        });
        rows.collect()
    }

    /// Everything, as `punchd status --json` prints it.
    pub fn report(&self, store: &Store) -> Result<Value> {
        let connection = self.connection.borrow();
        let rows = self.rows(store, &Stream::ALL)?;
        let mut streams = serde_json::Map::new();
        for (rows, waiting) in &rows {
            let (stream, mut report) = stream_report(rows, waiting);
            report["dropped"] = store.retention().dropped(stream)?.into();
            add_up(streams.entry(stream.name()).or_insert(Value::Null), report);
        }
        let (for_clock, for_zone) = store.undated().count()?;
        let (full, write_failure) = (store.retention().shortage(), store.write_failure());
        let capacity = store.retention().capacity()?;
        let waiting: Vec<_> =
            rows.into_iter().map(|(rows, waiting)| (rows.stream, waiting)).collect();
        let now = self.clock.monotonic();
        let attention = attention(
            &connection,
            &waiting,
            full.as_deref(),
            write_failure.as_deref(),
            &*self.clock,
        );
        let notice = store.notice();
        let upgrade_failed = store.options().get(UPGRADE_FAILED)?;
        let replies_refused = store.command_log().count_refused_replies()?;
        let attention = [
            attention,
            clock_facts::attention(connection.clock_step, &*self.clock),
            store_attention(store, notice.as_ref()),
            attention::replies(replies_refused),
            attention::upgrade(upgrade_failed.as_deref()),
        ]
        .concat();
        let seconds_until = |at: Option<Duration>| at.map(|at| at.saturating_sub(now).as_secs());
        #[cfg_attr(not(feature = "exchange"), expect(unused_mut))]
        let mut report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "serial": self.serial,
            "server": connection.server,
            "online": connection.online,
            "last_contact": connection.last_contact,
            "trouble": connection.trouble.as_ref().map(|(message, _)| message),
            "trouble_at": connection.trouble.as_ref().map(|(_, at)| at),
            "clock_set": self.clock.utc_if_set().is_some(),
            "time": self.clock.local().map(|time| time.to_string()),
            "held": for_clock + for_zone,
            "held_for_zone": for_zone,
            "zone": zone_in_use(&*self.clock),
            "store_notice": notice.as_ref().map(|(text, _)| text),
            "store_damaged": store.is_damaged(),
            "zone_source": self.clock.zone_source().name(),
            "last_date": connection.last_date.as_ref().map(LastDate::to_json),
            "clock_step": connection.clock_step.map(ClockStep::to_json),
            "next_handshake_in": seconds_until(connection.schedule.handshake),
            "next_poll_in": seconds_until(connection.schedule.poll),
            "attention": attention,
            "streams": streams,
            "full": full,
            "room": { "punches": capacity.punches, "rest": capacity.rest },
            "failing": write_failure,
            "suspects": suspects(store)?,
            "not_counted": connection.not_counted,
            "quarantine": quarantine(store)?,
            "replies_pending": store.command_log().count_replies()?,
            "replies_refused": replies_refused,
            "punches": store.journal().count_punches()?,
            "users": store.people().count()?,
            "upgrade_failed": upgrade_failed,
            "jobs": store.jobs().list(MOST_JOBS)?.iter().map(job).collect::<Vec<_>>(),
            "audit": store.audit_log().latest(MOST_AUDITED)?.iter().map(audited).collect::<Vec<_>>(),
        });
        #[cfg(feature = "exchange")]
        {
            report["encrypted"] = connection.is_encrypted.into();
            report["unencrypted"] = connection.unencrypted.clone().into();
        }
        Ok(report)
    }
}

/// What waits of a stream.
fn stream_report(rows: &Rows, waiting: &[Waiting]) -> (Stream, Value) {
    let report = json!({
        // A suspect is passed over and stays pending.
        "pending": rows.backlog.new + rows.suspects,
        "suspect": rows.suspects,
        "again": rows.backlog.resend,
        "at_least": rows.backlog.is_at_least,
        "quarantined": rows.set_aside,
        "sent_up_to": rows.backlog.sent,
        "waits": waiting.iter().map(Waiting::to_json).collect::<Vec<_>>(),
    });
    (rows.stream, report)
}

/// Adds the report of a stream to that of an earlier one of the same name: streams that differ only in
/// their flag of `TransFlag` share it.
fn add_up(sum: &mut Value, report: Value) {
    let (Some(sum), Value::Object(report)) = (sum.as_object_mut(), &report) else {
        *sum = report;
        return;
    };
    for (key, value) in report {
        if value == true {
            sum[key] = true.into();
        }
        let (before, more) = (sum[key].as_i64(), value.as_i64());
        match (before.zip(more), sum[key].as_array_mut(), value.as_array()) {
            (Some((before, more)), ..) if key == "sent_up_to" => sum[key] = before.max(more).into(),
            (Some((before, more)), ..) => sum[key] = (before + more).into(),
            (None, Some(before), Some(more)) => before.extend(more.iter().cloned()),
            _ => {}
        }
    }
}

/// What of the store needs a person.
fn store_attention(store: &Store, notice: Option<&(String, PathBuf)>) -> Vec<String> {
    let mut found = Vec::new();
    if let Some((text, file)) = notice {
        found.push(format!("{text} (remove {} when this is settled)", file.display()));
    }
    if store.is_damaged() {
        found.push(format!(
            "the store {} is damaged; punchd goes on with what can be read. Copy it, with its -wal, \
             then see [limits] on_damage and --set-aside-damaged-store",
            store.path().display()
        ));
    }
    found
}

/// Bytes of a command that are enough for what is shown of it.
const SHOWN_BYTES: usize = 400;

/// A command that is under way.
fn job(job: &Job) -> Value {
    let text = decode_for_log(&job.text[..job.text.len().min(SHOWN_BYTES)]);
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
