//! What goes with a person, what can be deleted, and to whom a card belongs. Raw server, raw driver.

use serde_json::{Value, json};

use crate::harness::{Commanding, JPEG, base64, returns, server, terminal_with_files, until};

const ID: &str = "11010519491231002X";

fn id_card(pin: &str, number: &str) -> String {
    format!("DATA UPDATE IDCARD PIN={pin}\tIDNum={number}\tGender=1\tNation=1\tName=Ann")
}

#[track_caller]
fn done(commanding: &mut Commanding, commands: &[String]) {
    for (command, code) in commands.iter().zip(commanding.returns_all(commands)) {
        assert_eq!(code, 0, "{command}");
    }
}

#[track_caller]
fn call(commanding: &Commanding, method: &str, params: Value) -> Value {
    commanding.terminal.driver().call(method, params).unwrap()
}

fn changes(commanding: &Commanding, after: &Value) -> Value {
    call(commanding, "changes", json!({"after": after}))
}

/// Everything that hangs on a PIN.
fn everything_of(pin: &str) -> Vec<String> {
    let template = base64(b"made-up template");
    let photo = base64(JPEG);
    vec![
        format!("DATA UPDATE USERINFO PIN={pin}\tName=Ann\tCard=77"),
        format!(
            "DATA UPDATE FINGERTMP PIN={pin}\tFID=6\tSize={}\tValid=1\tTMP={template}",
            template.len()
        ),
        format!("DATA UPDATE USERPIC PIN={pin}\tSize={}\tContent={photo}", photo.len()),
        "DATA UPDATE SMS MSG=For you\tTAG=254\tUID=1\tMIN=60\tStartTime=2026-11-02 00:00:00".into(),
        format!("DATA UPDATE USER_SMS PIN={pin}\tUID=1"),
        id_card(pin, ID),
    ]
}

/// What of a page of `changes` is there, in short.
fn there(page: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for list in ["users", "templates", "pictures", "entries", "idcards"] {
        for row in page[list].as_array().unwrap() {
            let table = row["table"].as_str().unwrap_or(list);
            let pin = row["pin"].as_str().or(row["record"]["pin"].as_str()).unwrap_or_default();
            found.push(format!("{table} {pin}"));
        }
    }
    found
}

#[test]
fn who_is_deleted_takes_along_all_that_hangs_on_the_pin_and_no_punch() {
    let mut commanding = Commanding::start("[commands]\nclear_data = \"allow\"");
    for (way, expected_sms) in
        [("DATA DELETE USERINFO PIN=12", true), ("user.delete", true), ("CLEAR DATA", false)]
    {
        done(&mut commanding, &everything_of("1"));
        done(&mut commanding, &everything_of("12"));
        // The identity card has one owner: the last one.
        done(&mut commanding, &[id_card("1", "110105194912310"), id_card("12", ID)]);
        call(&commanding, "punch", json!({"pin": "12", "time": "2026-11-02 08:00:00"}));
        let before = changes(&commanding, &json!(0));
        assert_eq!(there(&before).iter().filter(|row| row.ends_with(" 12")).count(), 5, "{before}");
        let gone = match way {
            "user.delete" => {
                let deleted = call(&commanding, "user.delete", json!({"pin": "12"}));
                assert_eq!(deleted["deleted"], true, "{deleted}");
                changes(&commanding, &before["upto"])["gone"].clone()
            }
            command => {
                done(&mut commanding, &[command.to_owned()]);
                changes(&commanding, &before["upto"])["gone"].clone()
            }
        };
        // CLEAR DATA deletes the punches that the server has; nothing else does.
        assert_eq!(commanding.terminal.status()["punches"] == 0, way == "CLEAR DATA", "{way}");
        if expected_sms {
            for what in [
                json!({"table": "USER_SMS", "record": {"pin": "12", "uid": "1"}}),
                json!({"idcard": ID}),
                json!({"pin": "12"}),
            ] {
                assert!(gone.as_array().unwrap().contains(&what), "{way}: {what} is not in {gone}");
            }
        }
        // The next person with that PIN inherits nothing; the neighbour lost nothing.
        done(&mut commanding, &["DATA UPDATE USERINFO PIN=12\tName=Other".into()]);
        let page = changes(&commanding, &json!(0));
        let of = |pin: &str| -> Vec<String> {
            there(&page).into_iter().filter(|row| row.ends_with(&format!(" {pin}"))).collect()
        };
        assert_eq!(of("12"), ["users 12"], "{way}");
        let left: &[&str] = match expected_sms {
            true => &["users 1", "templates 1", "pictures 1", "USER_SMS 1", "idcards 1"],
            false => &[],
        };
        assert_eq!(of("1"), left, "{way}");
    }
}

