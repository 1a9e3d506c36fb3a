//! Clocks of 2038 and later, and numbers of rows beyond 2^32.
//!
//! The wall clock of the program is shifted by the tracer: nothing sets the clock of this machine.

use iclock_emulator::Emulator;
use serde_json::{Value, json};

use crate::harness::{
    RawServer, TIMEOUT, Terminal, Tracer, dated, options, polls_of, replies_to, returns, says,
    second, server, store, until,
};

/// 2038-01-19 03:14:08 UTC: the first second beyond 31 bits.
const BEYOND: i64 = 1 << 31;
/// 2099-12-31 23:59:59 UTC: the last second of the date formats.
const LAST: i64 = 4_102_444_799;

fn now() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64
}

/// A terminal whose clock shows this time at its start. `None` where it cannot be shifted.
fn terminal_at(server: &RawServer, utc: i64) -> Option<Terminal> {
    let mut terminal = Terminal::prepare(
        &server.url(),
        "timezone = \"+00:00\"\n[limits]\npunches = 50\nstart_spread = 0\n",
    );
    let tracer = Tracer::of(&terminal)?;
    tracer.shift_clock(utc - now());
    terminal.try_run_as(Tracer::command(&terminal)).unwrap();
    Some(terminal)
}

/// The times of the punches at the server, in seconds, by PIN.
fn times(server: &RawServer) -> Vec<(String, i64)> {
    let rows = server.requests().into_iter().filter(|it| it.is_upload("ATTLOG"));
    let rows = rows.flat_map(|request| request.lines());
    let of_row = |row: String| {
        let fields: Vec<&str> = row.split('\t').collect();
        let time = punchd::protocol::time::LocalTime::parse(fields[1]).unwrap();
        (fields[0].to_owned(), time.seconds())
    };
    rows.map(of_row).collect()
}

/// The life of a terminal whose clock shows this time when it begins.
fn life_at(utc: i64) {
    // The server has the same time; what it says of commands comes once more after each answer.
    let begun = now();
    let server = RawServer::start(move |request| {
        let date = utc + now() - begun;
        let answer = match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => {
                says(200, "C:1:DATA UPDATE USERINFO PIN=1\tName=Server\n")
            }
            request => says(200, format!("OK:{}", request.lines().len())),
        };
        dated(answer, date)
    });
    let Some(mut terminal) = terminal_at(&server, utc) else { return };
    terminal.wait_until_online();
    // Punches of now, of the last second of 31 bits, and of a day ahead or the last one that has a date.
    let last = LAST.min(utc + 86_400);
    let last_text = punchd::protocol::time::LocalTime::from_seconds(last).unwrap().to_string();
    let mut driver = terminal.driver();
    let mut expected = Vec::new();
    for nth in 0..60 {
        let pin = (100 + nth).to_string();
        let time = match nth % 3 {
            0 => None,
            1 => Some(("2038-01-19 03:14:07", BEYOND - 1)),
            _ => Some((&last_text[..], last)),
        };
        let mut params = json!({"pin": pin});
        if let Some((text, _)) = time {
            params["time"] = text.into();
        }
        driver.call("punch", params).unwrap();
        expected.push((pin, time.map(|(_, seconds)| seconds)));
    }
    until("uploaded", || times(&server).len() == 60, || terminal.log());
    for ((pin, time), (expected_pin, expected_time)) in times(&server).into_iter().zip(expected) {
        assert_eq!(pin, expected_pin);
        match expected_time {
            Some(expected) => assert_eq!(time, expected, "{pin}"),
            None => assert!((0..120).contains(&(time - utc)), "{pin}: {time}, and it is {utc}"),
        }
    }
    // The command is answered again and not carried out again: the keypad's name stays.
    until("answered", || replies_to(&server).contains_key("1"), || terminal.log());
    let name = |driver: &mut crate::harness::Driver| {
        driver.call("user.get", json!({"pin": "1"})).unwrap()["name"].clone()
    };
    driver.call("user.put", json!({"pin": "1", "name": "Keypad"})).unwrap();
    polls_of(&server, 2);
    assert_eq!(name(&mut driver), "Keypad");
    let status = terminal.status();
    assert_eq!(status["clock_set"], true, "{status:#}");
    let time = status["time"].as_str().unwrap();
    let time = punchd::protocol::time::LocalTime::parse(time).unwrap().seconds();
    assert!((0..120).contains(&(time - utc)), "{status:#}");
    assert_eq!((&status["attention"], &status["held"]), (&json!([]), &json!(0)), "{status:#}");
    // What was uploaded makes room for what is new.
    terminal.wait_for("retained", |status| status["punches"].as_u64() <= Some(50));
    assert!(terminal.stop() == 0);
    terminal.try_run_as(Tracer::command(&terminal)).unwrap();
    terminal.wait_until_online();
    polls_of(&server, 2);
    let mut driver = terminal.driver();
    assert_eq!(name(&mut driver), "Keypad");
    driver.call("punch", json!({"pin": "999"})).unwrap();
    until("uploaded", || times(&server).len() == 61, || terminal.log());
}

