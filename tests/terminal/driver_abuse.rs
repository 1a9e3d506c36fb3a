//! What a bad driver does to the driver socket costs neither memory nor the punches of the others.
//! Each test prints how long an honest driver's punch takes beside the abuse.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use punchd::protocol::record::{Pin, WorkCode};
use punchd::protocol::time::LocalTime;
use punchd::store::{Limits, Moment, NewPunch, Store};
use serde_json::{Value, json};

use crate::harness::{Driver, TIMEOUT, Terminal, second, server, until};

/// No server: only drivers have the program do anything.
const NOWHERE: &str = "http://127.0.0.1:9";
/// Most KiB that an abuse may cost above the idle program.
const MORE: u64 = 4 << 10;
/// Drivers besides the honest one, in the tests with many.
const MANY: usize = 31;
/// Honest punches beside each abuse.
const PUNCHES: u32 = 100;

/// A terminal whose server does not answer: only drivers have it do anything.
fn terminal() -> Terminal {
    let mut terminal = Terminal::prepare(NOWHERE, "");
    terminal.run();
    terminal
}

/// The program when it does nothing but take punches, and what they take.
struct Idle {
    peak: u64,
    p99: Duration,
}

impl Idle {
    fn of(terminal: &Terminal, honest: &mut Driver) -> Self {
        terminal.status();
        let p99 = punches(honest, PUNCHES);
        Self { peak: terminal.proc("status", "VmHWM"), p99 }
    }

    /// What the abuse cost.
    fn compare(&self, terminal: &Terminal, what: &str, p99: Duration) {
        let more = terminal.proc("status", "VmHWM") - self.peak;
        println!(
            "{what}: {more} KiB more; p99 of a punch {p99:.1?}, with idle drivers {:.1?}",
            self.p99
        );
        assert!(more <= MORE, "{what}: {more} KiB more");
    }
}

/// Records punches, one after the other. What the slowest of a hundred took.
fn punches(driver: &mut Driver, count: u32) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|nth| {
            let begun = Instant::now();
            driver.punch("1001", &second(nth));
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100]
}

fn connect(terminal: &Terminal) -> UnixStream {
    let stream = UnixStream::connect(terminal.path("run/driver.sock")).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

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
        store.journal().add_punch(&NewPunch {
            pin: Pin::new("7").unwrap(),
            moment: Moment::At(time),
            status: 0,
            verify: 1,
            workcode: WorkCode::new("").unwrap(),
            card: None,
            screening: Default::default(),
        })
    };
    store.atomically(|| (0..punches).try_for_each(|nth| add(nth).map(drop))).unwrap();
}

#[test]
fn lines_of_three_megabytes_are_not_echoed() {
    let terminal = terminal();
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
    let terminal = terminal();
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
    let counting = thread::spawn(move || reader.lines().map_while(Result::ok).count());
    let flooding = thread::spawn(move || {
        let calls = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n".repeat(1000);
        while flood.write_all(calls.as_bytes()).is_ok() {}
    });
    thread::sleep(Duration::from_millis(200));
    let p99 = punches(&mut honest, PUNCHES);
    idle.compare(&terminal, &format!("a flood of status, {pending} rows pending"), p99);
    assert!(!flooding.is_finished());
    drop(terminal);
    flooding.join().unwrap();
    println!("{} calls of the flood were answered", counting.join().unwrap());
}

#[test]
fn after_a_failed_accept_drivers_get_in_again_by_themselves() {
    // Nothing wakes the program for minutes but what is tested.
    let server = server();
    server.set_option("Delay", "600");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let limit = |most: &str| {
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &terminal.pid().to_string(), &format!("--nofile={most}:")]);
        assert!(prlimit.status().unwrap().success());
    };
    // No number is free for another descriptor: the next accept fails.
    let is_open = |number: &u32| {
        std::fs::symlink_metadata(format!("/proc/{}/fd/{number}", terminal.pid())).is_ok()
    };
    limit(&(0..).find(|number| !is_open(number)).unwrap().to_string());
    // The last of several: a descriptor may have come free since.
    let mut waiting: Vec<UnixStream> = (0..8).map(|_| connect(&terminal)).collect();
    let mut late = waiting.pop().unwrap();
    let told = || terminal.log().matches("no driver can connect").count();
    until("told", || told() > 0, || terminal.log());
    limit("1024");
    late.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&late).read_line(&mut answer).unwrap();
    assert!(serde_json::from_str::<Value>(&answer).unwrap()["result"].is_object());
    assert_eq!(told(), 1, "{}", terminal.log());
    assert!(terminal.log().contains("drivers can connect again"));
}

