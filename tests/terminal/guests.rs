//! Remote attendance (S11): who is fetched, who stays, who never goes up.

use std::sync::{Arc, Mutex};

use iclock_emulator::{Act, Fault, On, Received};
use serde_json::{Value, json};

use crate::harness::{
    RawServer, TIMEOUT, Terminal, base64, options, polls, says, second, server, targets, until,
};

fn template(pin: &str, finger: u32) -> String {
    let data = base64(b"made-up template");
    format!(
        "DATA UPDATE FINGERTMP PIN={pin}\tFID={finger}\tSize={}\tValid=1\tTMP={data}",
        data.len()
    )
}

fn user(pin: &str, name: &str) -> String {
    format!(
        "DATA UPDATE USERINFO PIN={pin}\tName={name}\tPasswd=77\tCard=123\tGrp=1\tTZ=0000000000000000\tPri=0"
    )
}

/// What the store holds, of a terminal that does not run.
fn counted(terminal: &Terminal, table: &str) -> i64 {
    let db = rusqlite::Connection::open(terminal.path("punchd.db")).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Whether the person is on the terminal.
fn is_here(terminal: &Terminal) -> bool {
    terminal.driver().call("user.get", json!({"pin": "1001"})) != Ok(Value::Null)
}

#[track_caller]
fn fetch(terminal: &Terminal) -> Result<Value, Value> {
    terminal.driver().call("remote", json!({"pin": "1001"}))
}

#[test]
fn a_guest_is_fetched_and_never_goes_up_until_somebody_makes_a_user_of_them() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    assert_eq!(fetch(&terminal), Ok(Value::Null));
    let lines = [user("1001", "Ann"), template("1001", 5), template("1001", 6)];
    server.set_remote_user("1001", &lines.join("\n"));
    let guest = fetch(&terminal).unwrap();
    assert_eq!(
        (&guest["pin"], &guest["name"], &guest["passwd"], &guest["card"], &guest["guest"]),
        (&json!("1001"), &json!("Ann"), &json!("77"), &json!("123"), &json!(true))
    );
    assert_eq!(guest["until"].as_str().unwrap().len(), 19, "{guest}");
    assert_eq!(targets(&server, "remote")[0], "/iclock/cdata?SN=MADE0001&table=RemoteAtt&PIN=1001");
    // Asked again, the server is asked again: what it says now holds, the rest goes.
    server.set_remote_user("1001", &[user("1001", "Anna"), template("1001", 7)].join("\r\n"));
    assert_eq!(fetch(&terminal).unwrap()["name"], "Anna");
    // What is enrolled for a guest would be lost, and is refused.
    let enrolled = json!({"pin": "1001", "kind": "fingerprint", "number": 1, "data": "QUJD"});
    let error = terminal.driver().call("template.put", enrolled.clone()).unwrap_err();
    assert_eq!(error["data"]["field"], "pin", "{error}");
    terminal.driver().punch("1001", &second(1));
    // After a power cut the guest is still one; the server wants everything again.
    terminal.kill();
    assert_eq!((counted(&terminal, "guest"), counted(&terminal, "template")), (1, 1));
    terminal.run();
    terminal.wait_until_online();
    terminal.driver().call("user.put", json!({"pin": "2002", "name": "Bob"})).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.users().len() == 1));
    for name in ["OPERLOGStamp", "ATTLOGStamp"] {
        server.set_option(name, "0");
    }
    server.queue("CHECK");
    let again = |received: &Received| received.users()["2002"].times == 2;
    assert!(server.wait_until(TIMEOUT, again), "{}", terminal.log());
    terminal.wait_for("all sent", |status| {
        let streams = &status["streams"];
        streams["users"]["again"] == 0 && streams["fingerprints"]["again"] == 0
    });
    server.received(|received| {
        assert_eq!((received.users().len(), received.templates().len()), (1, 0));
        assert_eq!(received.attlog().len(), 1);
    });
    // Somebody makes a user of the guest: who is here for good, goes up, and is not asked for.
    terminal.driver().call("user.put", json!({"pin": "1001", "grp": 2})).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.users().contains_key("1001")));
    let before = targets(&server, "remote").len();
    let user = fetch(&terminal).unwrap();
    assert_eq!(
        (&user["name"], &user["grp"], &user["guest"], &user["until"]),
        (&json!("Anna"), &json!(2), &json!(false), &Value::Null)
    );
    assert_eq!(targets(&server, "remote").len(), before);
    terminal.driver().call("template.put", enrolled).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.templates().len() == 1));
    server.assert_strict();
}

