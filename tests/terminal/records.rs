//! Several records in one command, and commands that fail by themselves.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{
    RawAnswer, RawServer, TIMEOUT, Terminal, answer, base64, jpeg, limit_files, options, polls_of,
    replies_to, returns, says, second, server, until,
};

/// A server that sends this list until each command is answered, and a terminal.
fn given(list: String) -> (RawServer, Terminal) {
    let mut is_answered = false;
    let server = RawServer::start(move |request| {
        is_answered |= request.target.contains("/devicecmd");
        match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() && !is_answered => says(200, list.clone()),
            _ => says(200, "OK"),
        }
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    until("answered", || !replies_to(&server).is_empty(), || terminal.log());
    polls_of(&server, 2);
    (server, terminal)
}

fn users(terminal: &Terminal) -> u64 {
    terminal.status()["users"].as_u64().unwrap()
}

#[test]
fn each_record_of_a_command_is_done_and_the_first_refusal_is_the_answer() {
    let good = "PIN=1\tName=Ann\nPIN=2\tName=Bea\r\nPIN=3\tName=Cid";
    let wrong = "PIN=1\tName=Ann\nPri=0\nPIN=3\tPri=99\nPIN=4";
    let cases = [
        (format!("C:1:DATA UPDATE USERINFO {good}\nC:2:LOG"), vec![0, 0], 3),
        (format!("C:1:DATA UPDATE USERINFO\n{good}\nC:2:LOG\n"), vec![0, 0], 3),
        (format!("PIN=9\n C: 1:DATA UPDATE USERINFO {good}\nc:2: LOG"), vec![0, 0], 3),
        (format!("C:1:DATA UPDATE USERINFO {wrong}\nC:2:LOG"), vec![-1, 0], 2),
        (
            format!("C:1:DATA UPDATE USERINFO {good}\nC:2:DATA DELETE USERINFO PIN=1\nPIN=3"),
            vec![0, 0],
            1,
        ),
        (
            format!(
                "C:1:DATA UPDATE USERINFO {good}\nC:2:DATA UPDATE FINGERTMP PIN=9\tFID=1\tSize=4\tValid=1\tTMP=QUJD\nPIN=1\tFID=1\tSize=4\tValid=1\tTMP=QUJD"
            ),
            vec![0, -10],
            3,
        ),
    ];
    for (list, codes, count) in cases {
        let (server, terminal) = given(list.clone());
        let replies = replies_to(&server);
        assert_eq!((replies["1"][0], replies["2"][0]), (codes[0], codes[1]), "{list:?}");
        assert_eq!(users(&terminal), count, "{list:?}");
        if codes[0] == -1 {
            let named = "2 of 4 records were refused, the first is record 2";
            assert!(terminal.log().contains(named), "{}", terminal.log());
        }
    }
}

/// A command with so many people.
fn people(id: u32, count: u32) -> String {
    let records: Vec<String> =
        (1..=count).map(|pin| format!("PIN={pin}\tName=User {pin}")).collect();
    format!("C:{id}:DATA UPDATE USERINFO {}\n", records.join("\n"))
}

#[test]
fn thousands_of_records_in_one_command_hold_up_no_driver_and_no_door() {
    const RECORDS: u32 = 30_000;
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    assert_eq!(returns(&server, "LOG"), 0);
    let before = terminal.proc("status", "VmHWM");
    let (mut door, mut driver) = (terminal.driver(), terminal.driver());
    let provides = json!({"name": "relay", "provides": ["unlock"]});
    door.call("register", provides).unwrap();
    server.next_poll_body(people(7000, RECORDS) + "C:7001:AC_UNLOCK\n");
    // The door does not wait for the records, and a punch waits for some of them at most.
    let request = door.receive().expect("a request")["id"].as_u64().unwrap();
    let then = users(&terminal);
    assert!(then < RECORDS.into(), "the door was asked for after all records");
    door.reply(request, json!(true));
    driver.punch("1", &second(1));
    assert!(users(&terminal) < RECORDS.into(), "a punch was answered after all records");
    assert_eq!(answer(&server, "7000").0, 0);
    assert_eq!(answer(&server, "7001").0, 0);
    assert_eq!(users(&terminal), u64::from(RECORDS));
    let grown = terminal.proc("status", "VmHWM").saturating_sub(before);
    println!("{RECORDS} records: {grown} KB more");
    assert!(grown < 4096, "{grown} KB");
    // One that is longer than a command may be is refused as a whole.
    let long: Vec<String> =
        (1..=30_000).map(|pin| format!("PIN={pin}\tName={}", "x".repeat(80))).collect();
    server.next_poll_body(format!("C:7002:DATA UPDATE USERINFO {}\nC:7003:LOG\n", long.join("\n")));
    assert_eq!(answer(&server, "7002").0, -1006);
    assert_eq!(answer(&server, "7003").0, 0);
}

#[test]
fn many_records_are_done_each_by_itself_and_again_after_a_kill() {
    let mut lists = vec![
        // The first that is wrong is named; what comes after it is done.
        people(1, 3000).replace("PIN=2000\t", "PIN=20 00\t"),
        people(2, 9000),
        people(3, 4000).replace("UPDATE", "DELETE"),
    ];
    lists.reverse();
    let (lists, current) = (Arc::new(Mutex::new(lists)), Arc::new(Mutex::new(String::new())));
    let (left, sent) = (Arc::clone(&lists), Arc::clone(&current));
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, sent.lock().unwrap().clone()),
        request => {
            if request.target.contains("/devicecmd") {
                *sent.lock().unwrap() = "OK".into();
            }
            says(200, "OK")
        }
    });
    let next = || *current.lock().unwrap() = left.lock().unwrap().pop().unwrap();
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let answered = |terminal: &Terminal, id: &str| {
        until("answered", || replies_to(&server).contains_key(id), || terminal.log());
        replies_to(&server)[id][0]
    };
    next();
    assert_eq!(answered(&terminal, "1"), -1);
    let log = terminal.log();
    assert!(log.contains("1 of 3000 records were refused, the first is record 2000: pin"), "{log}");
    assert_eq!(users(&terminal), 2999);
    next();
    terminal.wait_for("in the middle", |status| status["users"].as_u64() > Some(3001));
    terminal.kill();
    terminal.run();
    assert_eq!(answered(&terminal, "2"), 0);
    assert_eq!(users(&terminal), 9000);
    next();
    assert_eq!(answered(&terminal, "3"), 0);
    assert_eq!(users(&terminal), 5000);
}

