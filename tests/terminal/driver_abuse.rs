//! What a bad driver does to the driver socket costs neither memory nor the punches of the others.
//! Each test prints how long an honest driver's punch takes beside the abuse.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use punchd::protocol::time::LocalTime;
use punchd::store::{Limits, Moment, Store};
use serde_json::json;

use crate::harness::{
    Idle, NOWHERE, PUNCHES, Terminal, connect, new_punch, punches, second, terminal_alone, until,
};

/// Drivers besides the honest one, in the tests with many.
const MANY: usize = 31;

/// Sends as much as is taken without an answer being read.
fn pour(stream: &UnixStream, call: &str) {
    stream.set_nonblocking(true).unwrap();
    let calls = format!("{call}\n").repeat(500);
    let mut stream = stream;
    while stream.write(calls.as_bytes()).is_ok() {}
}

fn fill(terminal: &Terminal, punches: u32) {
    let limits = Limits { punches: 2_000_000, ..Limits::default() };
    let store = Store::open(&terminal.path("punchd.db"), limits).unwrap();
    let first = LocalTime::parse("2025-01-01 00:00:00").unwrap().seconds();
    let add = |nth: u32| {
        let time = LocalTime::from_seconds(first + i64::from(nth)).unwrap();
        store.journal().add_punch(&new_punch("7", Moment::At(time)))
    };
    store.atomically(|| (0..punches).try_for_each(|nth| add(nth).map(drop))).unwrap();
}

