//! Every row that waits has its reason in `punchd status`, and the reason names what to change. One
//! story for each reason of the table in docs/operating.md, against a raw server.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{RawAnswer, RawRequest, RawServer, Terminal, options, polls_of, says, second};

/// A server with further options, and `answer` for uploads.
fn server(
    more_options: &'static str,
    mut answer: impl FnMut(&RawRequest) -> RawAnswer + Send + 'static,
) -> RawServer {
    RawServer::start(move |request| match request {
        request if request.is_handshake() => options(more_options),
        request if request.is_poll() => says(200, "OK"),
        request => answer(request),
    })
}

fn ok(request: &RawRequest) -> RawAnswer {
    says(200, format!("OK:{}", request.lines().len()))
}

fn run(server: &RawServer, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), more);
    terminal.run();
    terminal
}

/// Waits until rows of a stream wait for this reason, and returns the message.
#[track_caller]
fn reason(terminal: &Terminal, stream: &str, reason: &str, rows: u64) -> String {
    let of = |status: &Value| {
        let waits = status["streams"][stream]["waits"].as_array().unwrap().clone();
        waits.into_iter().find(|waits| waits["reason"] == reason && waits["rows"] == rows)
    };
    let status = terminal.wait_for(reason, |status| of(status).is_some());
    of(&status).unwrap()["message"].as_str().unwrap().to_owned()
}

