//! What needs a person: what does not end by itself.

use std::time::Duration;

use super::connection::{Connection, Reason};
use super::waiting::Waiting;
use crate::clock::Clock;
use crate::protocol::handshake::NO_OPTIONS;
use crate::protocol::stream::Stream;

/// What lasts as long as this does not end by itself.
const LASTS: Duration = Duration::from_secs(15 * 60);

/// What needs a person, one message each.
pub(super) fn attention(
    connection: &Connection,
    waiting: &[(Stream, Vec<Waiting>)],
    full: Option<&str>,
    write_failure: Option<&str>,
    clock: &dyn Clock,
) -> Vec<String> {
    let now = clock.monotonic();
    let mut found = Vec::new();
    found.extend(full.map(|shortage| format!("new punches are refused: {shortage}")));
    found.extend(write_failure.map(|message| format!("nothing is recorded: {message}")));
    let lasts = |since: Duration| now.saturating_sub(since) >= LASTS;
    let schedule = &connection.schedule;
    let is_offline = !connection.online
        && (connection.last_contact.is_none() || schedule.offline_since.is_some_and(lasts));
    if let (true, Some((message, _))) = (is_offline, &connection.trouble) {
        found.push(format!("there is no connection to the server: {message}"));
    }
    if connection.online {
        let lasting = schedule.failing.iter().filter(|failing| lasts(failing.since));
        found.extend(lasting.map(|failing| failing.message.clone()));
    }
    if connection.online && connection.no_options {
        found.push(NO_OPTIONS.into());
    }
    #[cfg(feature = "exchange")]
    found.extend(connection.unencrypted.clone().filter(|_| connection.online));
    if connection.online && !connection.clock_set {
        found.push("the clock is not set, and the server's Date does not set it".into());
    }
    for (stream, waiting) in waiting {
        let needs_person = |waiting: &&Waiting| match waiting.reason {
            Reason::SetAside => true,
            Reason::PassedOver => waiting.since.is_some_and(|since| {
                clock.utc().saturating_sub(since) >= LASTS.as_secs().cast_signed()
            }),
            Reason::TransFlag => is_of_punches(*stream),
            // It never takes them by itself.
            Reason::Schedule => is_of_punches(*stream) && schedule.uploads == Duration::MAX,
            _ => false,
        };
        for Waiting { rows, message, .. } in waiting.iter().filter(needs_person) {
            found.push(format!("{rows} {} wait: {message}", stream.name()));
        }
    }
    found
}

fn is_of_punches(stream: Stream) -> bool {
    matches!(stream, Stream::Punches | Stream::IdPunches)
}

/// The last upgrade, if it was not installed.
pub(super) fn upgrade(failed: Option<&str>) -> Vec<String> {
    failed.map(|why| format!("{why} (until the next upgrade is installed)")).into_iter().collect()
}

/// The answers to commands that the server refused more than once.
pub(super) fn replies(refused: u64) -> Vec<String> {
    let message = format!(
        "{refused} answers to commands of the server, which it never took: see what it says to \
         /iclock/devicecmd in the log; such a server may send the commands without end"
    );
    if refused > 0 { vec![message] } else { Vec::new() }
}
