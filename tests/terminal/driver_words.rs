//! Words of drivers: what is misspelt, of a later version, or has two names, and times that cannot be.

use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::harness::{Terminal, second, until};

fn given() -> Terminal {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "timezone = \"+01:00\"\n");
    terminal.run();
    terminal
}

#[test]
fn a_parameter_that_means_nothing_is_named_in_the_answer_and_once_in_the_log() {
    let terminal = given();
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "reader", "colour": "red"})).unwrap();
    for _ in 0..3 {
        let punch = json!({"pin": "1", "stauts": 1, "time": second(1), "later": {"a": [1]}});
        let answer = driver.call("punch", punch).unwrap();
        assert_eq!(answer["ignored"], json!(["later", "stauts"]), "{answer}");
        assert!(answer["seq"].is_u64());
    }
    let good = driver.call("punch", json!({"pin": "1", "time": second(1), "status": 1})).unwrap();
    assert_eq!(good["ignored"], Value::Null);
    // What means something only beside another parameter is ignored without it.
    let kind = driver.call("punch", json!({"pin": "1", "time": second(1), "type": 1})).unwrap();
    assert_eq!(kind["ignored"], json!(["type"]));
    let log = terminal.log();
    assert_eq!(
        log.matches("has no parameter \"later\", \"stauts\" here: ignored").count(),
        1,
        "{log}"
    );
    assert!(log.contains("driver reader: register has no parameter \"colour\""), "{log}");
}

#[test]
fn every_refusal_names_the_driver_in_the_log_also_where_nobody_gets_an_answer() {
    let terminal = given();
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "reader"})).unwrap();
    for _ in 0..3 {
        driver.call("punch", json!({"pin": "a b"})).unwrap_err();
    }
    let call = json!({"jsonrpc": "2.0", "method": "punch", "params": {"pin": "c d"}});
    driver.send(call.to_string().as_bytes()).unwrap();
    driver.call("status", json!({})).unwrap();
    let log = terminal.log();
    assert_eq!(
        log.matches("driver reader: punch is refused: pin: has a character").count(),
        1,
        "{log}"
    );
    let silent =
        "driver reader: punch is refused, and it asked for no answer: pin: has a character";
    assert_eq!(log.matches(silent).count(), 1, "{log}");
    // Faults without end do not fill the log.
    for nth in 0..50 {
        driver.call(&format!("punch{nth}"), json!({})).unwrap_err();
        driver.call("punch", json!({"pin": "1", "time": nth.to_string()})).unwrap_err();
        driver.call("punch", json!({"pin": "1", &format!("p{nth}"): 1})).unwrap();
    }
    let log = terminal.log();
    assert!(log.matches("driver reader: ").count() <= 17, "{log}");
    assert!(log.contains("driver reader: further faults are not logged"), "{log}");
}

#[test]
fn a_last_line_without_its_end_is_told() {
    let terminal = given();
    let mut driver = UnixStream::connect(terminal.path("run/driver.sock")).unwrap();
    let name = r#"{"jsonrpc": "2.0", "method": "register", "params": {"name": "reader"}}"#;
    write!(driver, "{name}\n{{\"jsonrpc\": \"2.0\"").unwrap();
    drop(driver);
    let told = || terminal.log().contains("driver reader: its last 17 bytes have no line end");
    until("told", told, || terminal.log());
}

#[test]
fn a_word_of_provides_that_is_not_known_is_an_error() {
    let terminal = given();
    let mut driver = terminal.driver();
    for (provides, message) in [
        (
            json!(["fingerprint", "coffee"]),
            "provides: has \"coffee\", which this version does not know",
        ),
        (json!(["Fingerprint"]), "provides: has \"Fingerprint\""),
        (json!(["fvein", "fingervein", "palm"]), ""),
    ] {
        let done = driver.call("register", json!({"name": "sensor", "provides": provides}));
        match done {
            Ok(_) => assert_eq!(message, ""),
            Err(error) => {
                assert!(error["message"].as_str().unwrap().starts_with(message), "{error}")
            }
        }
    }
}

#[test]
fn two_words_for_one_thing_are_both_taken() {
    let terminal = given();
    let mut driver = terminal.driver();
    driver.call("user.put", json!({"pin": "1"})).unwrap();
    for (kind, number, stored) in [
        ("fingerprint", "no", "fingerprint"),
        ("fingervein", "number", "fvein"),
        ("fvein", "no", "fvein"),
        ("palm", "number", "unified"),
    ] {
        let put = json!({"pin": "1", "kind": kind, number: 1, "data": "QUJD"});
        let answer = driver.call("template.put", put).unwrap();
        assert_eq!(answer["ignored"], Value::Null, "{kind}: {answer}");
        let page = driver.call("changes", json!({"after": 0})).unwrap();
        let templates = page["templates"].as_array().unwrap();
        let found = templates.iter().find(|it| it["kind"] == stored).unwrap();
        assert_eq!(found["number"], 1, "{kind}: {found}");
        assert!(kind != "palm" || found["type"] == 8, "{found}");
        let key = json!({"pin": "1", "kind": kind, number: 1});
        assert_eq!(driver.call("template.delete", key).unwrap()["deleted"], true, "{kind}");
    }
}

#[test]
fn a_time_is_at_most_a_day_ahead_and_seconds_settle_an_hour_that_comes_twice() {
    let terminal = given();
    let mut driver = terminal.driver();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (params, refused) in [
        (json!({"pin": "1", "time": "2099-01-01 00:00:00"}), "time: is more than a day ahead"),
        (json!({"pin": "1", "at": now + 90_000}), "at: is more than a day ahead"),
        (json!({"pin": "1", "at": now, "time": second(1)}), "at: cannot stand beside time"),
        (json!({"pin": "1", "at": "now"}), "at: must be a whole number"),
        (json!({"pin": "1", "at": now + 80_000}), ""),
        (json!({"pin": "1", "at": 1_762_041_600}), ""),
    ] {
        match driver.call("punch", params.clone()) {
            Ok(_) => assert_eq!(refused, "", "{params}"),
            Err(error) => {
                let message = error["message"].as_str().unwrap();
                assert!(!refused.is_empty() && message.starts_with(refused), "{params}: {error}");
            }
        }
    }
    let export = String::from_utf8(terminal.punchd(&["export"]).stdout).unwrap();
    // An hour east of UTC.
    assert!(export.contains("2025-11-02 01:00:00"), "{export}");
}
