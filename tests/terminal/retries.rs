//! Retries: one broken exchange holds up no other, and its pauses grow.

use std::time::Duration;

use iclock_emulator::{Act, Emulator, Fault, On};

use crate::harness::{TIMEOUT, Terminal, second, server};

#[test]
fn one_broken_way_holds_up_no_other() {
    // The server resets every reply to a command, and goes on resetting.
    let server = server();
    server.fault(Fault::new(On::reply(), Act::ResetRead).always());
    server.queue("INFO");
    let terminal = Terminal::start(&server, "");
    terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    for nth in 0..3 {
        terminal.driver().punch("1001", &second(nth));
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == nth + 1));
    }
    // Every further failure makes the pause longer.
    let tries = |server: &Emulator| server.received(|received| received.count("reply"));
    let before = tries(&server);
    std::thread::sleep(Duration::from_secs(4));
    assert!(tries(&server) - before <= 3, "{} tries in four seconds", tries(&server) - before);
}
