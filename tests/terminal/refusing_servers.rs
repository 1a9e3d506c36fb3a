//! Servers that take no punch, or not these, while everything else is well; each a raw server that
//! knows only the rule: search is no verdict, nothing waits in silence, and no request that gets no
//! answer holds up the rest again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, dated, options, polls_of, says, second, until,
};

const SETTINGS: &str = "[timeouts]\nretry = 1\nanswer = 1\n";

/// A terminal with punches of these PINs, which has not seen its server yet.
fn with_punches(pins: &[&str]) -> Terminal {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", SETTINGS);
    terminal.run();
    let mut driver = terminal.driver();
    for (nth, pin) in (0..).zip(pins) {
        driver.punch(pin, &second(nth));
    }
    drop(driver);
    terminal.stop();
    terminal
}

fn connect(terminal: &mut Terminal, server: &RawServer) {
    terminal.configure(&server.url(), SETTINGS);
    terminal.run();
}

fn uploads(server: &RawServer) -> usize {
    server.requests().iter().filter(|request| request.is_upload("ATTLOG")).count()
}

fn reasons(status: &Value) -> Vec<String> {
    let waits = status["streams"]["punches"]["waits"].as_array().unwrap();
    waits.iter().map(|waits| waits["reason"].as_str().unwrap().to_owned()).collect()
}

/// A server that answers punches so, and is well otherwise.
fn answering_punches(answer: RawAnswer) -> RawServer {
    RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_upload("ATTLOG") => answer.clone(),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    })
}

#[test]
fn a_search_at_a_server_that_takes_no_punch_is_no_success() {
    std::thread::scope(|scope| {
        for answer in [says(400, "bad"), says(500, "boom"), says(200, "FAIL")] {
            scope.spawn(move || {
                let server = answering_punches(answer);
                let mut terminal = with_punches(&["1"; 20]);
                connect(&mut terminal, &server);
                terminal.wait_for("failed", |status| reasons(status) == ["retry"]);
                let before = uploads(&server);
                let reached = || {
                    let found = reasons(&terminal.status());
                    assert_eq!(found, ["retry"], "{}", terminal.log());
                    uploads(&server) >= before + 30
                };
                until("some searches", reached, || terminal.log());
                let log = terminal.log();
                assert!(!log.contains("works again"), "{log}");
                let said = log.matches("uploading punches: ").count();
                assert!(said < 5, "{said} lines: {log}");
            });
        }
    });
}

#[test]
fn polls_go_between_requests_that_get_no_answer() {
    let server = answering_punches(RawAnswer::Hangs);
    let mut terminal = with_punches(&["1"; 40]);
    connect(&mut terminal, &server);
    until("many requests without an answer", || uploads(&server) >= 20, || terminal.log());
    let (mut in_a_row, mut longest) = (0, 0);
    for request in server.requests() {
        in_a_row = if request.is_poll() { 0 } else { in_a_row + 1 };
        longest = longest.max(in_a_row);
    }
    // A handshake may stand between two uploads.
    let kinds = || server.requests().iter().map(kind).collect::<String>();
    assert!(longest <= 4, "{longest} requests without a poll: {}", kinds());
}

fn kind(request: &RawRequest) -> char {
    match request {
        request if request.is_handshake() => 'h',
        request if request.is_poll() => 'p',
        _ => 'u',
    }
}

/// A server with a clock of its own that answers punches of PIN 666 so.
fn with_clock(clock: &Arc<AtomicI64>, answer: RawAnswer) -> RawServer {
    let time = Arc::clone(clock);
    RawServer::start(move |request| {
        let now = time.load(Ordering::Relaxed);
        dated(
            match request {
                request if request.is_handshake() => options(""),
                request if request.is_poll() => says(200, "OK"),
                request if request.text().contains("666\t") => answer.clone(),
                request => says(200, format!("OK:{}", request.lines().len())),
            },
            now,
        )
    })
}