#[track_caller]
fn contains(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

fn shown(terminal: &Terminal, arguments: &[&str]) -> (Option<i32>, String) {
    let output = terminal.punchd(arguments);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn punches_that_the_server_does_not_ask_for_need_a_person() {
    let server = server("TransFlag=TransData OpLog\n", ok);
    let terminal = run(&server, "");
    terminal.wait_until_online();
    assert_eq!(shown(&terminal, &["status", "--check"]), (Some(0), String::new()));
    let mut driver = terminal.driver();
    driver.punch("7", &second(1));
    let message = reason(&terminal, "punches", "trans-flag", 1);
    contains(&message, &["TransFlag (AttLog)", "[upload] punches = \"always\""]);
    let (code, text) = shown(&terminal, &["status", "--check"]);
    assert_eq!(code, Some(1), "{text}");
    contains(&text, &["1 punches wait: ", &message]);
    contains(
        &shown(&terminal, &["status"]).1,
        &["punches    1 pending\n           1 wait: not asked"],
    );
    // A user that is not asked for waits, too, but that is how many servers want it.
    driver.call("user.put", json!({"pin": "7", "name": "Ann"})).unwrap();
    contains(&reason(&terminal, "users", "trans-flag", 1), &["EnrollUser", "LOG"]);
    // The log says it once for each stream.
    driver.punch("7", &second(2));
    reason(&terminal, "punches", "trans-flag", 2);
    polls_of(&server, 2);
    let log = terminal.log();
    assert_eq!(log.matches("punches wait: not asked").count(), 1, "{log}");
    assert_eq!(log.matches("users wait: not asked").count(), 1, "{log}");
    assert_eq!(terminal.status()["attention"].as_array().unwrap().len(), 1);
}

#[test]
fn rows_newer_than_the_servers_version_say_so() {
    let server = server("PushProtVer=2.2.14\n", ok);
    let terminal = run(&server, "");
    terminal.wait_until_online();
    let card = json!({"pin": "7", "idnum": "11010519491231002X", "gender": 1, "nation": 1, "birthday": "19491231"});
    terminal.driver().call("idcard.put", card).unwrap();
    let message = reason(&terminal, "identity cards", "version", 1);
    contains(&message, &["newer than the server's version", "2.2.14", "2.3.0"]);
    assert_eq!(shown(&terminal, &["status", "--check"]).0, Some(0));
}

#[test]
fn rows_wait_for_the_time_of_day_that_the_server_wants() {
    let server = server("Realtime=0\nTransInterval=0\nTransTimes=23:59\n", ok);
    let terminal = run(&server, "");
    terminal.wait_until_online();
    // What was recorded at start goes up first; then the terminal waits for the time of day.
    polls_of(&server, 2);
    terminal.driver().punch("7", &second(1));
    let message = reason(&terminal, "punches", "schedule", 1);
    contains(
        &message,
        &["the server wants them at ", " 23:59 local time", "Realtime=0", "command LOG"],
    );
}

#[test]
fn an_upload_that_fails_says_why_and_when_it_is_repeated() {
    let server = server("ErrorDelay=40\n", |_| says(500, "no such column: verify\nat line 7"));
    let terminal = run(&server, "");
    terminal.wait_until_online();
    terminal.driver().punch("7", &second(1));
    let message = reason(&terminal, "punches", "retry", 1);
    contains(&message, &["status 500", "\"no such column: verify\"", "next attempt in "]);
    let status = terminal.status();
    assert!(status["next_poll_in"].as_u64() <= Some(1), "{status:#}");
    assert!(status["next_handshake_in"].as_u64() > Some(3600), "{status:#}");
}

#[test]
fn without_a_server_everything_waits_for_the_connection() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    terminal.driver().punch("7", &second(1));
    terminal.wait_for("failed", |status| status["trouble"].is_string());
    let message = reason(&terminal, "punches", "not-connected", 1);
    contains(
        &message,
        &["no connection to the server", "connection refused", "http://127.0.0.1:9"],
    );
    let (code, text) = shown(&terminal, &["status", "--check"]);
    assert_eq!(code, Some(1), "{text}");
    contains(&text, &["no connection to the server"]);
    // One whose local time the first handshake brings waits for the same.
    terminal.driver().call("punch", serde_json::json!({"pin": "8"})).unwrap();
    reason(&terminal, "punches", "not-connected", 2);
    let status = terminal.status();
    assert_eq!(status["streams"]["punches"]["waits"].as_array().unwrap().len(), 1, "{status:#}");
    assert!(status["held_for_zone"].as_u64() >= Some(1), "{status:#}");
}

#[test]
fn refused_rows_are_passed_over_with_the_servers_message() {
    // The next offer is not due while the test looks.
    let server = server("ErrorDelay=60\n", |request| match request.text() {
        text if text.contains("13\t") => says(400, "unlucky"),
        _ => ok(request),
    });
    let terminal = run(&server, "");
    let mut driver = terminal.driver();
    for pin in ["12", "13", "14"] {
        driver.punch(pin, &second(1));
    }
    let message = reason(&terminal, "punches", "passed-over", 1);
    contains(&message, &["\"unlucky\"", "next offer at "]);
}

#[test]
fn each_answer_is_explained_by_what_to_change() {
    type Case = (RawAnswer, &'static [&'static str]);
    let with = |status, head: &'static str, body: &str| RawAnswer::Says(status, head, body.into());
    let cases: [Case; 11] = [
        (
            says(200, "UNKNOWN DEVICE"),
            &["does not know this terminal", "register its serial number"],
        ),
        (says(200, ""), &["empty body", "/iclock/cdata", "only after OK"]),
        (says(200, "{\"code\": 7}"), &["JSON", "only after OK"]),
        (with(200, "Content-Encoding: gzip\r\n", "xyz"), &["gzip", "turn compression off"]),
        (says(407, ""), &["proxy", "password"]),
        (says(413, ""), &["too large", "post_bytes in [limits]"]),
        (says(500, "boom"), &["status 500 at /iclock/cdata: \"boom\""]),
        (
            says(502, "<html><title>Bad Gateway</title>"),
            &["status 502 at /iclock/cdata: \"Bad Gateway\""],
        ),
        (
            with(302, "Location: http://login.example/?from=x\r\n", ""),
            &["another host, \"http://login.example/?from=x\"", "login page of the network"],
        ),
        (says(404, ""), &["does not know the path /iclock/cdata", "without /iclock"]),
        (says(200, "<html><title>Log in</title>"), &["web page \"Log in\""]),
    ];
    for (answer, parts) in cases {
        let server = server("", move |_| answer.clone());
        let terminal = run(&server, "");
        terminal.driver().punch("7", &second(1));
        let status = terminal.wait_for("trouble", |status| status["trouble"].is_string());
        contains(status["trouble"].as_str().unwrap(), parts);
    }
}

#[test]
fn status_is_shown_anew_as_long_as_it_is_watched() {
    let server = server("", ok);
    let mut terminal = run(&server, "");
    terminal.wait_until_online();
    let mut watching =
        terminal.command(&["status", "--json", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    let report = |line: String| serde_json::from_str::<Value>(&line).unwrap();
    assert_eq!(report(lines.next().unwrap())["punches"], 0);
    terminal.driver().punch("7", &second(1));
    assert!(lines.by_ref().take(5).any(|line| report(line)["punches"] == 1));
    // A punchd that ends and starts again is shown as it is.
    terminal.stop();
    assert!(lines.by_ref().take(5).any(|line| line.contains("Is `punchd run` running")));
    terminal.run();
    assert!(lines.by_ref().take(5).any(|line| line.starts_with('{')));
    // Without a reader it ends.
    drop(lines);
    assert!(watching.wait().unwrap().success());
}

#[test]
fn watching_and_checking_exclude_each_other() {
    let terminal = Terminal::prepare("http://127.0.0.1:9", "");
    let output = terminal.punchd(&["status", "--watch", "--check"]);
    assert_eq!(output.status.code(), Some(64));
    let output = terminal.punchd(&["status", "--check"]);
    assert_eq!(output.status.code(), Some(69));
}
