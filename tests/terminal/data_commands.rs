//! Data commands (D1–D18, E1–E10, Q1–Q4, K1, K2, K6): what they change, what they refuse.

use iclock_emulator::Emulator;
use serde_json::json;

use crate::harness::{
    JPEG, TIMEOUT, Terminal, base64, returns, returns_all, second, server, targets,
};

/// A terminal with user 7 on it.
fn with_user() -> (Emulator, Terminal) {
    let server = server();
    let terminal = Terminal::start(&server, "");
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7\tName=Ann"), 0);
    (server, terminal)
}

/// An update of each table, and a deletion where there is one.
fn updates() -> Vec<(&'static str, String, Option<&'static str>)> {
    let tmp = base64(b"made-up template");
    let size = tmp.len();
    let picture = base64(JPEG);
    let pixels = picture.len();
    vec![
        ("FINGERTMP", format!("PIN=7\tFID=1\tSize={size}\tValid=1\tTMP={tmp}"), Some("PIN=7\tFID=1")),
        ("FACE", format!("PIN=7\tFID=0\tValid=1\tSize={size}\tTMP={tmp}"), Some("PIN=7")),
        ("FVEIN", format!("Pin=7\tFID=1\tIndex=0\tValid=1\tSize={size}\tTmp={tmp}"), Some("Pin=7\tFID=1")),
        (
            "BIODATA",
            format!("Pin=7\tNo=0\tIndex=0\tValid=1\tDuress=0\tType=8\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp={tmp}"),
            Some("Pin=7\tType=8\tNo=0"),
        ),
        ("USERPIC", format!("PIN=7\tSize={pixels}\tContent={picture}"), Some("PIN=7")),
        ("BIOPHOTO", format!("PIN=7\tType=9\tSize={pixels}\tContent={picture}\tFormat=0\tUrl="), Some("PIN=7")),
        ("IDCARD", "PIN=7\tSNNum=1\tIDNum=11010519491231002X\tDNNum=\tName=张三\tGender=1\tNation=1\tBirthday=19491231\tValidInfo=2017091520270915\tAddress=x\tAdditionalInfo=\tIssuer=x\tPhoto=\tFPTemplate1=\tFPTemplate2=\tReserve=\tNotice=".into(), None),
        ("SMS", "MSG=Made up\tTAG=253\tUID=1\tMIN=60\tStartTime=2015-07-29 00:00:00".into(), Some("UID=1")),
        ("USER_SMS", "PIN=7\tUID=1".into(), None),
        ("ADPIC", "Index=1\tSize=4\tExtension=jpg\tContent=QUJD".into(), Some("Index=1")),
        ("WORKCODE", "PIN=1\tCODE=12\tNAME=Made up".into(), Some("CODE=12")),
        ("ShortcutKey", "KeyID=1\tKeyFun=1\tStatusCode==0\tShowName=In\tAutoState=0\tAutoTime=\tSun=0".into(), None),
        ("AccGroup", "ID=1\tVerify=0\tValidHoliday=1\tTZ=1;1;0;0".into(), None),
        ("AccTimeZone", "UID=1\tSunStart=1159\tSunEnd=2359\tMonStart=0000\tMonEnd=2359".into(), None),
        ("AccHoliday", "UID=1\tHolidayName=Made up\tStartDate=1123\tEndDate=1125\tTimeZone=1".into(), None),
        ("AccUnLockComb", "UID=1\tGroup1=1\tGroup2=2\tGroup3=0\tGroup4=0\tGroup5=0".into(), None),
        ("Blacklist", "IDNum=11010519491231002X".into(), None),
    ]
}

#[test]
fn every_table_of_the_document_is_updated_and_deleted_from() {
    let (server, terminal) = with_user();
    let mut commands = Vec::new();
    for (table, record, _) in updates() {
        commands.push(format!("DATA UPDATE {table} {record}"));
    }
    for (table, _, deletion) in updates() {
        commands.extend(deletion.map(|record| format!("DATA DELETE {table} {record}")));
    }
    let codes = returns_all(&server, &commands);
    for (command, code) in commands.iter().zip(&codes) {
        assert_eq!(*code, 0, "{command}");
    }
    // What the server sent does not go back up to it.
    for (name, stream) in terminal.status()["streams"].as_object().unwrap() {
        if name == "operations" {
            continue; // The terminal's own start may be on its way.
        }
        assert_eq!(stream["pending"], 0, "{name}");
    }
    assert!(
        server.received(|received| received.templates().is_empty() && received.photos().is_empty())
    );
    server.assert_strict();
}

