//! Why rows wait: for each stream the reasons, each with a message that names what to change.

use std::time::Duration;

use serde_json::{Value, json};

use super::connection::{Connection, Failing, Reason, Schedule, UnderWay, WithheldStream};
use crate::clock::Clock;
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::store::{Backlog, RefusedRow, Result, Store};

/// A request that is under way for so long is a reason for waiting.
const LONG: Duration = Duration::from_secs(2);

/// Rows of a stream that wait for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What holds them back.
    pub reason: Reason,
    /// How many rows.
    pub rows: u64,
    /// There may be more.
    pub is_at_least: bool,
    /// For a person: why, until when, and what to change.
    pub message: String,
    /// Since when, if that is known, in seconds since 1970.
    pub since: Option<i64>,
}

impl Waiting {
    pub(super) fn to_json(&self) -> Value {
        let Self { reason, rows, is_at_least, message, .. } = self;
        json!({ "reason": reason.code(), "rows": rows, "at_least": is_at_least, "message": message })
    }
}

/// A stream, as far as its reasons depend on it.
pub(super) struct Rows {
    pub(super) stream: Stream,
    pub(super) backlog: Backlog,
    pub(super) suspects: u64,
    pub(super) set_aside: u64,
    awaiting_clock: u64,
    awaiting_zone: u64,
    /// The first of the suspects.
    suspect: Option<RefusedRow>,
    /// The first of the rows that are set aside.
    aside: Option<RefusedRow>,
}

impl Rows {
    /// What the store has of a stream.
    pub(super) fn of(store: &Store, stream: Stream) -> Result<Self> {
        let quarantine = store.quarantine();
        let (awaiting_clock, awaiting_zone) = store.undated().of_stream(stream)?;
        let (suspects, set_aside) = quarantine.count(stream)?;
        let first = |is_aside, count| match count {
            0 => Ok(None),
            _ => quarantine.first(stream, is_aside),
        };
        Ok(Self {
            stream,
            backlog: store.outbox().backlog(stream)?,
            suspects,
            set_aside,
            awaiting_clock,
            awaiting_zone,
            suspect: first(false, suspects)?,
            aside: first(true, set_aside)?,
        })
    }
}

/// Why rows of a stream wait; nothing if they go up now.
pub(super) fn reasons(rows: &Rows, connection: &Connection, clock: &dyn Clock) -> Vec<Waiting> {
    let schedule = &connection.schedule;
    let trouble = connection.trouble.as_ref().map(|(message, _)| message.as_str());
    let mut found = Vec::new();
    let mut add = |count: u64, reason, message: String| {
        if count > 0 {
            let since = match reason {
                Reason::PassedOver => rows.suspect.as_ref().map(|suspect| suspect.first),
                _ => None,
            };
            // Refused rows are all counted.
            let is_refused = matches!(reason, Reason::PassedOver | Reason::SetAside);
            let is_at_least = rows.backlog.is_at_least && !is_refused;
            found.push(Waiting { reason, rows: count, is_at_least, message, since });
        }
    };
    let Rows { stream, backlog, .. } = *rows;
    let withheld = schedule.withheld.iter().find(|withheld| withheld.stream == stream);
    let mut failing = schedule.failing.iter();
    let retry = failing.find(|failing| failing.table == Some(stream.table()));
    let now = clock.monotonic();
    // What the server asked for goes whatever its TransFlag says, and waits for its version.
    let new = backlog.new.saturating_sub(rows.awaiting_clock + rows.awaiting_zone);
    let mut waits = new + backlog.resend;
    if let Some(WithheldStream { reason, message, .. }) = withheld {
        let goes = match reason {
            Reason::Version => 0,
            _ => backlog.resend + backlog.asked.min(new),
        };
        add(waits - goes, *reason, message.clone());
        waits = goes;
    }
    // Where the first handshake fails, the zone comes once the link is mended.
    let is_link_at_fault = !connection.online && trouble.is_some();
    let for_zone = if is_link_at_fault { 0 } else { rows.awaiting_zone };
    waits += rows.awaiting_zone - for_zone;
    if !connection.online {
        add(waits, Reason::NotConnected, not_connected(schedule, trouble, now));
    } else if let Some(Failing { until, message, .. }) = retry {
        let next = match until.saturating_sub(now) {
            Duration::ZERO => "next attempt now".into(),
            pause => format!("next attempt in {}", seconds(pause)),
        };
        add(waits, Reason::Retry, format!("{message}; {next}"));
    } else if schedule.uploads > now {
        add(waits, Reason::Schedule, until_window(schedule.uploads, clock));
    } else if let Some(UnderWay { what, since }) = schedule.under_way
        && now.saturating_sub(since) >= LONG
    {
        let so_long = seconds(now.saturating_sub(since));
        add(waits, Reason::UnderWay, format!("{what}: no answer for {so_long}"));
    }
    let describe = |row| describe(row, clock.utc());
    let (suspect, aside) = (rows.suspect.as_ref().map(describe), rows.aside.as_ref().map(describe));
    add(
        rows.suspects,
        Reason::PassedOver,
        format!("the server refused them while it took others, {}", suspect.unwrap_or_default()),
    );
    add(
        rows.set_aside,
        Reason::SetAside,
        format!(
            "the server refuses them, {}; correct the server, then `punchd quarantine retry`, or give \
             them up with `punchd quarantine drop`",
            aside.unwrap_or_default()
        ),
    );
    add(
        rows.awaiting_clock,
        Reason::Clock,
        "their time is not known until the clock is set: by the server's Date, or by hand".into(),
    );
    add(
        for_zone,
        Reason::Zone,
        "their local time is not known until the server names a zone (after three handshakes \
         without options the terminal's own is used), or timezone in punchd.toml does"
            .into(),
    );
    found
}