#[test]
fn what_the_document_has_no_delete_for_can_be_deleted() {
    let cases = [
        ("USER_SMS PIN=1\tUID=1", "USER_SMS PIN=1\tUID=01"),
        ("USER_SMS PIN=1\tUID=2", "USER_SMS PIN=1"),
        ("Blacklist IDNum=11010519491231002X", "blacklist IDNum=11010519491231002X"),
        ("ShortcutKey KeyID=1\tKeyFun=1", "ShortcutKey KeyID=1"),
        ("AccGroup ID=3\tVerify=0\tValidHoliday=1\tTZ=1;0;0", "AccGroup ID=3"),
        ("AccTimeZone UID=4\tSunStart=0000\tSunEnd=2359", "AccTimeZone UID=4"),
        ("AccHoliday UID=5\tStartDate=1123\tEndDate=1125", "AccHoliday UID=5"),
        ("AccUnLockComb UID=6\tGroup1=1", "AccUnLockComb UID=6"),
    ];
    let mut commanding = Commanding::start("");
    done(
        &mut commanding,
        &["DATA UPDATE USERINFO PIN=1".into(), "DATA UPDATE USERINFO PIN=2".into()],
    );
    for (record, key) in cases {
        let name = record.split(' ').next().unwrap();
        done(&mut commanding, &[format!("DATA UPDATE {record}")]);
        let before = changes(&commanding, &json!(0));
        assert_eq!(before["entries"][0]["table"], name);
        // What is not there is deleted already.
        done(&mut commanding, &[format!("DATA DELETE {key}"), format!("DATA DELETE {key}")]);
        let after = changes(&commanding, &before["upto"]);
        assert_eq!(after["gone"][0]["table"], name, "{after}");
        assert_eq!(changes(&commanding, &json!(0))["entries"], json!([]));
    }
    // An identity card by its number, by its owner, by both.
    for (key, is_left) in [
        (format!("IDNum={ID}"), false),
        ("PIN=1".into(), false),
        (format!("PIN=1\tIDNum={ID}"), false),
        (format!("PIN=2\tIDNum={ID}"), true),
        ("PIN=2".into(), true),
    ] {
        done(&mut commanding, &[id_card("1", ID), format!("DATA DELETE IDCARD {key}")]);
        let left = changes(&commanding, &json!(0))["idcards"].clone();
        assert_eq!(!left.as_array().unwrap().is_empty(), is_left, "{key}: {left}");
    }
    for wrong in
        ["IDCARD", "IDCARD PIN=0", "IDCARD IDNum=1", "Blacklist", "USER_SMS UID=1", "AccGroup ID=x"]
    {
        assert!(commanding.returns(format!("DATA DELETE {wrong}")) < 0, "{wrong}");
    }
}

/// Everything that the server got.
fn uploaded(commanding: &Commanding) -> String {
    commanding.server.requests().iter().map(|it| it.text()).collect()
}

