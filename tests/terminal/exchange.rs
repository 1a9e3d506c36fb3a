//! The exchange of keys and factors, and sessions that are encrypted (S5, S6, S7).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use iclock_emulator::suite::head_of;
use iclock_emulator::{Act, Fault, On, Settings};
use serde_json::json;

use crate::harness::{
    JPEG, RawAnswer, RawServer, TIMEOUT, Terminal, base64, encrypting, encrypting_server, jpeg,
    message_of, noise, options, polls_of, says, second, server_with, until,
};

#[test]
fn keys_then_factors_are_exchanged_after_the_handshake_and_before_all_else() {
    let (state, answer) = encrypting(|request| match request {
        request if request.is_handshake() => options(""),
        _ => says(200, "OK"),
    });
    let server = RawServer::start(answer);
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.driver().punch("471147114711", &second(1));
    let lines = |part: &str| {
        let state = state.lock().unwrap();
        state.lines.iter().filter(|line| line.contains(part)).count()
    };
    let is_over = || lines("table=ATTLOG") > 0 && lines("/getrequest") >= 3;
    until("uploaded and polled", is_over, || terminal.log());
    let (state, requests) = (state.lock().unwrap(), server.requests());
    assert_eq!(state.lines[..3], ["handshake", "publickey", "factors"]);
    let targets: Vec<_> = requests[1..3].iter().map(|it| it.target.as_str()).collect();
    assert_eq!(
        targets,
        [
            "/iclock/exchange?SN=MADE0001&type=publickey",
            "/iclock/exchange?SN=MADE0001&type=factors"
        ]
    );
    assert!(requests[1].text().starts_with("PublicKey=MIIBCgKCAQEA"), "{}", requests[1].text());
    assert_eq!(requests[1].body.len(), "PublicKey=".len() + 360);
    assert_eq!(requests[2].body.len(), "Factors=".len() + 344);
    // Then each message has the next number, and a GET has it in its head.
    let numbers: Vec<_> =
        requests[3..].iter().map(|it| head_of(&message_of(it)).map(|(_, number)| number)).collect();
    let expected: Vec<_> = (1..=numbers.len() as u64).map(Some).collect();
    assert_eq!(numbers, expected);
    for request in &requests[3..] {
        assert_eq!(request.method == "GET", request.sealed.is_some());
        assert!(!request.text().contains("4711"));
    }
    assert!(state.flaws.is_empty(), "{:?}", state.flaws);
    assert_eq!(terminal.status()["encrypted"], true);
    let text = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(text.contains(": online, encrypted"), "{text}");
}

#[test]
fn every_kind_of_upload_goes_encrypted() {
    let server = encrypting_server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    let mut call = |method: &str, params| driver.call(method, params).unwrap();
    let data = base64(b"made-up template");
    call("punch", json!({"pin": "1", "time": second(1)}));
    call("operation", json!({"op": 4, "operator": "14", "time": second(2)}));
    call("user.put", json!({"pin": "36234", "name": "Zoë"}));
    for kind in ["fingerprint", "face", "fvein"] {
        call("template.put", json!({"pin": "2", "kind": kind, "number": 1, "data": data}));
    }
    call("photo", json!({"pin": "1", "time": second(1), "data": base64(jpeg(200_000))}));
    call("picture.put", json!({"pin": "1", "kind": "user", "data": base64(JPEG)}));
    call("picture.put", json!({"pin": "1", "kind": "comparison", "type": 9, "data": base64(JPEG)}));
    call(
        "idcard.put",
        json!({
            "pin": "2", "snnum": "SN1", "idnum": "11010519491231002X", "name": "张三", "gender": 1, "nation": 1,
            "birthday": "19491231", "validinfo": "2017091520270915", "address": "Made-up Street 1",
            "issuer": "Made-up Office", "photo": data, "fptemplate1": data, "fptemplate2": data
        }),
    );
    call("error", json!({"code": "D01E0001", "message": "no face"}));
    let all = server.wait_until(TIMEOUT, |got| {
        got.attlog().len() == 1
            && got.oplog().len() >= 2
            && got.users().len() == 1
            && got.templates().len() == 3
            && got.photos().len() == 2
            && got.att_photos().len() == 1
            && got.id_cards().len() == 1
            && got.errors().len() == 1
    });
    assert!(all, "{:#}\n{}", terminal.status(), terminal.log());
    // A plain request would be a deviation.
    server.assert_strict();
}

