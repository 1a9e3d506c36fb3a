//! Several records in one command, and commands that fail by themselves.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

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

#[test]
fn ten_thousand_records_come_in_one_command() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    assert_eq!(returns(&server, "LOG"), 0);
    let before = terminal.proc("status", "VmHWM");
    let records: Vec<String> =
        (1..=10_000).map(|pin| format!("PIN={pin}\tName=User {pin}")).collect();
    server.next_poll_body(format!(
        "C:7000:DATA UPDATE USERINFO {}\nC:7001:LOG\n",
        records.join("\n")
    ));
    // Drivers are served meanwhile.
    let (mut driver, mut slowest, mut nth) = (terminal.driver(), Duration::ZERO, 0);
    let begun = Instant::now();
    while server.received(|received| received.reply("7000").is_none()) {
        nth += 1;
        let asked = Instant::now();
        driver.punch("1", &second(nth));
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    println!(
        "10 000 records took {took:.1?}; of {nth} punches meanwhile the slowest {slowest:.1?}"
    );
    // One command is one transaction, for which a driver waits: 0.2 s, and 4 s beside five other loads.
    assert!(slowest < Duration::from_secs(15), "a punch took {slowest:?}");
    assert!(took < Duration::from_secs(30), "the command took {took:?}");
    assert_eq!(answer(&server, "7000").0, 0);
    assert_eq!(users(&terminal), 10_000);
    let grown = terminal.proc("status", "VmHWM").saturating_sub(before);
    println!("10 000 records: {grown} KB more");
    assert!(grown < 4096, "{grown} KB");
    // One that is longer than a command may be is refused as a whole.
    let long: Vec<String> =
        (1..=30_000).map(|pin| format!("PIN={pin}\tName={}", "x".repeat(80))).collect();
    server.next_poll_body(format!("C:7002:DATA UPDATE USERINFO {}\nC:7003:LOG\n", long.join("\n")));
    assert_eq!(answer(&server, "7002").0, -1006);
    assert_eq!(answer(&server, "7003").0, 0);
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
