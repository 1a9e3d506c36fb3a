//! A table that is replaced (`SyncData`) under power cuts and beside drivers: all of it in the end, and
//! what drivers changed meanwhile stays.

use iclock_emulator::{Kind, Received};
use serde_json::{Value, json};

use crate::harness::{TIMEOUT, answer, answer_text, returns, server, terminal_with_files, until};

const PEOPLE: u32 = 1_500;

fn finger(pin: u32, number: u32) -> String {
    format!("DATA UPDATE FINGERTMP PIN={pin}\tFID={number}\tSize=4\tValid=1\tTMP=QUJD\n")
}

/// What drivers load that changed after a number.
fn changed(terminal: &crate::harness::Terminal, after: &Value, what: &str) -> Vec<Value> {
    let page = terminal.driver().call("changes", json!({"after": after})).unwrap();
    page[what].as_array().unwrap().clone()
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
    let upto = terminal.driver().call("changes", json!({"after": 0})).unwrap()["upto"].clone();
    let mut upto = upto.as_i64().unwrap().max(i64::from(PEOPLE) * 2);

    // Half of the people get a finger, and lose that which they had.
    server.serve_file("fingers", (1..=PEOPLE / 2).map(|pin| finger(pin, 2)).collect::<String>());
    let count = PEOPLE / 2;
    let id = server.queue(&format!(
        "PutFile fingers\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount={count}"
    ));
    let mut cut = 0;
    for _ in 0..3 {
        let is_over = || server.received(|received: &Received| received.reply(&id).is_some());
        let gets_on = || is_over() || !changed(&terminal, &json!(upto), "templates").is_empty();
        until("replaced in part", gets_on, || terminal.log());
        if !is_over() {
            // The finger of a driver is newer, whichever way the file is through with that person.
            let enrolled = json!({"pin": "7", "kind": "fingerprint", "number": 2, "data": "bmV3"});
            terminal.driver().call("template.put", enrolled).unwrap();
            upto = terminal.driver().call("changes", json!({"after": upto})).unwrap()["upto"]
                .as_i64()
                .unwrap()
                .max(upto);
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
    let all = terminal.driver().call("changes", json!({"after": 0, "most": 5000})).unwrap();
    let mut newer = all["templates"].as_array().unwrap().iter().filter(|one| one["data"] == "bmV3");
    assert_eq!(newer.next().map(|one| one["pin"].clone()), Some(json!("7")));
    assert!(server.wait_until(TIMEOUT, |received| received.count("poll") > 0));
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
    let templates = changed(&terminal, &json!(0), "templates");
    assert_eq!(templates.len(), 1);
    // What fits is taken.
    server.serve_file("small", (0..100).map(large).collect::<String>());
    let text = "PutFile small\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount=100";
    assert_eq!(returns(&server, text), 100);
}
