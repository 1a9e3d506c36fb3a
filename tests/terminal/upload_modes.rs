//! When data goes up (U1) and which (U2): real time, intervals, times of the day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{RawServer, TIMEOUT, Terminal, options, polls, says, second, server};

#[test]
fn interval_and_timed_modes_hold_back_and_log_and_check_override() {
    // Not in real time, no interval: nothing goes by itself.
    let server = server();
    server.set_option("Realtime", "0");
    server.set_option("TransInterval", "0");
    server.remove_option("TransTimes");
    let terminal = Terminal::start(&server, "");
    // What waited while the terminal was off goes at first contact; then the gate closes.
    assert!(server.wait_until(TIMEOUT, |received| received.oplog().len() == 1));
    polls(&server, 2);
    terminal.driver().punch("1001", &second(1));
    polls(&server, 3);
    assert!(server.attlog().is_empty());
    server.queue("LOG");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    // The gate is closed again behind it; CHECK opens it too.
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    polls(&server, 2);
    terminal.driver().punch("1002", &second(2));
    polls(&server, 3);
    assert_eq!(server.attlog().len(), 1);
    server.queue("CHECK");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2));
    // Real time overrides the others.
    server.set_option("Realtime", "1");
    server.queue("CHECK");
    assert!(server.wait_until(TIMEOUT, |received| received.count("handshake") == 3));
    terminal.driver().punch("1003", &second(3));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 3));
    server.assert_strict();
}

#[test]
fn a_time_of_the_day_lets_data_go() {
    // The server's clock stands ten seconds before the time, in a zone of its own.
    let server = server();
    server.set_option("Realtime", "0");
    server.set_option("TransInterval", "0");
    server.set_option("TransTimes", "03:15;14:00");
    server.set_option("TimeZone", "-570");
    let three_fifteen = 1_856_002_500 - 1_856_002_500 % 86_400 + 3 * 3600 + 15 * 60 + 34_200;
    let ahead = three_fifteen
        - 10
        - std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
            as i64;
    server.set_clock_offset(ahead);
    let terminal = Terminal::start(&server, "");
    // What waited while the terminal was off goes at first contact; then the gate closes.
    assert!(server.wait_until(TIMEOUT, |received| received.oplog().len() == 1));
    polls(&server, 2);
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    // It went at the time by the server's clock, and not before.
    let at = server.requests().into_iter().find(|seen| seen.exchange == "upload:ATTLOG").unwrap();
    let after = at.at_ms as i64 / 1000 + ahead - three_fifteen;
    assert!((-1..30).contains(&after), "{after} s after the time");
}

#[test]
fn what_check_asks_for_again_goes_whatever_the_mode() {
    let server = server();
    server.set_option("Realtime", "0");
    server.set_option("TransInterval", "0");
    server.remove_option("TransTimes");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    terminal.driver().punch("1001", &second(1));
    server.queue("LOG");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    server.set_option("ATTLOGStamp", "0");
    server.queue("CHECK");
    let again = |received: &iclock_emulator::Received| received.attlog()[0].times == 2;
    assert!(server.wait_until(TIMEOUT, again), "{}", terminal.log());
}

/// How many rows each upload has at a server that says bare `OK`, which confirms no count. The server
/// begins to answer when all punches are recorded.
fn uploads_at_a_server_without_counts(configuration: &str, punches: u32) -> Vec<usize> {
    let recorded = Arc::new(AtomicBool::new(false));
    let may_connect = Arc::clone(&recorded);
    let server = RawServer::start(move |request| match request {
        _ if !may_connect.load(Ordering::SeqCst) => says(503, ""),
        request if request.is_handshake() => options(""),
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), configuration);
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..punches {
        driver.punch("1001", &second(nth));
    }
    recorded.store(true, Ordering::SeqCst);
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    let uploads = server.requests().into_iter().filter(|request| request.is_upload("ATTLOG"));
    uploads.map(|request| request.lines().len()).filter(|rows| *rows > 0).collect()
}

#[test]
fn a_server_that_confirms_no_count_gets_as_many_rows_at_once_as_its_owner_says() {
    assert_eq!(uploads_at_a_server_without_counts("", 130), [62, 62, 6]);
    assert_eq!(uploads_at_a_server_without_counts("[upload]\nrows = 300", 700), [300, 300, 100]);
    // No more than fit into a body.
    let few_bytes = "[upload]\nrows = 300\n[limits]\npost_bytes = 3500";
    let uploads = uploads_at_a_server_without_counts(few_bytes, 130);
    assert_eq!((uploads.len(), uploads.iter().sum::<usize>()), (2, 130), "{uploads:?}");
}
