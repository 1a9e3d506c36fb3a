//! Servers that hold a poll until they have a command, or answer it slowly: punches and questions of
//! drivers go on, and no command is lost. Each server is a raw one that knows only the rule.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, kept, options, replies_to, says, second, until,
};

const SETTINGS: &str = "[timeouts]\nretry = 1\n[remote]\nseconds = 20\n";

fn start(server: &RawServer) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), SETTINGS);
    terminal.run();
    terminal
}

fn whole(body: &str) -> Vec<u8> {
    match kept(says(200, body)) {
        RawAnswer::Keeps(bytes) => bytes,
        _ => unreachable!(),
    }
}

fn has_punch(requests: &[RawRequest]) -> bool {
    requests.iter().any(|request| request.is_upload("ATTLOG"))
}

fn punches(requests: &[RawRequest]) -> usize {
    requests.iter().filter(|request| request.is_upload("ATTLOG")).count()
}

/// A server whose first poll is answered so, and that is well otherwise.
fn holding(first_poll: impl Fn() -> RawAnswer + Send + 'static) -> RawServer {
    let mut polls = 0;
    RawServer::start(move |request| match request {
        request if request.is_handshake() => kept(options("")),
        request if request.is_poll() => {
            polls += 1;
            if polls == 1 { first_poll() } else { kept(says(200, "OK")) }
        }
        request => kept(says(200, format!("OK:{}", request.lines().len()))),
    })
}

fn wait_for_poll(server: &RawServer) {
    let polled = || server.requests().iter().any(RawRequest::is_poll);
    until("polled", polled, || format!("{:?}", server.requests()));
}

#[test]
fn a_punch_goes_beside_a_poll_that_is_held_and_its_command_is_carried_out() {
    // The command comes only when a punch has come, after the poll had been held.
    let command = || RawAnswer::InTwo(Vec::new(), whole("C:7:INFO\n"), has_punch);
    let server = holding(command);
    let terminal = start(&server);
    wait_for_poll(&server);
    terminal.driver().punch("1", &second(1));
    until("the punch came", || has_punch(&server.requests()), || terminal.log());
    until("answered", || replies_to(&server).contains_key("7"), || terminal.log());
    assert_eq!(replies_to(&server)["7"], [0]);
    assert!(terminal.status()["trouble"].is_null(), "{}", terminal.log());
}

#[test]
fn a_punch_goes_beside_an_answer_that_trickles() {
    // Half of the command is there at once, the rest when three punches have come.
    let answer = whole("C:7:INFO\nC:8:CHECK\n");
    let (first, rest) = answer.split_at(answer.len() - 12);
    let (first, rest) = (first.to_vec(), rest.to_vec());
    let server =
        holding(move || RawAnswer::InTwo(first.clone(), rest.clone(), |seen| punches(seen) >= 3));
    let terminal = start(&server);
    wait_for_poll(&server);
    for nth in 1..=3 {
        terminal.driver().punch("1", &second(nth));
        until("came", || punches(&server.requests()) as u32 >= nth, || terminal.log());
    }
    until("answered", || replies_to(&server).len() == 2, || terminal.log());
    assert_eq!(replies_to(&server)["7"], [0]);
    assert_eq!(replies_to(&server)["8"], [0]);
}

#[test]
fn a_question_of_a_driver_goes_beside_a_poll_that_is_held() {
    let server = holding(|| RawAnswer::InTwo(Vec::new(), whole("OK"), has_punch));
    let terminal = start(&server);
    wait_for_poll(&server);
    // The server does not know the person, and that is an answer. The poll is held until a punch comes.
    let _ = terminal.driver().call("remote", json!({ "pin": "77" }));
    let asked = server.requests();
    assert!(asked.iter().any(|request| request.target.contains("RemoteAtt")), "{asked:#?}");
    terminal.driver().punch("1", &second(1));
    let polls = || server.requests().iter().filter(|request| request.is_poll()).count() > 1;
    until("polled again", polls, || terminal.log());
}

#[test]
fn a_poll_that_is_held_outlives_a_new_configuration() {
    let command = || RawAnswer::InTwo(Vec::new(), whole("C:7:INFO\n"), has_punch);
    let server = holding(command);
    let terminal = start(&server);
    wait_for_poll(&server);
    terminal.signal("HUP");
    let read = || terminal.log().contains("configuration read again");
    until("read again", read, || terminal.log());
    terminal.driver().punch("1", &second(1));
    until("answered", || replies_to(&server).contains_key("7"), || terminal.log());
    assert_eq!(replies_to(&server)["7"], [0]);
}

