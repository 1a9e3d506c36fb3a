//! What drivers ask the server: background verification (S12), and how questions wait.

use std::time::{Duration, Instant};

use iclock_emulator::{Act, Emulator, Fault, On};
use serde_json::{Value, json};

use crate::harness::{Driver, TIMEOUT, Terminal, second, server, targets, until, until_unanswered};

/// Answered at once, on a loaded machine: the limit that is set in these tests is much longer.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A server that wants to be asked about everybody, and a terminal of it.
fn verifying(more: &str) -> (Emulator, Terminal) {
    let server = server();
    server.set_option("PostSelfDefineDataType", "PostVerifyData");
    let terminal = Terminal::start(&server, more);
    terminal.wait_until_online();
    (server, terminal)
}

fn attempt(nth: u32) -> Value {
    json!({"pin": "1001", "time": second(nth), "verify": 1})
}

#[track_caller]
fn verify(terminal: &Terminal) -> Value {
    terminal.driver().call("verify", attempt(0)).unwrap()
}

fn word(allowed: bool, by: &str) -> Value {
    json!({"allowed": allowed, "by": by})
}

/// The server takes punches and says nothing; the terminal hangs in their upload from here on. (A poll
/// that hangs is held, and questions go beside it.)
fn hang(server: &Emulator, terminal: &Terminal) {
    server.fault(Fault::new(On::table("ATTLOG"), Act::Stall { ms: None }).always());
    terminal.driver().punch("1001", &second(59));
    until_unanswered(server);
}

/// A driver with this name that sends so many calls of `verify`. All are taken when this ends, since
/// the call after them is answered.
fn asking(terminal: &Terminal, name: &str, calls: u32) -> Driver {
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": name, "provides": []})).unwrap();
    ask_without_waiting(&mut driver, calls);
    driver.call("user.get", json!({"pin": "1"})).unwrap();
    driver
}

/// Sends calls without waiting for their answers.
fn ask_without_waiting(driver: &mut Driver, calls: u32) {
    for nth in 0..calls {
        let call = json!({"jsonrpc": "2.0", "id": nth, "method": "verify", "params": attempt(nth)});
        driver.send(call.to_string().as_bytes()).unwrap();
    }
}

#[test]
fn the_server_decides_who_may_pass() {
    let (server, terminal) = verifying("[verification]\nseconds = 60\nfallback = \"allow\"");
    let ask = || {
        let params =
            json!({"pin": "1001", "time": second(7), "status": 1, "verify": 15, "workcode": "3"});
        terminal.driver().call("verify", params).unwrap()
    };
    for (answer, allowed) in [
        ("OK", true),
        ("ok\r\n", true),
        ("OK: 1", true),
        ("", false),
        ("FAIL", false),
        ("NO, OK?", false),
        ("OKAY", false),
        ("<html>OK</html>", false),
    ] {
        server.set_verify_answer(answer);
        assert_eq!(ask(), word(allowed, "server"), "{answer:?}");
    }
    for (act, allowed, by) in [
        (Act::html(), false, "server"),
        (Act::status(500, "OK"), false, "server"),
        (Act::status(404, ""), false, "server"),
        (Act::LongLine { bytes: 20 << 20 }, false, "server"),
        // No answer at all, or none of the protocol: the fallback.
        (Act::garbage(), true, "fallback"),
        (Act::ResetRead, true, "fallback"),
        (Act::Drop, true, "fallback"),
    ] {
        server.fault(Fault::new(On::verify(), act.clone()));
        assert_eq!(ask(), word(allowed, by), "{act:?}");
    }
    assert_eq!(ask(), word(false, "server"), "{}", terminal.log());
    // The attempt is the row of a punch, and no punch.
    let rows = server.received(|received| received.verifications().to_vec());
    assert_eq!((rows[0].pin.as_str(), rows[0].time.to_string()), ("1001", second(7)));
    assert_eq!(targets(&server, "verify")[0], "/iclock/cdata?SN=MADE0001&type=PostVerifyData");
    assert_eq!(terminal.status()["punches"], 0);
    // None of this cost the connection.
    assert_eq!(server.received(|received| received.count("handshake")), 1);
    let error = terminal.driver().call("verify", json!({"pin": "a b"})).unwrap_err();
    assert_eq!((&error["code"], &error["data"]["field"]), (&json!(-32602), &json!("pin")));
    server.assert_strict();
}

#[test]
fn verification_is_switched_by_the_servers_option_and_stays_so_without_the_server() {
    let server = server();
    let mut terminal = Terminal::start(&server, "[verification]\nseconds = 60");
    terminal.wait_until_online();
    assert_eq!(verify(&terminal), word(true, "terminal"));
    let switched = |to: &str| {
        let id = server.queue(&format!("SET OPTION PostSelfDefineDataType={to}"));
        assert!(server.wait_until(TIMEOUT, |received| received.reply(&id).is_some()));
    };
    switched("PostVerifyData");
    assert_eq!(verify(&terminal), word(true, "server"));
    // A power cut, and no server: nobody passes by that.
    terminal.kill();
    server.pause();
    terminal.run();
    let started = Instant::now();
    assert_eq!(verify(&terminal), word(false, "fallback"));
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    server.resume().unwrap();
    terminal.wait_until_online();
    assert_eq!(verify(&terminal), word(true, "server"));
    switched("");
    assert_eq!(verify(&terminal), word(true, "terminal"));
}

