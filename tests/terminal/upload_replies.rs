//! Replies to uploads as servers in use give them, each
//! against a raw server that knows only the rule: every row goes up, or has its reason, and what
//! is wrong with the server is never held against a row.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{RawAnswer, RawRequest, RawServer, Terminal, options, says, second};

/// A server with `answer` for uploads of punches, and a terminal with `punches` pending: they were
/// recorded before it ever reached the server.
fn given(
    punches: u32,
    more_options: &'static str,
    mut answer: impl FnMut(&RawRequest) -> RawAnswer + Send + 'static,
) -> (RawServer, Terminal) {
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(more_options),
        request if request.is_poll() => says(200, "OK"),
        request if request.is_upload("ATTLOG") => answer(request),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 1..=punches {
        driver.punch(&(1000 + nth).to_string(), &second(nth));
    }
    drop(driver);
    terminal.stop();
    terminal.configure(&server.url(), "");
    terminal.run();
    (server, terminal)
}

fn ok(request: &RawRequest) -> RawAnswer {
    says(200, format!("OK:{}", request.lines().len()))
}

fn punches(status: &Value) -> &Value {
    &status["streams"]["punches"]
}

/// All punches are delivered, and none is in quarantine.
fn all_delivered(terminal: &Terminal) {
    let status = terminal.wait_for("all delivered", |status| punches(status)["pending"] == 0);
    assert_eq!(punches(&status)["quarantined"], 0, "{status:#}");
}

#[test]
fn a_bad_minute_of_the_server_sets_nothing_aside() {
    for status in [502, 301, 403, 408, 500, 503, 504] {
        let mut answers = [false, false, true, false].into_iter();
        let (_server, terminal) = given(2, "", move |request| match answers.next() {
            Some(false) => says(status, ""),
            _ => ok(request),
        });
        all_delivered(&terminal);
    }
}

#[test]
fn a_server_of_which_every_second_request_fails_gets_everything() {
    let mut count = 0;
    let (_server, terminal) = given(75, "", move |request| {
        count += 1;
        if count % 2 == 0 { says(502, "") } else { ok(request) }
    });
    all_delivered(&terminal);
}

#[test]
fn a_row_that_makes_the_server_fail_stops_no_other_and_stays_pending() {
    for (status, text) in [(500, "boom"), (400, "bad row"), (200, ""), (200, "<html>")] {
        let (server, terminal) = given(40, "", move |request| {
            if request.text().contains("1017\t") { says(status, text) } else { ok(request) }
        });
        let report = terminal.wait_for("only one left", |status| punches(status)["pending"] == 1);
        // It is passed over, not given up: no verdict after a few seconds.
        assert_eq!(punches(&report)["quarantined"], 0, "{report:#}");
        assert_eq!(punches(&report)["suspect"], 1, "{report:#}");
        let mut times = BTreeMap::new();
        for request in server.requests().iter().filter(|request| request.is_upload("ATTLOG")) {
            for line in request.lines() {
                *times.entry(line).or_insert(0) += 1;
            }
        }
        assert_eq!(times.len(), 40);
    }
}

#[test]
fn a_max_post_size_below_one_row_is_not_heeded() {
    let (_server, terminal) = given(50, "MaxPostSize=10\n", ok);
    all_delivered(&terminal);
    assert!(terminal.log().contains("MaxPostSize"), "{}", terminal.log());
}

#[test]
fn a_count_that_is_short_by_the_same_number_twice_finds_the_row() {
    let (_server, terminal) = given(20, "", |request| {
        let rows = request.lines();
        let counted = rows.iter().filter(|row| !row.starts_with("1007\t")).count();
        says(200, format!("OK:{counted}"))
    });
    let report = terminal.wait_for("only one left", |status| punches(status)["pending"] == 1);
    assert_eq!(punches(&report)["suspect"], 1, "{report:#}");
}

#[test]
fn a_server_that_counts_only_new_rows_is_believed() {
    let mut known = std::collections::BTreeSet::new();
    let (_server, terminal) = given(20, "", move |request| {
        let new = request.lines().into_iter().filter(|row| known.insert(row.clone())).count();
        // The first answer is lost: then all rows are known.
        if new == 20 { RawAnswer::Closes } else { says(200, format!("OK: {new}")) }
    });
    all_delivered(&terminal);
}

#[test]
fn counts_that_mean_nothing_are_told_once_and_counted() {
    let (_server, terminal) = given(5, "", |_| says(200, "OK:0"));
    all_delivered(&terminal);
    assert_eq!(terminal.status()["not_counted"], 5);
    assert_eq!(terminal.log().matches("did not count").count(), 1, "{}", terminal.log());
    let (_server, terminal) = given(5, "", |_| says(200, "OK:-1"));
    all_delivered(&terminal);
    assert_eq!(terminal.status()["not_counted"], 0);
}

#[test]
fn every_2xx_and_ok_in_quotes_or_after_a_byte_order_mark_is_success() {
    for (status, body) in
        [(201, "OK"), (202, "ok: 3"), (200, "\"OK\""), (200, "\u{feff}OK:3"), (200, " \"OK:3\"\n")]
    {
        let (server, terminal) = given(3, "", move |_| says(status, body));
        all_delivered(&terminal);
        let uploads = server.requests().into_iter().filter(|it| it.is_upload("ATTLOG")).count();
        assert_eq!(uploads, 1, "{status} {body:?}");
    }
}

#[test]
fn commands_in_the_answer_to_an_upload_are_executed_and_the_upload_goes_again() {
    let mut sent = false;
    let (server, terminal) = given(3, "", move |request| {
        if std::mem::replace(&mut sent, true) {
            ok(request)
        } else {
            says(200, "C:77:DATA UPDATE USERINFO PIN=5\tName=Ann\n")
        }
    });
    all_delivered(&terminal);
    assert_eq!(terminal.status()["users"], 1);
    let requests = server.requests();
    let uploads: Vec<_> = requests.iter().filter(|it| it.is_upload("ATTLOG")).collect();
    assert_eq!(uploads.len(), 2);
    assert_eq!(uploads[0].body, uploads[1].body);
    let reply = requests.iter().position(|it| it.text().contains("ID=77&Return=0")).unwrap();
    let second = requests.iter().rposition(|it| it.is_upload("ATTLOG")).unwrap();
    assert!(reply < second, "the reply goes before the upload that is sent again");
}
