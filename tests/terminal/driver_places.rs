//! Who may connect to the driver socket when many do: drivers that registered stay, and the command
//! line always gets in.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{
    Driver, Idle, PUNCHES, Terminal, connect, punches, second, server, terminal_alone, until,
};

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
    let terminal = terminal_alone();
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
    let terminal = terminal_alone();
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
    let terminal = terminal_alone();
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
    let terminal = terminal_alone();
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