#[test]
fn rows_that_are_refused_beside_no_healthy_one_are_offered_less_and_less_often() {
    std::thread::scope(|scope| {
        let (refused, failed) = (says(400, "no such employee"), says(500, "no such employee"));
        for (answer, rows) in [(refused, 6), (failed, 6), (RawAnswer::Hangs, 1)] {
            scope.spawn(move || {
                let clock = Arc::new(AtomicI64::new(1_795_651_200));
                let server = with_clock(&clock, answer);
                let pins = [&["666"; 6][..rows], &["1"; 3]].concat();
                let mut terminal = with_punches(&pins);
                connect(&mut terminal, &server);
                terminal.wait_for("only these are left", |status| {
                    status["streams"]["punches"]["suspect"] == rows
                });
                let of_row = |request: &RawRequest| request.text().contains("666\t");
                let offers = || server.requests().iter().filter(|sent| of_row(sent)).count();
                let before = offers();
                // Twenty minutes in steps of more than `ErrorDelay`.
                for _ in 0..24 {
                    clock.fetch_add(50, Ordering::Relaxed);
                    polls_of(&server, 1);
                }
                let each = (offers() - before) / rows;
                // After ErrorDelay, and then twice as long each time: 50, 100, …, 600 s.
                assert!((3..=8).contains(&each), "{each}: {}", terminal.log());
                let status = terminal.status();
                assert_eq!(
                    status["streams"]["punches"]["quarantined"], 0,
                    "nothing shows that it is they"
                );
                assert_eq!(status["streams"]["punches"]["suspect"], rows, "{status:#}");
                assert!(
                    status["attention"]
                        .to_string()
                        .contains("punches wait: the server refused them"),
                    "{status:#}"
                );
            });
        }
    });
}

/// A server that answers requests with a punch of PIN 666 so, and takes all others.
fn refusing_666(answer: RawAnswer) -> RawServer {
    RawServer::start(move |request| match request {
        request if request.is_handshake() => options("ErrorDelay=3\n"),
        request if request.is_poll() => says(200, "OK"),
        request if request.text().contains("666\t") => answer.clone(),
        request => says(200, format!("OK:{}", request.lines().len())),
    })
}

fn polls(server: &RawServer) -> usize {
    server.requests().iter().filter(|request| request.is_poll()).count()
}

#[test]
fn many_rows_at_fault_are_found_without_a_pause_for_each() {
    std::thread::scope(|scope| {
        // The second text is an error of a data base, not of a server that knows no terminal.
        for text in ["no such employee", "Unknown column 'temp' in 'field list'"] {
            scope.spawn(move || {
                let server = refusing_666(says(500, text));
                let pins: Vec<&str> =
                    (0..90).map(|nth| if nth % 3 == 0 { "666" } else { "1" }).collect();
                let mut terminal = with_punches(&pins);
                connect(&mut terminal, &server);
                let found = |status: &Value| status["streams"]["punches"]["pending"] == 30;
                terminal.wait_for("all others are there", found);
                // Two pauses of three seconds, not two for each of thirty rows: 180 s.
                assert!(polls(&server) < 60, "{} polls: {}", polls(&server), terminal.log());
                let handshakes = server.requests().iter().filter(|it| it.is_handshake()).count();
                assert_eq!(handshakes, 1, "{}", terminal.log());
            });
        }
    });
}

#[test]
fn a_refused_row_behind_which_none_waits_is_compared_with_those_that_were_taken_before_it() {
    std::thread::scope(|scope| {
        for answer in [says(400, "no such employee"), says(500, "no such employee")] {
            scope.spawn(move || {
                let server = refusing_666(answer);
                let mut terminal = with_punches(&["1", "1", "1", "666"]);
                connect(&mut terminal, &server);
                // It is the row's fault, and not the server's.
                let status = terminal.wait_for("passed over", |status| {
                    status["streams"]["punches"]["suspect"] == 1 && status["trouble"].is_null()
                });
                assert_eq!(status["streams"]["punches"]["pending"], 1, "{status:#}");
                assert_eq!(status["suspects"][0]["refusals"], 1, "{status:#}");
            });
        }
    });
}

#[test]
fn healthy_rows_beside_one_that_gets_no_answer_go_at_once_when_the_server_takes_others() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options("ErrorDelay=6\n"),
        request if request.is_poll() => says(200, "OK"),
        request if request.text().contains("666\t") => RawAnswer::Hangs,
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = with_punches(&["1", "2", "3", "666"]);
    connect(&mut terminal, &server);
    until("without an answer", || uploads(&server) == 1, || terminal.log());
    // It is the row that shows that the server takes others.
    terminal.driver().punch("9", &second(9));
    let alone = |pin: &str| {
        let is_alone = |request: &RawRequest| {
            request.lines().len() == 1 && request.text().starts_with(&format!("{pin}\t"))
        };
        server.requests().iter().position(is_alone)
    };
    let all_came = || ["9", "1", "2", "3"].iter().all(|pin| alone(pin).is_some());
    until("all came", all_came, || terminal.log());
    let requests = server.requests();
    let between = &requests[alone("9").unwrap()..alone("3").unwrap()];
    // A poll comes each second: they do not wait for `ErrorDelay`.
    let polls = between.iter().filter(|request| request.is_poll()).count();
    assert!(polls < 3, "{polls} polls: {}", terminal.log());
}

