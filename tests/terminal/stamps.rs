//! Stamps: no value uploads history by mistake, a true reset uploads it exactly once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use iclock_emulator::{Emulator, Kind, Received};
use serde_json::json;

use crate::harness::{
    RawRequest, RawServer, TIMEOUT, Terminal, options, polls_of, says, second, server, until,
};

const ROWS: u32 = 40;

fn handshakes(received: &Received) -> usize {
    received.count("handshake")
}

/// Makes the terminal shake hands once more, and waits for it.
fn shake_hands(server: &Emulator, terminal: &Terminal) {
    let before = server.received(handshakes);
    terminal.signal("HUP");
    assert!(
        server.wait_until(TIMEOUT, |received| handshakes(received) > before),
        "{}",
        terminal.log()
    );
}

fn recorded(terminal: &Terminal, server: &Emulator) {
    let mut driver = terminal.driver();
    for nth in 0..ROWS {
        driver.punch("1001", &second(nth));
    }
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == ROWS));
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
}

#[test]
fn a_hundred_handshakes_with_every_stamp_upload_history_zero_times() {
    let mut shaken = 0;
    for stamp in [
        "None",
        "0",
        "9999",
        "1752444282",
        "1752444282123",
        "1752444282.5",
        "2026-11-02T08:00:00",
        "",
        "-1",
        "1",
        "20",
    ] {
        let server = server();
        for name in ["ATTLOGStamp", "OPERLOGStamp", "Stamp", "OpStamp", "ATTPHOTOStamp"] {
            server.set_option(name, stamp);
        }
        let terminal = Terminal::start(&server, "");
        recorded(&terminal, &server);
        for _ in 0..10 {
            shake_hands(&server, &terminal);
            shaken += 1;
        }
        // New rows go before those that go again: nothing may be left of these either.
        terminal.driver().punch("1002", &second(ROWS));
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == ROWS + 1));
        terminal.wait_for("nothing left", |status| {
            let punches = &status["streams"]["punches"];
            punches["pending"] == 0 && punches["again"] == 0
        });
        assert!(server.attlog().iter().all(|row| row.times == 1), "{stamp:?}");
        assert!(server.oplog().iter().all(|row| row.times == 1), "{stamp:?}");
    }
    println!("{shaken} handshakes, history uploaded 0 times");
}

#[test]
fn a_true_reset_uploads_history_once_across_a_restart() {
    let server = server();
    server.allow(Kind::CutShort);
    let mut terminal = Terminal::start(&server, "");
    recorded(&terminal, &server);
    let mut driver = terminal.driver();
    for nth in ROWS..500 {
        driver.punch("1001", &second(nth));
    }
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 500));
    // This server keeps stamps; then somebody empties it.
    server.set_option("ATTLOGStamp", "480");
    shake_hands(&server, &terminal);
    server.set_option("ATTLOGStamp", "0");
    shake_hands(&server, &terminal);
    // The power goes when some of it has arrived; the server goes on saying 0.
    let again = |received: &Received| received.attlog().iter().filter(|row| row.times > 1).count();
    assert!(server.wait_until(TIMEOUT, |received| again(received) > 0));
    terminal.kill();
    terminal.run();
    assert!(server.wait_until(TIMEOUT, |received| again(received) == 500));
    terminal.wait_for("nothing left", |status| status["streams"]["punches"]["again"] == 0);
    for _ in 0..3 {
        shake_hands(&server, &terminal);
    }
    terminal.driver().punch("1002", &second(500));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 501));
    // Once each, and one request more if its acknowledgement was cut off.
    let thrice = server.attlog().iter().filter(|row| row.times > 2).count();
    assert!(thrice <= 250, "{thrice} rows came three times");
    assert!(server.attlog().iter().all(|row| row.times <= 3));
    server.assert_strict();
}

#[test]
fn a_server_restored_from_a_backup_gets_what_it_lost() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    // It proves that it keeps stamps: what we sent comes back, at two different values.
    let mut last = 0;
    for nth in 0..30 {
        last = driver.punch("1001", &second(nth));
        if nth == 9 || nth == 19 || nth == 29 {
            assert!(
                server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == nth + 1)
            );
            terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);
            server.set_option("ATTLOGStamp", &last.to_string());
            shake_hands(&server, &terminal);
        }
    }
    // Set back by five rows, it gets those five again, and nothing else.
    server.set_option("ATTLOGStamp", &(last - 5).to_string());
    shake_hands(&server, &terminal);
    let again = |received: &Received| received.attlog().iter().filter(|row| row.times == 2).count();
    assert!(server.wait_until(TIMEOUT, |received| again(received) == 5));
    shake_hands(&server, &terminal);
    // Another lower one asks for nothing: the server has not proved again that it keeps stamps.
    server.set_option("ATTLOGStamp", &(last - 8).to_string());
    shake_hands(&server, &terminal);
    shake_hands(&server, &terminal);
    terminal.wait_for("nothing left", |status| status["streams"]["punches"]["again"] == 0);
    driver.punch("1002", &second(40));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 31));
    assert_eq!(server.attlog().iter().map(|row| row.times).sum::<u32>(), 36);
}

