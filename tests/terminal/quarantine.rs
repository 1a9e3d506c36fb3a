//! Rows that the server keeps refusing: found by halving, set aside, no row else held up.

use iclock_emulator::{Act, Fault, On};

use serde_json::Value;

use crate::harness::{TIMEOUT, Terminal, base64, jpeg, second, server, set_aside, targets};

/// The server refuses every request that holds a row of this PIN.
fn poison(server: &iclock_emulator::Emulator, pin: &str) {
    let refuse = Act::status(400, "bad row");
    server.fault(Fault::new(On::table("ATTLOG"), refuse).containing(&format!("{pin}\t")).always());
}

#[test]
fn poison_rows_are_found_and_set_aside_and_all_others_arrive() {
    const ROWS: u32 = 10_000;
    let bad = [5, 4000, 9990];
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    server.pause();
    let mut driver = terminal.driver();
    for nth in 0..ROWS {
        let pin = if bad.contains(&nth) { format!("bad{nth}") } else { nth.to_string() };
        driver.punch(&pin, &second(nth));
    }
    bad.iter().for_each(|nth| poison(&server, &format!("bad{nth}")));
    server.resume().unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == ROWS - 3));
    terminal.wait_for("passed over", |status| status["streams"]["punches"]["suspect"] == 3);
    assert!(server.attlog().iter().all(|row| row.times == 1));
    let uploads = targets(&server, "upload:ATTLOG").len();
    let mut more = 0;
    set_aside(&server, &terminal, "punches", 3, || {
        driver.punch("good", &second(ROWS + more));
        more += 1;
    });
    // The last good punch may still be on its way.
    let nothing_pending = |status: &Value| status["streams"]["punches"]["pending"] == 0;
    let status = terminal.wait_for("nothing pending", nothing_pending);
    assert!(status["quarantine"][0]["words"].as_str().unwrap().contains("bad row"), "{status:#}");
    // What the same rows cost without poison: 62 rows first, then twice as many each time, up
    // to 64 KiB.
    let plain = {
        let (mut sent, mut rows, mut requests) = (0, 62, 0);
        while sent < ROWS {
            (sent, requests) = (sent + rows, requests + 1);
            rows = (rows * 2).min(2000);
        }
        requests
    };
    let each = (uploads as f64 - f64::from(plain)) / 3.0;
    let goal = 3.0 * 2000f64.log2() + 3.0;
    println!(
        "{uploads} requests for {ROWS} rows with three poison rows, {plain} without: {each:.1} for each (goal {goal:.0})"
    );
    assert!(each <= goal, "{each} requests for each poison row");

    // Retried while the server still refuses, they come back; cured, they arrive.
    let retry = |terminal: &Terminal| {
        let output = terminal.punchd(&["quarantine", "retry"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "3 rows\n");
    };
    let before = targets(&server, "upload:ATTLOG").len();
    retry(&terminal);
    assert!(server.wait_until(TIMEOUT, |received| received.count("upload:ATTLOG") >= before + 3));
    terminal.wait_for("back again", |status| {
        status["quarantine"].as_array().unwrap().iter().filter(|row| row["retry"] == false).count()
            == 3
    });
    terminal.stop();
    server.clear_faults();
    terminal.run();
    retry(&terminal);
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == ROWS + more));
    terminal.wait_for("empty", |status| status["quarantine"] == serde_json::json!([]));
}

#[test]
fn one_refused_row_waits_until_another_shows_whose_fault_it_is() {
    let server = server();
    poison(&server, "bad");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.punch("bad", &second(1));
    // Alone it may be the server's trouble: nothing is set aside.
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    assert_eq!(status["streams"]["punches"]["pending"], 1);
    // The next one goes through at once, and shows that it was the row.
    driver.punch("good", &second(2));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    terminal.wait_for("passed over", |status| status["streams"]["punches"]["suspect"] == 1);
    let mut nth = 2;
    let status = set_aside(&server, &terminal, "punches", 1, || {
        nth += 1;
        driver.punch("good", &second(nth));
    });
    assert_eq!(status["streams"]["punches"]["suspect"], 0);
    // The error log tells of it.
    assert!(server.wait_until(TIMEOUT, |received| received.errors().len() == 1));
    let error = server.received(|received| received.errors()[0].raw.clone());
    let message = b"ErrCode=D01E1001\tErrMsg=row refused: the server answered with status 400";
    assert!(
        error.windows(message.len()).any(|part| part == message),
        "{}",
        String::from_utf8_lossy(&error)
    );
    let output = terminal.punchd(&["quarantine", "drop"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 row\n");
    assert_eq!(terminal.status()["quarantine"], serde_json::json!([]));
}

#[test]
fn a_server_that_refuses_everything_sets_nothing_aside() {
    let server = server();
    server.fault(Fault::new(On::table("ATTLOG"), Act::status(200, "FAIL")).always());
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for nth in 0..100 {
        driver.punch("1001", &second(nth));
    }
    assert!(server.wait_until(TIMEOUT, |received| received.count("upload:ATTLOG") >= 12));
    let status = terminal.status();
    assert_eq!(status["streams"]["punches"]["pending"], 100, "{status:#}");
    assert_eq!(status["streams"]["punches"]["quarantined"], 0);
    server.clear_faults();
    server.queue("LOG"); // By now the pauses may be long.
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 100));
}