#[test]
fn every_command_and_every_answer_goes_encrypted() {
    let server = encrypting_server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("there"), noise(200_000)).unwrap();
    terminal.configure(
        &server.url(),
        &format!(
            "[commands]\nshell = \"allow\"\nget_file = \"allow\"\nput_dirs = [{files:?}]\nget_dirs = [{files:?}]\n"
        ),
    );
    terminal.run();
    let (there, put) = (files.join("there"), files.join("put"));
    let file = noise(3_000_000);
    server.serve_file("fw/main.bin", file.clone());
    let times = "StartTime=2026-01-01 00:00:00\tEndTime=2027-01-01 00:00:00";
    let commands = [
        "DATA UPDATE USERINFO PIN=2\tName=Zoë".into(),
        "DATA UPDATE USERINFO PIN=3\nPIN=4".into(),
        "DATA UPDATE FINGERTMP PIN=2\tFID=1\tSize=4\tValid=1\tTMP=QUJD".into(),
        "DATA QUERY USERINFO PIN=2".into(),
        format!("DATA QUERY ATTLOG {times}"),
        format!("VERIFY SUM ATTLOG {times}"),
        "SET OPTION Volume=7".into(),
        "CHECK".into(),
        "LOG".into(),
        "INFO".into(),
        "SHELL echo made-up".into(),
        format!("GetFile {}", there.display()),
        format!("PutFile fw/main.bin\t{}", put.display()),
        "DATA DELETE USERINFO PIN=3".into(),
        "CLEAR LOG".into(),
    ];
    let ids: Vec<_> = commands.iter().map(|text: &String| server.queue(text)).collect();
    let all = server.wait_until(TIMEOUT, |got| ids.iter().all(|id| got.reply(id).is_some()));
    assert!(all, "{}", terminal.log());
    let replies = server.replies();
    for (id, text) in ids.iter().zip(&commands) {
        let reply = replies.iter().find(|reply| reply.id == *id).unwrap();
        assert!(reply.ret >= 0 && reply.times == 1, "{text:?}: {} {}", reply.ret, reply.times);
    }
    let content = |cmd: &str| replies.iter().find(|it| it.cmd == cmd).unwrap().content.clone();
    assert_eq!(content("GetFile").unwrap(), noise(200_000));
    assert!(fs::read(put).unwrap() == file, "the file is not whole");
    assert!(server.users().iter().any(|user| user.record.name == "Zoë"));
    server.assert_strict();
}

#[test]
fn a_server_query_and_a_list_of_many_commands_go_encrypted() {
    let server = encrypting_server();
    server.set_option("PostSelfDefineDataType", "PostVerifyData");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let may = terminal
        .driver()
        .call("verify", json!({"pin": "1", "time": second(1), "verify": 1}))
        .unwrap();
    assert_eq!(may["allowed"], true, "{may}");
    // More than a chunk of a message.
    let list: String = (0..2_000)
        .map(|nth| format!("C:m{nth}:DATA UPDATE USERINFO PIN={nth}1\tName=made-up\n"))
        .collect();
    server.next_poll_body(list);
    assert!(server.wait_until(TIMEOUT, |got| got.replies().len() == 2_000), "{}", terminal.log());
    server.assert_strict();
}

