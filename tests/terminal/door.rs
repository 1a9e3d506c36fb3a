//! The door (X2, X3): a driver has the request at once, whatever else goes on, and never late.

use std::time::{Duration, Instant};

use iclock_emulator::{Emulator, Kind, Repeat};
use serde_json::json;

use crate::harness::{Driver, TIMEOUT, Terminal, answer, server};

fn with_door(more: &str) -> (Emulator, Terminal, Driver) {
    let server = server();
    let terminal = Terminal::start(&server, more);
    terminal.wait_until_online();
    let driver = relay(&terminal);
    (server, terminal, driver)
}

fn relay(terminal: &Terminal) -> Driver {
    let mut driver = terminal.driver();
    let provides = ["unlock", "unalarm"];
    driver.call("register", json!({"name": "relay", "provides": provides})).unwrap();
    driver
}

/// The next request of punchd, which must be this one: its id.
#[track_caller]
fn asked(driver: &mut Driver, method: &str) -> u64 {
    let request = driver.receive().expect("a request");
    let id = request["id"].as_u64().unwrap();
    assert_eq!(request, json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}));
    id
}

/// Milliseconds from when the command left the server until the driver has it.
fn unlock(server: &Emulator, driver: &mut Driver) -> u64 {
    let id = server.queue("AC_UNLOCK");
    let number = asked(driver, "unlock");
    let had = now_ms();
    let polls = server.requests().into_iter().filter(|seen| seen.exchange == "poll");
    let sent = polls.map(|seen| seen.at_ms).max().unwrap();
    assert!(server.received(|received| received.reply(&id).is_none()));
    driver.reply(number, json!(true));
    assert_eq!(answer(server, &id).0, 0);
    had.saturating_sub(sent)
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}

#[test]
fn the_door_opens_at_once() {
    let (server, terminal, mut driver) = with_door("");
    let mut other = terminal.driver();
    let mut call = || {
        let begun = now_ms();
        other.call("status", json!({})).unwrap();
        now_ms() - begun
    };
    let times: Vec<[u64; 2]> = (0..5).map(|_| [unlock(&server, &mut driver), call()]).collect();
    println!("from the server to the driver, and for a call: {times:?} ms");
    // The goal is 100 ms; a loaded machine may delay one, not all, and delays every call as much.
    assert!(times.iter().any(|[time, call]| *time < 100 + 2 * call), "{times:?}");
    server.assert_strict();
}

#[test]
fn an_alarm_is_ended() {
    let (server, _terminal, mut driver) = with_door("");
    let id = server.queue("AC_UNALARM");
    let number = asked(&mut driver, "unalarm");
    driver.reply(number, json!(true));
    assert_eq!(answer(&server, &id).0, 0);
    server.assert_strict();
}

#[test]
fn a_door_waits_for_no_job() {
    let more = "[commands]\nshell = \"allow\"\n[device]\nenroll_seconds = 60";
    let (server, terminal, mut driver) = with_door(more);
    let ann = server.queue("DATA UPDATE USERINFO PIN=1001\tName=Ann");
    assert_eq!(answer(&server, &ann).0, 0);
    let mut sensor = terminal.driver();
    sensor.call("register", json!({"name": "sensor", "provides": ["card"]})).unwrap();
    let shell = server.queue("SHELL sleep 20");
    server.queue("SHELL sleep 20");
    let card = server.queue("ENROLL_MF PIN=1001\tRETRY=1");
    assert_eq!(sensor.receive().unwrap()["method"], "enroll");
    terminal.wait_for("the shell runs", |status| status["jobs"][0]["stage"] == "handed over");
    unlock(&server, &mut driver);
    assert!(server.received(|received| {
        received.reply(&shell).is_none() && received.reply(&card).is_none()
    }));
}

