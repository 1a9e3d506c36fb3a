//! Enrolment from afar (R1 to R3): what the server asks for, a driver takes, and every way in
//! which it can end.

use iclock_emulator::Emulator;
use serde_json::{Value, json};

use crate::harness::{
    Driver, FP, TIMEOUT, Terminal, answer, asked_to_enroll, enroll_all, enrolling, finger, second,
    sensor, server,
};

/// Queues a command, lets the driver answer what it is asked, and gives back the code.
#[track_caller]
fn enroll(server: &Emulator, driver: &mut Driver, command: &str, result: Value) -> i64 {
    let id = server.queue(command);
    let (number, _) = asked_to_enroll(driver);
    driver.reply(number, result);
    answer(server, &id).0
}

#[test]
fn a_finger_is_enrolled_and_goes_up() {
    let (server, _terminal, mut driver) = enrolling("");
    let id = server.queue(FP);
    let (number, params) = asked_to_enroll(&mut driver);
    assert_eq!(
        params,
        json!({"pin": "1001", "kind": "fingerprint", "no": 3, "number": 3, "retry": 2, "overwrite": true, "name": "Ann"})
    );
    assert!(server.received(|received| received.reply(&id).is_none()));
    driver.reply(number, finger(3));
    assert_eq!(answer(&server, &id).0, 0);
    assert!(server.wait_until(TIMEOUT, |received| {
        let operation = received.oplog().iter().find(|row| row.record.op == 6);
        let template = received.templates().first();
        template.is_some_and(|row| row.record.no == 3 && row.record.data == b"made up")
            && operation.is_some_and(|row| {
                row.record.who == "1001" && row.record.values == ["3", "7", "0"].map(str::to_owned)
            })
    }));
    // It is there now: it stays, unless it may be overwritten.
    let again = server.queue("ENROLL_FP PIN=1001\tFID=3\tRETRY=2\tOVERWRITE=0");
    assert_eq!(answer(&server, &again).0, 2);
    let other = "ENROLL_FP PIN=1001\tFID=4\tRETRY=0\tOVERWRITE=0";
    assert_eq!(enroll(&server, &mut driver, other, finger(4)), 0);
    server.assert_strict();
}

#[test]
fn a_card_is_enrolled_and_goes_up() {
    let (server, terminal, mut driver) = enrolling("");
    let id = server.queue("ENROLL_MF PIN=1001\tRETRY=3");
    let (number, params) = asked_to_enroll(&mut driver);
    assert_eq!(
        params,
        json!({"pin": "1001", "kind": "card", "retry": 3, "overwrite": true, "name": "Ann"})
    );
    driver.reply(number, json!({"outcome": "done", "card": "0001234567"}));
    assert_eq!(answer(&server, &id).0, 0);
    assert!(server.wait_until(TIMEOUT, |received| {
        received.users().get("1001").is_some_and(|row| row.record.card == "1234567")
            && received.oplog().iter().any(|row| row.record.op == 15 && row.record.who == "1001")
    }));
    let found = terminal.driver().call("user.get", json!({"card": "1234567"})).unwrap();
    assert_eq!(found["name"], "Ann");
    // Somebody else's card is not taken from them.
    let bob = server.queue("DATA UPDATE USERINFO PIN=1002\tName=Bob");
    assert_eq!(answer(&server, &bob).0, 0);
    let card = json!({"outcome": "done", "card": 1_234_567});
    assert_eq!(enroll(&server, &mut driver, "ENROLL_MF PIN=1002\tRETRY=1", card), -4);
    server.assert_strict();
}

#[test]
fn faces_and_palms_are_enrolled_by_their_type() {
    let (server, terminal, mut driver) = enrolling("");
    let id = server.queue("ENROLL_BIO TYPE=9\tPIN=1001\tCardNo=133440\tRETRY=1\tOVERWRITE=0");
    let (number, params) = asked_to_enroll(&mut driver);
    assert_eq!(
        params,
        json!({"pin": "1001", "kind": "visibleface", "retry": 1, "overwrite": false, "name": "Ann", "card": "133440"})
    );
    let part = |index: u8, data: &str| json!({"kind": "unified", "type": 9, "index": index, "data": data, "majorver": 39});
    let parts = json!([part(0, "AAA="), part(1, "AAE=")]);
    driver.reply(number, json!({"outcome": "done", "templates": parts}));
    assert_eq!(answer(&server, &id).0, 0);
    assert!(server.wait_until(TIMEOUT, |received| {
        received.templates().len() == 2
            && received.oplog().iter().any(|row| row.record.op == 30 && row.record.who == "1001")
    }));
    let again = server.queue("ENROLL_BIO TYPE=9\tPIN=1001\tRETRY=1\tOVERWRITE=0");
    assert_eq!(answer(&server, &again).0, 2);
    // A face of one part takes the place of both.
    let anew = json!({"outcome": "done", "templates": [part(0, "AAI=")]});
    let over = "ENROLL_BIO TYPE=9\tPIN=1001\tRETRY=1\tOVERWRITE=1";
    assert_eq!(enroll(&server, &mut driver, over, anew), 0);
    let found = terminal.driver().call("changes", json!({"after": 0})).unwrap();
    assert_eq!(found["templates"].as_array().unwrap().len(), 1, "{found}");
    server.assert_strict();
}

