//! Connections are kept where the server keeps them, and nowhere else. Each server here is a raw one
//! that knows only the rule.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, kept, options, polls_of, says, second, until,
};

const SETTINGS: &str = "[timeouts]\nretry = 1\nanswer = 1\n";

fn start(server: &RawServer) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), SETTINGS);
    terminal.run();
    terminal
}

/// What a healthy server says.
fn healthy(request: &RawRequest) -> RawAnswer {
    match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    }
}

/// The PINs of the punches that came, in order.
fn pins(server: &RawServer) -> Vec<String> {
    let requests = server.requests();
    let uploads = requests.iter().filter(|request| request.is_upload("ATTLOG"));
    let pin = |row: String| row.split('\t').next().unwrap().to_owned();
    uploads.flat_map(RawRequest::lines).map(pin).collect()
}

fn punch(terminal: &Terminal, pin: &str) {
    terminal.driver().punch(pin, &second(pin.parse().unwrap()));
}

/// Punches one after the other, each when the one before it is at the server.
fn punches(terminal: &Terminal, server: &RawServer, count: usize) {
    for nth in 1..=count {
        punch(terminal, &nth.to_string());
        let has_come = || pins(server).contains(&nth.to_string());
        until("the punch came", has_come, || terminal.log());
    }
}

#[test]
fn a_server_that_keeps_connections_gets_one() {
    let server = RawServer::start(|request| kept(healthy(request)));
    let terminal = start(&server);
    punches(&terminal, &server, 5);
    polls_of(&server, 2);
    let connections = server.requests().iter().map(|request| request.connection.0).max();
    assert_eq!(connections, Some(1), "{:#?}", server.requests());
    assert_eq!(pins(&server), ["1", "2", "3", "4", "5"]);
    assert!(terminal.status()["trouble"].is_null());
}

#[test]
fn an_idle_poll_is_one_small_request() {
    let server = RawServer::start(|request| kept(healthy(request)));
    let _terminal = start(&server);
    polls_of(&server, 3);
    // The first polls bring what the terminal has to say of itself; then there is nothing to say.
    let requests = server.requests();
    let last = requests.iter().rfind(|request| request.is_poll()).unwrap();
    assert!(last.bytes <= 150, "{last:#?}");
}

#[test]
fn a_server_that_closes_without_a_word_after_each_answer_costs_nothing_more() {
    let silent_close = |request: &RawRequest| match kept(healthy(request)) {
        RawAnswer::Keeps(bytes) => RawAnswer::Exactly(bytes),
        other => other,
    };
    let server = RawServer::start(silent_close);
    let terminal = start(&server);
    punches(&terminal, &server, 8);
    polls_of(&server, 2);
    assert_eq!(pins(&server).len(), 8, "each once");
    assert!(terminal.status()["trouble"].is_null(), "{}", terminal.log());
}

#[test]
fn a_kept_connection_that_dies_at_use_is_replaced_at_once_and_three_of_them_are_enough() {
    for dies in [RawAnswer::Closes, RawAnswer::Resets] {
        let server = RawServer::start(move |request| match request.connection.1 {
            1 => kept(healthy(request)),
            _ => dies.clone(),
        });
        let terminal = start(&server);
        punches(&terminal, &server, 8);
        polls_of(&server, 3);
        let seconds = server.requests().iter().filter(|request| request.connection.1 == 2).count();
        assert_eq!(seconds, 3, "{:#?}", server.requests());
        // It may have come twice where the answer was lost.
        let mut pins = pins(&server);
        pins.dedup();
        assert_eq!(pins, ["1", "2", "3", "4", "5", "6", "7", "8"]);
        assert!(terminal.status()["trouble"].is_null(), "{}", terminal.log());
        assert!(terminal.log().contains("a connection of its own"), "{}", terminal.log());
    }
}