/// What a raw server keeps.
#[derive(Default)]
struct Kept {
    /// The last stamp of each table, and under the empty name that of any.
    stamps: BTreeMap<String, String>,
    /// How often each punch arrived.
    punches: BTreeMap<String, u32>,
    /// It answers uploads of this table with 503.
    refuses: &'static str,
}

/// A server that takes rows, and gives back the stamp of this table as `ATTLOGStamp`; of any table, if
/// the name is empty.
fn keeping(table: &'static str) -> (RawServer, Arc<Mutex<Kept>>) {
    let kept: Arc<Mutex<Kept>> = Arc::default();
    let shared = Arc::clone(&kept);
    let server = RawServer::start(move |request| {
        let mut kept = shared.lock().unwrap();
        let of = |key: &str| {
            let value = request.target.split(['?', '&']).find_map(|it| it.strip_prefix(key))?;
            Some(value.to_owned())
        };
        if request.is_handshake() {
            let stamp = kept.stamps.get(table).map_or("None", String::as_str);
            return options(&format!("ATTLOGStamp={stamp}\n"));
        }
        if !kept.refuses.is_empty() && request.is_upload(kept.refuses) {
            return says(503, "");
        }
        if let Some((table, stamp)) = of("table=").zip(of("Stamp=")) {
            kept.stamps.insert(table, stamp.clone());
            kept.stamps.insert(String::new(), stamp);
        }
        if request.is_upload("ATTLOG") {
            for line in request.lines() {
                *kept.punches.entry(line).or_default() += 1;
            }
        }
        says(
            200,
            if request.is_poll() { "OK".into() } else { format!("OK:{}", request.lines().len()) },
        )
    });
    (server, kept)
}

fn handshake_of(server: &RawServer, terminal: &Terminal) {
    let count = || server.requests().iter().filter(|it| it.is_handshake()).count();
    let before = count();
    terminal.signal("HUP");
    until("a handshake", || count() > before, || terminal.log());
    polls_of(server, 2);
}

fn all_sent(terminal: &Terminal) {
    terminal.wait_for("all sent", |status| {
        ["punches", "users", "operations"]
            .iter()
            .all(|name| status["streams"][*name]["pending"] == 0)
    });
}

/// Twice ten punches, each followed by a handshake: a server that gives back what it got has given
/// back two values exactly.
fn proven_with(server: &RawServer) -> Terminal {
    // Small uploads: some rows are several of them.
    let more = "[limits]\npost_bytes = 1024\nstart_spread = 0";
    let mut terminal = Terminal::prepare(&server.url(), more);
    terminal.run();
    terminal.wait_until_online();
    // The operation of the start is there before, so that what is given back is a stamp of punches.
    all_sent(&terminal);
    for nth in 0..20 {
        terminal.driver().punch("1001", &second(nth));
        if nth % 10 == 9 {
            all_sent(&terminal);
            handshake_of(server, &terminal);
        }
    }
    terminal
}

#[test]
fn a_server_that_mixes_the_stamps_of_tables_gets_no_punch_twice() {
    let (server, kept) = keeping("");
    let terminal = proven_with(&server);
    // A user who was put before the next punches goes up after them.
    kept.lock().unwrap().refuses = "OPERLOG";
    let mut driver = terminal.driver();
    driver.call("user.put", json!({"pin": "7", "name": "Ann"})).unwrap();
    for nth in 20..97 {
        driver.punch("1001", &second(nth));
    }
    terminal.wait_for("punches sent", |status| status["streams"]["punches"]["pending"] == 0);
    kept.lock().unwrap().refuses = "";
    all_sent(&terminal);
    let last = server.requests().into_iter().rfind(|it| it.method == "POST");
    assert!(last.unwrap().is_upload("OPERLOG"));
    for _ in 0..3 {
        handshake_of(&server, &terminal);
    }
    let taken = kept.lock().unwrap().punches.clone();
    assert_eq!(taken.len(), 97);
    assert!(taken.values().all(|times| *times == 1), "{taken:?}\n{}", terminal.log());
    assert!(terminal.log().contains("gives the stamp of another table back as that of ATTLOG"));
}

