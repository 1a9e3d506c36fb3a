//! A healthy row that was refused only because the server had a bad time, each against a raw server
//! that knows only the rule: what is wrong with the server is never held against a row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::{RawAnswer, RawServer, Terminal, options, polls_of, says, second, until};

/// The punch that the server does not take.
const UNLUCKY: &str = "666\t";

#[test]
fn a_row_that_was_refused_while_the_server_failed_goes_soon_after_that() {
    let is_well = Arc::new(AtomicBool::new(false));
    let (well, polls) = (Arc::clone(&is_well), AtomicUsize::new(0));
    let server = RawServer::start(move |request| {
        if request.is_handshake() {
            return options("");
        }
        let is_ill = !well.load(Ordering::Relaxed);
        if request.is_poll() {
            let nth = polls.fetch_add(1, Ordering::Relaxed);
            return if is_ill && nth.is_multiple_of(2) { says(502, "") } else { says(200, "OK") };
        }
        let lines = request.lines();
        if is_ill && lines.iter().any(|line| line.starts_with(UNLUCKY)) {
            return says(502, "");
        }
        says(200, format!("OK:{}", lines.len()))
    });
    let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 1\n");
    terminal.run();
    let mut driver = terminal.driver();
    driver.punch("666", &second(80_000));
    let mut punches = 0;
    let occasions = |terminal: &Terminal| terminal.status()["suspects"][0]["refusals"].clone();
    until(
        "refused on three occasions",
        || {
            punches += 1;
            driver.punch("1", &second(punches));
            occasions(&terminal) == 3
        },
        || format!("{:#} {}", terminal.status()["suspects"], terminal.log()),
    );
    is_well.store(true, Ordering::Relaxed);
    let before = server.requests().len();
    polls_of(&server, 4);
    // Four polls are three to four times `ErrorDelay`.
    let came = server.requests()[before..].iter().any(|request| request.text().contains(UNLUCKY));
    assert!(came, "{:#}", terminal.status());
    let status =
        terminal.wait_for("all gone", |status| status["streams"]["punches"]["pending"] == 0);
    assert_eq!(status["quarantine"], json!([]), "{status:#}");
}

#[test]
fn a_server_that_forgets_the_terminal_between_two_offers_refuses_no_row() {
    // How often the row came, and whether the server knows the terminal.
    let (mut offers, mut is_known) = (0, false);
    let server = RawServer::start(move |request| {
        is_known |= request.is_handshake();
        if request.is_handshake() {
            return options("");
        }
        let lines = request.lines();
        if is_known && lines.iter().any(|line| line.starts_with(UNLUCKY)) {
            offers += 1;
            match offers {
                // In a batch, and alone: then its neighbour is taken.
                1 | 2 => return says(400, ""),
                3 | 4 => is_known = false,
                _ => {}
            }
        }
        if is_known { says(200, format!("OK:{}", lines.len())) } else { says(401, "") }
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "[timeouts]\nretry = 1\n");
    terminal.run();
    terminal.driver().punch("666", &second(1));
    terminal.driver().punch("1", &second(2));
    terminal.stop();
    terminal.configure(&server.url(), "[timeouts]\nretry = 1\n");
    terminal.run();
    let (mut driver, mut punches) = (terminal.driver(), 2);
    let came = || server.requests().iter().filter(|sent| sent.text().contains(UNLUCKY)).count();
    until(
        "offered five times",
        || {
            punches += 1;
            driver.punch("1", &second(punches));
            came() >= 5
        },
        || terminal.log(),
    );
    terminal.wait_for("all gone", |status| status["streams"]["punches"]["pending"] == 0);
    let log = terminal.log();
    assert!(!log.contains("the server refuses it and takes others"), "{log}");
}

#[test]
fn a_table_at_which_the_server_resets_delays_nothing_else() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options("ErrorDelay=600\n"),
        request if request.is_upload("ERRORLOG") => RawAnswer::Resets,
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 600\n");
    terminal.run();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.call("error", json!({"code": "D01E0001", "message": "no face"})).unwrap();
    terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    driver.punch("1", &second(1));
    terminal.wait_for("punch gone", |status| status["streams"]["punches"]["pending"] == 0);
    polls_of(&server, 3);
    // At once, after 2 s, after 4 s: only what met the reset waits.
    let uploads = server.requests().iter().filter(|sent| sent.is_upload("ERRORLOG")).count();
    let waits = terminal.status()["streams"]["errors"]["waits"].to_string();
    assert!((2..=12).contains(&uploads), "{uploads} uploads");
    assert!(waits.contains("next attempt"), "{waits}");
}
