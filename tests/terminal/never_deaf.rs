//! Drivers are served while the server hangs and while its name is looked up.

use std::time::{Duration, Instant};

use iclock_emulator::{Act, Emulator, Fault, On};
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, second, server};

const PUNCHES: u32 = 200;

/// Records punches one after the other; how long each waited for its answer.
fn latencies(terminal: &Terminal) -> Vec<Duration> {
    let mut driver = terminal.driver();
    let mut waits: Vec<Duration> = (0..PUNCHES)
        .map(|nth| {
            let started = Instant::now();
            driver.punch(&format!("{}", 1000 + nth), &second(nth));
            started.elapsed()
        })
        .collect();
    waits.sort();
    waits
}

fn print(name: &str, waits: &[Duration], healthy: &[Duration]) {
    let at = |waits: &[Duration], part: f64| waits[(waits.len() as f64 * part) as usize];
    let ratio = at(waits, 0.99).as_secs_f64() / at(healthy, 0.99).as_secs_f64();
    println!(
        "{name}: p50 {:?}, p99 {:?}; with a healthy server p50 {:?}, p99 {:?}: p99 is {ratio:.2} times that",
        at(waits, 0.5),
        at(waits, 0.99),
        at(healthy, 0.5),
        at(healthy, 0.99),
    );
}

fn healthy() -> Vec<Duration> {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    latencies(&terminal)
}

fn all_arrive(server: &Emulator) {
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == PUNCHES as usize));
}

#[test]
fn a_server_that_never_answers_delays_no_punch() {
    let healthy = healthy();
    let server = server();
    let terminal = Terminal::start(&server, "[timeouts]\nanswer = 600\nretry = 1");
    terminal.wait_until_online();
    server.fault(Fault::new(On::any(), Act::Stall { ms: None }).always());
    // The terminal is in the middle of an exchange from here to the end.
    terminal.driver().call("punch", json!({"pin": "1", "time": "2026-11-01 00:00:00"})).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    let waits = latencies(&terminal);
    print("a server that never answers", &waits, &healthy);
    assert_eq!(terminal.status()["streams"]["punches"]["pending"], PUNCHES + 1);
    server.clear_faults();
    server.release_stalled();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == PUNCHES as usize + 1));
}

#[test]
fn a_name_that_cannot_be_resolved_delays_no_punch() {
    let healthy = healthy();
    let server = server();
    // A name of the reserved domain: nobody ever resolves it.
    let mut terminal = Terminal::prepare("http://terminal-server.invalid:8081", "");
    terminal.run();
    let waits = latencies(&terminal);
    print("a name that cannot be resolved", &waits, &healthy);
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    let message = status["trouble"].as_str().unwrap();
    assert!(message.contains("resolved") && message.contains("DNS"), "{message}");
    assert_eq!(status["streams"]["punches"]["pending"], PUNCHES);
    // Given a name that can be, everything arrives.
    terminal.configure(&server.url().replace("127.0.0.1", "localhost"), "");
    terminal.signal("HUP");
    all_arrive(&server);
    assert!(server.attlog().iter().all(|row| row.times == 1));
}

#[test]
fn a_long_command_list_delays_no_punch() {
    // 20 000 users come in one answer, as fast as the server can send them.
    let server = server();
    let list: String = (0..20_000)
        .map(|nth| format!("C:u{nth}:DATA UPDATE USERINFO PIN={nth}\tName=User {nth}\n"))
        .collect();
    server.next_poll_body(list);
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    let mut longest = Duration::ZERO;
    let mut nth = 0;
    while terminal.status()["users"] != 20_000 {
        let started = Instant::now();
        driver.punch(&nth.to_string(), &second(nth));
        longest = longest.max(started.elapsed());
        nth += 1;
    }
    println!(
        "while 20 000 commands came in, {nth} punches were answered, the slowest after {longest:?}"
    );
    assert!(nth > 10, "only {nth} punches had their turn");
}
