//! Commands (C1, C2, D1, E1, Q3, K4, K5, K7–K9): effect once, answered until the server has it.

use std::time::Duration;

use iclock_emulator::{Act, Emulator, Fault, On, Received, Repeat, Settings};
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, second, server, server_with, targets};

/// Waits for the answer to a command, and gives back its `Return` and the whole of it.
#[track_caller]
fn answer(server: &Emulator, id: &str) -> (i64, String) {
    assert!(
        server.wait_until(TIMEOUT, |received| received.reply(id).is_some()),
        "{id} was never answered"
    );
    let reply = server.received(|received| received.reply(id).unwrap().clone());
    (reply.ret, String::from_utf8(reply.body).unwrap())
}

#[track_caller]
fn returns(server: &Emulator, text: &str) -> i64 {
    let id = server.queue(text);
    answer(server, &id).0
}

#[test]
fn many_commands_in_one_poll_are_answered_by_their_ids() {
    let server = server_with(Settings { id_prefix: "abc-XYZ9".into(), ..Settings::default() });
    let ids: Vec<String> = (0..50)
        .map(|nth| server.queue(&format!("DATA UPDATE USERINFO PIN={nth}\tName=User {nth}")))
        .collect();
    let terminal = Terminal::start(&server, "");
    for id in &ids {
        assert_eq!(answer(&server, id).0, 0);
    }
    // One poll brought them, one POST answered them, joined with LF.
    assert_eq!(targets(&server, "reply").len(), 1);
    assert_eq!(terminal.status()["users"], 50);
    server.assert_strict();
}

#[test]
fn replies_can_go_one_by_one() {
    let server = server();
    let ids: Vec<String> =
        (0..5).map(|nth| server.queue(&format!("SET OPTION Volume={nth}"))).collect();
    let _terminal = Terminal::start(&server, "[dialect]\nreplies_alone = true");
    ids.iter().for_each(|id| assert_eq!(answer(&server, id).0, 0));
    assert_eq!(targets(&server, "reply").len(), 5);
    server.assert_strict();
}

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
    server.fault(Fault::new(On::table("ATTLOG"), Act::status(200, "FAIL")));
    terminal.driver().punch("1001", &second(1));
    terminal.wait_for("refused", |status| !status["trouble"].is_null());
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
        ("FWVersion=9", -1004),
        ("~SerialNumber=X", -1004),
    ] {
        assert_eq!(returns(&server, &format!("SET OPTION {option}")), code, "{option:?}");
    }
    terminal.stop();
    terminal.run();
    let id = server.queue("INFO");
    let (_, info) = answer(&server, &id);
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
    assert!(answer(&server, &id).1.contains("\n~DeviceName=Renamed"));
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
    let (code, body) = answer(&server, &id);
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

#[test]
fn a_command_sent_again_is_answered_again_and_not_done_again() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    server.queue_repeated("r1", "DATA UPDATE USERINFO PIN=7\tName=Server", Repeat::Times(5));
    answer(&server, "r1");
    driver.call("user.put", json!({"pin": "7", "name": "Keypad"})).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| {
        received.reply("r1").is_some_and(|reply| reply.times == 5)
    }));
    // Done again, it would have undone the change at the keypad.
    assert_eq!(driver.call("user.get", json!({"pin": "7"})).unwrap()["name"], "Keypad");
    // The same id with another text is another command.
    server.queue_as("r1", "DATA UPDATE USERINFO PIN=7\tName=Other");
    let answers = |received: &Received| -> u32 {
        received.replies().iter().filter(|reply| reply.id == "r1").map(|reply| reply.times).sum()
    };
    assert!(server.wait_until(TIMEOUT, |received| answers(received) == 6));
    assert_eq!(driver.call("user.get", json!({"pin": "7"})).unwrap()["name"], "Other");
}

#[test]
fn a_result_stays_until_the_server_took_it() {
    let server = server();
    for act in [Act::status(500, ""), Act::empty(), Act::Drop, Act::ResetBody] {
        server.fault(Fault::new(On::reply(), act));
    }
    server.queue_repeated("once", "DATA UPDATE USERINFO PIN=7", Repeat::Times(1));
    let mut terminal = Terminal::start(&server, "");
    assert!(
        server.wait_until(TIMEOUT, |received| received
            .requests()
            .any(|seen| seen.exchange == "reply"))
    );
    terminal.kill();
    terminal.run();
    assert_eq!(answer(&server, "once").0, 0);
}