#[test]
fn the_servers_own_command_makes_a_guest_a_user() {
    let server = server();
    server.set_remote_user("1001", &user("1001", "Ann"));
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    fetch(&terminal).unwrap();
    let id = server.queue("DATA UPDATE USERINFO PIN=1001\tPri=14");
    assert!(server.wait_until(TIMEOUT, |received| received.reply(&id).is_some()));
    let user = fetch(&terminal).unwrap();
    assert_eq!(
        (&user["name"], &user["pri"], &user["guest"]),
        (&json!("Ann"), &json!(14), &json!(false))
    );
    let id = server.queue("DATA DELETE USERINFO PIN=1001");
    assert!(server.wait_until(TIMEOUT, |received| received.reply(&id).is_some()));
    assert_eq!(fetch(&terminal).unwrap()["guest"], true);
    assert_eq!(targets(&server, "remote").len(), 2);
    // A guest who is deleted at the terminal is no deletion for the server: it has the person.
    let deleted = terminal.driver().call("user.delete", json!({"pin": "1001"})).unwrap();
    assert_eq!(deleted, json!({"deleted": true, "seq": null}));
    assert!(!is_here(&terminal));
}

#[test]
fn an_answer_about_a_person_may_be_written_as_commands() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let lines = [user("1001", "Ann"), template("1001", 5)].map(|line| format!("C:7:{line}\n"));
    server.set_remote_user("1001", &lines.concat());
    assert_eq!(fetch(&terminal).unwrap()["name"], "Ann");
    // Nobody asked for an answer to them.
    assert!(server.received(|received| received.reply("7").is_none()));
    terminal.kill();
    assert_eq!((counted(&terminal, "guest"), counted(&terminal, "template")), (1, 1));
}