#[test]
fn nobody_waits_at_the_door_while_the_server_hangs() {
    let (server, terminal) = verifying("[verification]\nseconds = 1\nfallback = \"allow\"");
    // The question itself hangs, at once or in the middle of the answer.
    for act in [Act::Stall { ms: None }, Act::Drip { ms: 700 }] {
        server.fault(Fault::new(On::verify(), act));
        let started = Instant::now();
        assert_eq!(verify(&terminal), word(true, "fallback"));
        let waited = started.elapsed();
        assert!((Duration::from_millis(900)..AT_ONCE).contains(&waited), "{waited:?}");
        assert_eq!(verify(&terminal), word(true, "server"), "{}", terminal.log());
    }
    assert_eq!(server.received(|received| received.count("handshake")), 1);
    // Another exchange hangs: the question never leaves, and is answered all the same.
    let before = targets(&server, "verify").len();
    hang(&server, &terminal);
    let mut driver = terminal.driver();
    let started = Instant::now();
    driver
        .send(
            json!({"jsonrpc": "2.0", "id": "v", "method": "verify", "params": attempt(1)})
                .to_string()
                .as_bytes(),
        )
        .unwrap();
    // Other calls are not held up by it.
    driver
        .send(
            json!({"jsonrpc": "2.0", "id": "p", "method": "punch", "params": attempt(1)})
                .to_string()
                .as_bytes(),
        )
        .unwrap();
    assert_eq!(driver.receive().unwrap()["id"], "p");
    let answer = driver.receive().unwrap();
    let waited = started.elapsed();
    assert_eq!((&answer["id"], &answer["result"]), (&json!("v"), &word(true, "fallback")));
    assert!((Duration::from_millis(900)..AT_ONCE).contains(&waited), "{waited:?}");
    server.clear_faults();
    server.release_stalled();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    assert_eq!(targets(&server, "verify").len(), before);
}

#[test]
fn who_asks_without_a_server_is_answered_at_once() {
    let (server, terminal) = verifying("[verification]\nseconds = 60\n[remote]\nseconds = 60");
    server.set_remote_user("1001", "DATA UPDATE USERINFO PIN=1001\tName=Ann");
    terminal.driver().call("remote", json!({"pin": "1001"})).unwrap();
    server.pause();
    terminal.wait_for("offline", |status| status["online"] == false);
    let started = Instant::now();
    assert_eq!(verify(&terminal), word(false, "fallback"));
    let mut driver = terminal.driver();
    let error = driver.call("remote", json!({"pin": "1002"})).unwrap_err();
    assert_eq!(error["code"], -1008);
    assert!(error["message"].as_str().unwrap().contains("no connection"), "{error}");
    // A guest who is here stays.
    assert_eq!(driver.call("remote", json!({"pin": "1001"})).unwrap()["name"], "Ann");
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

#[test]
fn questions_wait_within_bounds_and_leave_with_their_driver() {
    let (server, terminal) =
        verifying("[verification]\nseconds = 60\n[timeouts]\nanswer = 600\nretry = 1");
    hang(&server, &terminal);
    // One driver has its share, and is told what goes beyond it.
    let mut first = terminal.driver();
    first.call("register", json!({"name": "first", "provides": []})).unwrap();
    ask_without_waiting(&mut first, 9);
    let answer = first.receive().unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(8), &json!(-1005)));
    let others = ["second", "third", "fourth"].map(|name| asking(&terminal, name, 8));
    let busy = terminal.driver().call("verify", attempt(0)).unwrap_err();
    assert_eq!(busy["code"], -1005);
    terminal.driver().punch("1001", &second(1));
    // Who leaves makes room.
    let left = |name: &str| terminal.log().contains(&format!("driver {name} disconnected"));
    drop(first);
    until("the first disconnected", || left("first"), || terminal.log());
    let mut last = asking(&terminal, "last", 8);
    drop(others);
    until("the fourth disconnected", || left("fourth"), || terminal.log());
    // The way breaks: who is still there hears so, and nothing is asked for the others.
    server.clear_faults();
    server.fault(Fault::new(On::any(), Act::Drop).always());
    server.release_stalled();
    for _ in 0..8 {
        assert_eq!(last.receive().unwrap()["result"], word(false, "fallback"));
    }
    server.clear_faults();
    terminal.wait_until_online();
    assert_eq!(verify(&terminal), word(true, "server"));
    assert_eq!(targets(&server, "verify").len(), 1);
}

#[test]
fn drivers_that_ask_without_end_do_not_stop_punches_and_polls() {
    let (server, terminal) = verifying("[verification]\nseconds = 5");
    server.fault(Fault::new(On::verify(), Act::Delay { ms: 100 }).always());
    let mut driver = terminal.driver();
    ask_without_waiting(&mut driver, 8);
    let polls = server.received(|received| received.count("poll"));
    for nth in 0..40 {
        assert!(driver.receive().unwrap()["error"].is_null());
        ask_without_waiting(&mut driver, 1);
        if nth % 8 == 0 {
            terminal.driver().punch("1001", &second(nth));
        }
    }
    assert!(server.received(|received| received.count("poll")) > polls + 1);
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 5));
    server.assert_strict();
}
