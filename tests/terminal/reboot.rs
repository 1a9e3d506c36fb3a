//! `REBOOT` (X1): answered first, done once, after the program that installs.

use std::fs;

use iclock_emulator::{Act, Fault, On, Repeat};
use serde_json::json;

use crate::harness::{
    RawServer, TIMEOUT, Terminal, answer, options, polls, polls_of, replies_to, returns, says,
    script, second, server, until,
};

#[test]
fn a_reboot_is_answered_first_and_done_once() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let file = terminal.path("reboots");
    let hook = format!("[device]\nreboot = [\"sh\", \"-c\", \"echo x >> {}\"]", file.display());
    terminal.configure(&server.url(), &hook);
    // The server is silent to the first answer, and does not take the second; it sends the
    // command five times.
    server.fault(Fault::new(On::reply(), Act::Stall { ms: None }));
    server.fault(Fault::new(On::reply(), Act::status(500, "")));
    server.queue_repeated("boot", "REBOOT", Repeat::Times(5));
    terminal.run();
    assert!(server.wait_until(TIMEOUT, |received| received.count("reply") == 1));
    for nth in 0..3 {
        terminal.driver().punch("1", &second(nth));
    }
    assert!(!file.exists(), "it was done before it was answered");
    server.release_stalled();
    until("rebooted", || fs::read(&file).is_ok_and(|text| !text.is_empty()), || terminal.log());
    terminal.kill();
    terminal.run();
    // The command comes four times more, one a poll.
    polls(&server, 5);
    assert_eq!(returns(&server, "INFO"), 0);
    assert_eq!(answer(&server, "boot").0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "x\n");
}

#[test]
fn a_reboot_waits_for_the_program_that_installs() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let script = |name: &str, text: &str| {
        script(&terminal.path(name), text);
        terminal.path(name).display().to_string()
    };
    let hook = script("hook", "touch \"$0.begun\"; sleep 2; touch \"$0.done\"");
    let reboot = script("reboot", &format!("ls {hook}.done > \"$0.saw\" 2>&1"));
    let config = format!("[device]\nreboot = [\"{reboot}\"]\n[upgrade]\ncommand = [\"{hook}\"]");
    terminal.configure(&server.url(), &config);
    terminal.run();
    server.serve_file("emfw.cfg", "a");
    let upgrade = server
        .queue("UPGRADE type=1,checksum=0cc175b9c0f1b6a831c399e269772661,size=1,url=emfw.cfg");
    terminal.wait_for("handed over", |status| status["jobs"][0]["stage"] == "handed over");
    let id = server.queue("REBOOT");
    assert_eq!(answer(&server, &id).0, 0);
    assert_eq!(answer(&server, &upgrade).0, 0);
    let saw = || fs::read_to_string(terminal.path("reboot.saw")).unwrap_or_default();
    until("rebooted", || !saw().is_empty(), || terminal.log());
    assert_eq!(saw().trim(), format!("{hook}.done"));
    server.assert_strict();
}

#[test]
fn a_reboot_waits_for_the_driver_that_opens_the_door() {
    let server = RawServer::start({
        let mut polls = 0;
        move |request| {
            polls += u32::from(request.is_poll());
            match request {
                request if request.is_handshake() => options(""),
                request if request.is_poll() && polls == 3 => {
                    says(200, "C:1:REBOOT\nC:2:AC_UNLOCK\n")
                }
                _ => says(200, "OK"),
            }
        }
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    let rebooted = terminal.path("rebooted");
    let hook = format!("[device]\nreboot = [\"touch\", \"{}\"]", rebooted.display());
    terminal.configure(&server.url(), &hook);
    terminal.run();
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "relay", "provides": ["unlock"]})).unwrap();
    let request = driver.receive().expect("a request");
    polls_of(&server, 3);
    assert!(!rebooted.exists(), "the door was cut off");
    driver.reply(request["id"].as_u64().unwrap(), json!(true));
    until("rebooted", || rebooted.exists(), || terminal.log());
    let replies = replies_to(&server);
    assert_eq!((&replies["1"], &replies["2"]), (&vec![0], &vec![0]));
}
