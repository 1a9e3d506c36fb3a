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
    for (status, body) in [
        (201, "OK"),
        (202, "ok: 3"),
        (200, "\"OK\""),
        (200, "\u{feff}OK:3"),
        (200, " \"OK:3\"\n"),
        (200, "\r\n  OK : 3"),
        (200, "OK 1 ms"),
    ] {
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

/// The lines of each upload of punches so far.
fn uploads(server: &RawServer) -> Vec<Vec<u8>> {
    let requests = server.requests().into_iter();
    requests.filter(|request| request.is_upload("ATTLOG")).map(|request| request.body).collect()
}

/// How many rows the first uploads of forty punches have, if the first of them is answered so.
fn rows_after(answer: RawAnswer) -> Vec<usize> {
    let mut first = Some(answer);
    let (server, terminal) =
        given(40, "", move |request| first.take().unwrap_or_else(|| ok(request)));
    all_delivered(&terminal);
    let rows = |body: &Vec<u8>| body.split(|byte| *byte == b'\n').count() - 1;
    uploads(&server).iter().map(rows).collect()
}

#[test]
fn what_refuses_a_request_is_halved_and_what_is_trouble_goes_again_as_it_was() {
    let refused = [
        (400, "bad"),
        (413, ""),
        (422, "{}"),
        (200, "FAIL"),
        (200, "ERROR: no such column"),
        (201, "{\"error\":1}"),
        (200, "OKAY"),
    ];
    let trouble = [
        (301, ""),
        (302, "OK"),
        (401, ""),
        (403, ""),
        (404, ""),
        (405, ""),
        (406, ""),
        (408, ""),
        (425, ""),
        (500, "OK:40"),
        (502, ""),
        (503, ""),
        (504, ""),
        (200, ""),
        (200, " \r\n"),
        (200, "<html>OK</html>"),
        (200, "\"OK:40\n"),
        (200, "GET OPTION FROM: MADE0001\nDelay=10\n"),
        (407, ""),
        (429, ""),
        (200, "UNKNOWN DEVICE"),
        (200, "Terminal Not Authorized"),
        (200, "error:device not exist"),
        (400, "device not registered"),
    ];
    let cases = refused.map(|case| (case, 20)).into_iter().chain(trouble.map(|case| (case, 40)));
    let cases: Vec<_> = cases.map(|((status, body), rows)| (says(status, body), rows)).collect();
    let resets = [RawAnswer::Closes, RawAnswer::Resets].map(|answer| (answer, 40));
    let cases: Vec<_> = cases.into_iter().chain(resets).collect();
    for some in cases.chunks(6) {
        std::thread::scope(|scope| {
            for (answer, expected) in some {
                scope.spawn(move || {
                    let rows = rows_after(answer.clone());
                    assert_eq!(rows[..2], [40, *expected], "{answer:?}");
                });
            }
        });
    }
}

#[test]
fn what_no_row_can_cause_never_leads_to_a_search() {
    let later = |status, head| RawAnswer::Says(status, head, String::new());
    let past =
        "Retry-After: Thu, 26 Nov 2020 00:00:00 GMT\r\nDate: Thu, 26 Nov 2026 00:00:00 GMT\r\n";
    let soon =
        "Retry-After: Thu, 26 Nov 2026 00:00:01 GMT\r\nDate: Thu, 26 Nov 2026 00:00:00 GMT\r\n";
    let answers = [
        later(503, "Retry-After: 1\r\n"),
        later(500, "Retry-After: 0\r\n"),
        later(502, "Retry-After: soon\r\n"),
        later(503, past),
        later(503, soon),
        later(413, "Retry-After: 1\r\n"),
        later(400, "Retry-After: 1\r\n"),
        later(429, ""),
        later(407, ""),
    ];
    std::thread::scope(|scope| {
        for answer in answers {
            scope.spawn(move || {
                let (mut left, what) = (5, format!("{answer:?}"));
                let (server, terminal) = given(40, "", move |request| {
                    left -= 1;
                    if left > 0 { answer.clone() } else { ok(request) }
                });
                all_delivered(&terminal);
                let uploads = uploads(&server);
                assert_eq!(uploads.len(), 5, "{what}");
                assert!(uploads.iter().all(|body| *body == uploads[0]), "{what}");
            });
        }
    });
}

#[test]
fn retry_after_is_heeded_up_to_an_hour() {
    for (head, least) in [("Retry-After: 99999999999\r\n", 3600), ("Retry-After: 1800\r\n", 1800)] {
        let (_server, terminal) = given(1, "", move |_| RawAnswer::Says(503, head, String::new()));
        let log = || terminal.log();
        crate::harness::until("told", || log().contains("uploading punches"), log);
        let log = log();
        let seconds = log.rsplit("next attempt in ").next().unwrap();
        let seconds: u32 = seconds.split(' ').next().unwrap().parse().unwrap();
        assert!((least..=3600).contains(&seconds), "{log}");
    }
}

#[test]
fn a_request_that_was_not_sent_never_leads_to_a_search() {
    // Nobody listens at first: the port is known, and refuses.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut terminal = Terminal::prepare(&format!("http://127.0.0.1:{port}"), "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..40 {
        driver.punch("7", &second(nth));
    }
    drop(driver);
    terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    terminal.stop();
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options(""),
        request => ok(request),
    });
    terminal.configure(&server.url(), "");
    terminal.run();
    all_delivered(&terminal);
    assert_eq!(uploads(&server).len(), 1);
}

