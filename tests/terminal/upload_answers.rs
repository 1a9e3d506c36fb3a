//! Answers to an upload that say more than one thing, or not all of it.

use serde_json::json;

use crate::harness::{
    Driver, RawRequest, RawServer, Terminal, options, replies_to, says, second, until,
};

/// A server that gives these answers to uploads of punches and people, and a terminal that is connected.
fn given(
    mut answer: impl FnMut(&RawRequest) -> (u16, String) + Send + 'static,
) -> (RawServer, Terminal) {
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, "OK"),
        request if request.is_upload("ATTLOG") || request.is_upload("OPERLOG") => {
            let (status, body) = answer(request);
            says(status, body)
        }
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.wait_until_online();
    (server, terminal)
}

fn uploads(server: &RawServer) -> usize {
    server.requests().iter().filter(|request| request.is_upload("ATTLOG")).count()
}

#[test]
fn commands_after_the_count_are_carried_out_and_the_rows_are_taken() {
    let (server, terminal) = given(|request| {
        let rows = request.lines().len();
        (200, format!("OK:{rows}\nC:12:DATA UPDATE USERINFO PIN=5\tName=Ann\n"))
    });
    let mut driver = terminal.driver();
    let replies = || replies_to(&server).get("12").map_or(0, Vec::len);
    let name = |driver: &mut Driver| {
        let user = driver.call("user.get", json!({"pin": "5"})).unwrap();
        user["name"].as_str().unwrap().to_owned()
    };
    driver.punch("7", &second(1));
    until("replied", || replies() >= 1, || terminal.log());
    assert_eq!(name(&mut driver), "Ann");
    // What the server sends again in each answer is a repeat: it is answered, and not done again.
    driver.call("user.put", json!({"pin": "5", "name": "Eve"})).unwrap();
    let before = replies();
    driver.punch("7", &second(2));
    // Two uploads, of the person and of the punch: one reply may be for both of their answers.
    until("replied once more", || replies() > before, || terminal.log());
    assert_eq!(name(&mut driver), "Eve");
    assert!(replies_to(&server)["12"].iter().all(|code| *code == 0));
    terminal.wait_for("taken", |status| status["streams"]["punches"]["pending"] == 0);
    assert_eq!(uploads(&server), 2);
}

#[test]
fn commands_after_the_count_that_are_not_of_the_protocol_are_none() {
    // A log of a server, say: only what begins a line is a command.
    let (server, terminal) = given(|_| (200, "OK:1 (see C:12:REBOOT)\n".into()));
    terminal.driver().punch("7", &second(1));
    terminal.wait_for("taken", |status| status["streams"]["punches"]["pending"] == 0);
    assert_eq!(uploads(&server), 1);
    assert!(replies_to(&server).is_empty());
}

#[test]
fn a_row_that_a_firewall_refuses_is_not_blamed_on_the_serial_number() {
    let (_server, terminal) = given(|request| match request.text().contains("1017\t") {
        true => (403, "Blocked by rule 42\nsecond line".into()),
        false => (200, format!("OK:{}", request.lines().len())),
    });
    let mut driver = terminal.driver();
    for nth in 1010..=1024 {
        driver.punch(&nth.to_string(), &second(nth));
    }
    let status = terminal.wait_for("passed over", |status| {
        let punches = &status["streams"]["punches"];
        punches["suspect"] == 1 && punches["pending"] == 1
    });
    let message = status["suspects"][0]["words"].as_str().unwrap();
    for part in ["status 403: \"Blocked by rule 42\"", "firewall"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert!(!message.contains("serial number") && !message.contains("second line"), "{message}");
}