#[test]
fn wrong_records_change_nothing_and_say_why() {
    let (server, _terminal) = with_user();
    let tmp = base64(b"made-up template");
    let picture = base64(JPEG);
    let cases = [
        (format!("FINGERTMP PIN=7\tFID=1\tSize=23\tValid=1\tTMP={tmp}"), -9),
        ("FINGERTMP PIN=7\tFID=1\tSize=4\tValid=1\tTMP=!!!!".into(), -11),
        (format!("FINGERTMP PIN=7\tFID=10\tSize=24\tValid=1\tTMP={tmp}"), -1),
        (format!("FINGERTMP PIN=99\tFID=1\tSize=24\tValid=1\tTMP={tmp}"), -10),
        (format!("FINGERTMP PIN=7 FID=1 Size=24 Valid=1 TMP={tmp}"), -1),
        ("FINGERTMP PIN=7\tFID=1\tSize=24\tValid=1".into(), -1),
        (format!("FACE PIN=7\tFID=0\tValid=1\tSize=1\tTMP={tmp}"), -9),
        (format!("FVEIN Pin=7\tFID=1\tIndex=3\tValid=1\tSize=24\tTmp={tmp}"), -1),
        (format!("BIODATA Pin=7\tType=99\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp={tmp}"), -1),
        (format!("USERPIC PIN=7\tSize=1\tContent={picture}"), -2),
        (format!("USERPIC PIN=99\tSize={}\tContent={picture}", picture.len()), -10),
        (format!("BIOPHOTO PIN=7\tType=9\tSize=1\tContent={picture}"), -2),
        ("IDCARD PIN=7\tIDNum=1\tGender=1\tNation=1".into(), -1),
        ("SMS MSG=x\tTAG=1\tUID=1".into(), -1),
        (format!("SMS MSG={}\tTAG=253\tUID=1", "x".repeat(321)), -1006),
        ("AccTimeZone UID=1\tSunStart=2460".into(), -1),
        ("NOSUCHTABLE PIN=1".into(), -1004),
    ];
    let commands: Vec<String> =
        cases.iter().map(|(record, _)| format!("DATA UPDATE {record}")).collect();
    let codes = returns_all(&server, &commands);
    for ((record, code), returned) in cases.iter().zip(codes) {
        assert_eq!(returned, *code, "{record}");
    }
    // Nothing is there that a query could find.
    assert_eq!(returns(&server, "DATA QUERY FINGERTMP PIN=7"), 0);
    assert!(server.received(|received| received.templates().is_empty()));
}

#[test]
fn deleting_a_user_deletes_all_that_hangs_on_them() {
    let (server, _terminal) = with_user();
    let update = |table: &str| {
        let (_, record, _) = updates().into_iter().find(|(name, _, _)| *name == table).unwrap();
        format!("DATA UPDATE {table} {record}")
    };
    let done = returns_all(
        &server,
        &[
            update("FINGERTMP"),
            update("FACE"),
            update("USERPIC"),
            "DATA DELETE USERINFO PIN=7".into(),
        ],
    );
    assert_eq!(done, [0, 0, 0, 0]);
    // The user comes back without them.
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7\tName=Ann"), 0);
    assert_eq!(returns(&server, "DATA QUERY FINGERTMP PIN=7"), 0);
    assert!(server.received(|received| received.templates().is_empty()));
    server.assert_strict();
}

#[test]
fn fingerprints_are_queried_by_person_and_by_finger() {
    let (server, _terminal) = with_user();
    let tmp = base64(b"made-up template");
    let finger =
        |fid| format!("DATA UPDATE FINGERTMP PIN=7\tFID={fid}\tSize=24\tValid=1\tTMP={tmp}");
    assert_eq!(returns_all(&server, &[finger(1), finger(2), finger(3)]), [0, 0, 0]);
    assert_eq!(returns(&server, "DATA QUERY FINGERTMP PIN=7\tFID=2"), 0);
    assert_eq!(server.received(|received| received.templates().len()), 1);
    assert_eq!(returns(&server, "DATA QUERY FINGERTMP PIN=7"), 0);
    assert_eq!(server.received(|received| received.templates().len()), 3);
    assert_eq!(returns(&server, "DATA QUERY FINGERTMP PIN=99"), -10);
    server.assert_strict();
}

