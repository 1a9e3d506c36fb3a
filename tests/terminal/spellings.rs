//! Commands and records in the spellings of servers in use, against a raw server.

use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::harness::{Commanding, JPEG, base64, store, until};

/// The user with this PIN, as drivers see it.
fn user(commanding: &Commanding, pin: &str) -> Value {
    commanding.terminal.driver().call("user.get", json!({"pin": pin})).unwrap()
}

#[test]
fn each_spelling_means_what_the_document_spells() {
    let template = base64(b"made-up template");
    let cases = [
        // A line of the capture has two TABs, and a card of five bytes.
        "DATA USER PIN=21\tName=Ann\tPri=0\t\tCard=[0A5F2C0100]\tTZ=0000000000000000\tGrp=1".into(),
        "DATA UPDATE USER PIN=22\tName=Bob\tPrivilege=14\tPassword=9\tCardNo=77\tGroup=2\tTimeZone=0001000000000000\tVerifyStyle=3".into(),
        "data write userinfo pin=23\tname=Eve\tTIMEZONES=0001000000000000\tverifymode=4".into(),
        "DATA UPDATE USERINFO\tPIN=24\tName=a=b==".into(),
        format!("DATA FP PIN=21\tFID=6\tSize={}\tValid=1\tTMP={template}", template.len()),
        format!("DATA UPDATE FINGERTMP PIN=21\tFID=7\tSize=16\tValid=1\tTMP={template}"),
        format!("DATA WRITE BIODATA Pin=21\tNo=0\tIndex=0\tValid=1\tDuress=0\tType=9\tMajorVer=39\tMinorVer=3\tFormat=0\tTmp={template}"),
        format!("DATA UPDATE BIODATA Pin=21\tNAME=Ann\tType=0\tMajorVer=12\tMinorVer=10.3\tFormat=0\tTmp={template}"),
        format!("DATA UPDATE BIODATA Pin=21\tNo=1\tType=8\tMajorVer=\tMinorVer=\tTmp={template}"),
        format!("DATA UPDATE USERPIC PIN=21\tSize={}\tContent={}", JPEG.len(), base64(JPEG)),
        "QUERY USERINFO PIN=21".into(),
        "DATA DEL_FP PIN=21\tFID=6".into(),
        "DATA DEL_USER PIN=23".into(),
    ];
    let mut commanding = Commanding::start("");
    let codes = commanding.returns_all(&cases);
    for (command, code) in cases.iter().zip(codes) {
        assert_eq!(code, 0, "{command}");
    }
    let ann = user(&commanding, "21");
    assert_eq!((&ann["name"], &ann["card"]), (&json!("Ann"), &json!("19685130")));
    let bob = user(&commanding, "22");
    for (key, value) in [
        ("name", json!("Bob")),
        ("pri", json!(14)),
        ("passwd", json!("9")),
        ("card", json!("77")),
        ("grp", json!(2)),
        ("tz", json!("0001000000000000")),
        ("verify", json!(3)),
    ] {
        assert_eq!(bob[key], value, "{key} in {bob}");
    }
    assert_eq!(user(&commanding, "23"), Value::Null);
    assert_eq!(user(&commanding, "24")["name"], "a=b==");
    let page = commanding.terminal.driver().call("changes", json!({"after": 0})).unwrap();
    let templates: Vec<String> = page["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {} {}", it["kind"], it["number"], it["data"] == template))
        .collect();
    assert_eq!(
        templates,
        [
            "\"fingerprint\" 7 true",
            "\"unified\" 0 true",
            "\"unified\" 0 true",
            "\"unified\" 1 true"
        ]
    );
    let rows = commanding.server.requests();
    assert!(rows.iter().any(|it| it.text().contains("USER PIN=21\tName=Ann")), "no query");
}

#[test]
fn a_command_line_has_blanks_and_a_small_c() {
    let commanding = Commanding::start("");
    commanding.gives(b"C: 1: LOG\n C:2:LOG\nc:3:LOG\n\tc: 4 :LOG\nC:5:\tLOG");
    for id in ["1", "2", "3", "4", "5"] {
        assert_eq!(commanding.answer(id).0, 0, "{id}");
    }
}

