//! The clock and the time zone: what the server's dates and its `TimeZone` lead to, against a raw
//! server that knows only the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, options, polls_of, says, second, server, until,
};

/// 2028-10-24 11:33:20 UTC: a time that no other clock in these tests shows.
const DATE: &str = "Date: Tue, 24 Oct 2028 11:33:20 GMT\r\n";
const UTC: i64 = 1_856_000_000;

/// The options, with this line for the zone.
fn zone(line: &str) -> String {
    let RawAnswer::Says(_, _, text) = options("") else { unreachable!() };
    text.replace("TimeZone=0\n", line)
}

/// A server that has this handshake reply and `Date` (a header line), and takes everything.
fn server_that_says(reply: String, date: &'static str) -> RawServer {
    RawServer::start(move |request| match request {
        request if request.is_handshake() => RawAnswer::Says(200, date, reply.clone()),
        request if request.is_poll() => RawAnswer::Says(200, date, "OK".into()),
        request => says(200, format!("OK:{}", request.lines().len())),
    })
}

fn run(server: &RawServer, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), more);
    terminal.run();
    terminal
}

/// A punch without a time: it happens now.
fn punch_now(terminal: &Terminal, pin: &str) {
    terminal.driver().call("punch", json!({"pin": pin})).unwrap();
}

/// The times of the punches of a PIN at the server, in seconds of the wall clock.
fn times(requests: &[RawRequest], pin: &str) -> Vec<i64> {
    let rows = requests.iter().filter(|it| it.is_upload("ATTLOG")).flat_map(RawRequest::lines);
    let of_pin = rows.filter(|row| row.starts_with(&format!("{pin}\t")));
    let time = |row: String| {
        let text = row.split('\t').nth(1).unwrap().to_owned();
        punchd::protocol::time::LocalTime::parse(&text).unwrap().seconds()
    };
    of_pin.map(time).collect()
}

/// Waits for the punch of a PIN at the server; by how much its time is from `expected`.
#[track_caller]
fn off_by(server: &RawServer, pin: &str, expected: i64) -> i64 {
    let come = || times(&server.requests(), pin);
    until("at the server", || !come().is_empty(), || format!("{:?}", server.requests()));
    come()[0] - expected
}

/// As long as the machine's clock runs on while a test does.
fn about_now(off: i64) -> bool {
    (0..=120).contains(&off)
}

