//! HTTPS with a private authority, and what is said when trust is missing.

use iclock_emulator::{Emulator, PrivateCa, Settings, Tls, private_ca};

use crate::harness::{TIMEOUT, Terminal, second, server, server_with, until};

/// A server with a certificate of this authority.
fn secure(authority: &PrivateCa) -> Emulator {
    let (certificates, key) = (authority.certificate.clone(), authority.key.clone());
    let tls = Tls { certificates, key, clients: None };
    server_with(Settings { tls: Some(tls), ..Settings::default() })
}

/// A terminal of the server that trusts this authority.
fn trusting(authority: &PrivateCa, server: &Emulator) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    let file = terminal.path("ca.pem");
    std::fs::write(&file, &authority.ca).unwrap();
    terminal.configure(&server.url(), &format!("[tls]\nca = \"{}\"", file.display()));
    terminal.run();
    terminal
}

#[test]
fn punches_go_over_plain_http() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.driver().punch("1001", &second(1));
    assert!(server.url().starts_with("http://"));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    server.assert_strict();
}

#[test]
fn punches_go_over_https_with_a_private_authority() {
    let ca = private_ca().unwrap();
    let server = secure(&ca);
    let terminal = trusting(&ca, &server);
    let mut driver = terminal.driver();
    for nth in 0..200 {
        driver.punch("1001", &second(nth));
    }
    let id = server.queue("INFO");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 200
        && received.reply(&id).is_some()));
    assert!(server.attlog().iter().all(|row| row.times == 1));
    server.assert_strict();
}

#[test]
fn a_server_without_our_trust_gets_nothing() {
    let (ours, theirs) = (private_ca().unwrap(), private_ca().unwrap());
    let server = secure(&theirs);
    let terminal = trusting(&ours, &server);
    terminal.driver().punch("1001", &second(1));
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    assert!(status["trouble"].as_str().unwrap().contains("[tls]"), "{status:#}");
    assert_eq!(status["streams"]["punches"]["pending"], 1);
    assert!(server.requests().is_empty());
}

#[test]
fn a_terminal_without_its_certificates_takes_punches_and_delivers_them_when_they_are_there() {
    let ca = private_ca().unwrap();
    let server = secure(&ca);
    let mut terminal = Terminal::prepare(&server.url(), "");
    let file = terminal.path("ca.pem");
    let more = format!("[tls]\nca = \"{}\"\n[timeouts]\nretry = 1", file.display());
    terminal.configure(&server.url(), &more);
    terminal.run();
    terminal.driver().punch("1001", &second(1));
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    assert!(status["trouble"].as_str().unwrap().contains("ca.pem"), "{status:#}");
    std::fs::write(&file, &ca.ca).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    server.assert_strict();
}

#[test]
fn a_time_at_which_its_own_certificate_is_not_valid_is_not_believed() {
    let ca = private_ca().unwrap();
    let server = secure(&ca);
    // For a moment, the server's clock is wrong by sixty years.
    server.set_clock_offset(60 * 365 * 86_400);
    let terminal = trusting(&ca, &server);
    terminal.wait_until_online();
    until("doubted", || terminal.log().contains("clock is wrong"), || terminal.log());
    server.set_clock_offset(0);
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    assert!(!terminal.log().contains("own clock set"), "{}", terminal.log());
    assert_eq!(terminal.log().matches("clock is wrong").count(), 1);
}
