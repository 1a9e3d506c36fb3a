//! Once for each asking: what a server sends again is done again only if it asks anew. Raw servers that
//! know only the rule.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, options, polls_of, replies_to, says, until,
};

/// What the server sends with the next polls; `OK` once nothing is left.
type Script = Arc<Mutex<Vec<String>>>;

/// A server that answers polls by a script, and a terminal that runs.
fn given(more: &str) -> (RawServer, Terminal, Script) {
    let script = Script::default();
    let next = Arc::clone(&script);
    let server = RawServer::start(move |request| {
        if request.is_handshake() {
            options("")
        } else if request.is_poll() {
            let mut script = next.lock().unwrap();
            says(200, if script.is_empty() { "OK".into() } else { script.remove(0) })
        } else {
            says(200, "OK")
        }
    });
    let mut terminal = Terminal::prepare(&server.url(), more);
    terminal.run();
    terminal.wait_until_online();
    (server, terminal, script)
}

/// Sends these answers to the polls that come, and waits until two more have come.
fn send(server: &RawServer, script: &Script, answers: &[&str]) {
    script.lock().unwrap().extend(answers.iter().map(|&answer| answer.to_owned()));
    until("sent", || script.lock().unwrap().is_empty(), || format!("{:?}", server.requests()));
    polls_of(server, 2);
}

fn name_of(terminal: &Terminal, pin: &str) -> Option<String> {
    let user = terminal.driver().call("user.get", json!({"pin": pin})).unwrap();
    user["name"].as_str().map(str::to_owned)
}

fn rename(terminal: &Terminal, pin: &str) {
    terminal.driver().call("user.put", json!({"pin": pin, "name": "Keypad"})).unwrap();
}

/// Five commands with rising ids.
fn five_risen(server: &RawServer, script: &Script) {
    let list: Vec<String> = (101..=105).map(|id| format!("C:{id}:LOG\n")).collect();
    send(server, script, &[&list.concat()]);
}

const ANN: &str = "C:7:DATA UPDATE USERINFO PIN=1\tName=Ann\n";

#[test]
fn fixed_ids_are_done_each_time_they_are_asked() {
    let (server, terminal, script) = given("");
    for nth in 1..=3 {
        send(&server, &script, &[ANN]);
        assert_eq!(name_of(&terminal, "1").as_deref(), Some("Ann"), "asked {nth} times");
        rename(&terminal, "1");
    }
    assert_eq!(replies_to(&server)["7"], [0, 0, 0]);
    // In one poll after the other it is asked once.
    send(&server, &script, &[ANN, ANN, ANN]);
    assert_eq!(name_of(&terminal, "1").as_deref(), Some("Ann"));
}

#[test]
fn rising_ids_are_done_once_however_often_they_come() {
    let (server, terminal, script) = given("");
    five_risen(&server, &script);
    let ann = ANN.replace("C:7:", "C:106:");
    for nth in 1..=4 {
        send(&server, &script, &[&ann]);
        let expected = if nth == 1 { "Ann" } else { "Keypad" };
        assert_eq!(name_of(&terminal, "1").as_deref(), Some(expected), "it came {nth} times");
        rename(&terminal, "1");
    }
    assert_eq!(replies_to(&server)["106"], [0, 0, 0, 0]);
}

#[test]
fn a_server_that_was_restored_and_uses_its_ids_again_is_understood() {
    let (server, terminal, script) = given("");
    let list: Vec<String> =
        (101..=110).map(|id| format!("C:{id}:DATA UPDATE USERINFO PIN={id}\tName=Ann\n")).collect();
    send(&server, &script, &[&list.concat()]);
    rename(&terminal, "108");
    rename(&terminal, "109");
    // The backup had 107 commands. 108 is another now, and 109 by chance the same.
    let restored = "C:108:LOG\n";
    send(&server, &script, &[restored, &list[8], &list[8]]);
    assert_eq!(name_of(&terminal, "108").as_deref(), Some("Keypad"));
    assert_eq!(name_of(&terminal, "109").as_deref(), Some("Ann"));
}

