//! A store that an earlier version wrote: cursors, quarantine, queries and resends continue
//! where they were.
//!
//! `stores/0.1.0.db.gz` was written by punchd 0.1.0 (schema 3) against a server that acknowledged
//! 100 punches but refused one, took 60 of the 100 users of a query, asked for its punches once
//! more and took 32 numbers of them; then three punches and two users came. It was killed in
//! that state.

use std::io::Read as _;

use iclock_emulator::Emulator;
use serde_json::{Value, json};

use crate::harness::{TIMEOUT, Terminal, server};

/// A terminal that has the store, and does not run yet.
pub fn given(url: &str) -> Terminal {
    let packed: &[u8] = include_bytes!("stores/0.1.0.db.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let terminal = Terminal::prepare(url, "");
    std::fs::write(terminal.path("punchd.db"), bytes).unwrap();
    terminal
}

/// What is pending, resent, in quarantine; up to which number all was acknowledged.
fn figures(status: &Value, stream: &str) -> [i64; 4] {
    ["pending", "again", "quarantined", "sent_up_to"]
        .map(|key| status["streams"][stream][key].as_i64().unwrap())
}

#[test]
fn cursors_quarantine_and_resends_are_as_they_were() {
    let mut terminal = given("http://127.0.0.1:9");
    terminal.run();
    let status = terminal.status();
    assert_eq!(figures(&status, "punches"), [3, 69, 1, 102]);
    assert_eq!(figures(&status, "users"), [2, 0, 0, 202]);
    assert_eq!(figures(&status, "errors"), [0, 0, 0, 49]);
    let aside = &status["quarantine"][0];
    assert_eq!((&aside["stream"], &aside["seq"]), (&json!("punches"), &json!(42)));
    assert_eq!(status["users"], 102);
}

#[test]
fn what_was_under_way_continues_where_it_was() {
    let server = server();
    // Sent once more, since it was never answered: it is known, and not begun a second time.
    server.queue_as("7", "DATA QUERY USERINFO");
    let mut terminal = given(&server.url());
    terminal.run();
    terminal.wait_for("all of it sent", |status| {
        let punches = figures(status, "punches");
        punches[..3] == [0, 0, 0] && figures(status, "users")[0] == 0
    });
    let pins: Vec<String> = server.attlog().into_iter().map(|row| row.record.pin).collect();
    // New punches first; then the rest of the resend, and nothing that had gone before.
    assert_eq!(pins[..3], ["2000", "2001", "2002"]);
    assert_eq!(pins.len(), 3 + 69, "{pins:?}");
    assert!(!pins.contains(&"1030".to_owned()) && pins.contains(&"13".to_owned()));
    answered(&server, "7");
    let users = server.users().len();
    assert_eq!(users, 40 + 2, "the second part of the query, and the two new users");
}

fn answered(server: &Emulator, id: &str) {
    let is_there = server.wait_until(TIMEOUT, |received| {
        received.replies().iter().any(|reply| reply.id == id && reply.ret == 0)
    });
    assert!(is_there, "command {id} has no answer: {:?}", server.replies());
}
