//! Files of commands (F3, F4): `SyncData` replaces a table or changes nothing, `AppendData` carries out.

use serde_json::json;

use crate::harness::{answer, returns, server, terminal_with_files, tgz};

/// A list of data commands, as a file holds them.
fn list(lines: &[String]) -> Vec<u8> {
    lines.join("\n").into_bytes()
}

#[test]
fn a_table_is_replaced_by_a_file_or_stays_as_it_was() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    for pin in ["1", "2"] {
        assert_eq!(
            returns(&server, &format!("DATA UPDATE USERINFO PIN={pin}\tName=Old\tPri=14")),
            0
        );
        let template = format!("DATA UPDATE FINGERTMP PIN={pin}\tFID=1\tSize=4\tValid=1\tTMP=QUJD");
        assert_eq!(returns(&server, &template), 0);
    }
    let user = |nth: u32| format!("C:{nth}:DATA UPDATE USERINFO PIN={nth}\tName=New");
    let good: Vec<String> = (2..5_002).map(user).collect();
    server.serve_file("good.txt", list(&good));
    server.serve_file("good.tgz", tgz(&[("users.txt", &list(&good))]));
    let bad = |line: &str| list(&[user(2), line.into(), user(3)]);
    server.serve_file("bad-record.txt", bad("C:9:DATA UPDATE USERINFO PIN=9 Name=Blanks"));
    server.serve_file("bad-table.txt", bad("C:9:DATA UPDATE FINGERTMP PIN=2"));
    server.serve_file("bad-command.txt", bad("C:9:SHELL touch /tmp/x"));
    server.serve_file("bad-line.txt", bad("hello"));
    let sync = |file: &str, table: &str, count: usize| {
        let text =
            format!("PutFile {file}\t\tAction=SyncData\tTableName={table}\tRecordCount={count}");
        returns(&server, &text)
    };
    for file in ["bad-record.txt", "bad-table.txt", "bad-command.txt", "bad-line.txt"] {
        assert_eq!(sync(file, "USERINFO", 3), -1, "{file}");
    }
    assert_eq!(sync("good.txt", "USERINFO", 4_999), -1);
    assert_eq!(sync("good.txt", "ATTLOG", 5_000), -1004);
    let unknown = list(&["DATA UPDATE FACE PIN=77\tFID=1\tSize=4\tValid=1\tTMP=QUJD".into()]);
    server.serve_file("unknown.txt", unknown);
    assert_eq!(sync("unknown.txt", "FACE", 1), -10);
    let mut driver = terminal.driver();
    assert_eq!(driver.call("user.get", json!({"pin": "1"})).unwrap()["name"], "Old");
    assert_eq!(terminal.status()["users"], 2);

    assert_eq!(sync("good.txt", "USERINFO", 5_000), 5_000);
    let status = terminal.status();
    assert_eq!(status["users"], 5_000);
    assert!(driver.call("user.get", json!({"pin": "1"})).unwrap().is_null());
    // Nothing stays of the old user but what hangs on them.
    let kept = driver.call("user.get", json!({"pin": "2"})).unwrap();
    assert_eq!((&kept["name"], &kept["pri"]), (&json!("New"), &json!(0)));
    let info = server.queue("INFO");
    assert!(String::from_utf8(answer(&server, &info).1).unwrap().contains("FPCount=1"));
    assert_eq!(sync("good.tgz", "USERINFO", 5_000), 5_000);

    // Templates of the table go, others stay.
    let face = "DATA UPDATE FACE PIN=3\tFID=1\tSize=4\tValid=1\tTMP=QUJD";
    assert_eq!(returns(&server, face), 0);
    let finger =
        |pin: u32| format!("DATA UPDATE FINGERTMP PIN={pin}\tFID=2\tSize=4\tValid=1\tTMP=QUJD");
    server.serve_file("fingers.txt", list(&[finger(4), finger(5), finger(6)]));
    assert_eq!(sync("fingers.txt", "FINGERTMP", 3), 3);
    let info = server.queue("INFO");
    let info = String::from_utf8(answer(&server, &info).1).unwrap();
    assert!(info.contains("FPCount=3") && info.contains("FaceCount=1"), "{info}");
    // None of it goes back up.
    assert_eq!(terminal.status()["streams"]["users"]["pending"], 0);
    server.assert_strict();
}