#[test]
fn a_list_that_is_cut_off_never_runs_its_last_line() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    // `PIN=12` must not come of `PIN=123`: half a body, a reset, no length and an end.
    for act in [Act::HalfBody, Act::ResetBody, Act::NoLength] {
        server.fault(Fault::new(On::poll(), act));
    }
    server.next_poll_body("C:1:DATA UPDATE USERINFO PIN=12345678901234567890");
    std::thread::sleep(Duration::from_millis(2500));
    let users = terminal.status()["users"].as_u64().unwrap();
    assert_eq!(users, 0, "{}", terminal.log());
}

#[test]
fn what_ends_with_the_connection_runs_when_it_comes_again() {
    let server = server();
    server.fault(Fault::new(On::poll(), Act::NoLength).always());
    let terminal = Terminal::start(&server, "");
    // The list has no line end after its last command, and no length: only a second poll
    // with the same bytes shows that it was whole.
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7"), 0);
    assert_eq!(terminal.status()["users"], 1);
}

#[test]
fn lines_that_are_no_commands_are_skipped_and_the_rest_is_done() {
    let server = server();
    server.next_poll_body("C:1:DATA UPDATE USERINFO PIN=1\r\n\r\nhello\nC::LOG\nC:a b:LOG\nC:2:DATA UPDATE USERINFO PIN=2\n\r\nC:3:DATA UPDATE USERINFO PIN=3");
    let terminal = Terminal::start(&server, "");
    terminal.wait_for("three users", |status| status["users"] == 3);
    assert!(terminal.log().contains("skipped"), "{}", terminal.log());
}

#[test]
fn a_reply_that_is_always_refused_holds_up_no_other() {
    let server = server();
    server.fault(Fault::new(On::reply(), Act::status(200, "FAIL")).containing("ID=bad&").always());
    for id in ["a", "b", "bad", "c", "d"] {
        server.queue_repeated(id, &format!("SET OPTION {id}=1"), Repeat::Times(1));
    }
    let _terminal = Terminal::start(&server, "");
    for id in ["a", "b", "c", "d"] {
        assert_eq!(answer(&server, id).0, 0);
    }
    assert_eq!(returns(&server, "SET OPTION later=1"), 0);
    server.clear_faults();
    assert_eq!(answer(&server, "bad").0, 0);
}

#[test]
fn a_reboot_is_answered_first_and_done_once() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let file = terminal.path("reboots");
    let hook = format!("[device]\nreboot = [\"sh\", \"-c\", \"echo x >> {}\"]", file.display());
    terminal.configure(&server.url(), &hook);
    // The server does not take the answer at first, and sends the command five times.
    server.fault(Fault::new(On::reply(), Act::status(500, "")).times(2));
    server.queue_repeated("boot", "REBOOT", Repeat::Times(5));
    terminal.run();
    assert!(server.wait_until(TIMEOUT, |received| received.count("reply") >= 1));
    assert!(!file.exists(), "it was done before it was answered");
    let answered =
        |received: &Received| received.reply("boot").is_some_and(|reply| reply.times >= 3);
    assert!(server.wait_until(TIMEOUT, answered));
    terminal.kill();
    terminal.run();
    let last = server.queue("INFO");
    assert_eq!(answer(&server, &last).0, 0);
    assert_eq!(answer(&server, "boot").0, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\n");
}

#[test]
fn the_same_id_with_other_text_is_another_command_and_the_same_text_is_not() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let body: String = ["Ann", "Bea", "Ann", "Cid", "Cid", "Cid"]
        .map(|name| format!("C:7:DATA UPDATE USERINFO PIN=1\tName={name}\n"))
        .concat();
    server.next_poll_body(body);
    let last = server.queue("INFO");
    assert_eq!(answer(&server, &last).0, 0);
    // Ann came before and is not done again: Cid is the last.
    let user = terminal.driver().call("user.get", json!({"pin": "1"})).unwrap();
    assert_eq!(user["name"], "Cid");
    assert_eq!(terminal.status()["users"], 1);
}

#[test]
fn a_hundred_thousand_commands_in_one_answer_are_done_while_drivers_are_served() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let count = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    let list: String =
        (0..count).map(|nth| format!("C:h{nth}:SET OPTION Volume={nth}\n")).collect();
    server.next_poll_body(list);
    let mut driver = terminal.driver();
    let mut slowest = Duration::ZERO;
    let mut nth = 0;
    while server.received(|received| received.replies().len()) < count {
        nth += 1;
        let begun = std::time::Instant::now();
        driver.punch("1", &second(nth));
        slowest = slowest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "{count} commands in one answer; of {nth} punches meanwhile the slowest took {slowest:?}"
    );
    assert!(server.received(|received| received.replies().iter().all(|reply| reply.ret == 0)));
    server.assert_strict();
}