#[test]
fn each_outcome_has_its_code() {
    let (server, _terminal, mut driver) = enrolling("");
    let outcome = |name: &str| json!({ "outcome": name });
    let bio = "ENROLL_BIO TYPE=8\tPIN=1001\tRETRY=1\tOVERWRITE=1";
    let card = "ENROLL_MF PIN=1001\tRETRY=1";
    let mut cases = Vec::new();
    for (name, by_finger, by_card) in [
        ("exists", 2, -4),
        ("failed", 4, -4),
        ("duplicate", 5, -4),
        ("cancelled", 6, -6),
        ("busy", 7, -1005),
        ("timeout", -1003, -5),
    ] {
        cases.extend([FP, bio].map(|command| (command, outcome(name), by_finger)));
        cases.push((card, outcome(name), by_card));
    }
    enroll_all(&server, &mut driver, cases);
    for (command, code) in [
        ("ENROLL_FP PIN=1002\tFID=3\tRETRY=2\tOVERWRITE=1", -10),
        ("ENROLL_MF PIN=1002\tRETRY=2", -10),
        ("ENROLL_FP PIN=1001\tFID=10\tRETRY=2\tOVERWRITE=1", -1),
        ("ENROLL_FP PIN=1001 FID=1", -1),
        ("ENROLL_MF RETRY=2", -1),
        ("ENROLL_BIO PIN=1001\tRETRY=2", -1),
        // Nobody provides it.
        ("ENROLL_BIO TYPE=4\tPIN=1001\tRETRY=2", -1002),
    ] {
        let id = server.queue(command);
        assert_eq!(answer(&server, &id).0, code, "{command}");
    }
    server.assert_strict();
}

#[test]
fn everything_goes_on_while_a_person_enrols() {
    let (server, terminal, mut driver) = enrolling("[commands]\nshell = \"allow\"");
    let first = server.queue(FP);
    let (number, _) = asked_to_enroll(&mut driver);
    let second_id = server.queue("ENROLL_FP PIN=1001\tFID=4\tRETRY=2\tOVERWRITE=1");
    let shell = server.queue("SHELL echo done");
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    assert_eq!(answer(&server, &shell).0, 0);
    assert_eq!(terminal.status()["jobs"].as_array().unwrap().len(), 2);
    assert!(server.received(|received| received.reply(&first).is_none()));
    // The driver works on, too, and is asked for the next only after this one.
    driver.punch("1002", &second(2));
    driver.reply(number, finger(3));
    let (number, params) = asked_to_enroll(&mut driver);
    assert_eq!(params["no"], 4);
    driver.reply(number, finger(4));
    assert_eq!((answer(&server, &first).0, answer(&server, &second_id).0), (0, 0));
    server.assert_strict();
}

#[test]
fn of_two_drivers_for_one_thing_the_last_one_is_asked() {
    let (server, terminal, mut first) = enrolling("");
    let mut last = sensor(&terminal, "better");
    assert!(
        terminal
            .log()
            .contains("two drivers provide fingerprint: requests go to better from now on, and no longer to sensor")
    );
    assert_eq!(enroll(&server, &mut last, FP, finger(3)), 0);
    assert_eq!(terminal.status()["provided"]["fingerprint"], "better");
    let message = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(message.contains("fingerprint by better"), "{message}");
    // It says that it does something else now.
    last.call("register", json!({"name": "better", "provides": ["iris", "coffee", 7]}))
        .unwrap_err();
    last.call("register", json!({"name": "better", "provides": ["iris"]})).unwrap();
    assert_eq!(enroll(&server, &mut first, FP, finger(3)), 0);
    first.call("register", json!({"name": "sensor", "provides": ["fingerprint"]})).unwrap();
    assert_eq!(enroll(&server, &mut first, FP, finger(3)), 0);
    for provides in [json!(7), json!("card"), json!({}), json!([[]]), json!(vec!["card"; 33])] {
        let error = first.call("register", json!({"name": "sensor", "provides": provides}));
        assert_eq!(error.unwrap_err()["data"]["field"], "provides");
    }
    server.assert_strict();
}

#[test]
fn the_owner_may_deny_it() {
    let server = server();
    let terminal = Terminal::start(&server, "[commands]\nenroll = \"deny\"\ndoor = \"deny\"");
    let mut driver = terminal.driver();
    let provides = ["fingerprint", "unlock", "unalarm"];
    driver.call("register", json!({"name": "all", "provides": provides})).unwrap();
    for command in [FP, "AC_UNLOCK", "AC_UNALARM"] {
        let id = server.queue(command);
        assert_eq!(answer(&server, &id).0, -1002);
    }
    assert_eq!(terminal.status()["audit"].as_array().unwrap().len(), 3);
    server.assert_strict();
}