#[test]
fn a_server_that_forgets_the_terminal_gets_a_handshake_before_anything_else() {
    for (status, body) in [
        (401, ""),
        (403, ""),
        (200, "UNKNOWN DEVICE"),
        (200, "Terminal Not Authorized"),
        (404, "device not registered"),
    ] {
        for at_poll in [false, true] {
            let (mut knows, mut forgets) = (false, 1);
            let server = RawServer::start(move |request| {
                if request.is_handshake() {
                    knows = true;
                    return options("");
                }
                if forgets > 0
                    && request.is_poll() == at_poll
                    && (at_poll || request.is_upload("ATTLOG"))
                {
                    (knows, forgets) = (false, 0);
                }
                if !knows {
                    return says(status, body);
                }
                if request.is_poll() { says(200, "OK") } else { ok(request) }
            });
            let mut terminal = Terminal::prepare(&server.url(), "");
            terminal.run();
            terminal.driver().punch("7", &second(1));
            all_delivered(&terminal);
            crate::harness::polls_of(&server, 2);
            let requests = server.requests();
            let is_refused = |request: &RawRequest| {
                if at_poll { request.is_poll() } else { request.is_upload("ATTLOG") }
            };
            let refused = requests.iter().position(is_refused).unwrap();
            assert!(
                requests[refused + 1].is_handshake(),
                "{status} {body:?} {at_poll}: {requests:?}"
            );
            let handshakes = requests.iter().filter(|request| request.is_handshake()).count();
            assert_eq!(handshakes, 2, "{status} {body:?} {at_poll}");
        }
    }
}

