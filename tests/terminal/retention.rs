//! Limits of the store: what was uploaded goes first, what was not is never dropped in silence.

use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, second, server, terminal_alone};

const LIMITS: &str = "[limits]\npunches = 300\nstart_spread = 0";

#[test]
fn uploaded_punches_make_room_for_new_ones() {
    let server = server();
    let terminal = Terminal::start(&server, LIMITS);
    let mut driver = terminal.driver();
    for nth in 0..1000 {
        driver.punch("1001", &second(nth));
        if nth % 250 == 249 {
            assert!(
                server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == nth + 1)
            );
            terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
        }
    }
    assert!(server.attlog().iter().all(|row| row.times == 1));
    let kept = terminal.status()["punches"].as_u64().unwrap();
    assert!((1..=300).contains(&kept), "{kept} are kept");
    server.assert_strict();
}

#[test]
fn what_was_not_uploaded_is_never_dropped_and_new_punches_are_refused_loudly() {
    let server = server();
    let terminal = Terminal::start(&server, LIMITS);
    terminal.wait_until_online();
    server.pause();
    let mut driver = terminal.driver();
    for nth in 0..300 {
        driver.punch("1001", &second(nth));
    }
    let refused = driver.call("punch", json!({"pin": "1001", "time": second(300)})).unwrap_err();
    assert_eq!(refused["code"], -1001);
    assert!(refused["message"].as_str().unwrap().contains("300 punches"), "{refused}");
    let status = terminal.status();
    assert!(status["full"].as_str().unwrap().contains("300 punches"), "{status:#}");
    assert_eq!(
        (&status["punches"], &status["streams"]["punches"]["pending"]),
        (&json!(300), &json!(300))
    );
    // The alarm goes with the rest; once the server has some, there is room again.
    terminal.wait_for("alarmed", |status| status["streams"]["errors"]["pending"] == 1);
    server.resume().unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 300));
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
    driver.punch("1001", &second(300));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 301));
    terminal.wait_for("room", |status| status["full"].is_null());
    assert!(server.wait_until(TIMEOUT, |received| received.errors().len() == 1));
    let error = server.received(|received| received.errors()[0].raw.clone());
    assert!(error.starts_with(b"ERRORLOG ErrCode=D01E1002\tErrMsg=new punches are refused: 300"));
}

#[test]
fn only_the_newest_errors_are_kept_and_those_that_went_before_are_told() {
    let terminal = terminal_alone();
    let mut driver = terminal.driver();
    let error = json!({"code": "D02E0001", "message": "made up"});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "error", "params": error}).to_string();
    let most = 5200;
    for _ in 0..most / 100 {
        driver.send([call.as_str(); 100].join("\n").as_bytes()).unwrap();
        for _ in 0..100 {
            let answer = driver.receive().unwrap();
            assert!(answer["error"].is_null(), "{answer}");
        }
    }
    let errors = terminal.status()["streams"]["errors"].clone();
    let count = |key: &str| errors[key].as_u64().unwrap();
    assert!((4800..=5000).contains(&count("pending")), "{errors}");
    assert_eq!(count("pending") + count("dropped"), most);
    let text = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(text.contains("deleted before they went up (only the newest 5000 are kept"), "{text}");
    let told =
        "errors of ERRORLOG that the server does not have were deleted: only the newest 5000";
    assert!(terminal.log().contains(told), "{}", terminal.log());
}