#[test]
fn a_whole_life_when_seconds_pass_31_bits() {
    life_at(BEYOND - 3);
}

#[test]
fn a_whole_life_in_2099() {
    life_at(LAST - 86_400);
}

/// The highest number of a store is this before its next start.
fn raise_numbers(terminal: &Terminal, highest: i64) {
    let store = store(terminal);
    let changed = store.execute("UPDATE user SET changed = ?1 WHERE pin = '1'", [highest]).unwrap();
    assert_eq!(changed, 1);
}

#[test]
fn rows_have_numbers_beyond_32_bits() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    driver.call("user.put", json!({"pin": "1", "name": "First"})).unwrap();
    for nth in 0..20 {
        driver.punch(&(100 + nth).to_string(), &second(nth));
    }
    terminal.wait_for("sent", is_all_sent);
    terminal.stop();
    raise_numbers(&terminal, (1 << 32) - 6);
    terminal.run();
    let mut driver = terminal.driver();
    let numbers: Vec<i64> =
        (20..40).map(|nth| driver.punch(&(100 + nth).to_string(), &second(nth))).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert!(numbers[0] < 1 << 32 && numbers[19] > 1 << 32, "{numbers:?}");
    driver.call("user.put", json!({"pin": "2", "name": "Second"})).unwrap();
    goes_on(&server, &terminal, 40);
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=3\tName=Third"), 0);
    assert_eq!(changed_after(&terminal, (1 << 32) - 6), ["2", "3"]);
    assert_eq!(changed_after(&terminal, 0), ["1", "2", "3"]);
    // What the server asks for.
    let times = "StartTime=2026-01-01 00:00:00\tEndTime=2027-01-01 00:00:00";
    for command in [format!("VERIFY SUM ATTLOG {times}"), format!("DATA QUERY ATTLOG {times}")] {
        assert!(returns(&server, &command) >= 0, "{command}");
    }
    let exported = terminal.punchd(&["export"]);
    assert_eq!(String::from_utf8(exported.stdout).unwrap().lines().count(), 1 + 40);
    // Numbers that were counted together, over a kill and without the server.
    terminal.kill();
    terminal.configure("http://127.0.0.1:9", "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 40..740 {
        driver.punch(&(100 + nth).to_string(), &second(nth));
    }
    assert_eq!(terminal.status()["streams"]["punches"]["pending"], 700);
    terminal.stop();
    terminal.configure(&server.url(), "");
    terminal.run();
    goes_on(&server, &terminal, 740);
    assert_eq!(returns(&server, "CLEAR LOG"), 0);
    assert_eq!(terminal.status()["punches"], 0);
}

fn is_all_sent(status: &Value) -> bool {
    let streams = &status["streams"];
    ["punches", "users"].iter().all(|stream| streams[stream]["pending"] == 0)
}

/// All is sent, each punch once.
fn goes_on(server: &Emulator, terminal: &Terminal, punches: usize) {
    let all_came = server.wait_until(TIMEOUT, |received| received.attlog().len() == punches);
    assert!(all_came, "{} punches came: {}", server.attlog().len(), terminal.log());
    terminal.wait_for("sent", is_all_sent);
    assert!(server.attlog().iter().all(|row| row.times == 1 || row.record.pin.as_str() < "140"));
}

/// The PINs of people who changed after a number.
fn changed_after(terminal: &Terminal, after: i64) -> Vec<String> {
    let changes = terminal.driver().call("changes", json!({"after": after})).unwrap();
    let users = changes["users"].as_array().unwrap();
    let mut pins: Vec<String> =
        users.iter().map(|user| user["pin"].as_str().unwrap().to_owned()).collect();
    pins.sort_unstable();
    pins
}