#[test]
fn punches_before_the_first_handshake_wait_for_the_zone() {
    let answers = Arc::new(AtomicUsize::new(0));
    let (counted, reply) = (Arc::clone(&answers), zone("TimeZone=-7\n"));
    let server = RawServer::start(move |request| match request {
        // Not to be reached at first.
        request if request.is_handshake() && counted.load(Ordering::SeqCst) == 0 => {
            RawAnswer::Closes
        }
        request if request.is_handshake() => says(200, reply.clone()),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = run(&server, "");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    punch_now(&terminal, "1");
    let status = terminal.status();
    assert_eq!(
        (&status["zone"], &status["zone_source"], &status["time"], &status["clock_set"]),
        (&Value::Null, &json!("awaited"), &Value::Null, &json!(true))
    );
    assert!(status["held_for_zone"].as_u64() >= Some(1), "{status:#}");
    let shown = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(shown.contains("not known until the server names it"), "{shown}");
    // They wait through a power cut, and another punch after it.
    terminal.kill();
    terminal.run();
    punch_now(&terminal, "2");
    answers.store(1, Ordering::SeqCst);
    terminal.wait_until_online();
    for pin in ["1", "2"] {
        let off = off_by(&server, pin, now - 7 * 3600);
        assert!(about_now(off), "{pin} is off by {off} s");
    }
    let status = terminal.wait_for("dated", |status| status["held"] == 0);
    assert_eq!(
        (&status["zone"], &status["zone_source"], &status["held_for_zone"]),
        (&json!("UTC-07:00"), &json!("server"), &json!(0))
    );
    // The zone is known from now on: also without the server, nothing waits.
    terminal.stop();
    answers.store(0, Ordering::SeqCst);
    terminal.run();
    punch_now(&terminal, "3");
    let status = terminal.status();
    assert_eq!(
        (&status["held"], &status["zone"], &status["zone_source"]),
        (&json!(0), &json!("UTC-07:00"), &json!("server"))
    );
}

#[test]
fn a_handshake_without_a_zone_ends_the_wait_with_a_warning() {
    for line in ["", "TimeZone=\n", "TimeZone=3803808:7\n", "TimeZone=Mars/Olympus\n"] {
        let server = server_that_says(zone(line), "");
        let mut terminal = Terminal::prepare(&server.url(), "");
        // The terminal's own zone.
        terminal.run_with("TZ", std::path::Path::new("XST-5:30"));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        punch_now(&terminal, "1");
        let off = off_by(&server, "1", now + 19_800);
        assert!(about_now(off), "{line:?}: off by {off} s");
        let status = terminal.wait_for("known", |status| status["zone_source"] == "unknown");
        assert_eq!(status["zone"], "UTC+05:30", "{line:?}");
        let shown = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
        assert!(shown.contains("set TimeZone at the server"), "{shown}");
        polls_of(&server, 2);
        let told = terminal.log().matches("names no time zone that can be used").count();
        assert_eq!(told, 1, "{line:?}: {}", terminal.log());
        // A later start does not wait again.
        terminal.stop();
        terminal.configure("http://127.0.0.1:1", "");
        terminal.run();
        punch_now(&terminal, "2");
        assert_eq!(terminal.status()["held"], 0, "{line:?}");
    }
}

#[test]
fn a_zone_that_was_named_once_outlives_a_handshake_without_one() {
    let count = AtomicUsize::new(0);
    let (named, unnamed) = (zone("TimeZone=9\n"), zone(""));
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() && count.fetch_add(1, Ordering::SeqCst) == 0 => {
            says(200, named.clone())
        }
        request if request.is_handshake() => says(200, unnamed.clone()),
        _ => says(200, "OK"),
    });
    let mut terminal = run(&server, "");
    terminal.wait_until_online();
    terminal.stop();
    terminal.run();
    terminal.wait_until_online();
    let status = terminal.status();
    assert_eq!((&status["zone"], &status["zone_source"]), (&json!("UTC+09:00"), &json!("server")));
}

#[test]
fn a_bare_ok_does_not_end_the_wait_for_the_zone_while_options_may_come() {
    let count = AtomicUsize::new(0);
    let reply = zone("TimeZone=3\n");
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() && count.fetch_add(1, Ordering::SeqCst) == 0 => {
            says(200, "OK")
        }
        request if request.is_handshake() => says(200, reply.clone()),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let terminal = run(&server, "");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    punch_now(&terminal, "1");
    let off = off_by(&server, "1", now + 3 * 3600);
    assert!(about_now(off), "off by {off} s");
    assert_eq!(terminal.status()["attention"], json!([]));
}

#[test]
fn the_zone_of_the_configuration_and_of_the_system_are_not_waited_for() {
    for (timezone, variable, zone, source) in [
        ("+08:00", "", "UTC+08:00", "configuration"),
        ("system", "XST-5:30", "UTC+05:30", "system"),
        ("system", "", "UTC+00:00", "system"),
        ("system", "No/Such_Place", "UTC+00:00", "unknown"),
    ] {
        let mut terminal =
            Terminal::prepare("http://127.0.0.1:1", &format!("timezone = \"{timezone}\"\n"));
        terminal.run_with("TZ", std::path::Path::new(variable));
        punch_now(&terminal, "1");
        let status = terminal.status();
        assert_eq!(
            (&status["zone"], &status["zone_source"], &status["held"]),
            (&json!(zone), &json!(source), &json!(0)),
            "{timezone} {variable}"
        );
    }
}