/// Since when a row is refused, when it is offered again, and the server's message.
fn describe(row: &RefusedRow, now: i64) -> String {
    let since = LocalTime::describe(row.first);
    let next = match row.offer_at <= now {
        true => "next offer when its turn comes".into(),
        false => format!("next offer at {} UTC", LocalTime::describe(row.offer_at)),
    };
    format!("since {since} UTC, {next}: {}", row.message)
}

fn not_connected(schedule: &Schedule, trouble: Option<&str>, now: Duration) -> String {
    let next = match schedule.handshake {
        Some(at) if at > now => format!("next attempt in {}", seconds(at - now)),
        _ => "connecting now".into(),
    };
    let why = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
    format!("there is no connection to the server{why}; {next}")
}

fn until_window(opens: Duration, clock: &dyn Clock) -> String {
    const REMEDY: &str = "the server's command LOG brings them at once, Realtime=1 always";
    if opens == Duration::MAX {
        return format!(
            "the server takes nothing by itself (Realtime=0, no TransInterval, no TransTimes); {REMEDY}"
        );
    }
    let wait = opens.saturating_sub(clock.monotonic());
    let at = clock
        .local()
        .and_then(|now| LocalTime::from_seconds(now.seconds().saturating_add(whole_seconds(wait))));
    // To the minute: the seconds are those of the wall clock, and up to one more.
    let at = at.map(|at| at.to_string());
    let at = match at.as_deref().and_then(|at| at.rsplit_once(':')) {
        Some((minute, _)) => format!("at {minute} local time"),
        None => format!("in {}", seconds(wait)),
    };
    format!("the server wants them {at} (Realtime=0, TransInterval, TransTimes); {REMEDY}")
}

/// A duration as whole seconds; what has begun counts.
fn seconds(duration: Duration) -> String {
    format!("{} s", whole_seconds(duration))
}

fn whole_seconds(duration: Duration) -> i64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ZoneSource;
    use crate::store::{Limits, Moment, NewPunch};

    /// A clock that was never set.
    struct Unset;

    impl Clock for Unset {
        fn utc(&self) -> i64 {
            7
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(7)
        }
        fn boot(&self) -> &str {
            "boot"
        }
        fn offset(&self, _: i64) -> i32 {
            0
        }
        fn set(&self, _: i64) -> Option<i64> {
            None
        }
        fn set_zone(&self, _: Option<i32>) {}
        fn zone_source(&self) -> ZoneSource {
            ZoneSource::System
        }
    }

    #[test]
    fn rows_without_a_time_wait_for_the_clock_and_for_nothing_else() {
        let path = std::env::temp_dir().join(format!("punchd-waiting-{}.db", std::process::id()));
        let store = Store::open(&path, Limits::default()).unwrap();
        let moment = Moment::AwaitingClock { boot: "boot".into(), seconds: 5 };
        let punch = NewPunch::of("7", moment);
        store.journal().add_punch(&punch).unwrap();
        let rows = Rows::of(&store, Stream::Punches).unwrap();
        let connection = Connection { online: true, ..Connection::default() };
        let found = reasons(&rows, &connection, &Unset);
        let found: Vec<_> = found.iter().map(|waits| (waits.reason, waits.rows)).collect();
        assert_eq!(found, [(Reason::Clock, 1)]);
        drop(store);
        for suffix in ["", "-wal", ".marker"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
