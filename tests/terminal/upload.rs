//! Uploads (U3, U4, U6, U7): bytes, order, acknowledgements.

use iclock_emulator::{Act, Fault, On, Persona, Settings};
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, second, server, server_with, targets};

fn raw(row: &[u8]) -> &str {
    std::str::from_utf8(row).unwrap()
}

#[test]
fn punches_arrive_as_the_documents_seven_fields() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    driver.punch("1452", "2015-07-30 15:16:28");
    let full = json!({"pin": 8965, "time": "2015-07-30 15:16:36", "status": 1, "verify": 15, "workcode": "12"});
    driver.call("punch", full).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2));
    let rows = server.attlog();
    assert_eq!(raw(&rows[0].raw), "1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0");
    assert_eq!(raw(&rows[1].raw), "8965\t2015-07-30 15:16:36\t1\t15\t12\t0\t0");
    server.assert_strict();
}

#[test]
fn operations_arrive_as_oplog_rows() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    let menu = json!({"op": 4, "operator": "14", "time": "2015-07-30 10:22:34"});
    driver.call("operation", menu).unwrap();
    let text = json!({"op": 108, "time": "2015-07-30 10:22:35", "who": "KeyPadBeep", "v1": 7});
    driver.call("operation", text).unwrap();
    // The terminal's own start is the third.
    assert!(server.wait_until(TIMEOUT, |received| received.oplog().len() == 3));
    let rows: Vec<String> = server.oplog().iter().map(|row| raw(&row.raw).to_owned()).collect();
    assert!(rows[0].starts_with("OPLOG 0\t0\t20") && rows[0].ends_with("\t0\t0\t0\t0"), "{rows:?}");
    assert_eq!(rows[1], "OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0");
    assert_eq!(rows[2], "OPLOG 108\t0\t2015-07-30 10:22:35\tKeyPadBeep\t7\t0\t0");
    server.assert_strict();
}

#[test]
fn users_changed_on_the_terminal_go_up_as_they_are_now() {
    let server = server();
    server.pause();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    driver.call("user.put", json!({"pin": "36234", "name": "First", "card": "133440"})).unwrap();
    driver
        .call("user.put", json!({"pin": "36234", "name": "36234", "tz": "0001000000000000"}))
        .unwrap();
    driver.call("user.put", json!({"pin": "36235", "name": "Zoë"})).unwrap();
    server.resume().unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.users().len() == 2));
    let users = server.users();
    assert_eq!(
        raw(&users[0].raw),
        "USER PIN=36234\tName=36234\tPri=0\tPasswd=\tCard=133440\tGrp=1\tTZ=0001000000000000\tVerify=-1\tViceCard="
    );
    // Changed twice before it went: sent once.
    assert_eq!((users[0].times, users[1].times), (1, 1));
    server.assert_strict();
}

#[test]
fn chinese_terminals_send_names_in_gb2312() {
    let server = server();
    let terminal = Terminal::start(&server, "language = 83");
    terminal.driver().call("user.put", json!({"pin": "1", "name": "王小明"})).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.users().len() == 1));
    let row = server.users()[0].raw.clone();
    let name = b"Name=\xCD\xF5\xD0\xA1\xC3\xF7\t";
    assert!(row.windows(name.len()).any(|part| part == name), "{row:?}");
    server.assert_strict();
}

#[test]
fn nothing_counts_as_sent_without_the_servers_word() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    // The table of what is no acknowledgement: everything stays pending.
    let acts = [
        Act::html(),
        Act::empty(),
        Act::status(500, "OK:1"),
        Act::status(200, "UNKNOWN DEVICE"),
        Act::status(200, "ERROR: OK"),
        Act::Drop,
        Act::ResetRead,
        // These the server did keep, but its word was cut off.
        Act::HalfBody,
        Act::ResetBody,
        Act::ShortLength,
    ];
    let acts: Vec<(u32, Act)> =
        acts.into_iter().enumerate().map(|(nth, act)| (nth as u32, act)).collect();
    for (nth, act) in &acts {
        server.fault(Fault::new(On::table("ATTLOG"), act.clone()));
        driver.punch("1001", &second(*nth));
        terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
        let uploads = targets(&server, "upload:ATTLOG");
        assert_eq!(uploads.len() as u32, 2 * (nth + 1), "{act:?}: {uploads:?}");
    }
    let times: Vec<u32> = server.attlog().iter().map(|row| row.times).collect();
    assert_eq!(times, [1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
}

#[test]
fn a_lost_acknowledgement_costs_a_duplicate_with_the_same_bytes() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    server.fault(Fault::new(On::table("ATTLOG"), Act::LoseAck { reset: true }));
    terminal.driver().punch("1001", &second(1));
    assert!(
        server.wait_until(TIMEOUT, |received| received.attlog().iter().any(|row| row.times == 2))
    );
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    assert_eq!(server.attlog().len(), 1);
    server.assert_strict();
}

