//! Commands about users, options and the terminal itself (C1, C2, D1, E1, Q3, K4, K5, K7–K9).

use iclock_emulator::{Act, Fault, On};
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, answer, answer_text, returns, second, server, targets};

#[test]
fn users_are_updated_by_the_keys_that_come() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let full = "DATA UPDATE USERINFO PIN=7\tName=Ann Lee\tPri=14\tPasswd=123\tCard=[15CD5B07]\tGrp=2\tTZ=0001000200010000\tVerify=1\tViceCard=99";
    assert_eq!(returns(&server, full), 0);
    assert_eq!(returns(&server, "DATA update userinfo pin=7\tNAME=Ann=Lee\tPri="), 0);
    let user = terminal.driver().call("user.get", json!({"card": "123456789"})).unwrap();
    let expected = json!({
        "pin": "7", "name": "Ann=Lee", "pri": 14, "passwd": "123", "card": "123456789", "grp": 2,
        "tz": "0001000200010000", "verify": 1, "vicecard": "99"
    });
    assert_eq!(user, expected);
    // What the server sent does not go back up to it.
    assert_eq!(terminal.status()["streams"]["users"]["pending"], 0);
    assert!(server.users().is_empty());
    server.assert_strict();
}

#[test]
fn a_wrong_user_record_changes_nothing() {
    let server = server();
    let terminal = Terminal::start(&server, "[limits]\nusers = 1\nstart_spread = 0");
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7\tName=Ann"), 0);
    for (record, code) in [
        ("", -1),
        ("Name=x", -1),
        ("PIN=", -1),
        ("PIN=7 Name=Bob Pri=0", -1),
        ("PIN=7\tName=Bob Pri=0", -1),
        ("PIN=7\tPri=5", -1),
        ("PIN=7\tPri=x", -1),
        ("PIN=7\tCard=12AB", -1),
        ("PIN=7\tTZ=1", -1),
        ("PIN=7\tVerify=99", -1),
        ("PIN=7\tName=a\tName=b", -1),
        ("PIN=1234567890123456789012345", -1),
        ("PIN=8\tName=One too many", -1001),
    ] {
        assert_eq!(returns(&server, &format!("DATA UPDATE USERINFO {record}")), code, "{record:?}");
    }
    let many: String = (0..10_000).map(|nth| format!("\tk{nth}=1")).collect();
    assert_eq!(returns(&server, &format!("DATA UPDATE USERINFO PIN=7{many}")), -1);
    assert_eq!(returns(&server, "DATA UPDATE NOSUCHTABLE PIN=7"), -1004);
    assert_eq!(returns(&server, "DATA EXPLODE USERINFO PIN=7"), -1);
    let user = terminal.driver().call("user.get", json!({"pin": "7"})).unwrap();
    assert_eq!(
        (&user["name"], &user["pri"], terminal.status()["users"].as_u64()),
        (&json!("Ann"), &json!(0), Some(1))
    );
}

#[test]
fn users_are_deleted() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7\tName=Ann"), 0);
    assert_eq!(returns(&server, "DATA DELETE USERINFO PIN=7"), 0);
    assert_eq!(terminal.driver().call("user.get", json!({"pin": "7"})).unwrap(), json!(null));
    for wrong in ["", "PIN=", "Name=Ann", "PIN=a b"] {
        assert_eq!(returns(&server, &format!("DATA DELETE USERINFO {wrong}")), -1, "{wrong:?}");
    }
    assert_eq!(returns(&server, "DATA DELETE NOSUCHTABLE PIN=7"), -1004);
    server.assert_strict();
}