#[test]
fn an_answer_about_a_person_is_taken_whole_or_not_at_all() {
    let server = server();
    let mut terminal = Terminal::start(&server, "[limits]\nusers = 2\nstart_spread = 0");
    terminal.wait_until_online();
    // Nobody, in every way that servers say it.
    let others = [user("10010", "Eve"), template("1002", 1)].join("\n");
    for answer in [
        "NONE",
        "OK",
        "",
        "\n\n",
        "GET OPTION FROM: MADE0001\nDelay=10\nTransFlag=1111111111",
        "C:7:DATA UPDATE USERINFO PIN=10010\tName=Command",
        "DATA DELETE USERINFO PIN=1001",
        "DATA UPDATE WORKCODE PIN=1001\tCODE=12\tNAME=x",
        others.as_str(),
    ] {
        server.set_remote_user("1001", answer);
        assert_eq!(fetch(&terminal), Ok(Value::Null), "{answer:?}");
    }
    // What cannot be used is said, and leaves nothing behind.
    let spoiled = template("1001", 6).replace("Size=24", "Size=25");
    let many = (0..=200).map(|_| user("1001", "Ann")).collect::<Vec<_>>().join("\n");
    for (answer, part) in [
        (template("1001", 5), "no user 1001".to_owned()),
        ([user("1001", "Ann"), template("1001", 5), spoiled].join("\n"), "size".into()),
        ([user("1001", "Ann"), template("1001", 11)].join("\n"), "fid".into()),
        ([user("1001", "Ann"), user("1001", "Ann\u{1}")].join("\n"), "name".into()),
        ("DATA UPDATE USERINFO PIN=1001 Name=Ann".into(), "pin".into()),
        ("DATA UPDATE USERINFO Name=Ann".into(), "pin".into()),
        (many, "200 lines".into()),
        (format!("{}\n{}", user("1001", "Ann"), "x".repeat(5 << 20)), "bytes".into()),
    ] {
        server.set_remote_user("1001", &answer);
        let error = fetch(&terminal).unwrap_err();
        assert_eq!(error["code"], -1008, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.to_lowercase().contains(&part), "{part}: {message}");
        assert!(!is_here(&terminal), "{message}");
    }
    server.set_remote_user("1001", &user("1001", "Ann"));
    for act in [
        Act::html(),
        Act::status(500, ""),
        Act::garbage(),
        Act::HalfBody,
        Act::ResetBody,
        Act::NoLengthReset,
    ] {
        server.fault(Fault::new(On::remote(), act.clone()));
        assert_eq!(fetch(&terminal).unwrap_err()["code"], -1008, "{act:?}");
    }
    // Without a length the end may be cut off: believed when it comes twice.
    server.fault(Fault::new(On::remote(), Act::NoLength));
    assert_eq!(fetch(&terminal).unwrap()["name"], "Ann");
    // Guests are not counted as users: there is room for two, and one more is not recorded.
    assert_eq!(terminal.status()["users"], 0);
    for pin in ["2002", "2003"] {
        terminal.driver().call("user.put", json!({"pin": pin})).unwrap();
    }
    for pin in ["1003", "1001"] {
        let full = terminal.driver().call("user.put", json!({"pin": pin})).unwrap_err();
        assert_eq!(full["code"], -1001, "{full}");
    }
    // Changes of those who are there are, and guests come all the same; as many as users.
    terminal.driver().call("user.put", json!({"pin": "2002", "name": "Bob"})).unwrap();
    assert_eq!(fetch(&terminal).unwrap()["guest"], true);
    server.set_remote_user("1002", &user("1002", "Cid").replace("123", "124"));
    terminal.driver().call("remote", json!({"pin": "1002"})).unwrap();
    let asked = targets(&server, "remote").len();
    let full = terminal.driver().call("remote", json!({"pin": "1003"})).unwrap_err();
    assert_eq!((&full["code"], targets(&server, "remote").len()), (&json!(-1001), asked));
    assert_eq!(terminal.status()["users"], 2);
    terminal.stop();
    assert_eq!((counted(&terminal, "user"), counted(&terminal, "template")), (4, 0));
    assert_eq!((counted(&terminal, "guest"), counted(&terminal, "entry")), (2, 0));
}

#[test]
fn a_late_answer_about_a_person_changes_nothing() {
    let server = server();
    server.set_remote_user("1001", &user("1001", "Ann"));
    let terminal = Terminal::start(&server, "[remote]\nseconds = 1");
    terminal.wait_until_online();
    // Answers that come only when they are released.
    let late = Act::Delay { ms: 600_000 };
    server.fault(Fault::new(On::remote(), late.clone()));
    let error = fetch(&terminal).unwrap_err();
    assert_eq!(error["code"], -1008);
    assert!(error["message"].as_str().unwrap().contains("in time"), "{error}");
    server.release_stalled();
    // And one for a driver that has left. From here on nothing depends on how fast an answer comes.
    terminal.configure(&server.url(), "[remote]\nseconds = 60");
    terminal.signal("HUP");
    assert!(server.wait_until(TIMEOUT, |received| received.count("handshake") == 2));
    terminal.wait_until_online();
    server.fault(Fault::new(On::remote(), late));
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "brief"})).unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "remote", "params": {"pin": "1001"}});
    driver.send(call.to_string().as_bytes()).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.count("remote") == 2));
    drop(driver);
    // A process that another test starts may hold the connection open for a moment.
    let is_gone = || terminal.log().contains("driver brief disconnected");
    until("disconnected", is_gone, || terminal.log());
    server.release_stalled();
    polls(&server, 2);
    assert!(!is_here(&terminal));
    assert_eq!(fetch(&terminal).unwrap()["name"], "Ann");
}