#[test]
fn a_row_that_is_called_unknown_costs_one_handshake_per_pause() {
    let server = refusing_666(says(200, "UNKNOWN USER"));
    let mut terminal = with_punches(&["666", "1", "666", "1", "666", "1"]);
    connect(&mut terminal, &server);
    let found = |status: &Value| status["streams"]["punches"]["pending"] == 3;
    terminal.wait_for("all others are there", found);
    polls_of(&server, 6);
    let handshakes = server.requests().iter().filter(|it| it.is_handshake()).count();
    // A poll comes each second, and `ErrorDelay` is three.
    assert!(handshakes <= 2 + polls(&server) / 2, "{handshakes} beside {} polls", polls(&server));
}

#[test]
fn a_punch_waits_for_one_time_out_at_most_while_hanging_rows_are_searched() {
    let server = refusing_666(RawAnswer::Hangs);
    let pins: Vec<&str> = (0..30).map(|nth| if nth % 5 == 0 { "666" } else { "1" }).collect();
    let mut terminal = with_punches(&pins);
    connect(&mut terminal, &server);
    let hung = |server: &RawServer| {
        server.requests().iter().filter(|request| request.text().contains("666\t")).count()
    };
    // The same rows go again, and then the search begins.
    until("searched", || hung(&server) >= 3, || terminal.log());
    let mut driver = terminal.driver();
    for nth in 0..8 {
        let before = hung(&server);
        let pin = format!("9{nth}");
        driver.punch(&pin, &second(100 + nth));
        let is_there = || {
            let of_punch = |request: &RawRequest| {
                request.text().contains(&format!("{pin}\t")) && !request.text().contains("666\t")
            };
            server.requests().iter().any(of_punch)
        };
        until("there", is_there, || terminal.log());
        // The first waits until the rows before it were passed over; then one request is under way.
        let hung = hung(&server) - before;
        assert!(nth == 0 || hung <= 3, "punch {nth} waited for {hung}");
    }
    let found = |status: &Value| status["streams"]["punches"]["pending"] == 6;
    terminal.wait_for("all others are there", found);
}

#[test]
fn a_request_that_is_under_way_for_long_is_the_reason_for_waiting() {
    let server = answering_punches(RawAnswer::Hangs);
    let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 1\nanswer = 8\n");
    terminal.run();
    terminal.wait_until_online();
    terminal.driver().punch("1", &second(1));
    let status = terminal.wait_for("under way", |status| reasons(status) == ["under-way"]);
    let message = status["streams"]["punches"]["waits"][0]["message"].as_str().unwrap();
    assert!(message.contains("uploading punches: no answer for "), "{message}");
}

#[test]
fn rows_newer_than_the_servers_version_wait_for_it_also_when_they_are_asked_for() {
    let mut polls = 0;
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options("PushProtVer=2.2.14\n"),
        request if request.is_poll() => {
            polls += 1;
            says(200, if polls == 4 { "C:1:LOG\n" } else { "OK" })
        }
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let card = serde_json::json!({"pin": "7", "idnum": "11010519491231002X", "gender": 1, "nation": 1, "birthday": "19491231"});
    terminal.driver().call("idcard.put", card).unwrap();
    let waits = |status: &Value| status["streams"]["identity cards"]["waits"][0].clone();
    terminal.wait_for("for the version", |status| waits(status)["reason"] == "version");
    let is_answered = || server.requests().iter().any(|sent| sent.target.contains("/devicecmd"));
    until("LOG is answered", is_answered, || terminal.log());
    polls_of(&server, 2);
    assert_eq!(waits(&terminal.status())["reason"], "version", "{:#}", terminal.status());
    assert_eq!(waits(&terminal.status())["rows"], 1);
    terminal.stop();
    terminal.run();
    terminal.wait_for("still, after a start", |status| waits(status)["reason"] == "version");
}
