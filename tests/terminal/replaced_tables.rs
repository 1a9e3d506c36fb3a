//! A table that is replaced (`SyncData`) under power cuts and beside drivers: all of it in the end, and
//! what drivers changed meanwhile stays.

use iclock_emulator::{Kind, Received};
use serde_json::{Value, json};

use crate::harness::{Terminal, answer, answer_text, returns, server, terminal_with_files, until};

const PEOPLE: u32 = 1_500;

fn finger(pin: u32, number: u32) -> String {
    format!("DATA UPDATE FINGERTMP PIN={pin}\tFID={number}\tSize=4\tValid=1\tTMP=QUJD\n")
}

/// The templates that drivers load that changed after a number, and the number of the last change.
fn changed(terminal: &Terminal, mut after: i64) -> (Vec<Value>, i64) {
    let (mut driver, mut found) = (terminal.driver(), Vec::new());
    loop {
        let page = driver.call("changes", json!({"after": after})).unwrap();
        found.extend(page["templates"].as_array().unwrap().iter().cloned());
        after = page["upto"].as_i64().unwrap();
        if page["more"] != true {
            return (found, after);
        }
    }
}

#[test]
fn a_table_is_replaced_as_a_whole_whatever_power_cuts_come() {
    let server = server();
    server.allow(Kind::CutShort);
    let mut terminal = terminal_with_files(&server, "");
    let people =
        (1..=PEOPLE).map(|pin| format!("DATA UPDATE USERINFO PIN={pin}\n") + &finger(pin, 1));
    server.serve_file("people", people.collect::<String>());
    returns(&server, "PutFile people\t\tAction=AppendData");
    let mut upto = changed(&terminal, 0).1;

    // Half of the people get a finger, and lose that which they had.
    server.serve_file("fingers", (1..=PEOPLE / 2).map(|pin| finger(pin, 2)).collect::<String>());
    let count = PEOPLE / 2;
    let id = server.queue(&format!(
        "PutFile fingers\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount={count}"
    ));
    let mut cut = 0;
    for _ in 0..3 {
        let is_over = || server.received(|received: &Received| received.reply(&id).is_some());
        let gets_on = || is_over() || !changed(&terminal, upto).0.is_empty();
        until("replaced in part", gets_on, || terminal.log());
        if !is_over() {
            // The finger of a driver is newer, whichever way the file is through with that person.
            let enrolled = json!({"pin": "7", "kind": "fingerprint", "number": 2, "data": "bmV3"});
            terminal.driver().call("template.put", enrolled).unwrap();
            upto = changed(&terminal, upto).1;
            cut += 1;
        }
        terminal.kill();
        terminal.run();
    }
    println!("{cut} of 3 power cuts were before the answer");
    assert!(cut > 0, "the table was replaced before the first power cut");
    assert_eq!(answer(&server, &id).0, i64::from(count));
    let info = server.queue("INFO");
    let (_, info) = answer_text(&server, &info);
    assert!(info.contains(&format!("FPCount={count}\n")), "{info}");
    let (all, _) = changed(&terminal, 0);
    assert_eq!(all.len(), count as usize);
    let newer: Vec<_> = all.iter().filter(|one| one["data"] == "bmV3").collect();
    assert_eq!(newer.iter().map(|one| &one["pin"]).collect::<Vec<_>>(), ["7"]);
}

#[test]
fn a_table_for_which_there_is_no_room_changes_nothing() {
    let server = server();
    let terminal = terminal_with_files(&server, "[limits]\nstore_mib = 2\npunches = 1000");
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=1"), 0);
    assert_eq!(returns(&server, finger(1, 1).trim()), 0);
    let template = "QUJD".repeat(1000);
    let large = |nth: u32| {
        let (number, pin) = (nth % 10, nth / 10 + 1);
        format!(
            "DATA UPDATE FINGERTMP PIN={pin}\tFID={number}\tSize=4000\tValid=1\tTMP={template}\n"
        )
    };
    for pin in 2..=100 {
        server.queue(&format!("DATA UPDATE USERINFO PIN={pin}"));
    }
    terminal.wait_for("all people", |status| status["users"] == 100);
    server.serve_file("large", (0..1000).map(large).collect::<String>());
    let text = "PutFile large\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount=1000";
    assert_eq!(returns(&server, text), -1001);
    assert_eq!(changed(&terminal, 0).0.len(), 1);
    // What fits is taken.
    server.serve_file("small", (0..100).map(large).collect::<String>());
    let text = "PutFile small\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount=100";
    assert_eq!(returns(&server, text), 100);
}