#[test]
fn lines_of_three_megabytes_are_not_echoed() {
    let terminal = terminal_alone();
    let mut honest = terminal.driver();
    let idle = Idle::of(&terminal, &mut honest);
    let marks = "\u{301}".repeat(1_500_000);
    let zeros = "0,".repeat(1_500_000);
    let (deep, names) = ("[".repeat(3_000_000), r#""a":{"b":{}},"#.repeat(200_000));
    let lines = [
        (format!(r#"{{"method":"{marks}""#), -32700),
        (format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{marks}"}}"#), -32601),
        (format!(r#"{{"jsonrpc":"2.0","id":"{marks}","method":"status"}}"#), -32600),
        (format!(r#"{{"jsonrpc":"2.0","id":1,"{marks}":1,"method":"none"}}"#), -32601),
        (format!(r#"{{"jsonrpc":"{marks}","id":1,"method":"status"}}"#), -32600),
        (
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"punch","params":{{"pin":"{marks}"}}}}"#),
            -32602,
        ),
        (
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"punch","params":{{"{marks}":1}}}}"#),
            -32600,
        ),
        (
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"register","params":{{"provides":["{marks}"]}}}}"#
            ),
            -32602,
        ),
        (
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"punch","params":{{"pin":[{zeros}0]}}}}"#),
            -32600,
        ),
        (
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"punch","params":{{{names}"pin":"\t"}}}}"#
            ),
            -32600,
        ),
        (format!(r#"{{"jsonrpc":"2.0","id":1,"method":"punch","other":[{zeros}0]}}"#), -32602),
        (
            format!(r#"{{"jsonrpc":"2.0","id":{},"method":"status"}}"#, "9".repeat(3_000_000)),
            -32700,
        ),
        (format!("[{zeros}0]"), -32600),
        (deep, -32700),
    ];
    for (line, code) in lines {
        let mut bad = terminal.driver();
        bad.send(line.as_bytes()).unwrap();
        let answer = bad.receive().unwrap();
        let shown: String = line.chars().take(80).collect();
        assert_eq!(answer["error"]["code"], code, "{shown}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.chars().count() < 600, "{shown}");
        bad.call("status", json!({})).unwrap();
    }
    let p99 = punches(&mut honest, PUNCHES);
    idle.compare(&terminal, "lines of 3 MB", p99);
}

#[test]
fn drivers_that_pipeline_exports_and_do_not_read_cost_no_memory() {
    let terminal = terminal_alone();
    let mut honest = terminal.driver();
    for _ in 0..10 {
        punches(&mut honest, 100);
    }
    let idle = Idle::of(&terminal, &mut honest);
    let deaf: Vec<UnixStream> = (0..MANY).map(|_| connect(&terminal)).collect();
    for method in ["export", "status", "changes"] {
        for stream in &deaf {
            pour(stream, &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#));
        }
        let p99 = punches(&mut honest, PUNCHES);
        idle.compare(&terminal, "31 drivers that do not read", p99);
    }
    // Who comes back to it finds its answers.
    let mut first = [0; 1];
    (&deaf[0]).read_exact(&mut first).unwrap_or_default();
}

#[test]
fn a_flood_of_status_calls_does_not_hold_up_a_punch() {
    flood_of_status(3_000);
}

#[test]
#[ignore = "slow: 300 000 punches pending"]
fn a_flood_of_status_calls_with_300_000_punches_pending_does_not_hold_up_a_punch() {
    flood_of_status(300_000);
}

fn flood_of_status(pending: u32) {
    let mut terminal = Terminal::prepare(NOWHERE, "");
    fill(&terminal, pending);
    terminal.run();
    assert_eq!(terminal.status()["streams"]["punches"]["pending"], pending);
    let mut honest = terminal.driver();
    let idle = Idle::of(&terminal, &mut honest);
    let mut flood = connect(&terminal);
    let reader = BufReader::new(flood.try_clone().unwrap());
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answered);
    let counting = thread::spawn(move || {
        for _ in reader.lines().map_while(Result::ok) {
            counted.fetch_add(1, Relaxed);
        }
    });
    let flooding = thread::spawn(move || {
        let calls = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n".repeat(1000);
        while flood.write_all(calls.as_bytes()).is_ok() {}
    });
    until("flooded", || answered.load(Relaxed) > 100, || terminal.log());
    let p99 = punches(&mut honest, PUNCHES);
    idle.compare(&terminal, &format!("a flood of status, {pending} rows pending"), p99);
    assert!(!flooding.is_finished());
    drop(terminal);
    flooding.join().unwrap();
    counting.join().unwrap();
    println!("{} calls of the flood were answered", answered.load(Relaxed));
}

#[test]
fn drivers_that_send_without_a_line_end_share_a_bounded_room() {
    let terminal = terminal_alone();
    let mut honest = terminal.driver();
    honest.call("register", json!({"name": "sensor"})).unwrap();
    let idle = Idle::of(&terminal, &mut honest);
    let endless: Vec<UnixStream> = (0..MANY).map(|_| connect(&terminal)).collect();
    let part = vec![b'x'; 64 << 10];
    for _ in 0..40 {
        for mut stream in &endless {
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(&part);
        }
    }
    let p99 = punches(&mut honest, PUNCHES);
    idle.compare(&terminal, "31 drivers that send no line end", p99);
}

#[test]
#[ignore = "slow: a million punches pending"]
fn the_status_costs_the_same_with_a_thousand_and_a_million_rows_pending() {
    for pending in [1_000, 1_000_000] {
        let mut terminal =
            Terminal::prepare(NOWHERE, "[limits]\nstart_spread = 0\npunches = 2000000\n");
        fill(&terminal, pending);
        terminal.run();
        let mut driver = terminal.driver();
        let begun = Instant::now();
        let first = driver.call("status", json!({})).unwrap();
        let counted = begun.elapsed();
        assert_eq!(first["streams"]["punches"]["pending"], pending);
        let mut times: Vec<Duration> = (0..100)
            .map(|_| {
                let begun = Instant::now();
                driver.call("status", json!({})).unwrap();
                begun.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "{pending} rows pending: the first status after {counted:.1?}, then p50 {:.1?}, p99 {:.1?}",
            times[50], times[98]
        );
    }
}

#[test]
fn punches_are_taken_while_a_large_backlog_is_counted_for_the_first_time() {
    let mut terminal = Terminal::prepare(NOWHERE, "");
    fill(&terminal, 20_000);
    terminal.run();
    let (mut honest, mut asking) = (terminal.driver(), terminal.driver());
    asking.send(br#"{"jsonrpc":"2.0","id":1,"method":"status"}"#).unwrap();
    honest.punch("1001", &second(1));
    let pending = &asking.receive().unwrap()["result"]["streams"]["punches"]["pending"];
    assert!([20_000, 20_001].iter().any(|rows| pending == rows), "{pending}");
    terminal.kill();
    // After a crash they are counted again.
    terminal.run();
    assert_eq!(terminal.status()["streams"]["punches"]["pending"], 20_001);
    assert_eq!(terminal.status()["punches"], 20_001);
}