#[test]
fn what_has_no_meaning_is_refused_with_its_reason() {
    let picture = base64(JPEG);
    let long = "x".repeat(256);
    let cases: Vec<(String, i64, &str)> = vec![
        ("GET ATTLOG".into(), -1002, "does not support the command"),
        ("DATA UPDATE USER PIN=CGA8 Group=99".into(), -1, "TAB"),
        ("DATA USER PIN=8 Name=Ann".into(), -1, "TAB"),
        (format!("DATA UPDATE USERINFO PIN=8\tName={long}"), -1, "name has 256 bytes"),
        ("DATA UPDATE USERINFO PIN=8\tPri=0\tPrivilege=14".into(), -1, "pri is there twice"),
        ("DATA UPDATE USERINFO PIN=8\tCard=[0A5F2C]".into(), -1, "8 or 10 hexadecimal"),
        ("DATA UPDATE SMS UID=5\tTAG=253\tMIN=0".into(), -1, "msg is missing"),
        ("DATA UPDATE SMS UID=5\tTAG=253\tMSG=".into(), -1, "msg is empty"),
        ("DATA UPDATE ADPIC Index=1\tSize=0\tExtension=jpg".into(), -1, "content is missing"),
        ("DATA UPDATE USER_SMS PIN=99\tUID=5".into(), -1, "pin there is no user 99"),
        ("DATA UPDATE USER_SMS UID=5".into(), -1, "pin is missing"),
        (format!("DATA UPDATE USERPIC PIN=7\tSize=5\tContent={picture}"), -2, "size is 5"),
        ("DATA QUERY SMS UID=5".into(), -1004, "the table SMS has no DATA QUERY"),
        ("DATA UPDATE ATTLOG PIN=7".into(), -1004, "the table ATTLOG has no DATA UPDATE"),
        ("DATA UPDATE CHEESE PIN=7".into(), -1004, "there is no table \"CHEESE\""),
        ("DATA QUERY".into(), -1004, "it names no table; DATA QUERY has USERINFO"),
        (String::new(), -1002, "nothing stands after its id"),
        ("DATA EXPLODE USERINFO PIN=7".into(), -1, "DATA has no \"EXPLODE\""),
        ("REBOOT".into(), -1002, "[device] reboot"),
        ("CONTROL DEVICE 02010105".into(), -1002, "can only open the door"),
        ("CONTROL DEVICE 01010100".into(), -1002, "can only open the door"),
        ("CONTROL DEVICE 010101FF".into(), -1002, "can only open the door"),
        ("CONTROL DEVICE 01020105".into(), -1002, "can only open the door"),
        ("CONTROL DEVICE 01010205".into(), -1002, "can only open the door"),
        ("CONTROL DEVICE 1,1,1,0,0".into(), -1002, "can only open the door"),
        ("CONTROL DEVICE 0x0101".into(), -1002, "can only open the door"),
        ("CONTROL DEVICE".into(), -1002, "can only open the door"),
        ("SET TIME".into(), -1, "datetime is neither"),
        ("SET TIME 2026-02-30 00:00:00".into(), -1, "datetime is neither"),
        ("SET OPTION DateTime=soon".into(), -1, "datetime is neither"),
        ("SET OPTION DateTime=99999999999".into(), -1, "datetime is neither"),
        ("SET OPTION DateTime=2020-01-01 00:00:00".into(), -1, "not believed"),
        ("SET OPTION DateTime=2090-01-01 00:00:00".into(), -1, "not believed"),
    ];
    let mut commanding = Commanding::start("");
    assert_eq!(commanding.returns("DATA USER PIN=7\tName=Ann"), 0);
    let commands: Vec<&String> = cases.iter().map(|(command, ..)| command).collect();
    let codes = commanding.returns_all(&commands);
    let log = commanding.terminal.log();
    for (nth, ((command, code, why), returned)) in cases.iter().zip(codes).enumerate() {
        assert_eq!(returned, *code, "{command}");
        let id = nth + 2;
        let line = log.lines().find(|line| line.contains(&format!("command {id} was refused")));
        assert!(line.is_some_and(|line| line.contains(why)), "{command}: {line:?}");
    }
    assert_eq!(user(&commanding, "8"), Value::Null);
}

#[test]
fn names_are_kept_whole_up_to_255_bytes() {
    let mut commanding = Commanding::start("");
    let name = "é".repeat(127);
    assert_eq!(commanding.returns(format!("DATA UPDATE USERINFO PIN=8\tName={name}")), 0);
    assert_eq!(user(&commanding, "8")["name"], name);
}

