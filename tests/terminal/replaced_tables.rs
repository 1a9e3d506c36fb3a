//! A table that is replaced (`SyncData`) under power cuts and beside drivers: all of it in the end, and
//! what drivers changed meanwhile stays.

use iclock_emulator::{Emulator, Kind, Received};
use serde_json::{Value, json};

use crate::harness::{
    Terminal, answer, answer_text, limit_files, polls, returns, server, store, terminal_with_files,
    until,
};

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

fn user(pin: u32, name: &str) -> String {
    format!("DATA UPDATE USERINFO PIN={pin}\tName={name}\n")
}

/// How many fingerprints and people there are, as the terminal says.
fn counts(server: &Emulator) -> [u32; 2] {
    let (_, info) = answer_text(server, &server.queue("INFO"));
    ["\nFPCount=", "\nUserCount="].map(|key| {
        let (_, count) = info.split_once(key).unwrap();
        count.split('\n').next().unwrap().parse().unwrap()
    })
}

/// A terminal with people with a finger each, whose files can be limited.
fn with_people(server: &Emulator) -> Terminal {
    server.allow(Kind::CutShort);
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run_where_files_can_be_limited();
    let people = (1..=PEOPLE).map(|pin| user(pin, "Old") + &finger(pin, 1));
    server.serve_file("people", people.collect::<String>());
    returns(server, "PutFile people\t\tAction=AppendData");
    terminal
}

/// Gives out a command that replaces a table, and lets the disk fail when that has begun. The id of
/// the command.
fn fail_in_the_middle(server: &Emulator, terminal: &Terminal, table: &str, lines: &str) -> String {
    server.serve_file("new", lines);
    let upto = changed(terminal, 0).1;
    let records = lines.lines().count();
    let id = server.queue(&format!(
        "PutFile new\t\tAction=SyncData\tTableName={table}\tRecordCount={records}"
    ));
    until("begun", || changed(terminal, upto).1 > upto, String::new);
    limit_files(terminal, Some(0));
    terminal.wait_for("failing", |status| !status["failing"].is_null());
    assert!(!server.received(|received| received.reply(&id).is_some()), "it was not in the middle");
    id
}

#[test]
fn a_table_is_replaced_to_its_end_after_the_disk_failed_in_the_middle() {
    let server = server();
    let terminal = with_people(&server);
    let lines: String = (1..=PEOPLE).map(|pin| finger(pin, 2)).collect();
    let id = fail_in_the_middle(&server, &terminal, "FINGERTMP", &lines);
    // More attempts than a file has that is wrong.
    polls(&server, 5);
    limit_files(&terminal, None);
    assert_eq!(answer(&server, &id).0, i64::from(PEOPLE));
    assert_eq!(counts(&server), [PEOPLE, PEOPLE]);
}

#[test]
fn a_template_that_a_driver_deletes_in_the_middle_stays_deleted() {
    let server = server();
    let mut terminal = with_people(&server);
    let lines: String = (1..=PEOPLE).map(|pin| finger(pin, 2)).collect();
    let id = fail_in_the_middle(&server, &terminal, "FINGERTMP", &lines);
    terminal.kill();
    // Without its server, the replacement rests; the record of the last person is not stored yet.
    server.pause();
    terminal.run();
    let mut driver = terminal.driver();
    let place = |more: Value| {
        let mut place = json!({"pin": PEOPLE.to_string(), "kind": "fingerprint", "number": 2});
        place.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        place
    };
    driver.call("template.put", place(json!({"data": "bmV3"}))).unwrap();
    assert_eq!(driver.call("template.delete", place(json!({}))).unwrap()["deleted"], true);
    server.resume().unwrap();
    assert_eq!(answer(&server, &id).0, i64::from(PEOPLE));
    assert_eq!(counts(&server), [PEOPLE - 1, PEOPLE]);
}