#[test]
fn keys_are_new_at_each_connection() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let (state, answer) = encrypting(move |request| match request {
        request if request.is_handshake() => options(""),
        // A connection that breaks ends a session.
        request if request.is_poll() && counted.fetch_add(1, SeqCst) % 3 == 1 => {
            RawAnswer::Exactly(b"no HTTP\r\n\r\n".into())
        }
        _ => says(200, "OK"),
    });
    let server = RawServer::start(answer);
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    until("four times", || state.lock().unwrap().secrets.len() >= 4, || terminal.log());
    let mut state = state.lock().unwrap();
    let count = state.terminal_keys.len();
    state.terminal_keys.sort();
    state.terminal_keys.dedup();
    assert_eq!(state.terminal_keys.len(), count);
    assert!(state.flaws.is_empty(), "{:?}", state.flaws);
}

#[test]
fn a_request_that_is_repeated_has_another_number_and_the_same_rows() {
    let server = encrypting_server();
    for reset in [false, true] {
        server.fault(Fault::new(On::table("ATTLOG"), Act::LoseAck { reset }));
    }
    let terminal = Terminal::start(&server, "");
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |got| got.attlog().iter().any(|row| row.times == 3)));
    // Had a message come twice, it would be a deviation.
    server.assert_strict();
}

#[test]
fn where_one_side_is_older_or_does_not_ask_for_it_all_goes_in_plain() {
    for (version, encrypt) in [("2.3.0", "1"), ("2.4.1", "0"), ("2.4.1", "None"), ("", "1")] {
        let server = server_with(Settings { exchanges_keys: true, ..Settings::default() });
        server.set_option("PushProtVer", version);
        server.set_option("Encrypt", encrypt);
        let terminal = Terminal::start(&server, "");
        terminal.driver().punch("1001", &second(1));
        assert!(server.wait_until(TIMEOUT, |got| got.attlog().len() == 1), "{version} {encrypt}");
        assert!(server.received(|got| got.count("keys")) == 0, "{version} {encrypt}");
        assert_eq!(terminal.status()["encrypted"], false);
        server.assert_strict();
    }
    // Nor where the owner does not want it.
    let server = encrypting_server();
    let terminal = Terminal::start(&server, "[encryption]\nexchange = \"off\"");
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |got| got.attlog().len() == 1));
    server.assert_strict();
}

#[test]
fn drivers_are_answered_while_keys_are_made() {
    let server = encrypting_server();
    let terminal = Terminal::start(&server, "");
    // The first exchange waits for the keys: until then there is no session.
    let mut driver = terminal.driver();
    let (mut answered, mut longest) = (0, std::time::Duration::ZERO);
    while server.received(|got| got.count("keys")) == 0 {
        let begun = std::time::Instant::now();
        driver.punch("1001", &second(answered));
        longest = longest.max(begun.elapsed());
        answered += 1;
    }
    println!("{answered} punches while keys were made, the longest took {longest:?}");
    let all = server.wait_until(TIMEOUT, |got| got.attlog().len() == answered as usize);
    assert!(all && answered > 0, "{answered}");
    assert!(longest < std::time::Duration::from_secs(1), "{longest:?}");
    server.assert_strict();
}

#[test]
fn the_answer_to_a_poll_that_was_held_is_opened() {
    let (state, answer) = encrypting({
        let mut polls = 0;
        move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => {
                polls += 1;
                if polls == 2 {
                    // Longer than a poll may take before it is held.
                    std::thread::sleep(std::time::Duration::from_secs(3));
                    return says(200, "C:7:DATA UPDATE USERINFO PIN=7\n");
                }
                says(200, "OK")
            }
            _ => says(200, "OK"),
        }
    });
    let server = RawServer::start(answer);
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let has_reply = || state.lock().unwrap().lines.iter().any(|line| line.contains("/devicecmd"));
    until("answered", has_reply, || terminal.log());
    polls_of(&server, 1);
    assert!(state.lock().unwrap().flaws.is_empty(), "{:?}", state.lock().unwrap().flaws);
    assert_eq!(state.lock().unwrap().secrets.len(), 1, "{}", terminal.log());
}