#[test]
fn an_entry_is_known_by_its_number_however_that_is_written() {
    let mut commanding = Commanding::start("");
    let commands = [
        "DATA UPDATE SMS UID=03\tTAG=253\tMSG==A=B\tMIN=060\tStartTime=2026-01-01 00:00:00",
        "DATA UPDATE SMS UID=3\tMIN=7",
        "DATA UPDATE AccTimeZone UID=+05\tSunStart=0059\tSunEnd=2359",
    ];
    assert_eq!(commanding.returns_all(&commands), [0, 0, 0]);
    let mut driver = commanding.terminal.driver();
    let page = driver.call("changes", json!({"after": 0})).unwrap();
    let mut entries: Vec<String> =
        page["entries"].as_array().unwrap().iter().map(|it| it["record"].to_string()).collect();
    entries.sort();
    assert_eq!(
        entries,
        [
            r#"{"min":"7","msg":"=A=B","starttime":"2026-01-01 00:00:00","tag":"253","uid":"3"}"#,
            r#"{"sunend":"2359","sunstart":"0059","uid":"5"}"#,
        ]
    );
    assert_eq!(commanding.returns("DATA DELETE SMS UID=0003"), 0);
    let page = driver.call("changes", json!({"after": page["upto"]})).unwrap();
    assert_eq!(page["gone"], json!([{"table": "SMS", "record": {"uid": "3"}}]));
}

#[test]
fn an_entry_that_an_earlier_version_kept_as_it_was_written_is_the_same() {
    let mut commanding = Commanding::start("");
    commanding.terminal.stop();
    let sql = "INSERT INTO entry VALUES ('SMS', ?1, ?2, ?3)";
    for (id, changed) in [("03", 1001), ("04", 1002)] {
        let record = json!({"uid": id, "msg": "Hello", "tag": "253"}).to_string();
        store(&commanding.terminal).execute(sql, rusqlite::params![id, record, changed]).unwrap();
    }
    commanding.terminal.run();
    let commands = ["DATA UPDATE SMS UID=03\tMIN=5", "DATA DELETE SMS UID=04"];
    assert_eq!(commanding.returns_all(&commands), [0, 0]);
    let page = commanding.terminal.driver().call("changes", json!({"after": 0})).unwrap();
    assert_eq!(
        page["entries"],
        json!([{"table": "SMS", "record": {"uid": "3", "msg": "Hello", "tag": "253", "min": "5"}}])
    );
}

#[test]
fn the_clock_is_not_set_late() {
    // The command was about to be carried out when the power failed.
    let line = "C:late:SET TIME 2027-03-04 05:06:07";
    let mut commanding = Commanding::start("");
    commanding.terminal.stop();
    let sql = "INSERT INTO command (digest, id, name, attempts, due) VALUES (?1, 'late', 'SET TIME', 1, 0)";
    let digest = Md5::digest(line).to_vec();
    store(&commanding.terminal).execute(sql, [digest]).unwrap();
    commanding.terminal.run();
    // Also as a part of a list that is too long for one transaction.
    let many: String = (0..2000)
        .map(|nth| format!("C:m{nth}:DATA UPDATE USERINFO PIN={nth}\tName=Somebody Else\n"))
        .collect();
    commanding.gives(format!("{many}{line}\nC:now:SET TIME 2027-03-05 00:00:00\n").as_bytes());
    assert_eq!(commanding.answer("late").0, -1003);
    assert_eq!(commanding.answer("now").0, 0);
    let log = commanding.terminal.log();
    assert!(log.contains("it is not set late"), "{log}");
    assert_eq!(log.matches("own clock set").count(), 1, "{log}");
}

