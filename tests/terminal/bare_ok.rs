//! A server that answers only `OK`, also to the handshake: what is said of it.

use serde_json::json;

use crate::harness::{RawServer, Terminal, says, until};

const WORDS: &str = "the server answers only \"OK\", and no options: register the serial number at the \
                     server; until then, defaults hold";

/// A terminal that tries again after so many seconds, at a server that says this to everything, with a punch of now.
fn given(answer: &'static str, retry: u32) -> (RawServer, Terminal) {
    let server = RawServer::start(move |_| says(200, answer));
    let mut terminal = Terminal::prepare(&server.url(), &format!("[timeouts]\nretry = {retry}\n"));
    terminal.run();
    terminal.wait_until_online();
    terminal.driver().call("punch", json!({"pin": "1"})).unwrap();
    (server, terminal)
}

#[test]
fn a_server_that_only_says_ok_needs_a_person_at_once() {
    for answer in ["OK", "OK: 0"] {
        let (_server, terminal) = given(answer, 900);
        let output = terminal.punchd(&["status", "--check"]);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && shown.contains(WORDS), "{answer}: {shown}");
        let status = terminal.status();
        let waits = &status["streams"]["punches"]["waits"][0];
        assert_eq!((&waits["reason"], &waits["rows"]), (&json!("zone"), &json!(1)), "{status:#}");
        let message = waits["message"].as_str().unwrap();
        assert!(message.contains("(after three handshakes without options "), "{message}");
        assert!(terminal.log().contains(&format!("warning: {WORDS}")), "{}", terminal.log());
    }
}

#[test]
fn what_the_log_says_of_a_zone_that_is_not_named_is_so() {
    let (server, terminal) = given("OK", 1);
    let is_sent = || server.requests().iter().any(|request| request.is_upload("ATTLOG"));
    until("sent", is_sent, || terminal.log());
    let log = terminal.log();
    assert!(log.contains("names no time zone that can be used"), "{log}");
    assert!(log.contains("rows that waited for the clock or the zone got their time"), "{log}");
    assert!(!log.contains("zone is known"), "{log}");
    // After three such handshakes.
    assert_eq!(log.matches(WORDS).count(), 1, "{log}");
    assert!(terminal.status()["attention"].to_string().contains("no options"));
}
