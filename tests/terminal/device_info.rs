//! What the terminal tells of itself: options pushed (S9), `INFO` of the polls.

use iclock_emulator::Received;
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, second, server};

#[test]
fn options_are_pushed_at_the_start_when_asked_and_when_one_changes() {
    let server = server();
    server.set_option("PushOptionsFlag", "1");
    server.set_option("PushOptions", "FingerFunOn,FPVersion,UserCount,~DeviceName,Unheard,VOLUME");
    let terminal = Terminal::start(&server, "[device]\nname = \"Door, east\"\nfp_version = 10");
    assert!(server.wait_until(TIMEOUT, |received| received.options_times() == 1));
    let options = server.received(|received| received.options().clone());
    let value = |key: &str| options.get(key).map(String::as_str);
    assert_eq!(
        (value("FingerFunOn"), value("FPVersion"), value("UserCount")),
        (Some("1"), Some("10"), Some("0"))
    );
    assert_eq!(value("~DeviceName"), Some("Door, east"));
    // A user more is no news; an option that changes is.
    terminal.driver().call("user.put", json!({"pin": "1"})).unwrap();
    server.queue("SET OPTION VOLUME=7");
    assert!(server.wait_until(TIMEOUT, |received| {
        received.options().get("VOLUME").is_some_and(|volume| volume == "7")
    }));
    assert_eq!(server.received(Received::options_times), 2);
    server.assert_strict();
}

#[test]
fn polls_tell_what_has_changed() {
    let server = server();
    let terminal = Terminal::start(&server, "[device]\nfirmware = \"Ver 1.0\"\nfp_version = 10");
    let infos = |received: &Received| -> Vec<String> {
        let polls = received.requests().filter(|seen| seen.exchange == "poll");
        polls.filter_map(|seen| Some(seen.target.split_once("&INFO=")?.1.to_owned())).collect()
    };
    assert!(server.wait_until(TIMEOUT, |received| received.count("poll") >= 3));
    let first = server.received(infos);
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(
        first[0].starts_with("Ver%201.0,0,0,0,") && first[0].ends_with(",10,0,0,0,100"),
        "{first:?}"
    );
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| infos(received).len() == 2));
    assert!(server.received(infos)[1].starts_with("Ver%201.0,0,0,1,"));
    server.assert_strict();
}
