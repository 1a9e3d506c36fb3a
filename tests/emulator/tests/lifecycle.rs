//! The emulator starts, plays dead, comes back, forgets, and ends.
#![allow(clippy::unwrap_used)] // this is a test

mod terminal;

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use iclock_emulator::{Emulator, Settings};
use terminal::{punch, start};

#[test]
fn a_server_that_is_down_keeps_what_it_has() {
    let (server, t) = start();
    t.upload("ATTLOG", 1, &punch(1, 0));
    let mut idle = t.connect();
    server.pause();
    assert_eq!(idle.read(&mut [0; 8]).unwrap_or(0), 0, "connections break");
    assert!(TcpStream::connect(server.address()).is_err());
    server.pause();
    server.resume().unwrap();
    server.resume().unwrap();
    t.upload("ATTLOG", 1, &punch(1, 0));
    assert_eq!(server.attlog()[0].times, 2);
    server.assert_strict();
}

#[test]
fn dropping_it_frees_the_port() {
    let (server, _) = start();
    let address = server.address();
    server.stop();
    assert!(TcpStream::connect(address).is_err());
    let again = Emulator::start(Settings { listen: address, ..Settings::default() }).unwrap();
    assert_eq!(again.url(), format!("http://{address}"));
}

#[test]
fn waiting_for_what_comes_in() {
    let (server, t) = start();
    let sender = thread::spawn(move || {
        (1..=5).for_each(|n| drop(t.upload("ATTLOG", n.into(), &punch(n, n))));
    });
    assert!(server.wait_until(Duration::from_secs(5), |received| received.attlog().len() == 5));
    sender.join().unwrap();
    assert!(!server.wait_until(Duration::from_millis(10), |received| received.attlog().len() > 5));
}

#[test]
fn reset_forgets_what_came_in_and_keeps_what_was_set() {
    let (server, t) = start();
    server.set_option("Delay", "1");
    t.upload("ATTLOG", 1, "rubbish");
    server.queue("LOG");
    server.reset();
    assert_eq!((server.summary().requests, server.deviations().len()), (0, 0));
    assert!(t.handshake().body.contains("\nDelay=1\n"));
    assert_eq!(t.poll().body, "OK");
    server.assert_strict();
}

#[test]
fn the_log_has_a_line_for_each_event() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ours = Arc::clone(&lines);
    let log: iclock_emulator::Log =
        Arc::new(move |line| ours.lock().unwrap().push(line.to_owned()));
    let (server, t) = terminal::start_with(Settings { log: Some(log), ..Settings::default() });
    t.upload("ATTLOG", 1, &punch(7, 0));
    server.queue_as("c1", "LOG");
    t.poll();
    t.reply("ID=c1&Return=0&CMD=LOG");
    t.reply("ID=c2&Return=0&CMD=LOG");
    let lines = lines.lock().unwrap().join("\n");
    for event in [
        "TEST0001 made the initial exchange",
        "TEST0001 sent a punch of 7 at 2026-03-02 08:00:00",
        "command c1 (LOG) was answered with 0",
        "deviation: request 5 (POST devicecmd?SN=TEST0001): no command c2 was ever handed out",
    ] {
        assert!(lines.contains(event), "{event}\nis not in\n{lines}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_certificate_is_an_error_where_there_is_no_https() {
    let tls = Some(iclock_emulator::Tls::default());
    let error = Emulator::start(Settings { tls, ..Settings::default() }).err().unwrap();
    assert!(error.to_string().contains("feature `tls`"), "{error}");
}
