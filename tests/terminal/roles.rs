//! Who may do what at the driver socket: another user in each case, as the kernel tells it.

use std::os::unix::fs::PermissionsExt;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use serde_json::{Value, json};

use crate::harness::{Terminal, second, server};

const SENSOR: (u32, u32) = (61_001, 61_101);
const OFFICE: (u32, u32) = (61_002, 61_102);
const SERVICE: (u32, u32) = (61_003, 61_103);
const NOBODY: (u32, u32) = (61_004, 61_104);

/// The answers to these calls of a user, whose primary group this is: `Ok`, or the code of the error.
fn calls(terminal: &Terminal, who: (u32, u32), calls: &[(&str, Value)]) -> Vec<Result<(), i64>> {
    let ask = || {
        // Of this thread only: it ends with it.
        let (uid, gid) = (Uid::from_raw(who.0), Gid::from_raw(who.1));
        set_thread_groups(&[]).unwrap();
        set_thread_gid(gid).unwrap();
        set_thread_uid(uid).unwrap();
        let mut driver = terminal.driver();
        let answers = calls.iter().map(|(method, params)| driver.call(method, params.clone()));
        answers
            .map(|answer| answer.map(drop).map_err(|error| error["code"].as_i64().unwrap()))
            .collect()
    };
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

fn one_of_each() -> Vec<(&'static str, Value)> {
    vec![
        ("status", json!({})),
        ("register", json!({"name": "one"})),
        ("punch", json!({"pin": "7", "time": second(1)})),
        ("user.get", json!({"pin": "7"})),
        ("user.put", json!({"pin": "7", "name": "Ann"})),
        ("template.delete", json!({"pin": "7"})),
        ("register", json!({"name": "two", "provides": ["fingerprint"]})),
        ("register", json!({"name": "two", "provides": ["unlock"]})),
        ("option.set", json!({"key": "Volume", "value": "3"})),
        ("export", json!({})),
        ("quarantine", json!({})),
    ]
}

/// What `one_of_each` is answered: `x` where it is refused with −1002.
fn assert_allowed(terminal: &Terminal, who: (u32, u32), expected: &str) {
    let answers = calls(terminal, who, &one_of_each());
    let found: String = answers
        .iter()
        .map(|answer| match answer {
            Ok(()) => '.',
            Err(-1002) => 'x',
            // It may be called, and there is nobody with this PIN, say.
            Err(_) => '.',
        })
        .collect();
    assert_eq!(found, expected, "user {}: {answers:?}", who.0);
}

#[test]
fn each_user_does_at_the_driver_socket_what_their_role_allows_and_nothing_else() {
    if !geteuid().is_root() {
        println!("SKIPPED: only root can be another user");
        return;
    }
    let server = server();
    let roles = format!(
        "[drivers]\nmode = \"0666\"\nrecord = [\"{}\", \"@{}\"]\npeople = [\"@{}\"]\nmaintain = [\"{}\"]",
        SENSOR.0, OFFICE.1, OFFICE.1, SERVICE.0
    );
    let terminal = Terminal::start(&server, &roles);
    for directory in ["", "run"] {
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(terminal.path(directory), all).unwrap();
    }
    assert_allowed(&terminal, SENSOR, "....xxx.xxx");
    assert_allowed(&terminal, OFFICE, "........xxx");
    assert_allowed(&terminal, SERVICE, "..xxxxxx...");
    assert_allowed(&terminal, NOBODY, "xxxxxxxxxxx");
    // punchd's own user has all.
    assert_allowed(&terminal, (0, 0), "...........");
    // What was refused was not done, and the message says what to change.
    let mut driver = terminal.driver();
    assert_eq!(driver.call("user.get", json!({"pin": "7"})).unwrap()["name"], "Ann");
    assert!(terminal.log().contains("add it to people in [drivers]"), "{}", terminal.log());
}

#[test]
fn without_roles_whoever_may_connect_may_do_all() {
    if !geteuid().is_root() {
        println!("SKIPPED: only root can be another user");
        return;
    }
    let server = server();
    // One role is given: that of the others is everybody's still.
    for (more, expected) in [("", "..........."), ("maintain = []", "........xxx")] {
        let terminal = Terminal::start(&server, &format!("[drivers]\nmode = \"0666\"\n{more}"));
        for directory in ["", "run"] {
            let all = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(terminal.path(directory), all).unwrap();
        }
        assert_allowed(&terminal, NOBODY, expected);
    }
}

#[test]
fn a_role_for_somebody_who_is_not_there_is_a_fault_and_nobodys() {
    let server = server();
    let mut terminal =
        Terminal::prepare(&server.url(), "[drivers]\nrecord = [\"nobody-has-it\", \"@nor-it\"]");
    let output = terminal.punchd(&["check"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("[drivers] record: there is no user \"nobody-has-it\""), "{message}");
    assert!(message.contains("[drivers] record: there is no group \"nor-it\""), "{message}");
    terminal.run();
    assert!(terminal.log().contains("nobody-has-it"), "{}", terminal.log());
}