#[test]
fn a_card_belongs_to_whom_it_was_given_last() {
    let mut commanding = Commanding::start("");
    let card = |commanding: &Commanding, pin: &str, key: &str| {
        call(commanding, "user.get", json!({"pin": pin}))[key].clone()
    };
    done(&mut commanding, &["DATA UPDATE USERINFO PIN=1\tCard=123456789\tViceCard=5".into()]);
    let upto = changes(&commanding, &json!(0))["upto"].clone();
    // In hexadecimal, as the second card of another.
    done(&mut commanding, &["DATA UPDATE USERINFO PIN=2\tViceCard=[15CD5B07]".into()]);
    assert_eq!(card(&commanding, "1", "card"), "");
    assert_eq!(card(&commanding, "1", "vicecard"), "5");
    assert_eq!(call(&commanding, "user.get", json!({"card": "[15CD5B0700]"}))["pin"], "2");
    // Drivers see the loss.
    let page = changes(&commanding, &upto);
    let pins: Vec<_> =
        page["users"].as_array().unwrap().iter().map(|it| it["pin"].clone()).collect();
    assert_eq!(pins, ["1", "2"], "{page}");
    // The log and ERRORLOG name both; the loss does not go up as a change.
    let told = "card 123456789 of user 1 belongs to user 2 now";
    assert!(commanding.terminal.log().contains(told), "{}", commanding.terminal.log());
    let has = |text: &str| uploaded(&commanding).contains(text);
    until("ERRORLOG", || has(told), || uploaded(&commanding));
    // By a driver: their change goes up, the loss of the other does not.
    call(&commanding, "user.put", json!({"pin": "3", "card": "0005"}));
    until("USER", || has("USER PIN=3\t"), || uploaded(&commanding));
    assert_eq!(card(&commanding, "1", "vicecard"), "");
    // No card and zeros belong to nobody.
    done(
        &mut commanding,
        &[
            "DATA UPDATE USERINFO PIN=4\tCard=0\tViceCard=[00000000]".into(),
            "DATA UPDATE USERINFO PIN=5\tCard=\tViceCard=000".into(),
            "DATA UPDATE USERINFO PIN=2\tName=Bob".into(),
        ],
    );
    assert_eq!(card(&commanding, "2", "vicecard"), "123456789");
    let all = uploaded(&commanding);
    assert!(!all.contains("USER PIN=1\t"), "{all}");
    assert_eq!(commanding.terminal.log().matches(" belongs to user ").count(), 2);
}

#[test]
fn what_is_deleted_at_the_terminal_is_in_the_operation_log_and_out_of_the_tables() {
    let mut commanding = Commanding::start("");
    done(&mut commanding, &everything_of("1"));
    let mut driver = commanding.terminal.driver();
    let face = json!({"pin": "1", "kind": "unified", "type": 9, "number": 0, "data": "AAAA"});
    driver.call("template.put", face).unwrap();
    let photo = base64(JPEG);
    for bio_type in [2, 9] {
        let comparison = json!({"pin": "1", "kind": "comparison", "type": bio_type, "data": photo});
        driver.call("picture.put", comparison).unwrap();
    }
    driver.call("user.put", json!({"pin": "1", "vicecard": "78"})).unwrap();
    let time = "2026-11-02 08:00:00";
    let cases = [
        // Of each: what is deleted, whether it was there, and the code of its operation.
        ("template.delete", json!({"pin": "1", "kind": "fingerprint", "number": 5}), 0, None),
        (
            "template.delete",
            json!({"pin": "1", "kind": "fingerprint", "number": 6, "operator": "14"}),
            1,
            Some("10\t14\t2026-11-02 08:00:00\t1\t6\t"),
        ),
        ("template.delete", json!({"pin": "1", "kind": "fingerprint"}), 0, None),
        ("template.delete", json!({"pin": "1", "kind": "unified", "type": 8}), 0, None),
        ("template.delete", json!({"pin": "1", "kind": "unified", "type": 9}), 1, None),
        ("picture.delete", json!({"pin": "1", "kind": "comparison", "type": 2}), 1, None),
        ("picture.delete", json!({"pin": "1", "kind": "comparison"}), 1, None),
        ("picture.delete", json!({"pin": "1", "kind": "comparison"}), 0, None),
        ("picture.delete", json!({"pin": "1", "kind": "user"}), 1, None),
        ("card.delete", json!({"pin": "1", "card": "79"}), 0, None),
        (
            "card.delete",
            json!({"pin": "1", "card": "[4D000000]"}),
            1,
            Some("12\t0\t2026-11-02 08:00:00\t1\t"),
        ),
        ("card.delete", json!({"pin": "1"}), 1, Some("12\t0\t2026-11-02 08:00:00\t1\t")),
        ("card.delete", json!({"pin": "1"}), 0, None),
        ("user.delete", json!({"pin": "1"}), 1, Some("9\t0\t2026-11-02 08:00:00\t1\t")),
        ("user.delete", json!({"pin": "1"}), 0, None),
    ];
    let mut expected = Vec::new();
    for (method, mut params, count, operation) in cases {
        params["time"] = time.into();
        let result = driver.call(method, params.clone()).unwrap();
        assert_eq!(result["deleted"], count > 0, "{method} {params}: {result}");
        assert_eq!(result["seq"].is_null(), operation.is_none(), "{method} {params}: {result}");
        expected.extend(operation);
    }
    let oplog = || -> Vec<String> {
        let requests = commanding.server.requests();
        let lines = requests.iter().flat_map(|it| it.lines());
        lines.filter_map(|line| Some(line.strip_prefix("OPLOG ")?.to_owned())).collect()
    };
    let told = || oplog().into_iter().filter(|row| row.contains(time)).collect::<Vec<_>>();
    until("OPLOG", || told().len() >= expected.len(), || format!("{:?}", oplog()));
    for (row, expected) in told().iter().zip(&expected) {
        assert!(row.starts_with(expected), "{row:?}, not {expected:?}");
    }
    assert_eq!(told().len(), expected.len());
    // Bad input names its field and changes nothing.
    for (method, params, field) in [
        ("user.delete", json!({}), "pin"),
        ("user.delete", json!({"pin": "a b"}), "pin"),
        ("user.delete", json!({"pin": "1", "time": "now"}), "time"),
        ("user.delete", json!({"pin": "1", "operator": "a b"}), "operator"),
        ("template.delete", json!({"pin": "1"}), "kind"),
        ("template.delete", json!({"pin": "1", "kind": "nose"}), "kind"),
        ("template.delete", json!({"pin": "1", "kind": "face", "number": 300}), "number"),
        ("template.delete", json!({"pin": "1", "kind": "unified", "type": 10}), "type"),
        ("template.delete", json!({"pin": "1", "kind": "face", "type": 2}), "type"),
        ("picture.delete", json!({"pin": "1", "kind": "x"}), "kind"),
        ("picture.delete", json!({"pin": "1", "kind": "user", "type": 2}), "type"),
        ("card.delete", json!({"card": "x", "pin": "1"}), "card"),
        ("card.delete", json!({"card": "5"}), "pin"),
    ] {
        let error = driver.call(method, params.clone()).unwrap_err();
        assert_eq!(
            (&error["code"], &error["data"]["field"]),
            (&json!(-32602), &json!(field)),
            "{method} {params}: {error}"
        );
    }
}