#[test]
fn attendance_is_queried_by_time_and_counted() {
    let (server, terminal) = with_user();
    let mut driver = terminal.driver();
    for nth in 0..200 {
        driver.punch("7", &second(nth));
    }
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 200));
    let times = format!("StartTime={}\tEndTime={}", second(50), second(149));
    let id = server.queue(&format!("VERIFY SUM ATTLOG {times}"));
    assert!(server.wait_until(TIMEOUT, |received| received.reply(&id).is_some()));
    let body = server
        .received(|received| String::from_utf8(received.reply(&id).unwrap().body.clone()).unwrap());
    assert_eq!(
        body,
        format!(
            "ID={id}&Return=0&CMD=VERIFY SUM&StartTime={}&EndTime={}&AttlogSum=100",
            second(50),
            second(149)
        )
    );
    assert_eq!(returns(&server, &format!("DATA QUERY ATTLOG {times}")), 0);
    let twice = server.attlog().iter().filter(|row| row.times == 2).count();
    assert_eq!(twice, 100);
    let packs: Vec<String> = targets(&server, "upload:ATTLOG")
        .into_iter()
        .filter(|target| target.contains("CmdId="))
        .collect();
    assert_eq!(packs.len(), 2, "{packs:?}");
    for wrong in
        ["StartTime=x\tEndTime=y", "EndTime=2026-11-02 00:00:00\tStartTime=2026-11-03 00:00:00"]
    {
        assert_eq!(returns(&server, &format!("DATA QUERY ATTLOG {wrong}")), -1, "{wrong:?}");
    }
    for wrong in ["", "StartTime=2026-11-02 00:00:00", "StartTime=x\tEndTime=y"] {
        assert_eq!(returns(&server, &format!("VERIFY SUM ATTLOG {wrong}")), -1, "{wrong:?}");
    }
    server.assert_strict();
}

#[test]
fn attendance_photos_are_queried_by_time() {
    let (server, terminal) = with_user();
    let mut driver = terminal.driver();
    for nth in 0..4 {
        driver
            .call("photo", json!({"pin": "7", "time": second(nth), "data": base64(JPEG)}))
            .unwrap();
    }
    assert!(server.wait_until(TIMEOUT, |received| received.att_photos().len() == 4));
    let times = format!("StartTime={}\tEndTime={}", second(1), second(2));
    assert_eq!(returns(&server, &format!("DATA QUERY ATTPHOTO {times}")), 0);
    let twice = server
        .received(|received| received.att_photos().iter().filter(|row| row.times == 2).count());
    assert_eq!(twice, 2);
    server.assert_strict();
}

#[test]
fn logs_and_photos_are_cleared_but_nothing_that_was_not_uploaded() {
    let (server, terminal) = with_user();
    let mut driver = terminal.driver();
    for nth in 0..10 {
        driver.punch("7", &second(nth));
        driver
            .call("photo", json!({"pin": "7", "time": second(nth), "data": base64(JPEG)}))
            .unwrap();
    }
    terminal.wait_for("all sent", |status| {
        ["punches", "photos"].iter().all(|stream| status["streams"][stream]["pending"] == 0)
    });
    // The server does not want punches any more, and then clears the log.
    server.set_option("TransFlag", "TransData OpLog");
    assert_eq!(returns(&server, "CHECK"), 0);
    assert!(server.wait_until(TIMEOUT, |received| received.count("handshake") == 2));
    driver.punch("7", &second(10));
    assert_eq!(returns_all(&server, &["CLEAR LOG".into(), "CLEAR PHOTO".into()]), [0, 0]);
    let status = terminal.status();
    assert_eq!(
        (&status["punches"], &status["streams"]["punches"]["pending"]),
        (&json!(1), &json!(1))
    );
    server.set_option("TransFlag", "1111111111");
    assert_eq!(returns(&server, "CHECK"), 0);
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 11));
    server.assert_strict();
}

#[test]
fn all_data_is_cleared_only_if_the_owner_allows_it() {
    for (allowed, code, left) in [(false, -1002, 1), (true, 0, 0)] {
        let server = server();
        let more = if allowed { "[commands]\nclear_data = \"allow\"" } else { "" };
        let terminal = Terminal::start(&server, more);
        let mut driver = terminal.driver();
        let tmp = base64(b"made-up template");
        let finger = format!("DATA UPDATE FINGERTMP PIN=7\tFID=1\tSize=24\tValid=1\tTMP={tmp}");
        let done = returns_all(&server, &["DATA UPDATE USERINFO PIN=7\tName=Ann".into(), finger]);
        assert_eq!(done, [0, 0]);
        // A punch that the server does not want yet survives also this.
        server.set_option("TransFlag", "TransData OpLog");
        assert_eq!(returns(&server, "CHECK"), 0);
        assert!(server.wait_until(TIMEOUT, |received| received.count("handshake") == 2));
        driver.punch("7", &second(1));
        assert_eq!(returns(&server, "CLEAR DATA"), code, "allowed: {allowed}");
        let status = terminal.status();
        assert_eq!(
            (&status["users"], &status["punches"]),
            (&json!(left), &json!(1)),
            "allowed: {allowed}"
        );
        assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7\tName=Ann"), 0);
        assert_eq!(returns(&server, "DATA QUERY FINGERTMP PIN=7"), 0);
        assert_eq!(
            server.received(|received| received.templates().len() as u64),
            left,
            "allowed: {allowed}"
        );
    }
}