#[test]
fn a_guest_leaves_when_the_time_is_over_and_the_punches_stay() {
    let server = server();
    server.set_remote_user("1001", &[user("1001", "Ann"), template("1001", 5)].join("\n"));
    let mut terminal = Terminal::start(&server, "[remote]\nkeep_minutes = 1");
    terminal.wait_until_online();
    fetch(&terminal).unwrap();
    terminal.driver().punch("1001", &second(1));
    // The server's clock goes on by two minutes; nothing but polls wakes the terminal.
    server.set_clock_offset(120);
    until("gone", || !is_here(&terminal), || terminal.log());
    assert!(terminal.log().contains("1 guests were removed"), "{}", terminal.log());
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    // Over while the power was off; a power cut in the middle of it changes nothing.
    fetch(&terminal).unwrap();
    terminal.kill();
    assert_eq!((counted(&terminal, "user"), counted(&terminal, "template")), (1, 1));
    let db = rusqlite::Connection::open(terminal.path("punchd.db")).unwrap();
    db.execute("UPDATE guest SET until = 1793577600", []).unwrap();
    drop(db);
    server.set_clock_offset(0);
    terminal.run();
    until("gone", || !is_here(&terminal), || terminal.log());
    terminal.stop();
    assert_eq!((counted(&terminal, "template"), counted(&terminal, "guest")), (0, 0));
    assert_eq!(counted(&terminal, "punch"), 1);
}

#[test]
fn a_template_for_a_guest_lives_as_long_as_the_guest_who_counts_as_no_user() {
    let lines = [user("1001", "Ann"), template("1001", 5)].join("\n");
    let given = Arc::new(Mutex::new(String::new()));
    let commands = Arc::clone(&given);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.target.contains("RemoteAtt") => says(200, lines.clone()),
        request if request.is_poll() => says(200, std::mem::take(&mut *given.lock().unwrap())),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.wait_until_online();
    let told = |text: &str| server.requests().iter().any(|it| it.text().contains(text));
    let command = |id: &str, text: &str, code: i32| {
        *commands.lock().unwrap() = format!("C:{id}:{text}\n");
        let answer = format!("ID={id}&Return={code}&");
        until(text, || told(&answer), || format!("{:?}", server.requests()));
    };
    fetch(&terminal).unwrap();
    // A template and a message by commands; a query finds the guest and both templates.
    command("1", &template("1001", 7), 0);
    command("2", "DATA UPDATE SMS MSG=x\tTAG=254\tUID=1", 0);
    command("3", "DATA UPDATE USER_SMS PIN=1001\tUID=1", 0);
    command("4", "DATA QUERY USERINFO PIN=1001", 0);
    command("5", "DATA QUERY FINGERTMP PIN=1001", 0);
    for row in ["USER PIN=1001\tName=Ann", "FP PIN=1001\tFID=5", "FP PIN=1001\tFID=7"] {
        assert!(told(row), "{row}: {:?}", server.requests());
    }
    command("6", "INFO", 0);
    assert!(told("UserCount=0\nFPCount=0\n"), "{:?}", server.requests());
    // Fetched again, the guest keeps what came by commands.
    fetch(&terminal).unwrap();
    fetch(&terminal).unwrap();
    terminal.stop();
    assert_eq!((counted(&terminal, "template"), counted(&terminal, "entry")), (2, 2));
    // The time is over: all of it goes.
    let db = rusqlite::Connection::open(terminal.path("punchd.db")).unwrap();
    db.execute("UPDATE guest SET until = 1", []).unwrap();
    drop(db);
    terminal.run();
    until("gone", || !is_here(&terminal), || terminal.log());
    terminal.stop();
    assert_eq!((counted(&terminal, "template"), counted(&terminal, "entry")), (0, 1));
}
