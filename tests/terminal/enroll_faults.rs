//! Enrolments that do not come to their end as they should: drivers that talk nonsense, leave
//! or say nothing, a terminal that starts anew, a server that is away.

use iclock_emulator::{Kind, Repeat};
use serde_json::{Value, json};

use crate::harness::{
    FP, TIMEOUT, answer, asked_to_enroll, enroll_all, enrolling, finger, second, sensor,
};

#[test]
fn nonsense_from_a_driver_changes_nothing() {
    let (server, terminal, mut driver) = enrolling("");
    let template = |key: &str, value: Value| {
        let mut template = json!({"kind": "fingerprint", "number": 3, "data": "AAAA"});
        template[key] = value;
        json!({"outcome": "done", "templates": [template]})
    };
    let mut cases = Vec::new();
    let mut many = finger(3);
    many["templates"] = vec![many["templates"][0].clone(); 33].into();
    for result in [
        json!(null),
        json!([]),
        json!("done"),
        json!({"outcome": "done"}),
        json!({"outcome": "eaten"}),
        json!({"outcome": 7}),
        json!({"outcome": "done", "templates": []}),
        json!({"outcome": "done", "templates": {}}),
        json!({"outcome": "done", "templates": [7]}),
        json!({"outcome": "done", "card": "7"}),
        template("kind", json!("coffee")),
        template("kind", json!("face")),
        template("number", json!(4)),
        template("number", json!(1e300)),
        template("data", json!("!")),
        template("data", json!("")),
        template("data", json!("A".repeat(100_000))),
        many,
    ] {
        cases.push((FP, result, -3));
    }
    for card in [json!("x"), json!("0"), json!(""), json!(-1), json!([])] {
        let result = json!({"outcome": "done", "card": card});
        cases.push(("ENROLL_MF PIN=1001\tRETRY=1", result, -3));
    }
    enroll_all(&server, &mut driver, cases);
    for (code, expected) in [(-32601, -1002), (-32603, -3), (7, -3)] {
        let id = server.queue(FP);
        let (number, _) = asked_to_enroll(&mut driver);
        let error = json!({"code": code, "message": "no\nsuch\tthing"});
        let line = json!({"jsonrpc": "2.0", "id": number, "error": error});
        driver.send(line.to_string().as_bytes()).unwrap();
        assert_eq!(answer(&server, &id).0, expected);
    }
    let found = terminal.driver().call("changes", json!({"after": 0})).unwrap();
    assert_eq!(found["templates"], json!([]));
    assert!(server.received(|received| received.oplog().iter().all(|row| row.record.op != 6)));
    server.assert_strict();
}

#[test]
fn answers_to_requests_nobody_made_are_passed_over() {
    let (server, terminal, mut driver) = enrolling("");
    let id = server.queue(FP);
    let (number, _) = asked_to_enroll(&mut driver);
    let mut stranger = sensor(&terminal, "stranger");
    for nonsense in [json!(number + 1), json!(0), json!("1"), json!(null), json!(-1), json!(1.5)] {
        let line = json!({"jsonrpc": "2.0", "id": nonsense, "result": finger(3)}).to_string();
        driver.send(line.as_bytes()).unwrap();
    }
    // Nor may one driver answer for another.
    stranger.reply(number, finger(3));
    stranger.punch("1001", &second(1));
    driver.punch("1001", &second(2));
    assert!(server.received(|received| received.reply(&id).is_none()));
    driver.reply(number, json!({"outcome": "failed"}));
    assert_eq!(answer(&server, &id).0, 4);
    driver.reply(number, finger(3));
    driver.punch("1001", &second(3));
    let said = terminal.log().matches("answered a request that it was not sent").count();
    assert_eq!(said, 2, "{}", terminal.log());
    assert!(server.received(|received| received.templates().is_empty()));
}

#[test]
fn nobody_waits_for_a_driver_that_leaves_or_says_nothing() {
    let (server, terminal, mut driver) = enrolling("[device]\nenroll_seconds = 1");
    // It leaves in the middle; the next one has no driver to ask.
    let id = server.queue(FP);
    let next = server.queue("ENROLL_FP PIN=1001\tFID=4\tRETRY=2\tOVERWRITE=1");
    asked_to_enroll(&mut driver);
    drop(driver);
    assert_eq!((answer(&server, &id).0, answer(&server, &next).0), (-3, -1002));
    // It says nothing.
    let mut driver = sensor(&terminal, "silent");
    for (command, code) in [(FP, -1003), ("ENROLL_MF PIN=1001\tRETRY=1", -5)] {
        let id = server.queue(command);
        let (number, _) = asked_to_enroll(&mut driver);
        let cancel = driver.receive().unwrap();
        assert_eq!(cancel, json!({"jsonrpc": "2.0", "method": "cancel", "params": {"id": number}}));
        assert_eq!(answer(&server, &id).0, code);
        // Too late.
        driver.reply(number, finger(3));
    }
    driver.punch("1001", &second(1));
    assert!(server.received(|received| received.templates().is_empty()));
    server.assert_strict();
}

#[test]
fn an_enrolment_that_was_cut_off_says_so_and_is_not_begun_again() {
    let (server, mut terminal, mut driver) = enrolling("");
    server.allow(Kind::CutShort);
    server.queue_repeated("e1", FP, Repeat::Times(4));
    let (number, _) = asked_to_enroll(&mut driver);
    terminal.kill();
    terminal.run();
    let mut driver = sensor(&terminal, "sensor");
    assert_eq!(answer(&server, "e1").0, -1003);
    driver.reply(number, finger(3));
    // Sent again, it has its answer and asks nobody.
    let last = server.queue("INFO");
    assert_eq!(answer(&server, &last).0, 0);
    let next = server.queue("ENROLL_FP PIN=1001\tFID=5\tRETRY=2\tOVERWRITE=1");
    let (number, params) = asked_to_enroll(&mut driver);
    assert_eq!(params["no"], 5);
    driver.reply(number, finger(5));
    assert_eq!(answer(&server, &next).0, 0);
    assert!(server.wait_until(TIMEOUT, |received| received.templates().len() == 1));
    server.assert_strict();
}

#[test]
fn what_was_enrolled_without_a_connection_is_kept() {
    let (server, mut terminal, mut driver) = enrolling("");
    server.allow(Kind::CutShort);
    let id = server.queue(FP);
    let (number, _) = asked_to_enroll(&mut driver);
    server.pause();
    terminal.wait_for("offline", |status| status["online"] == false);
    driver.reply(number, finger(3));
    let gone = |status: &Value| status["jobs"].as_array().unwrap().is_empty();
    terminal.wait_for("the enrolment is stored", gone);
    terminal.kill();
    server.resume().unwrap();
    terminal.run();
    assert_eq!(answer(&server, &id).0, 0);
    assert!(server.wait_until(TIMEOUT, |received| received.templates().len() == 1));
}
