//! Stamps: no value uploads history by mistake, a true reset uploads it exactly once.

use iclock_emulator::{Emulator, Kind, Received};

use crate::harness::{TIMEOUT, Terminal, second, server};

const ROWS: u32 = 40;

fn handshakes(received: &Received) -> usize {
    received.count("handshake")
}

/// Makes the terminal shake hands once more, and waits for it.
fn shake_hands(server: &Emulator, terminal: &Terminal) {
    let before = server.received(handshakes);
    terminal.signal("HUP");
    assert!(
        server.wait_until(TIMEOUT, |received| handshakes(received) > before),
        "{}",
        terminal.log()
    );
}

fn recorded(terminal: &Terminal, server: &Emulator) {
    let mut driver = terminal.driver();
    for nth in 0..ROWS {
        driver.punch("1001", &second(nth));
    }
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == ROWS));
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
}

#[test]
fn a_hundred_handshakes_with_every_stamp_upload_history_zero_times() {
    let mut shaken = 0;
    for stamp in [
        "None",
        "0",
        "9999",
        "1752444282",
        "1752444282123",
        "1752444282.5",
        "2026-11-02T08:00:00",
        "",
        "-1",
        "1",
    ] {
        let server = server();
        for name in ["ATTLOGStamp", "OPERLOGStamp", "Stamp", "OpStamp", "ATTPHOTOStamp"] {
            server.set_option(name, stamp);
        }
        let terminal = Terminal::start(&server, "");
        recorded(&terminal, &server);
        for _ in 0..10 {
            shake_hands(&server, &terminal);
            shaken += 1;
        }
        // What comes last shows that nothing else is on its way.
        terminal.driver().punch("1002", &second(ROWS));
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == ROWS + 1));
        assert!(server.attlog().iter().all(|row| row.times == 1), "{stamp:?}");
        assert!(server.oplog().iter().all(|row| row.times == 1), "{stamp:?}");
    }
    println!("{shaken} handshakes, history uploaded 0 times");
}

#[test]
fn a_true_reset_uploads_history_once_across_a_restart() {
    let server = server();
    server.allow(Kind::CutShort);
    let mut terminal = Terminal::start(&server, "");
    recorded(&terminal, &server);
    let mut driver = terminal.driver();
    for nth in ROWS..500 {
        driver.punch("1001", &second(nth));
    }
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 500));
    // This server keeps stamps; then somebody empties it.
    server.set_option("ATTLOGStamp", "480");
    shake_hands(&server, &terminal);
    server.set_option("ATTLOGStamp", "0");
    shake_hands(&server, &terminal);
    // The power goes when some of it has arrived; the server goes on saying 0.
    let again = |received: &Received| received.attlog().iter().filter(|row| row.times > 1).count();
    assert!(server.wait_until(TIMEOUT, |received| again(received) > 0));
    terminal.kill();
    terminal.run();
    assert!(server.wait_until(TIMEOUT, |received| again(received) == 500));
    terminal.wait_for("nothing left", |status| status["streams"]["punches"]["again"] == 0);
    for _ in 0..3 {
        shake_hands(&server, &terminal);
    }
    terminal.driver().punch("1002", &second(500));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 501));
    // Once each, and one request more if its acknowledgement was cut off.
    let thrice = server.attlog().iter().filter(|row| row.times > 2).count();
    assert!(thrice <= 250, "{thrice} rows came three times");
    assert!(server.attlog().iter().all(|row| row.times <= 3));
    server.assert_strict();
}

#[test]
fn a_server_restored_from_a_backup_gets_what_it_lost() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    // It proves that it keeps stamps: what we sent comes back, at two different values.
    let mut last = 0;
    for nth in 0..30 {
        last = driver.punch("1001", &second(nth));
        if nth == 9 || nth == 19 || nth == 29 {
            assert!(
                server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == nth + 1)
            );
            terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
            server.set_option("ATTLOGStamp", &last.to_string());
            shake_hands(&server, &terminal);
        }
    }
    // Set back by five rows, it gets those five again, and nothing else.
    server.set_option("ATTLOGStamp", &(last - 5).to_string());
    shake_hands(&server, &terminal);
    let again = |received: &Received| received.attlog().iter().filter(|row| row.times == 2).count();
    assert!(server.wait_until(TIMEOUT, |received| again(received) == 5));
    shake_hands(&server, &terminal);
    shake_hands(&server, &terminal);
    driver.punch("1002", &second(40));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 31));
    assert_eq!(server.attlog().iter().map(|row| row.times).sum::<u32>(), 36);
}