#[test]
fn a_body_that_is_cut_between_two_records_does_no_half_record() {
    let body = "C:1:DATA UPDATE USERINFO PIN=12\tName=Ann\nPIN=34\tName=Bea\nPIN=56\tName=Cid\n";
    let (first, last) = (body.find("Ann").unwrap(), body.find("Cid").unwrap());
    // With a length that is not met, nothing of it is done. Without a length, whole lines are a whole
    // body; what stands after the last of them is not done, nor is the command to which it belongs.
    for (head, is_whole_line) in [("Content-Length: 500\r\n", false), ("", true)] {
        let (cuts, body) =
            (Arc::new(Mutex::new((first..=last).collect::<Vec<_>>())), body.to_owned());
        let served = Arc::clone(&cuts);
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => {
                let mut cuts = served.lock().unwrap();
                if cuts.is_empty() {
                    return says(200, "OK");
                }
                let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n{}", &body[..cuts.remove(0)]);
                RawAnswer::Exactly(answer.into_bytes())
            }
            _ => says(200, "OK"),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        until("sent", || cuts.lock().unwrap().is_empty(), || terminal.log());
        polls_of(&server, 2);
        let mut keypad = terminal.driver();
        for (pin, name) in [("12", "Ann"), ("34", "Bea")] {
            let user = keypad.call("user.get", json!({"pin": pin})).unwrap();
            let expected = if is_whole_line { json!(name) } else { json!(null) };
            assert_eq!(user.get("name").cloned().unwrap_or_default(), expected, "{pin}");
        }
        for pin in ["1", "3", "5", "56"] {
            assert_eq!(keypad.call("user.get", json!({"pin": pin})).unwrap(), json!(null), "{pin}");
        }
    }
}

#[test]
fn a_picture_that_does_not_fit_stops_no_deletion_behind_it() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run_where_files_can_be_limited();
    terminal.wait_until_online();
    let people: String =
        (1..=40).map(|pin| format!("C:{pin}:DATA UPDATE USERINFO PIN={pin}\n")).collect();
    server.next_poll_body(people);
    assert_eq!(answer(&server, "40").0, 0);
    let log = std::fs::read(terminal.path("punchd.db-wal")).unwrap();
    let end = log.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    limit_files(&terminal, Some(end + 400 * 1024));
    let picture = base64(jpeg(700_000));
    let mut list = format!(
        "C:100:DATA UPDATE USERPIC PIN=40\tFileName=40.jpg\tSize={}\tContent={picture}\n",
        picture.len()
    );
    list.extend((1..=39).map(|pin| format!("C:{}:DATA DELETE USERINFO PIN={pin}\n", 100 + pin)));
    server.next_poll_body(list);
    let done = server.wait_until(TIMEOUT, |received| received.reply("139").is_some());
    assert!(done, "{}", terminal.status());
    let code = answer(&server, "100").0;
    assert!([-3, -1001].contains(&code), "{code}");
    assert_eq!(users(&terminal), 1);
    limit_files(&terminal, None);
    server.assert_strict();
}