#[test]
fn a_server_that_is_silent_at_a_second_request_is_found_out() {
    let server = RawServer::start(|request| match request.connection.1 {
        1 => kept(healthy(request)),
        _ => RawAnswer::Hangs,
    });
    let terminal = start(&server);
    punches(&terminal, &server, 5);
    polls_of(&server, 3);
    let seconds = server.requests().iter().filter(|request| request.connection.1 > 1).count();
    assert_eq!(seconds, 1, "{:#?}", server.requests());
    terminal.wait_for("no trouble", |status| status["trouble"].is_null());
}

#[test]
fn a_poll_that_was_held_and_not_answered_counts_as_any_request_on_a_kept_connection() {
    const HELD: Duration = Duration::from_millis(1500);
    let silent: fn() -> RawAnswer = || RawAnswer::Hangs;
    let closes: fn() -> RawAnswer = || {
        std::thread::sleep(HELD);
        RawAnswer::Closes
    };
    std::thread::scope(|scope| {
        for (dies, poll, most) in [(silent, 2, 1), (closes, 20, 3)] {
            scope.spawn(move || {
                // The first upload says that the terminal started; then there are polls only.
                let mut has_begun = false;
                let server = RawServer::start(move |request| {
                    has_begun |= request.is_upload("OPERLOG");
                    match request.connection.1 {
                        1 if request.is_poll() && has_begun => kept(healthy(request)),
                        1 => healthy(request),
                        _ => dies(),
                    }
                });
                let settings = format!("{SETTINGS}poll = {poll}\n");
                let mut terminal = Terminal::prepare(&server.url(), &settings);
                terminal.run();
                let died = || {
                    let requests = server.requests().into_iter();
                    requests.filter(|request| request.connection.1 > 1).collect::<Vec<_>>()
                };
                until("polls died", || died().len() >= most, || terminal.log());
                polls_of(&server, 3);
                assert!(died().iter().all(RawRequest::is_poll), "{:#?}", server.requests());
                assert_eq!(died().len(), most, "{:#?}", server.requests());
                let log = terminal.log();
                assert!(log.contains("a connection of its own"), "{log}");
            });
        }
    });
}

#[test]
fn bytes_after_an_answer_never_become_the_next_one() {
    const EXTRA: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nOK:1";
    // Each answer but the handshake's is followed by another that nobody asked for; punches are not taken.
    let server = RawServer::start(|request| {
        let answer = match request.is_upload("ATTLOG") {
            true => says(503, "busy"),
            false => healthy(request),
        };
        match kept(answer) {
            RawAnswer::Keeps(bytes) if !request.is_handshake() => {
                RawAnswer::Keeps([&bytes, EXTRA].concat())
            }
            other => other,
        }
    });
    let terminal = start(&server);
    punch(&terminal, "1");
    until("refused", || pins(&server).len() > 1, || terminal.log());
    let status = terminal.status();
    assert_eq!(status["streams"]["punches"]["pending"], 1, "{status:#}");
    let third = server.requests().into_iter().find(|request| request.connection.1 > 2);
    assert!(third.is_none(), "{third:?}");
}

#[test]
fn a_server_that_sent_bytes_behind_an_answer_gets_one_connection_a_request_from_then_on() {
    // One poll is followed by bytes that nobody asked for; all else is as it should be.
    let mut polls = 0;
    let server = RawServer::start(move |request| {
        polls += u32::from(request.is_poll());
        match kept(healthy(request)) {
            RawAnswer::Keeps(bytes) if request.is_poll() && polls == 2 => {
                RawAnswer::Keeps([&bytes[..], b"OK"].concat())
            }
            other => other,
        }
    });
    let terminal = start(&server);
    polls_of(&server, 4);
    punches(&terminal, &server, 5);
    let requests = server.requests();
    let second = requests.iter().enumerate().filter(|(_, it)| it.is_poll()).nth(1).unwrap().0;
    // Before it a connection was kept, and after it none is.
    assert!(requests[..=second].iter().any(|it| it.connection.1 > 1), "{requests:#?}");
    assert!(requests[second + 1..].iter().all(|it| it.connection.1 == 1), "{requests:#?}");
}