#[test]
fn a_photo_larger_than_max_post_size_is_offered_and_told() {
    let server = server();
    server.set_option("MaxPostSize", "4096");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let data = base64(jpeg(5000));
    let photo = serde_json::json!({"pin": "1", "time": second(1), "data": data});
    terminal.driver().call("photo", photo).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.count("upload:ATTPHOTO") > 0));
    assert!(terminal.log().contains("MaxPostSize=4096 is less than one row"), "{}", terminal.log());
    assert_eq!(terminal.status()["quarantine"], serde_json::json!([]));
}

/// A picture of so many bytes that is taken at the nth second.
fn photo(pin: &str, nth: u32, bytes: usize) -> serde_json::Value {
    let data = base64(jpeg(bytes));
    serde_json::json!({"pin": pin, "time": second(nth), "data": data})
}

#[test]
fn a_large_photo_that_is_refused_does_not_hold_up_the_others() {
    let server = server();
    let refuse = Act::status(413, "too large");
    server.fault(Fault::new(On::table("ATTPHOTO"), refuse).containing("-bad.jpg").always());
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    for (nth, pin) in ["bad", "1", "2", "3"].into_iter().enumerate() {
        driver.call("photo", photo(pin, nth as u32, 100 << 10)).unwrap();
    }
    assert!(server.wait_until(TIMEOUT, |received| received.att_photos().len() == 3));
    let mut nth = 4;
    let status = set_aside(&server, &terminal, "photos", 1, || {
        nth += 1;
        driver.call("photo", photo("4", nth, 1000)).unwrap();
    });
    assert_eq!(status["streams"]["photos"]["suspect"], 0, "{status:#}");
}

#[test]
fn a_refusal_that_passes_sets_nothing_aside() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    server.fault(Fault::new(On::table("ATTPHOTO"), Act::status(503, "busy")));
    let mut driver = terminal.driver();
    for nth in 0..3 {
        driver.call("photo", photo("1", nth, 1000)).unwrap();
    }
    assert!(server.wait_until(TIMEOUT, |received| received.att_photos().len() == 3));
    let status =
        terminal.wait_for("all sent", |status| status["streams"]["photos"]["pending"] == 0);
    assert_eq!(status["quarantine"], serde_json::json!([]), "{status:#}");
}

#[test]
fn a_search_for_refused_photos_does_not_hold_up_punches() {
    let server = server();
    server.set_option("ErrorDelay", "1");
    let refuse = Act::status(400, "no photos today");
    server.fault(Fault::new(On::table("ATTPHOTO"), refuse).always());
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    for nth in 0..10 {
        driver.call("photo", photo("1", nth, 1000)).unwrap();
    }
    let mut most = 0;
    for nth in 0..100 {
        let before = server.received(iclock_emulator::Received::request_count);
        driver.punch(&format!("{nth}"), &second(nth));
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == nth + 1));
        let own = server.received(|received| {
            let mut uploads =
                received.requests().rev().filter(|seen| seen.exchange == "upload:ATTLOG");
            uploads.next().map_or(0, |seen| seen.number)
        });
        most = most.max(own.saturating_sub(before + 1));
        std::thread::sleep(std::time::Duration::from_millis(15));
    }
    println!("at most {most} requests went between a new punch and its upload");
    assert!(most <= 2, "{most} requests went before a punch");
    assert_eq!(terminal.status()["streams"]["photos"]["quarantined"], 0);
}
