//! SIGKILL at random moments while a server with fixed ids asks, repeats, and asks anew: each asking
//! takes effect once, a program and a door at most once, and 0 only if once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Driver, RawServer, Terminal, options, polls_of, replies_in, says, until};

#[test]
#[ignore = "slow: sixty kills"]
fn sixty_kills_over_renewed_askings() {
    kills(60);
}

#[test]
fn kills_over_renewed_askings() {
    kills(4);
}

fn name_of(terminal: &Terminal) -> String {
    let user = terminal.driver().call("user.get", json!({"pin": "1"})).unwrap();
    user["name"].as_str().unwrap_or_default().to_owned()
}

/// Counts doors on whatever terminal listens there.
fn door(socket: std::path::PathBuf, opened: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let driver = Driver::try_connect(&socket).and_then(|mut driver| {
            let provides = json!({"name": "relay", "provides": ["unlock"]});
            driver.try_call("register", &provides)?.ok().map(|_| driver)
        });
        let Some(mut driver) = driver else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        while let Some(request) = driver.receive() {
            opened.fetch_add(1, Ordering::SeqCst);
            let reply = json!({"jsonrpc": "2.0", "id": request["id"], "result": true});
            if driver.send(reply.to_string().as_bytes()).is_err() {
                break;
            }
        }
    }
}

fn kills(count: u64) {
    let list = Arc::new(Mutex::new(String::new()));
    let asked = Arc::clone(&list);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => {
            let list = asked.lock().unwrap().clone();
            says(200, if list.is_empty() { "OK".into() } else { list })
        }
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[commands]\nshell = \"allow\"");
    terminal.run();
    let ran = terminal.path("ran");
    let lines = || std::fs::read_to_string(&ran).unwrap_or_default().len() / 2;
    let (opened, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let relay = std::thread::spawn({
        let (socket, opened) = (terminal.path("run/driver.sock"), Arc::clone(&opened));
        let stop = Arc::clone(&stop);
        move || door(socket, opened, stop)
    });
    terminal.wait_for("registered", |status| !status["provided"]["unlock"].is_null());
    let commands = format!(
        "C:u:DATA UPDATE USERINFO PIN=1\tName=Ann\nC:s:SHELL echo x >> {}\nC:d:AC_UNLOCK\n",
        ran.display()
    );
    let mut dice = 7_u64;
    let mut roll = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    let mut cut = 0;
    for nth in 1..=count {
        let before = (lines(), opened.load(Ordering::SeqCst), server.requests().len());
        commands.clone_into(&mut list.lock().unwrap());
        let kills_while_it_asks = roll(3) > 0;
        if kills_while_it_asks {
            std::thread::sleep(Duration::from_millis(roll(1500)));
            terminal.kill();
            terminal.run();
        }
        let replies = || replies_in(&server.requests()[before.2..]);
        until("answered", || replies().len() == 3, || terminal.log());
        assert_eq!(name_of(&terminal), "Ann", "asking {nth} had no effect");
        terminal.driver().call("user.put", json!({"pin": "1", "name": "Keypad"})).unwrap();
        // It sends them for a while although it has the answers.
        polls_of(&server, 3);
        list.lock().unwrap().clear();
        if !kills_while_it_asks {
            std::thread::sleep(Duration::from_millis(roll(1500)));
            terminal.kill();
            terminal.run();
        }
        polls_of(&server, 3);
        assert_eq!(name_of(&terminal), "Keypad", "asking {nth} took effect twice");
        let done = (lines() - before.0, opened.load(Ordering::SeqCst) - before.1);
        for (id, times) in [("s", done.0), ("d", done.1)] {
            let codes = &replies()[id];
            cut += usize::from(codes.contains(&-1003));
            assert!(times <= 1, "asking {nth}: {id} was done {times} times: {codes:?}");
            assert!(times == 1 || !codes.contains(&0), "asking {nth}: {id}: {codes:?}");
        }
        assert!(replies()["u"].iter().all(|code| *code == 0));
    }
    println!(
        "{count} kills, {count} askings: each took effect once; {cut} were cut off and said so"
    );
    stop.store(true, Ordering::SeqCst);
    terminal.kill();
    relay.join().unwrap();
}