#[test]
fn a_short_count_is_sent_once_more_and_then_accepted() {
    let server = server_with(Settings::persona(Persona::Document));
    let terminal = Terminal::start(&server, "");
    server.fault(Fault::new(On::table("ATTLOG"), Act::CountOff { by: -1 }).times(2));
    terminal.driver().punch("1001", &second(1));
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    terminal.driver().punch("1002", &second(2));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2));
    let times: Vec<u32> = server.attlog().iter().map(|row| row.times).collect();
    assert_eq!(times, [2, 1]);
}

#[test]
fn a_backlog_goes_up_in_growing_batches_and_the_stamp_is_the_last_row() {
    let server = server();
    server.pause();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    let mut last = 0;
    for nth in 0..400 {
        last = driver.punch(&format!("{}", 1000 + nth), &second(nth));
    }
    server.resume().unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 400));
    let uploads = targets(&server, "upload:ATTLOG");
    // 62 + 124 + 214: small at first, more once the count was confirmed.
    assert_eq!(uploads.len(), 3, "{uploads:?}");
    assert!(uploads[2].ends_with(&format!("&table=ATTLOG&Stamp={last}")), "{uploads:?}");
    assert!(server.attlog().iter().all(|row| row.times == 1));
    server.assert_strict();
}

#[test]
fn rows_resume_where_they_were_after_a_restart() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    server.pause();
    terminal.driver().punch("1002", &second(2));
    assert_eq!(terminal.stop(), 0);
    server.resume().unwrap();
    terminal.run();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2));
    assert!(server.attlog().iter().all(|row| row.times == 1));
    server.assert_strict();
}

#[test]
fn a_stamp_of_zero_with_check_uploads_everything_once_more() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for nth in 0..100 {
        driver.punch("1001", &second(nth));
    }
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 100));
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    server.set_option("ATTLOGStamp", "0");
    server.queue("CHECK");
    let all_twice =
        |received: &iclock_emulator::Received| received.attlog().iter().all(|row| row.times == 2);
    assert!(server.wait_until(TIMEOUT, all_twice));
    // A server that goes on sending 0 gets nothing a third time, restart or not.
    terminal.wait_for("nothing left", |status| status["streams"]["punches"]["again"] == 0);
    terminal.stop();
    terminal.run();
    terminal.driver().punch("1002", &second(100));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 101));
    terminal.wait_for("nothing left", |status| status["streams"]["punches"]["again"] == 0);
    assert_eq!(server.attlog().iter().map(|row| row.times).sum::<u32>(), 201);
    server.assert_strict();
}

#[test]
fn every_form_of_reply_leaves_pending_what_it_should() {
    let server = server();
    server.set_option("ErrorDelay", "1");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    // The reply, how often the same request is made before it counts, and what stays after.
    // (A server that says OK and keeps nothing is believed: that is the protocol.)
    let table = [
        ("OK", 1, 0),
        ("ok:1\r\n", 1, 0),
        ("  OK: 1\n", 1, 0),
        ("Ok:7", 1, 0),
        ("OK:0", 2, 0),
        ("OK: 0", 2, 0),
        ("UNKNOWN DEVICE", 1, 1),
        ("Terminal Not Authorized", 1, 1),
        ("ERROR: OK", 1, 1),
        ("error:device not exist", 1, 1),
        ("FAIL", 1, 1),
        ("<html>OK:1</html>", 1, 1),
        ("", 1, 1),
        ("GET OPTION FROM: MADE0001\nOK", 1, 1),
        ("OKAY", 1, 1),
    ];
    for (nth, (reply, requests, left)) in table.into_iter().enumerate() {
        let act = Act::status(200, reply);
        server.fault(Fault::new(On::table("ATTLOG"), act).times(requests));
        let before = server.received(|received| received.count("upload:ATTLOG"));
        driver.punch("1001", &second(nth as u32));
        let made = |received: &iclock_emulator::Received| {
            received.count("upload:ATTLOG") >= before + requests as usize
        };
        assert!(server.wait_until(TIMEOUT, made), "{reply:?}");
        if left == 1 {
            // It stays, and goes when the server is itself again.
            assert!(server.wait_until(TIMEOUT, |received| {
                received
                    .attlog()
                    .iter()
                    .any(|row| row.record.time.to_string().ends_with(&second(nth as u32)[11..]))
            }));
        }
        terminal.wait_for(reply, |status| status["streams"]["punches"]["pending"] == 0);
        let more = server.received(|received| received.count("upload:ATTLOG")) - before;
        assert_eq!(more, requests as usize + left, "{reply:?}");
    }
}
