//! The relay that ships, as a process. Files take the place of GPIO lines.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{FakeDaemon, Shipped, Terminal, answer, nowhere, server, until};

/// What a line in a file says.
fn state_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_door_is_unlocked_for_a_pulse_and_locked_at_the_end() {
    let terminal = nowhere();
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    let (door, alarm) = (terminal.path("door"), terminal.path("alarm"));
    let lines = [&door, &alarm].map(|path| format!("file:{}", path.display()));
    fs::write(&alarm, "1000\n").unwrap();
    let arguments = ["relay", &lines[0], "--pulse", "1500", "--alarm", &lines[1]];
    let mut relay = Shipped::start(&terminal, &arguments);
    daemon.welcome("relay", &json!(["unlock", "unalarm"]));
    assert_eq!([&door, &alarm].map(|path| state_of(path)), ["0\n", "0\n"]);
    // The answer says that the line is set.
    let asked = Instant::now();
    daemon.ask(1, "unlock", json!({}));
    assert_eq!(daemon.receive()["result"], json!(true));
    println!("unlocked within {:?}", asked.elapsed());
    assert_eq!(state_of(&door), "1\n");
    // Once more in time: the pulse begins anew.
    std::thread::sleep(Duration::from_millis(1000).saturating_sub(asked.elapsed()));
    let again = Instant::now();
    daemon.ask(2, "unlock", json!({}));
    daemon.receive();
    until("locked", || state_of(&door) == "0\n", || relay.log());
    assert!(again.elapsed() > Duration::from_millis(1300), "{:?}", again.elapsed());
    // The daemon may go meanwhile; the pulse ends all the same.
    daemon.ask(3, "unlock", json!({}));
    daemon.receive();
    daemon.hang_up();
    assert_eq!(state_of(&door), "1\n");
    until("locked", || state_of(&door) == "0\n", || relay.log());
    daemon.welcome("relay", &json!(["unlock", "unalarm"]));
    fs::write(&alarm, "1\n").unwrap();
    daemon.ask(4, "unalarm", json!({}));
    assert_eq!(daemon.receive()["result"], json!(true));
    assert_eq!(state_of(&alarm), "0\n");
    // Locked at the end, too.
    daemon.ask(5, "unlock", json!({}));
    daemon.receive();
    assert_eq!((relay.stop(), state_of(&door).as_str()), (0, "0\n"));
}

#[test]
fn a_relay_that_is_active_low_and_has_no_alarm() {
    let terminal = nowhere();
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    let door = terminal.path("door");
    let line = format!("file:{}", door.display());
    let mut relay = Shipped::start(&terminal, &["relay", "--active-low", "--pulse", "300", &line]);
    daemon.welcome("relay", &json!(["unlock"]));
    assert_eq!(state_of(&door), "1\n");
    daemon.ask(1, "unalarm", json!({}));
    assert_eq!(daemon.receive()["error"]["code"], -32601);
    daemon.ask(2, "unlock", json!({}));
    daemon.receive();
    until("locked", || state_of(&door) == "1\n", || relay.log());
    // A line that breaks is told to the daemon, and a door that does not lock to the log.
    daemon.ask(3, "unlock", json!({}));
    daemon.receive();
    fs::remove_file(&door).unwrap();
    fs::create_dir(&door).unwrap();
    relay.says("THE DOOR STAYS UNLOCKED");
    daemon.ask(4, "unlock", json!({}));
    let message = daemon.receive()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(door.to_str().unwrap()), "{message}");
    fs::remove_dir(&door).unwrap();
    until("locked", || state_of(&door) == "1\n", || relay.log());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn the_server_opens_the_door_and_ends_the_alarm() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let (door, alarm) = (terminal.path("door"), terminal.path("alarm"));
    let lines = [&door, &alarm].map(|path| format!("file:{}", path.display()));
    let relay =
        Shipped::start(&terminal, &["relay", &lines[0], "--alarm", &lines[1], "--pulse", "60000"]);
    relay.says("registered");
    let unlock = server.queue("AC_UNLOCK");
    assert_eq!(answer(&server, &unlock).0, 0);
    assert_eq!(state_of(&door), "1\n");
    fs::write(&alarm, "1\n").unwrap();
    let unalarm = server.queue("AC_UNALARM");
    assert_eq!(answer(&server, &unalarm).0, 0);
    assert_eq!(state_of(&alarm), "0\n");
    server.assert_strict();
}