#[test]
fn users_are_queried_by_the_upload_path_and_the_answer_comes_after_the_rows() {
    let server = server();
    let _terminal = Terminal::start(&server, "");
    for nth in 1..=130 {
        server.queue(&format!("DATA UPDATE USERINFO PIN={nth}\tName=User {nth}"));
    }
    assert_eq!(returns(&server, "DATA QUERY USERINFO PIN=5"), 0);
    let users = server.users();
    assert_eq!((users.len(), users[0].times), (1, 1));
    // Without a PIN: everybody, in numbered packs.
    let id = server.queue("DATA QUERY USERINFO");
    assert_eq!(answer(&server, &id).0, 0);
    assert_eq!(server.users().len(), 130);
    let packs: Vec<String> = targets(&server, "upload:OPERLOG")
        .into_iter()
        .filter(|target| target.contains(&format!("CmdId={id}&")))
        .collect();
    assert_eq!(packs.len(), 3, "{packs:?}");
    assert!(packs[2].contains("&Count=130&PackCnt=3&PackIdx=3"), "{packs:?}");
    assert_eq!(returns(&server, "DATA QUERY USERINFO PIN=999"), -10);
    assert_eq!(returns(&server, "DATA QUERY USERINFO PIN=a b"), -1);
    assert_eq!(returns(&server, "DATA QUERY NOSUCHTABLE PIN=1"), -1004);
    server.assert_strict();
}

#[test]
fn check_reads_the_options_again() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    assert_eq!(returns(&server, "CHECK"), 0);
    assert!(server.wait_until(TIMEOUT, |received| {
        received.requests().filter(|seen| seen.exchange == "handshake").count() == 2
    }));
    server.assert_strict();
}

#[test]
fn log_sends_what_waits_after_a_refusal_at_once() {
    let server = server();
    server.set_option("ErrorDelay", "600");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    server.fault(Fault::new(On::table("ATTLOG"), Act::status(200, "FAIL")).always());
    terminal.driver().punch("1001", &second(1));
    terminal.wait_for("refused", |status| !status["trouble"].is_null());
    server.clear_faults();
    assert_eq!(returns(&server, "LOG"), 0);
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
}

#[test]
fn options_are_set_and_hold() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    assert_eq!(returns(&server, "SET OPTION VOLUME=66"), 0);
    assert_eq!(returns(&server, "SET OPTION ~LockOn = 1 "), 0);
    for (option, code) in [
        ("", -1),
        ("VOLUME", -1),
        ("=1", -1),
        ("a b=1", -1),
        ("FWVersion=9", -1),
        ("~SerialNumber=X", -1),
    ] {
        assert_eq!(returns(&server, &format!("SET OPTION {option}")), code, "{option:?}");
    }
    terminal.stop();
    terminal.run();
    let id = server.queue("INFO");
    let (_, info) = answer_text(&server, &id);
    assert!(info.contains("\nVOLUME=66") && info.contains("\n~LockOn=1"), "{info}");
    server.assert_strict();
}

#[test]
fn reload_options_reads_the_configuration() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    terminal.configure(&server.url(), "[device]\nname = \"Renamed\"");
    assert_eq!(returns(&server, "RELOAD OPTIONS"), 0);
    assert!(server.wait_until(TIMEOUT, |received| {
        received.requests().filter(|seen| seen.exchange == "handshake").count() == 2
    }));
    let id = server.queue("INFO");
    assert!(answer_text(&server, &id).1.contains("\n~DeviceName=Renamed"));
    // A file that is wrong is not "done".
    terminal.configure("nonsense", "");
    assert_eq!(returns(&server, "RELOAD OPTIONS "), -1);
    server.assert_strict();
}

#[test]
fn info_tells_what_the_terminal_knows_of_itself() {
    let server = server();
    let terminal = Terminal::start(&server, "[device]\nname = \"Door 4\"\nfirmware = \"Ver 1.2\"");
    terminal.driver().punch("1001", &second(1));
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7"), 0);
    let id = server.queue("INFO");
    let (code, body) = answer_text(&server, &id);
    assert_eq!(code, 0);
    for line in [
        "~SerialNumber=MADE0001",
        "~DeviceName=Door 4",
        "FWVersion=Ver 1.2",
        "PushVersion=2.4.1",
        "UserCount=1",
        "TransactionCount=1",
        "Language=69",
    ] {
        assert!(body.lines().any(|found| found == line), "{line} in {body}");
    }
    server.assert_strict();
}

#[test]
fn unknown_commands_are_answered_as_unsupported() {
    let server = server();
    let _terminal = Terminal::start(&server, "");
    for text in ["FLY", "REBOOT", "SHELL id", "AC_UNLOCK"] {
        assert_eq!(returns(&server, text), -1002, "{text}");
    }
}