#[test]
fn no_way_leads_to_more_users_than_the_limit() {
    let server = server();
    let terminal = terminal_with_files(&server, "[limits]\nusers = 3");
    let user = |pin: u32| format!("DATA UPDATE USERINFO PIN={pin}\tName=Ann");
    for pin in 1..=3 {
        assert_eq!(returns(&server, &user(pin)), 0);
    }
    let put = |file: &str, pins: std::ops::RangeInclusive<u32>, action: &str| {
        let lines: Vec<String> = pins.map(user).collect();
        server.serve_file(file, list(&lines));
        returns(&server, &format!("PutFile {file}\t\tAction={action}"))
    };
    assert_eq!(returns(&server, &user(4)), -1001);
    assert_eq!(put("added", 3..=4, "AppendData"), -1001);
    assert_eq!(put("four", 1..=4, "SyncData\tTableName=USERINFO\tRecordCount=4"), -1001);
    // Who is there already can be changed, and others can take their places.
    assert_eq!(returns(&server, &user(3)), 0);
    assert_eq!(put("others", 4..=6, "SyncData\tTableName=USERINFO\tRecordCount=3"), 3);
    assert_eq!(terminal.status()["users"], 3);
    let log = terminal.log();
    assert_eq!(log.matches("at most 3 users ([limits] users)").count(), 3, "{log}");
    server.assert_strict();
}

#[test]
fn a_file_of_commands_is_carried_out_but_for_what_is_no_data() {
    let server = server();
    let terminal = terminal_with_files(&server, "shell = \"allow\"");
    let lines = |bad: &str| {
        list(&[
            "C:123:DATA UPDATE USERINFO PIN=1\tName=Ann".into(),
            "C:124:DATA UPDATE FINGERTMP PIN=1\tFID=3\tSize=4\tValid=1\tTMP=QUJD".into(),
            bad.into(),
            "DATA UPDATE USERINFO PIN=2".into(),
        ])
    };
    let append = |file: &str| returns(&server, &format!("PutFile {file}\tx\tAction=AppendData"));
    let good = lines("C:125:DATA DELETE USERINFO PIN=3");
    server.serve_file("good.txt", good.clone());
    assert_eq!(append("good.txt"), good.len() as i64);
    assert_eq!(terminal.status()["users"], 2);
    for (bad, code) in [
        (format!("C:125:SHELL touch {}", terminal.path("files/shell").display()), -1),
        ("C:125:REBOOT".into(), -1),
        ("C:125:DATA UPDATE USERINFO Name=nobody".into(), -1),
        ("C:125:DATA UPDATE FINGERTMP PIN=9\tFID=3\tSize=4\tValid=1\tTMP=QUJD".into(), -10),
        ("rubbish".into(), -1),
    ] {
        server.serve_file("bad.txt", lines(&bad));
        assert_eq!(append("bad.txt"), code, "{bad}");
    }
    assert!(!terminal.path("files/shell").exists());
    server.assert_strict();
}

#[test]
fn a_table_and_its_records_may_stand_on_lines_of_their_own_in_a_file() {
    let server = server();
    let _terminal = terminal_with_files(&server, "");
    // As the document prints it.
    let file = "C:123:DATA UPDATE USERINFO PIN=1\tName=1\tPri=0\tPasswd=1\tGrp=1\n\n\
                C:124:DATA UPDATE FINGERTMP\n\n\
                PIN=1\tFID=1\tSIZE=4\tVALID=1\tTMP=QUJD\n\n\
                C:125:DATA UPDATE FACE\n\n\
                PIN=1\tFID=0\tSIZE=4\tVALID=1\tTMP=QUJD\n\
                PIN=1\tFID=1\tSIZE=4\tVALID=1\tTMP=QUJD\n";
    server.serve_file("example.txt", file);
    assert_eq!(returns(&server, "PutFile example.txt\tx\tAction=AppendData"), file.len() as i64);
    let id = server.queue("INFO");
    let (_, info) = crate::harness::answer_text(&server, &id);
    assert!(info.contains("\nUserCount=1") && info.contains("\nFPCount=1"), "{info}");
}

#[test]
fn what_changed_since_a_file_was_ordered_stays() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    server.serve_file(
        "users",
        "DATA UPDATE USERINFO PIN=1\tName=File\nDATA UPDATE USERINFO PIN=2\tName=File",
    );
    server.next_poll_body(
        "C:s0:DATA UPDATE USERINFO PIN=5\n\
         C:s1:PutFile users\t\tAction=SyncData\tTableName=USERINFO\tRecordCount=2\n\
         C:s2:DATA UPDATE USERINFO PIN=9\n\
         C:s3:DATA UPDATE USERINFO PIN=2\tName=Newer\n",
    );
    // What came after the file is done after it.
    assert_eq!(answer(&server, "s3").0, 0);
    assert_eq!(answer(&server, "s1").0, 2);
    let mut driver = terminal.driver();
    let mut name =
        |pin: &str| driver.call("user.get", json!({"pin": pin})).unwrap()["name"].clone();
    assert_eq!(name("1"), "File");
    assert_eq!(name("2"), "Newer");
    assert_eq!(name("9"), "");
    assert!(name("5").is_null());
    server.assert_strict();
}