#[test]
fn every_way_in_which_a_door_stays_shut_has_its_code() {
    let (server, terminal, mut driver) = with_door("");
    let fail = |driver: &mut Driver, number: u64, code: i64| {
        let error = json!({"code": code, "message": "stuck"});
        let line = json!({"jsonrpc": "2.0", "id": number, "error": error});
        driver.send(line.to_string().as_bytes()).unwrap();
    };
    for (code, expected) in [(-32601, -1002), (1, -3)] {
        let id = server.queue("AC_UNLOCK");
        let number = asked(&mut driver, "unlock");
        fail(&mut driver, number, code);
        assert_eq!(answer(&server, &id).0, expected);
    }
    let id = server.queue("AC_UNALARM");
    let number = asked(&mut driver, "unalarm");
    driver.reply(number, json!(false));
    assert_eq!(answer(&server, &id).0, -3);
    // It says nothing for ten seconds.
    let id = server.queue("AC_UNLOCK");
    let begun = Instant::now();
    let number = asked(&mut driver, "unlock");
    assert_eq!(answer(&server, &id).0, -1003);
    assert!(begun.elapsed() > Duration::from_secs(9));
    assert_eq!(driver.receive().unwrap()["params"], json!({"id": number}));
    // It leaves, and none is left.
    let id = server.queue("AC_UNLOCK");
    asked(&mut driver, "unlock");
    drop(driver);
    assert_eq!(answer(&server, &id).0, -3);
    let id = server.queue("AC_UNLOCK");
    assert_eq!(answer(&server, &id).0, -1002);
    let audit = terminal.status()["audit"].clone();
    assert_eq!((&audit[0]["what"], &audit[0]["result"]), (&json!("AC_UNLOCK"), &json!(-1002)));
    assert_eq!(audit[2]["result"], -1003);
    server.assert_strict();
}

#[test]
fn a_door_is_never_opened_late_or_twice() {
    let (server, mut terminal, mut driver) = with_door("");
    server.allow(Kind::CutShort);
    server.queue_repeated("d1", "AC_UNLOCK", Repeat::UntilAnswered);
    asked(&mut driver, "unlock");
    terminal.kill();
    terminal.run();
    let mut driver = relay(&terminal);
    assert_eq!(answer(&server, "d1").0, -1003);
    server.queue_repeated("d1", "AC_UNLOCK", Repeat::Times(2));
    let last = server.queue("AC_UNALARM");
    let number = asked(&mut driver, "unalarm");
    driver.reply(number, json!(null));
    assert_eq!(answer(&server, &last).0, 0);
    server.assert_strict();
}

#[test]
fn a_door_passes_hundreds_of_commands_that_wait() {
    let (server, terminal, mut driver) = with_door("[commands]\nshell = \"allow\"");
    let jobs: String = (0..500).map(|nth| format!("C:j{nth}:SHELL sleep 60\n")).collect();
    server.next_poll_body(format!("{jobs}C:door:AC_UNLOCK\n"));
    let number = asked(&mut driver, "unlock");
    driver.reply(number, json!(true));
    assert_eq!(answer(&server, "door").0, 0);
    // None of the others was refused.
    terminal.wait_for("all wait", |status| status["jobs"][0]["stage"] == "handed over");
    assert!(server.received(|received| received.reply("j0").is_none()));
    assert!(server.received(|received| received.reply("j499").is_none()));
    server.assert_strict();
}

#[test]
fn a_flood_of_doors_is_bounded() {
    let (server, terminal, mut driver) = with_door("");
    let ids: Vec<String> = (0..100).map(|_| server.queue("AC_UNLOCK")).collect();
    let all_answered =
        || server.received(|received| ids.iter().all(|id| received.reply(id).is_some()));
    driver.stream().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let until = Instant::now() + TIMEOUT;
    while !all_answered() {
        assert!(Instant::now() < until, "not all doors were answered");
        if let Some(request) = driver.receive() {
            driver.reply(request["id"].as_u64().unwrap(), json!(true));
        }
    }
    let codes: Vec<i64> = ids.iter().map(|id| answer(&server, id).0).collect();
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
    assert!(codes.iter().filter(|code| **code == 0).count() >= 64);
    assert!(terminal.proc("status", "VmHWM") < 24 << 10);
    server.assert_strict();
}