/// The store fails at one record, and at nothing else.
#[test]
fn a_replacement_at_which_the_store_fails_is_not_given_up() {
    let server = server();
    let mut terminal = with_people(&server);
    terminal.stop();
    let fails = "CREATE TRIGGER fails BEFORE INSERT ON template WHEN NEW.pin = '1000'
                 BEGIN SELECT RAISE(ABORT, 'made to fail'); END";
    store(&terminal).execute_batch(fails).unwrap();
    terminal.run();
    server.serve_file("new", (1..=PEOPLE).map(|pin| finger(pin, 2)).collect::<String>());
    let text = "PutFile new\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount=1500";
    let id = server.queue(text);
    until("failed", || terminal.log().contains("made to fail"), || terminal.log());
    // Meanwhile it is tried more often than a file that is wrong.
    polls(&server, 12);
    assert!(!server.received(|received| received.reply(&id).is_some()), "{}", terminal.log());
    terminal.stop();
    store(&terminal).execute_batch("DROP TRIGGER fails").unwrap();
    terminal.run();
    assert_eq!(answer(&server, &id).0, i64::from(PEOPLE));
    assert_eq!(counts(&server), [PEOPLE, PEOPLE]);
}

#[test]
fn what_comes_in_the_middle_of_a_replacement_neither_ends_it_nor_mixes_with_it() {
    let server = server();
    let mut terminal = with_people(&server);
    // Half of the people stay, and as many come.
    let file =
        |name| -> String { (PEOPLE / 2 + 1..=PEOPLE / 2 * 3).map(|pin| user(pin, name)).collect() };
    let id = fail_in_the_middle(&server, &terminal, "USERINFO", &file("New"));
    terminal.kill();
    // Without its server, the replacement rests. The file that was fetched is lost, and the server has
    // another one by now.
    server.pause();
    server.serve_file("new", file("Newer"));
    let denied = "[commands]\nput_file = \"deny\"\nclear_data = \"allow\"";
    terminal.configure(&server.url(), denied);
    let part =
        std::fs::read_dir(terminal.path("punchd.db.files")).unwrap().next().unwrap().unwrap();
    std::fs::OpenOptions::new().write(true).open(part.path()).unwrap().set_len(100).unwrap();
    terminal.run();
    let mut driver = terminal.driver();
    // The record of the first is stored, that of the second is not, the third is not in the file.
    let [first, last, old] = [PEOPLE / 2 + 1, PEOPLE / 2 * 3, 1].map(|pin| pin.to_string());
    assert_eq!(driver.call("user.get", json!({"pin": first})).unwrap()["name"], "New");
    for pin in [&first, &last] {
        driver.call("user.put", json!({"pin": pin, "name": "Keypad"})).unwrap();
        driver.call("user.delete", json!({"pin": pin})).unwrap();
    }
    driver.call("user.put", json!({"pin": old, "name": "Keypad"})).unwrap();
    server.resume().unwrap();
    let others = [
        "DATA DELETE USERINFO PIN=1",
        "PutFile new\t\tAction=SyncData\tTableName=USERINFO\tRecordCount=1",
        "DATA UPDATE USERINFO PIN=1",
    ];
    let ids = others.map(|text| server.queue(text));
    assert_eq!(answer(&server, &id).0, i64::from(PEOPLE));
    let codes = ids.each_ref().map(|id| answer(&server, id).0);
    assert_eq!(codes[0], 0);
    assert_eq!(codes[2], 0);
    assert!(codes[1] < 0, "the owner denies it: {codes:?}");
    let stored_again = json!({"pin": (PEOPLE / 2 + 2).to_string()});
    assert_eq!(driver.call("user.get", stored_again).unwrap()["name"], "Newer");
    // Those of the file but for the two whom the driver deleted, and the person of the keypad.
    assert_eq!(counts(&server)[1], PEOPLE - 2 + 1);
    let clear = server.queue("CLEAR DATA");
    assert_eq!(answer(&server, &clear).0, 0);
    assert_eq!(counts(&server), [0, 0]);
}