#[test]
fn a_request_that_is_too_large_is_divided_and_a_row_goes_when_the_limit_changes() {
    // The server takes up to so many bytes, and says so in its options.
    let limit = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(300));
    let now = std::sync::Arc::clone(&limit);
    let server = RawServer::start(move |request| {
        let limit = now.load(std::sync::atomic::Ordering::Relaxed);
        match request {
            request if request.is_handshake() => options(&format!("MaxPostSize={}\n", limit * 100)),
            request if request.is_poll() && limit > 300 => says(200, "C:1:CHECK"),
            request if request.is_poll() => says(200, "OK"),
            request
                if request.body.len() > limit
                    && request.method == "POST"
                    && !request.target.contains("devicecmd")
                    && !request.target.contains("table=options") =>
            {
                says(413, "")
            }
            request => ok(request),
        }
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..40 {
        driver.punch("7", &second(nth));
    }
    let long = "x".repeat(400);
    for (nth, text) in ["a", long.as_str(), "b"].into_iter().enumerate() {
        let error = serde_json::json!({"code": "D01E0001", "message": format!("{nth} {text}")});
        driver.call("error", error).unwrap();
    }
    all_delivered(&terminal);
    let errors = |status: &Value, key: &str| status["streams"]["errors"][key].clone();
    terminal.wait_for("one left", |status| {
        errors(status, "suspect") == 1 && errors(status, "pending") == 1
    });
    limit.store(3000, std::sync::atomic::Ordering::Relaxed);
    terminal.wait_for("all gone", |status| errors(status, "pending") == 0);
    assert_eq!(terminal.status()["quarantine"], serde_json::json!([]));
}

#[test]
fn results_of_commands_go_before_the_upload_that_was_answered_with_them() {
    let mut sent = false;
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, "OK"),
        request if request.is_upload("ATTLOG") && !std::mem::replace(&mut sent, true) => {
            says(200, "C:1:CHECK\nC:2:CHECK\nC:3:CHECK\n")
        }
        request => ok(request),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[dialect]\nreplies_alone = true\n");
    terminal.run();
    terminal.driver().punch("7", &second(1));
    all_delivered(&terminal);
    let requests = server.requests();
    let at = |wanted: &dyn Fn(&RawRequest) -> bool| -> Vec<usize> {
        (0..requests.len()).filter(|nth| wanted(&requests[*nth])).collect()
    };
    let uploads = at(&|request| request.is_upload("ATTLOG"));
    let results = at(&|request| request.target.contains("devicecmd"));
    assert_eq!((uploads.len(), results.len()), (2, 3), "{requests:?}");
    assert!(results[2] < uploads[1], "{requests:?}");
}

#[test]
fn a_server_that_only_answers_with_commands_gets_pauses() {
    let mut id = 0;
    let (server, terminal) = given(3, "", move |request| {
        id += 1;
        if id > 8 {
            ok(request)
        } else {
            says(200, format!("C:{id}:DATA UPDATE USERINFO PIN={id}\tName=A\n"))
        }
    });
    all_delivered(&terminal);
    let uploads = uploads(&server);
    assert_eq!(uploads.len(), 9);
    assert!(uploads.iter().all(|body| *body == uploads[0]));
    assert!(terminal.log().contains("answers uploads with commands"), "{}", terminal.log());
}

#[test]
fn where_single_rows_count_no_more_than_their_neighbours_counts_mean_nothing() {
    // One row less than there are, always.
    let (_server, terminal) =
        given(20, "", |request| says(200, format!("OK:{}", request.lines().len() - 1)));
    all_delivered(&terminal);
    let status = terminal.status();
    assert!(status["not_counted"].as_u64() > Some(0), "{status:#}");
    let before = status["not_counted"].as_u64().unwrap();
    terminal.driver().punch("7", &second(1000));
    terminal.wait_for("counted", |status| status["not_counted"].as_u64() > Some(before));
    all_delivered(&terminal);
    assert_eq!(terminal.log().matches("did not count").count(), 1, "{}", terminal.log());
}

#[test]
fn a_row_that_the_server_knows_already_is_delivered_although_it_is_not_counted() {
    let mut known = std::collections::BTreeSet::new();
    let (server, terminal) = given(1, "", move |request| {
        let new = request.lines().into_iter().filter(|row| known.insert(row.clone())).count();
        // The answer to the third punch is lost.
        if new == 1 && known.len() == 3 {
            RawAnswer::Closes
        } else {
            says(200, format!("OK:{new}"))
        }
    });
    all_delivered(&terminal);
    for nth in 2..6 {
        terminal.driver().punch("7", &second(nth));
        all_delivered(&terminal);
    }
    assert_eq!(terminal.status()["suspects"], serde_json::json!([]));
    assert_eq!(uploads(&server).len(), 7);
}

#[test]
fn a_new_row_alone_that_is_not_counted_while_others_are_is_a_suspect() {
    let (_server, terminal) = given(1, "", |request| {
        let counted = request.lines().iter().filter(|row| !row.starts_with("666\t")).count();
        says(200, format!("OK:{counted}"))
    });
    all_delivered(&terminal);
    terminal.driver().punch("666", &second(100));
    terminal.wait_for("suspect", |status| punches(status)["suspect"] == 1);
    terminal.driver().punch("7", &second(101));
    terminal.wait_for("the rest gone", |status| punches(status)["pending"] == 1);
    assert_eq!(terminal.status()["not_counted"], 0);
}
