//! Punches in RC4 for a server that says `EncryptFlag=1…` (S8).

use iclock_emulator::{Act, Emulator, Fault, On, Settings};

use crate::harness::{TIMEOUT, Terminal, second, server_with};

const KEY: &str = "made-up key";

/// A server that wants punches encrypted, by this key.
fn sealing_server(key: &str) -> Emulator {
    let server = server_with(Settings { attlog_key: Some(key.into()), ..Settings::default() });
    server.set_option("EncryptFlag", "1000000000");
    server
}

fn key(key: &str) -> String {
    format!("[encryption]\nattlog_key = {key:?}")
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn punches_go_encrypted_and_all_else_goes_as_it_is() {
    // Given a server that loses its first answer.
    let server = sealing_server(KEY);
    server.fault(Fault::new(On::table("ATTLOG"), Act::LoseAck { reset: true }));
    let terminal = Terminal::start(&server, &key(KEY));
    // When somebody punches.
    terminal.driver().punch("471147114711", &second(1));
    assert!(server.wait_until(TIMEOUT, |got| got.attlog().iter().any(|row| row.times == 2)));
    terminal.driver().punch("471147114712", &second(2));
    assert!(server.wait_until(TIMEOUT, |got| got.attlog().len() == 2 && !got.oplog().is_empty()));
    // Then the server can read the rows, and nobody on the way.
    assert_eq!(server.attlog()[0].raw, b"471147114711\t2026-11-02 00:00:01\t0\t1\t0\t0\t0");
    let on_the_wire = server.received(|received| received.sealed().unwrap().to_vec());
    assert!(!holds(&on_the_wire, "4711") && !holds(&on_the_wire, "2026"), "{on_the_wire:?}");
    assert!(!terminal.log().contains("EncryptFlag"), "{}", terminal.log());
    server.assert_strict();
}

#[test]
fn a_batch_is_encrypted_as_one() {
    let server = sealing_server(KEY);
    server.pause();
    let terminal = Terminal::start(&server, &key(KEY));
    let mut driver = terminal.driver();
    for nth in 0..200 {
        driver.punch("1001", &second(nth));
    }
    server.resume().unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 200));
    assert!(server.attlog().iter().all(|row| row.times == 1));
    server.assert_strict();
}

#[test]
fn without_a_key_punches_go_as_they_are_and_the_log_says_what_to_set() {
    let server = server_with(Settings::default());
    server.set_option("EncryptFlag", "1000000000");
    let terminal = Terminal::start(&server, "");
    // A handshake in between makes no new session.
    for nth in 1..=3 {
        terminal.driver().punch("1001", &second(nth));
        assert!(server.wait_until(TIMEOUT, |got| got.attlog().len() == nth as usize));
        let id = server.queue("CHECK");
        assert!(server.wait_until(TIMEOUT, |received| received.reply(&id).is_some()));
    }
    assert_eq!(terminal.log().matches("set attlog_key in [encryption]").count(), 1);
    server.assert_strict();
}

#[test]
fn a_server_of_an_older_version_or_without_the_first_digit_gets_them_as_they_are() {
    for (version, flag) in
        [("2.2.14", "1000000000"), ("2.4.1", "0100000000"), ("2.4.1", ""), ("", "1")]
    {
        let server = sealing_server(KEY);
        server.set_option("PushProtVer", version);
        server.set_option("EncryptFlag", flag);
        let terminal = Terminal::start(&server, &key(KEY));
        terminal.driver().punch("1001", &second(1));
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1), "{flag:?}");
        assert!(server.received(|received| received.sealed().is_none()), "{version} {flag:?}");
        server.assert_strict();
    }
}

#[test]
fn another_key_makes_rows_that_are_none() {
    let server = sealing_server(KEY);
    let terminal = Terminal::start(&server, &key("made-up, but other"));
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.deviations().is_empty()));
    assert!(server.attlog().is_empty());
    assert!(server.deviations().iter().any(|deviation| deviation.contains("table=ATTLOG")));
}
