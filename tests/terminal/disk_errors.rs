//! A disk on which nothing can be written for a while: it is said, nothing counts as recorded or
//! done meanwhile, and all goes on when it can be written again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use iclock_emulator::{Received, Settings};
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, limit_files, polls, second, server, server_with};

#[test]
fn nothing_is_recorded_and_the_terminal_says_so() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run_where_files_can_be_limited();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.punch("1001", &second(1));
    limit_files(&terminal, Some(0));
    let refusal = driver.call("punch", json!({"pin": "1002", "time": second(2)})).unwrap_err();
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("disk I/O error") && message.contains("read-only?"), "{message}");
    assert_eq!(terminal.status()["failing"], message.trim_start_matches("not recorded: "));
    let shown = terminal.punchd(&["status"]).stdout;
    assert!(
        String::from_utf8(shown).unwrap().contains("FAILING    nothing is recorded: the store")
    );
    limit_files(&terminal, None);
    driver.punch("1003", &second(3));
    assert!(terminal.status()["failing"].is_null());
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() >= 2));
    let pins: Vec<String> = server.attlog().into_iter().map(|row| row.record.pin).collect();
    assert_eq!(pins, ["1001", "1003"]);
}

#[test]
fn that_nothing_can_be_written_is_said_until_something_was() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run_where_files_can_be_limited();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.punch("1001", &second(1));
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
    limit_files(&terminal, Some(0));
    driver.call("punch", json!({"pin": "1002", "time": second(2)})).unwrap_err();
    // Polls, handshakes and calls that find nothing to write show nothing of the disk.
    terminal.signal("HUP");
    assert!(server.wait_until(TIMEOUT, |received| received.count("handshake") == 2));
    polls(&server, 2);
    driver.call("user.get", json!({"pin": "1"})).unwrap();
    driver.call("user.delete", json!({"pin": "1"})).unwrap();
    assert!(!terminal.status()["failing"].is_null(), "{:#}", terminal.status());
    limit_files(&terminal, None);
    driver.punch("1003", &second(3));
    assert!(terminal.status()["failing"].is_null());
}

#[test]
fn a_door_opens_once_for_a_command_that_could_not_be_written_down_at_first() {
    let server = server_with(Settings { commands_per_poll: 2_000, ..Settings::default() });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run_where_files_can_be_limited();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "relay", "provides": ["unlock"]})).unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    thread::spawn(move || {
        while let Some(request) = driver.receive() {
            counted.fetch_add(1, Ordering::SeqCst);
            let reply = json!({"jsonrpc": "2.0", "id": request["id"], "result": true});
            driver.send(reply.to_string().as_bytes()).unwrap();
        }
    });
    // What is written next has room, a transaction of many people has not.
    let log = std::fs::read(terminal.path("punchd.db-wal")).unwrap();
    let end = log.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    limit_files(&terminal, Some(end + 16 * 1024));
    // A list so long that it is carried out in great steps.
    let long = "x".repeat(200);
    let ids: Vec<String> = (0..500)
        .map(|nth| match nth % 100 {
            20 => server.queue("AC_UNLOCK"),
            _ => server.queue(&format!("DATA UPDATE USERINFO PIN={nth}\tName={long}")),
        })
        .collect();
    terminal.wait_for("failing", |status| {
        let polls = server.requests().iter().filter(|seen| seen.exchange == "poll").count();
        !status["failing"].is_null() && polls > 2
    });
    limit_files(&terminal, None);
    let done = |received: &Received| ids.iter().all(|id| received.reply(id).is_some());
    assert!(server.wait_until(TIMEOUT, done));
    assert_eq!(opened.load(Ordering::SeqCst), 5);
}