#[test]
fn a_server_that_keeps_stamps_and_is_restored_from_a_backup_gets_what_it_lost() {
    let (server, kept) = keeping("ATTLOG");
    let terminal = proven_with(&server);
    let backup = kept.lock().unwrap().stamps.clone();
    let mut driver = terminal.driver();
    for nth in 20..50 {
        driver.punch("1001", &second(nth));
        driver.call("user.put", json!({"pin": nth.to_string(), "name": "Ann"})).unwrap();
    }
    all_sent(&terminal);
    kept.lock().unwrap().stamps = backup;
    for _ in 0..3 {
        handshake_of(&server, &terminal);
        terminal.wait_for("resent", |status| status["streams"]["punches"]["again"] == 0);
    }
    let taken = kept.lock().unwrap().punches.clone();
    assert_eq!(taken.len(), 50);
    assert_eq!(taken.values().filter(|times| **times == 2).count(), 30, "{taken:?}");
    assert!(taken.values().all(|times| *times <= 2), "{taken:?}");
}

/// The value of a key in the target of a request.
fn value<'a>(request: &'a RawRequest, key: &str) -> Option<&'a str> {
    request.target.split(['?', '&']).find_map(|part| part.strip_prefix(key)).map(str::trim)
}

#[test]
fn each_upload_has_the_number_of_its_last_row_as_its_stamp_also_when_rows_go_again() {
    let (server, kept) = keeping("ATTLOG");
    let terminal = proven_with(&server);
    let backup = kept.lock().unwrap().stamps.clone();
    let mut driver = terminal.driver();
    // Given punches of which the numbers are known by their times,
    let numbers: BTreeMap<String, i64> =
        (20..80).map(|nth| (second(nth), driver.punch("1001", &second(nth)))).collect();
    all_sent(&terminal);
    // when the server is set back and asks for them again,
    let before = server.requests().len();
    kept.lock().unwrap().stamps = backup;
    handshake_of(&server, &terminal);
    terminal.wait_for("resent", |status| status["streams"]["punches"]["again"] == 0);
    polls_of(&server, 2);
    // then each request has the number of its last row,
    let last_of = |request: &RawRequest| {
        let time = request.lines().last().unwrap().split('\t').nth(1).unwrap().to_owned();
        numbers.get(&time).copied()
    };
    let stamps: Vec<(i64, i64)> = server.requests()[before..]
        .iter()
        .filter(|request| request.is_upload("ATTLOG"))
        .map(|request| {
            (value(request, "Stamp=").unwrap().parse().unwrap(), last_of(request).unwrap())
        })
        .collect();
    assert!(stamps.len() > 1 && stamps.iter().all(|(stamp, last)| stamp == last), "{stamps:?}");
    assert!(stamps.is_sorted(), "{stamps:?}");
    assert_eq!(stamps.last().unwrap().1, *numbers.values().max().unwrap());
    // and so has that of a row that is new after them: the stamp does not stay behind.
    let number = driver.punch("1002", &second(90));
    all_sent(&terminal);
    let last = server.requests().into_iter().rfind(|it| it.is_upload("ATTLOG")).unwrap();
    assert_eq!(value(&last, "Stamp=").unwrap(), number.to_string());
}

#[test]
fn a_row_that_goes_late_does_not_set_the_stamp_of_its_table_back() {
    // Given a server that does not ask for new users, but for operations,
    let asks = Arc::new(Mutex::new("TransFlag=AttLog\tOpLog"));
    let flag = Arc::clone(&asks);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(&format!("{}\n", flag.lock().unwrap())),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.call("user.put", json!({"pin": "7", "name": "Ann"})).unwrap();
    driver.call("operation", json!({"op": 3, "time": second(1)})).unwrap();
    let stamps = || {
        let requests = server.requests();
        let uploads = requests.iter().filter(|request| request.is_upload("OPERLOG"));
        let stamps = uploads.map(|it| {
            it.target
                .split(['?', '&'])
                .find_map(|part| {
                    part.strip_prefix("OpStamp=").or_else(|| part.strip_prefix("Stamp="))
                })
                .unwrap()
                .trim()
                .parse::<i64>()
                .unwrap()
        });
        stamps.collect::<Vec<_>>()
    };
    until("an operation", || !stamps().is_empty(), || terminal.log());
    terminal.wait_for("sent", |status| status["streams"]["operations"]["pending"] == 0);
    let before = stamps();
    // when it asks for them, then the user, whose number is lower, goes with the stamp as it was.
    *asks.lock().unwrap() = "TransFlag=AttLog\tOpLog\tEnrollUser\tChgUser";
    handshake_of(&server, &terminal);
    let has_user = || server.requests().iter().any(|it| it.text().starts_with("USER PIN=7\t"));
    until("the user", has_user, || terminal.log());
    let after = stamps();
    assert!(after.len() > before.len() && after.is_sorted(), "{after:?}");
}