#[test]
fn a_key_that_is_not_known_is_named_once() {
    let mut commanding = Commanding::start("");
    let commands = [
        "DATA UPDATE USERINFO PIN=7\tShoeSize=44\tName=Ann\tFavourite=Tea",
        "DATA UPDATE USERINFO PIN=7\tSHOESIZE=45",
        "DATA UPDATE SMS UID=3\tMSG=x\tTAG=253\tShoeSize=44",
    ];
    assert_eq!(commanding.returns_all(&commands), [0, 0, 0]);
    let log = commanding.terminal.log();
    for (line, count) in [
        ("the key \"ShoeSize\" in USERINFO", 1),
        ("the key \"Favourite\" in USERINFO", 1),
        ("the key \"ShoeSize\" in SMS", 1),
        ("the key \"SHOESIZE\"", 0),
        ("the key \"Name\"", 0),
    ] {
        assert_eq!(log.matches(line).count(), count, "{line}: {log}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_read_as_gbk() {
    // 张 in GBK.
    const NAME: &[u8] = b"\xd5\xc5";
    let mut commanding = Commanding::start("[commands]\nshell = \"allow\"\n");
    let with = |before: &[u8], after: &[u8]| [before, NAME, after].concat();
    assert_eq!(commanding.returns(with(b"DATA UPDATE USERINFO PIN=7\tName=", b"")), 0);
    assert_eq!(user(&commanding, "7")["name"], "张");
    let id = "shell";
    commanding.gives(&[b"C:shell:SHELL echo ", NAME, b"; exit 3\n"].concat());
    let (code, body) = commanding.answer(id);
    assert!(code == 3 && body.contains("张"), "{code} {body:?}");
    // A refused text is shown as text, also where it is cut off within a character.
    assert_eq!(commanding.returns(with(b"GetFile /nowhere/", b".txt")), -1002);
    assert_eq!(commanding.returns(with(b"DATA UPDATE CHEESE PIN=7\tName=", b"")), -1004);
    let log = commanding.terminal.log();
    assert!(log.contains("/nowhere/张.txt"), "{log}");
    assert!(log.contains("DATA UPDATE CHEESE PIN=7 Name=张"), "{log}");
}

#[test]
fn names_are_cut_where_the_dialect_says_so() {
    for (dialect, sent) in [
        ("", "Maximiliane Mustermann-Musterfrau"),
        ("[dialect]\nname_bytes = 24\n", "Maximiliane Mustermann-M"),
    ] {
        let mut commanding = Commanding::start(dialect);
        let put = "DATA UPDATE USERINFO PIN=7\tName=Maximiliane Mustermann-Musterfrau";
        assert_eq!(commanding.returns_all(&[put, "DATA QUERY USERINFO PIN=7"]), [0, 0]);
        let row = format!("USER PIN=7\tName={sent}\tPri=");
        assert!(
            commanding.server.requests().iter().any(|it| it.text().contains(&row)),
            "{dialect}"
        );
    }
}

#[test]
fn the_door_opens_by_control_device() {
    let mut commanding = Commanding::start("");
    let mut driver = commanding.terminal.driver();
    driver.call("register", json!({"name": "relay", "provides": ["unlock"]})).unwrap();
    for (nth, command) in [
        "CONTROL DEVICE 01010105",
        "CONTROL DEVICE 0100010A00",
        "control device 1,1,5,0,0",
        "CONTROL DEVICE 1, 1, 1, 5",
    ]
    .iter()
    .enumerate()
    {
        commanding.gives(format!("C:door{nth}:{command}\n").as_bytes());
        let request = driver.receive().expect("a request");
        assert_eq!(request["method"], "unlock", "{command}");
        driver.reply(request["id"].as_u64().unwrap(), json!(true));
        assert_eq!(commanding.answer(&format!("door{nth}")).0, 0, "{command}");
    }
    assert_eq!(commanding.returns("CONTROL DEVICE 02010105"), -1002);
}

#[test]
fn the_clock_is_set_by_a_command() {
    let cases = [
        ("SET TIME 2027-03-04 05:06:07", "2027-03-04 05:06"),
        ("SET OPTION DateTime=2027-05-06 07:08:09", "2027-05-06 07:08"),
        ("set options datetime=2027-05-07T07:08:09", "2027-05-07 07:08"),
        // ((27 * 12 + 6) * 31 + 7) days of 86 400 s, and 9:10:11.
        ("SET OPTION DateTime=884509811", "2027-07-08 09:10"),
        ("SET TIME DateTime=2026-12-01 00:00:00", "2026-12-01 00:00"),
    ];
    // The hours are those of the zone that the server named.
    for (zone, configuration) in
        [("", ""), ("TimeZone=5\n", ""), ("TimeZone=-3\n", "timezone = \"+09:00\"")]
    {
        let mut commanding = Commanding::start_with(zone, configuration);
        for (command, shown) in cases {
            assert_eq!(commanding.returns(command), 0, "{command}");
            let mut driver = commanding.terminal.driver();
            driver.call("punch", json!({"pin": "7"})).unwrap();
            let row = format!("7\t{shown}");
            let came = || {
                commanding
                    .server
                    .requests()
                    .iter()
                    .any(|it| it.is_upload("ATTLOG") && it.text().contains(&row))
            };
            until(command, came, || format!("{:?}", commanding.server.requests()));
        }
    }
    let mut commanding = Commanding::start("clock = \"system\"");
    assert_eq!(commanding.returns("SET TIME 2027-03-04 05:06:07"), -1002);
    assert!(commanding.terminal.log().contains("clock = \"system\""));
}