#[test]
fn who_is_not_in_a_new_table_goes_with_all_that_hangs_on_the_pin() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    for command in everything_of("1") {
        assert_eq!(returns(&server, &command), 0, "{command}");
    }
    let mut driver = terminal.driver();
    driver.punch("1", "2026-11-02 08:00:00");
    // Who had the card is not in the new table: losing it keeps nobody. User 3 loses one to user 4.
    let table = "DATA UPDATE USERINFO PIN=2\tCard=77\nDATA UPDATE USERINFO PIN=3\tCard=5\n\
                 DATA UPDATE USERINFO PIN=4\tViceCard=[05000000]";
    server.serve_file("users.txt", table.as_bytes().to_vec());
    let sync = "PutFile users.txt\t\tAction=SyncData\tTableName=USERINFO\tRecordCount=3";
    assert_eq!(returns(&server, sync), 3);
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=1\tName=Other"), 0);
    let page = driver.call("changes", json!({"after": 0})).unwrap();
    assert_eq!(there(&page), ["users 2", "users 3", "users 4", "users 1", "SMS "]);
    for (card, pin) in [("77", "2"), ("5", "4")] {
        assert_eq!(driver.call("user.get", json!({"card": card})).unwrap()["pin"], pin);
    }
    let log = terminal.log();
    assert!(log.contains("user 3 lost a card"), "{log}");
    assert!(!log.contains("user 1 lost a card"), "{log}");
    assert_eq!(terminal.status()["punches"], 1);
}

#[test]
fn a_deletion_holds_over_a_power_cut() {
    let mut commanding = Commanding::start("");
    done(&mut commanding, &everything_of("1"));
    let upto = changes(&commanding, &json!(0))["upto"].clone();
    assert_eq!(call(&commanding, "user.delete", json!({"pin": "1"}))["deleted"], true);
    commanding.terminal.kill();
    commanding.terminal.run();
    // The driver learns of all of it, the server of the operation.
    let page = changes(&commanding, &upto);
    assert_eq!(there(&page), [""; 0], "{page}");
    let gone = page["gone"].as_array().unwrap();
    assert!(gone.contains(&json!({"pin": "1"})) && gone.contains(&json!({"idcard": ID})), "{page}");
    until("OPLOG", || uploaded(&commanding).contains("OPLOG 9\t"), || uploaded(&commanding));
}