#[test]
fn idle_connections_keep_neither_drivers_nor_the_command_line_out() {
    let terminal = terminal();
    let mut honest = terminal.driver();
    let idle = Idle::of(&terminal, &mut honest);
    // Registered drivers are at work, also while they are idle.
    let mut registered: Vec<Driver> = (0..4).map(|_| terminal.driver()).collect();
    for driver in &mut registered {
        driver.call("register", json!({"name": "sensor", "provides": []})).unwrap();
    }
    let call =
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"user.get\",\"params\":{\"pin\":\"1\"}}\n";
    let mut strangers: Vec<UnixStream> = Vec::new();
    for nth in 0..100 {
        let mut stream = connect(&terminal);
        // Some did something once.
        if nth % 2 == 0 {
            stream.write_all(call).unwrap();
        }
        strangers.push(stream);
        if nth % 10 == 0 {
            assert_eq!(terminal.status()["version"], env!("CARGO_PKG_VERSION"));
        }
    }
    terminal.driver().punch("1001", &second(1));
    for driver in &mut registered {
        driver.punch("1001", &second(2));
    }
    let mut honest = terminal.driver();
    let p99 = punches(&mut honest, PUNCHES);
    idle.compare(&terminal, "100 idle connections", p99);
}

#[test]
fn registered_drivers_leave_a_place_for_the_command_line() {
    let terminal = terminal();
    let mut registered: Vec<Driver> = Vec::new();
    let refused = loop {
        let mut driver = terminal.driver();
        match driver.call("register", json!({"name": "sensor"})) {
            Ok(_) => registered.push(driver),
            Err(error) => break error,
        }
        assert!(registered.len() < 100);
    };
    assert_eq!((registered.len(), &refused["code"]), (32, &json!(-1005)), "{refused}");
    assert_eq!(terminal.status()["version"], env!("CARGO_PKG_VERSION"));
    let output = terminal.punchd(&["quarantine"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    terminal.driver().punch("1001", &second(1));
    // A place that is free again is given to the next.
    registered.pop();
    until(
        "registered",
        || terminal.driver().call("register", json!({"name": "sensor"})).is_ok(),
        || terminal.log(),
    );
}

#[test]
fn many_short_connections_let_everybody_in() {
    let terminal = terminal();
    let mut honest = terminal.driver();
    honest.call("register", json!({"name": "sensor"})).unwrap();
    let idle = Idle::of(&terminal, &mut honest);
    let socket = terminal.path("run/driver.sock");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let storm = thread::spawn(move || {
        let mut kept = std::collections::VecDeque::new();
        let mut count = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            kept.extend(UnixStream::connect(&socket));
            count += 1;
            if kept.len() > 60 {
                kept.pop_front();
            }
        }
        count
    });
    for _ in 0..5 {
        assert_eq!(terminal.status()["version"], env!("CARGO_PKG_VERSION"));
    }
    let p99 = punches(&mut honest, PUNCHES);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    println!("{} connections came", storm.join().unwrap());
    idle.compare(&terminal, "connections in a loop", p99);
}

#[test]
fn a_driver_that_closes_its_sending_side_is_answered() {
    let terminal = terminal();
    let mut stream = connect(&terminal);
    let calls = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n".repeat(300);
    let sending = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        (&sending).write_all(calls.as_bytes()).unwrap();
        sending.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    sender.join().unwrap();
    assert_eq!(answers.lines().count(), 300);
}

#[test]
fn drivers_that_send_without_a_line_end_share_a_bounded_room() {
    let terminal = terminal();
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