#[test]
fn one_command_a_poll_in_turn_is_done_each_round() {
    let (server, terminal, script) = given("");
    let bea = "C:8:DATA UPDATE USERINFO PIN=2\tName=Bea\n";
    send(&server, &script, &[ANN, bea]);
    rename(&terminal, "1");
    rename(&terminal, "2");
    // The poll with the one came without the other.
    send(&server, &script, &[ANN, bea, ANN, bea]);
    assert_eq!(name_of(&terminal, "1").as_deref(), Some("Ann"));
    assert_eq!(name_of(&terminal, "2").as_deref(), Some("Bea"));
}

#[test]
fn values_are_read_again_and_a_user_comes_back_after_clear_data() {
    let (server, terminal, script) = given("[commands]\nclear_data = \"allow\"");
    let info = "C:1:INFO\n";
    let values = || {
        let is_info = |request: &RawRequest| request.text().contains("CMD=INFO");
        server.requests().iter().rfind(|request| is_info(request)).unwrap().text()
    };
    send(&server, &script, &[info]);
    assert!(values().contains("UserCount=0"), "{}", values());
    let user = "C:21:DATA UPDATE USERINFO PIN=1\tName=Ann\n";
    send(&server, &script, &[user]);
    send(&server, &script, &[info]);
    assert!(values().contains("UserCount=1"), "{}", values());
    send(&server, &script, &["C:22:CLEAR DATA\n"]);
    assert_eq!(name_of(&terminal, "1"), None);
    send(&server, &script, &[user]);
    assert_eq!(name_of(&terminal, "1").as_deref(), Some("Ann"));
}

#[test]
fn refusals_that_may_pass_are_tried_anew_and_others_are_not() {
    let (server, terminal, script) = given("");
    five_risen(&server, &script);
    let template = "C:106:DATA UPDATE FINGERTMP PIN=1\tFID=1\tSize=4\tValid=1\tTMP=QUJD\n";
    let (user, wrong) = ("C:108:DATA UPDATE USERINFO PIN=1\n", "C:107:DATA UPDATE USERINFO X=1\n");
    send(&server, &script, &[template, wrong]);
    assert_eq!(replies_to(&server)["106"], [-10]);
    send(&server, &script, &[user]);
    send(&server, &script, &[template, wrong]);
    assert_eq!(replies_to(&server)["106"], [-10, 0]);
    assert_eq!(replies_to(&server)["107"], [-1, -1]);
    assert_eq!(terminal.log().matches("command 107 was refused").count(), 1);
}

#[test]
fn a_list_that_is_cut_shows_nothing_of_the_commands_behind_the_cut() {
    // The list has a door behind another command. Its answers are cut before the door, or have no
    // known end.
    let (server, terminal, script) = given("");
    send(&server, &script, &[ANN]);
    rename(&terminal, "1");
    let script = Arc::clone(&script);
    drop((server, terminal));
    let next = Arc::clone(&script);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => {
            let mut script = next.lock().unwrap();
            if script.is_empty() {
                return RawAnswer::Says(200, "", ANN.into());
            }
            RawAnswer::Exactly(script.remove(0).into_bytes())
        }
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    until("done", || !replies_to(&server).is_empty(), || terminal.log());
    rename(&terminal, "1");
    let cut = [
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nC:6:LOG\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nC:6:LOG\n",
        "HTTP/1.0 200 OK\r\n\r\nC:6:LO",
        "HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nOK",
        "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
    ];
    for answer in cut {
        script.lock().unwrap().push(answer.to_owned());
        until("sent", || script.lock().unwrap().is_empty(), || terminal.log());
        polls_of(&server, 3);
        assert_eq!(name_of(&terminal, "1").as_deref(), Some("Keypad"), "{answer:?}");
    }
}