#[test]
fn a_server_that_does_one_thing_at_a_time_costs_no_row_and_is_remembered() {
    // Nothing is answered while a poll is held; each is held for three seconds.
    let server = RawServer::start(move |request| {
        if request.is_poll() {
            std::thread::sleep(Duration::from_secs(3));
        }
        match request {
            request if request.is_handshake() => kept(options("")),
            request if request.is_poll() => kept(says(200, "OK")),
            request => kept(says(200, format!("OK:{}", request.lines().len()))),
        }
    });
    let mut terminal =
        Terminal::prepare(&server.url(), "[timeouts]\nretry = 1\nanswer = 1\npoll = 30\n");
    terminal.run();
    wait_for_poll(&server);
    for nth in 1..=6 {
        terminal.driver().punch(&nth.to_string(), &second(nth));
    }
    let done = |status: &serde_json::Value| {
        let punches = &status["streams"]["punches"];
        punches["pending"] == 0 && punches["suspect"] == 0 && punches["quarantined"] == 0
    };
    terminal.wait_for("delivered", done);
    assert!(!terminal.log().contains("passed over"), "{}", terminal.log());
}

/// An answer that cannot be read is an answer: it says nothing of what goes beside a held poll.
#[test]
fn an_answer_that_cannot_be_read_beside_a_held_poll_holds_back_no_later_punch() {
    let answers: [fn() -> RawAnswer; 4] = [
        || RawAnswer::Exactly(b"no HTTP\r\n\r\n".into()),
        || RawAnswer::Exactly(format!("HTTP/1.1 200 X\r\nLong: {}\r\n", "x".repeat(20_000)).into()),
        || {
            RawAnswer::Exactly(
                b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n".into(),
            )
        },
        || RawAnswer::Exactly(b"\x15\x03\x01\x00\x02\x02\x28".into()),
    ];
    for unreadable in answers {
        let mut punches = 0;
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => kept(options("")),
            request if request.is_poll() => RawAnswer::Hangs,
            request if request.is_upload("ATTLOG") => {
                punches += 1;
                if punches == 1 { unreadable() } else { kept(says(200, "OK:1")) }
            }
            _ => kept(says(200, "OK")),
        });
        let terminal = start(&server);
        wait_for_poll(&server);
        for (pin, uploads) in [("1", 2), ("2", 3)] {
            terminal.driver().punch(pin, &second(uploads));
            let is_there = || self::punches(&server.requests()) as u32 == uploads;
            until("the punch came", is_there, || format!("{:?} {}", unreadable(), terminal.log()));
        }
        assert!(!terminal.log().contains("answers nothing beside"), "{}", terminal.log());
    }
}

#[test]
fn only_what_cannot_wait_goes_beside_a_poll_that_is_held() {
    let server = holding(|| RawAnswer::InTwo(Vec::new(), whole("OK"), has_punch));
    let terminal = start(&server);
    wait_for_poll(&server);
    // A new user may wait; the punch behind it does not.
    let mut driver = terminal.driver();
    driver.call("user.put", json!({ "pin": "5", "name": "Made" })).unwrap();
    let waits = |status: &serde_json::Value| {
        status["streams"]["users"]["waits"][0]["reason"] == "under-way"
    };
    let status = terminal.wait_for("a reason", waits);
    assert_eq!(status["streams"]["users"]["pending"], 1, "{status:#}");
    driver.punch("5", &second(1));
    let came = || server.requests().iter().any(|request| request.is_upload("OPERLOG"));
    until("the user came", came, || terminal.log());
    let requests = server.requests();
    let place = |table| requests.iter().position(|request| request.is_upload(table)).unwrap();
    assert!(place("ATTLOG") < place("OPERLOG"), "{requests:#?}");
}

#[test]
fn a_poll_whose_connection_breaks_while_it_is_held_is_asked_again() {
    let server = holding(|| RawAnswer::InTwo(Vec::new(), b"HTTP/1.1 200".to_vec(), has_punch));
    let terminal = start(&server);
    wait_for_poll(&server);
    terminal.driver().punch("1", &second(1));
    let polls = || server.requests().iter().filter(|request| request.is_poll()).count() > 1;
    until("polled again", polls, || terminal.log());
    assert_eq!(punches(&server.requests()), 1);
}

#[test]
fn why_rows_wait_is_in_the_log_while_a_poll_is_held() {
    // The poll is held for longer than the test goes on.
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => kept(options("TransFlag=TransData OpLog\n")),
        request if request.is_poll() => RawAnswer::InTwo(Vec::new(), whole("OK"), |_| false),
        request => kept(says(200, format!("OK:{}", request.lines().len()))),
    });
    let terminal = start(&server);
    wait_for_poll(&server);
    terminal.driver().punch("1", &second(1));
    let told = || terminal.log().contains("1 punches wait: not asked");
    until("told", told, || terminal.log());
    assert_eq!(server.requests().iter().filter(|request| request.is_poll()).count(), 1);
}