#[test]
fn both_punches_of_the_hour_that_comes_twice_are_kept() {
    // Summer time ends on 2028-10-29 at 01:00 UTC: half past two comes twice.
    let dates =
        ["Date: Sun, 29 Oct 2028 00:30:00 GMT\r\n", "Date: Sun, 29 Oct 2028 01:30:00 GMT\r\n"];
    let hour = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&hour);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => {
            RawAnswer::Says(200, dates[now.load(Ordering::SeqCst)], "OK".into())
        }
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "timezone = \"system\"\n");
    terminal.run_with("TZ", std::path::Path::new("CET-1CEST,M3.5.0,M10.5.0/3"));
    let half_past_two = 1_856_392_200 + 7200;
    for (nth, zone) in ["UTC+02:00", "UTC+01:00"].into_iter().enumerate() {
        hour.store(nth, Ordering::SeqCst);
        terminal.wait_for("half past two", |status| {
            let is_hour =
                status["time"].as_str().is_some_and(|it| it.starts_with("2028-10-29 02:"));
            is_hour && status["zone"] == zone
        });
        punch_now(&terminal, "7");
        let come = || times(&server.requests(), "7");
        until("at the server", || come().len() > nth, || format!("{:?}", come()));
        assert!(come().iter().all(|time| about_now(time - half_past_two)), "{:?}", come());
    }
    assert_eq!(terminal.status()["punches"], 2);
}

#[test]
fn a_date_is_believed_or_status_and_log_say_once_why_not() {
    let usual = zone("TimeZone=0\n");
    for (reply, date, at, reason) in [
        (usual.clone(), DATE, Some(UTC), None),
        (usual.clone(), "Date: Tue, 24 Oct 2028 11:33:20 +0000\r\n", Some(UTC), None),
        // The first counts.
        (
            usual.clone(),
            "Date: Tue, 24 Oct 2028 11:33:20 GMT\r\nDate: Sat, 24 Oct 2026 11:33:20 GMT\r\n",
            Some(UTC),
            None,
        ),
        (
            usual.clone(),
            "Date: Sat, 24 Oct 2026 11:33:20 GMT\r\nDate: Tue, 24 Oct 2028 11:33:20 GMT\r\n",
            Some(1_792_841_600),
            Some("before this version"),
        ),
        (
            usual.clone(),
            "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
            Some(0),
            Some("before this version"),
        ),
        (
            usual.clone(),
            "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
            Some(253_402_300_799),
            Some("ten years"),
        ),
        (usual.clone(), "Date: tomorrow\r\n", None, Some("cannot be read")),
        (usual, "Date: \u{202e}2028\r\n", None, Some("cannot be read")),
        (zone("TimeZone=99\n"), DATE, Some(UTC), Some("TimeZone makes no sense")),
    ] {
        let server = server_that_says(reply, date);
        let terminal = run(&server, "");
        terminal.wait_until_online();
        polls_of(&server, 2);
        let status = terminal.status();
        let last = &status["last_date"];
        assert_eq!(last["at"].as_i64(), at, "{date:?}: {last}");
        assert_eq!(last["believed"], reason.is_none(), "{date:?}: {last}");
        assert!(last["text"].as_str().unwrap().is_ascii(), "{date:?}: {last}");
        let log = terminal.log();
        match reason {
            None => assert!(log.contains("clock set"), "{date:?}: {log}"),
            Some(reason) => {
                assert!(last["reason"].as_str().unwrap().contains(reason), "{date:?}: {last}");
                assert!(!log.contains("clock set"), "{date:?}: {log}");
                assert_eq!(log.matches("does not set the clock").count(), 1, "{date:?}: {log}");
                let shown = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
                assert!(shown.contains(reason), "{date:?}: {shown}");
            }
        }
    }
}

#[test]
fn a_step_of_more_than_a_day_is_a_warning() {
    static AT: AtomicI64 = AtomicI64::new(0);
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    terminal.driver().punch("1001", &second(1));
    // An hour is no news.
    server.advance_clock(3600);
    until("set", || terminal.log().contains("off by 36"), || terminal.log());
    assert_eq!(terminal.status()["clock_step"], Value::Null);
    for step in [3 * 86_400, -2 * 86_400] {
        AT.store(step, Ordering::SeqCst);
        server.advance_clock(step);
        let status = terminal.wait_for("stepped", |status| {
            let seconds = status["clock_step"]["seconds"].as_i64();
            seconds.is_some_and(|seconds| (seconds - AT.load(Ordering::SeqCst)).abs() < 60)
        });
        assert!(status["clock_step"]["at"].is_i64(), "{status:#}");
        let shown = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
        assert!(shown.contains("clock step"), "{shown}");
    }
    assert_eq!(terminal.log().matches("more than a day").count(), 2, "{}", terminal.log());
}