#[test]
fn a_command_in_every_handshake_reply_runs_once() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options(ANN),
        request if request.is_poll() => says(200, "OK"),
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let answered = |times| {
        let so_often = || replies_to(&server).get("7").is_some_and(|codes| codes.len() >= times);
        until("answered", so_often, || terminal.log());
    };
    answered(1);
    rename(&terminal, "1");
    polls_of(&server, 3);
    for times in 2..=3 {
        terminal.kill();
        terminal.run();
        let so_often = || replies_to(&server)["7"].len() >= times;
        until("answered again", so_often, || terminal.log());
        polls_of(&server, 2);
        assert_eq!(name_of(&terminal, "1").as_deref(), Some("Keypad"));
    }
}

#[test]
fn another_server_gets_no_answers_of_the_one_before() {
    let old = RawServer::start(|request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, ANN),
        request if request.target.contains("/devicecmd") => says(404, "no such page"),
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&old.url(), "");
    terminal.run();
    let refused = |status: &serde_json::Value| status["replies_refused"].as_u64() == Some(1);
    let status = terminal.wait_for("refused", refused);
    assert!(status["attention"].to_string().contains("never took"), "{status:#}");
    rename(&terminal, "1");
    terminal.stop();
    let is_asked = Arc::new(Mutex::new(false));
    let asks = Arc::clone(&is_asked);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() && *asks.lock().unwrap() => says(200, ANN),
        _ => says(200, "OK"),
    });
    // The same host under another name is another host.
    terminal.configure(&server.url().replace("127.0.0.1", "localhost"), "");
    terminal.run();
    polls_of(&server, 2);
    assert!(replies_to(&server).is_empty(), "{:?}", replies_to(&server));
    assert!(terminal.log().contains("never took are dropped: those to its commands 7"));
    *is_asked.lock().unwrap() = true;
    until("answered", || !replies_to(&server).is_empty(), || terminal.log());
    assert_eq!(name_of(&terminal, "1").as_deref(), Some("Ann"));
    // Another port is the same server.
    terminal.stop();
    rename_in_store(&terminal);
    let moved = RawServer::start(|request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, ANN),
        _ => says(200, "OK"),
    });
    terminal.configure(&moved.url().replace("127.0.0.1", "localhost"), "");
    terminal.run();
    until("answered", || !replies_to(&moved).is_empty(), || terminal.log());
    assert_eq!(name_of(&terminal, "1").as_deref(), Some("Stored"));
}

fn rename_in_store(terminal: &Terminal) {
    crate::harness::store(terminal).execute("UPDATE user SET name = 'Stored'", []).unwrap();
}

#[test]
fn a_door_opens_at_each_press_and_not_while_the_server_waits() {
    let (server, terminal, script) = given("");
    let mut door = terminal.driver();
    door.call("register", json!({"name": "door", "provides": ["unlock"]})).unwrap();
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        while let Some(request) = door.receive() {
            *count.lock().unwrap() += 1;
            door.reply(request["id"].as_u64().unwrap(), json!(true));
        }
    });
    let unlock = "C:1:AC_UNLOCK\n";
    for press in 1..=3 {
        send(&server, &script, &[unlock]);
        until("opened", || *asked.lock().unwrap() == press, || terminal.log());
        until(
            "answered",
            || replies_to(&server).get("1").is_some_and(|it| it.len() == press),
            || terminal.log(),
        );
        polls_of(&server, 2);
    }
    // Other commands come meanwhile: the server may be waiting for the answer.
    send(&server, &script, &[unlock, "C:2:LOG\n", unlock, "C:3:LOG\n", unlock]);
    assert_eq!(*asked.lock().unwrap(), 4);
}

#[test]
fn what_is_known_survives_a_kill_and_an_idle_server_costs_no_write() {
    let (server, mut terminal, script) = given("");
    send(&server, &script, &[ANN]);
    polls_of(&server, 2);
    let written = || terminal.proc("io", "write_bytes");
    let before = written();
    polls_of(&server, 4);
    assert_eq!(written(), before);
    rename(&terminal, "1");
    terminal.kill();
    terminal.run();
    terminal.wait_until_online();
    // The answers without it came before the kill: this is a new asking.
    send(&server, &script, &[ANN]);
    assert_eq!(name_of(&terminal, "1").as_deref(), Some("Ann"));
}