#[test]
fn a_server_that_answers_twice_acknowledges_nothing_but_what_came() {
    let server = RawServer::start(|request| match kept(healthy(request)) {
        RawAnswer::Keeps(bytes) if request.is_upload("ATTLOG") => {
            RawAnswer::KeepsLate(bytes.clone(), bytes)
        }
        other => other,
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", SETTINGS);
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..400 {
        driver.punch(&(1000 + nth).to_string(), &second(nth));
    }
    terminal.stop();
    terminal.configure(&server.url(), SETTINGS);
    terminal.run();
    let all = |status: &serde_json::Value| status["streams"]["punches"]["pending"] == 0;
    terminal.wait_for("delivered", all);
    let came: BTreeSet<String> = pins(&server).into_iter().collect();
    assert_eq!(came.len(), 400, "{}", terminal.log());
}

#[test]
fn an_informational_answer_in_the_same_segment_is_passed_over() {
    let server = RawServer::start(|request| match kept(healthy(request)) {
        RawAnswer::Keeps(bytes) => RawAnswer::Keeps(
            [b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", &bytes[..]].concat(),
        ),
        other => other,
    });
    let terminal = start(&server);
    punches(&terminal, &server, 2);
    assert!(terminal.status()["trouble"].is_null(), "{}", terminal.log());
}

#[test]
fn line_ends_without_end_do_not_make_the_terminal_deaf() {
    // Behind its answer to the first poll the server sends nothing but line ends.
    let server = RawServer::start(|request| match kept(healthy(request)) {
        RawAnswer::Keeps(bytes) if request.is_poll() && request.connection.0 == 1 => {
            RawAnswer::Keeps([&bytes[..], &b"\r\n".repeat(1 << 20)].concat())
        }
        other => other,
    });
    let terminal = start(&server);
    punches(&terminal, &server, 3);
}

#[test]
fn a_line_end_after_a_body_is_no_harm() {
    let server = RawServer::start(|request| match kept(healthy(request)) {
        RawAnswer::Keeps(bytes) => RawAnswer::Keeps([&bytes[..], b"\r\n"].concat()),
        other => other,
    });
    let terminal = start(&server);
    punches(&terminal, &server, 3);
    assert!(server.requests().iter().any(|request| request.connection.1 > 2));
    assert!(terminal.status()["trouble"].is_null());
}

#[test]
fn an_answer_that_breaks_off_on_a_kept_connection_is_no_answer() {
    // The second request on each connection gets a part of an answer: of the head, or of the body.
    let in_head: fn(usize) -> usize = |_| 20;
    for cut in [in_head, |all| all - 1] {
        let server = RawServer::start(move |request| match kept(healthy(request)) {
            RawAnswer::Keeps(bytes) if request.connection.1 == 2 => {
                RawAnswer::Exactly(bytes[..cut(bytes.len())].to_vec())
            }
            answer => answer,
        });
        let mut terminal = Terminal::prepare(&server.url(), SETTINGS);
        terminal.run();
        punches(&terminal, &server, 3);
        let done = |status: &serde_json::Value| status["streams"]["punches"]["pending"] == 0;
        terminal.wait_for("delivered", done);
        // What was answered so came once more.
        let requests = server.requests();
        let uploads: Vec<_> = requests.iter().filter(|seen| seen.is_upload("ATTLOG")).collect();
        for (nth, upload) in uploads.iter().enumerate().filter(|(_, seen)| seen.connection.1 == 2) {
            let again =
                uploads[nth + 1..].iter().any(|later| later.text().contains(&upload.text()));
            assert!(again, "{upload:?} in {uploads:#?}");
        }
    }
}

#[test]
fn an_answer_before_the_request_was_read_counts() {
    // The server answers 413 to a long upload without reading it, and closes.
    let server = RawServer::start(|request| match request {
        request if request.is_upload("ATTLOG") && request.lines().len() > 5 => {
            says(413, "too large")
        }
        request => healthy(request),
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", SETTINGS);
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..40 {
        driver.punch(&nth.to_string(), &second(nth));
    }
    terminal.stop();
    terminal.configure(&server.url(), SETTINGS);
    terminal.run();
    let all = |status: &serde_json::Value| status["streams"]["punches"]["pending"] == 0;
    terminal.wait_for("delivered", all);
}
