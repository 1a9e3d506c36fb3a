//! The card reader that ships, as a process.
//!
//! Mostly it stands before a daemon that is a socket in the test, so that what goes over it can
//! be seen. A FIFO takes the place of an input device, which few test machines have.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{FakeDaemon, Shipped, Terminal, answer, nowhere, server, until};

/// A FIFO in the place of a reader.
fn fifo(terminal: &Terminal) -> (String, File) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let path = terminal.path("reader");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    // For reading too: so it opens before anybody reads.
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    (path.to_str().unwrap().to_owned(), file)
}

#[test]
fn a_card_is_a_punch_and_nobodys_card_a_failed_verification() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let ann = json!({"pin": "1001", "card": "1234567", "vicecard": "[15CD5B07]"});
    terminal.driver().call("user.put", ann).unwrap();
    let (path, mut fifo) = fifo(&terminal);
    let mut reader = Shipped::start(&terminal, &["card-reader", &path, "--status", "1"]);
    reader.says("registered");
    assert!(terminal.log().contains("driver card-reader registered"));
    // With Enter, and the same once more; the second card without Enter; nobody's.
    fifo.write_all(b"0001234567\r\n1234567\n").unwrap();
    reader.says("1001 by card: recorded");
    reader.says("still at the reader");
    // Two punches of one second would be the same row.
    std::thread::sleep(Duration::from_millis(1100));
    fifo.write_all(b"123456789").unwrap();
    until("two punches", || server.attlog().len() == 2, || reader.log());
    fifo.write_all(b"55555555\n").unwrap();
    reader.says("card 55555555 belongs to nobody");
    let punches = server.attlog();
    assert!(punches.iter().all(|row| row.raw.starts_with(b"1001\t")));
    assert!(punches.iter().all(|row| row.raw.ends_with(b"\t1\t4\t0\t0\t0")), "{punches:?}");
    let failed = || server.oplog().iter().filter(|row| row.record.op == 2).count();
    until("an OPLOG row", || failed() == 1, || format!("{:?}", server.oplog()));
    // What it types is not what it is.
    fifo.write_all(b"hello world\n").unwrap();
    reader.says("is no card");
    assert_eq!(reader.stop(), 0);
    assert_eq!(server.attlog().len(), 2);
}

#[test]
fn cards_that_are_read_while_the_daemon_is_away_are_recorded_with_their_time() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    terminal.driver().call("user.put", json!({"pin": "1001", "card": "42"})).unwrap();
    assert_eq!(terminal.stop(), 0);
    let (path, mut fifo) = fifo(&terminal);
    let reader = Shipped::start(&terminal, &["card-reader", &path, "--again", "0"]);
    reader.says("punchd cannot be reached");
    fifo.write_all(b"42\n").unwrap();
    reader.says("card 42 waits for punchd (1 of at most 100, not on disk)");
    // Long enough to tell this moment from that of the delivery.
    std::thread::sleep(Duration::from_secs(4));
    terminal.run();
    reader.says("1001 by card: recorded");
    fifo.write_all(b"42\n").unwrap();
    until("both", || server.attlog().len() == 2, || reader.log());
    let seconds: Vec<i64> = server
        .attlog()
        .iter()
        .map(|row| {
            let text = String::from_utf8_lossy(&row.raw).into_owned();
            let time = text.split('\t').nth(1).unwrap().to_owned();
            punchd::protocol::time::LocalTime::parse(&time).unwrap().seconds()
        })
        .collect();
    assert!(seconds[1] - seconds[0] >= 3, "{seconds:?}: {}", reader.log());
}

#[test]
fn more_cards_than_can_wait_are_refused_and_named() {
    let terminal = nowhere();
    let (path, mut fifo) = fifo(&terminal);
    let mut reader = Shipped::start(&terminal, &["card-reader", &path]);
    for number in 1..=105 {
        writeln!(fifo, "{number}").unwrap();
    }
    reader.says("card 105 is NOT recorded: 100 cards wait for punchd already");
    assert_eq!(reader.log().matches("is NOT recorded").count(), 5);
    // It tells about the daemon once, however often it tries.
    assert_eq!(reader.log().matches("punchd cannot be reached").count(), 1);
    assert_eq!(reader.stop(), 0);
    reader.says("card 100 is NOT recorded: punchd was not reached");
}

#[test]
fn a_card_is_enrolled_when_the_daemon_asks() {
    let terminal = nowhere();
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    let (path, mut fifo) = fifo(&terminal);
    let reader = Shipped::start(&terminal, &["card-reader", &path]);
    daemon.welcome("card-reader", &json!(["card"]));
    let params = json!({"pin": "7", "kind": "card", "retry": 1, "overwrite": true});
    daemon.ask(1, "enroll", params.clone());
    reader.says("the next card is enrolled for 7");
    fifo.write_all(b"0001234567\n").unwrap();
    assert_eq!(daemon.receive()["result"], json!({"outcome": "done", "card": "1234567"}));
    // Given up, asked twice, asked for what it has not.
    daemon.ask(2, "enroll", params.clone());
    daemon.ask(3, "enroll", params);
    let busy = json!({"jsonrpc": "2.0", "id": 3, "result": {"outcome": "busy"}});
    assert_eq!(daemon.receive(), busy);
    daemon.send(&json!({"jsonrpc": "2.0", "method": "cancel", "params": {"id": 2}}));
    let cancelled = json!({"jsonrpc": "2.0", "id": 2, "result": {"outcome": "cancelled"}});
    assert_eq!(daemon.receive(), cancelled);
    daemon.ask(4, "enroll", json!({"pin": "7", "kind": "face"}));
    assert_eq!(daemon.receive()["error"]["code"], -32602);
    daemon.ask(5, "unlock", json!({}));
    assert_eq!(daemon.receive()["error"]["code"], -32601);
    // Then cards are punches again.
    fifo.write_all(b"99\n").unwrap();
    daemon.answer("user.get", &json!({"card": "99"}), json!({"pin": "8"}));
    daemon.answer("punch", &json!({"pin": "8", "verify": 4, "status": 0}), json!({"seq": 1}));
    reader.says("8 by card: recorded as number 1");
    // A daemon that dies before it answers hears of the card again.
    fifo.write_all(b"100\n").unwrap();
    assert_eq!(daemon.receive()["method"], "user.get");
    daemon.hang_up();
    daemon.welcome("card-reader", &json!(["card"]));
    daemon.answer("user.get", &json!({"card": "100"}), Value::Null);
    daemon.answer("operation", &json!({"op": 2}), json!({"seq": 2}));
    reader.says("card 100 belongs to nobody");
    // One that dies during an enrolment has none any more: the next card is a punch.
    daemon.ask(6, "enroll", json!({"pin": "7", "kind": "card", "retry": 1, "overwrite": true}));
    reader.says("the next card is enrolled for 7");
    daemon.hang_up();
    daemon.welcome("card-reader", &json!(["card"]));
    reader.says("no card is enrolled for 7: the connection to punchd broke");
    fifo.write_all(b"101\n").unwrap();
    daemon.answer("user.get", &json!({"card": "101"}), json!({"pin": "8"}));
    daemon.answer("punch", &json!({"pin": "8", "verify": 4, "status": 0}), json!({"seq": 3}));
    reader.says("8 by card: recorded as number 3");
}

#[test]
fn nonsense_of_the_daemon_is_survived() {
    let terminal = nowhere();
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    let (path, _fifo) = fifo(&terminal);
    let reader = Shipped::start(&terminal, &["card-reader", &path]);
    daemon.welcome("card-reader", &json!(["card"]));
    for harmless in [
        &b"{\"id\": 77, \"result\": 1}"[..],
        b"[]",
        b"7",
        b"",
        b"{\"method\": 5}",
        b"{\"method\": \"cancel\", \"params\": 3}",
        b"{\"method\": \"changed\"}",
    ] {
        daemon.send_line(harmless);
    }
    daemon.ask(1, "fly", Value::Null);
    assert_eq!(daemon.receive()["error"]["code"], -32601);
    for bad in [&b"{"[..], b"\xff\xfe", &vec![b'x'; 2 << 20]] {
        daemon.send_line(bad);
        daemon.welcome("card-reader", &json!(["card"]));
    }
    assert!(reader.log().contains("it sent no JSON"), "{}", reader.log());
}

#[test]
fn a_reader_is_waited_for_and_may_come_and_go() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = nowhere();
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    let path = terminal.path("ttyCARD");
    let reader =
        Shipped::start(&terminal, &["card-reader", path.to_str().unwrap(), "--baud", "9600"]);
    daemon.welcome("card-reader", &json!(["card"]));
    reader.says("trying again until it can");
    for number in ["4711", "4712", "4713"] {
        // A serial line: a pseudo terminal that goes away with its master.
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ptsname(&master, Vec::new()).unwrap();
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(slave.to_str().unwrap(), &path).unwrap();
        let count = || reader.log().matches("a serial line is open").count();
        let wanted = count() + 1;
        until("opened", || count() == wanted, || reader.log());
        // As readers on serial lines frame it. Nothing of it is echoed to the reader.
        let mut master = File::from(master);
        write!(master, "\u{2}{number}\u{3}").unwrap();
        daemon.answer("user.get", &json!({"card": number}), Value::Null);
        daemon.answer("operation", &json!({"op": 2}), json!({"seq": 1}));
        let mut echo = [0; 64];
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        assert!(master.read(&mut echo).is_err(), "{echo:?}");
        drop(master);
        let gone = || reader.log().matches("the reader is gone").count();
        until("gone", || gone() == wanted, || reader.log());
    }
    assert_eq!(reader.log().matches("trying again until it can").count(), 1);
}

#[test]
fn a_file_of_cards_is_read_to_its_end() {
    let terminal = nowhere();
    let cards = terminal.path("cards");
    let lines: Vec<String> = (0..500).map(|nth| format!("{:06X}\n", 0xa0_0000 + nth)).collect();
    fs::write(&cards, lines.concat()).unwrap();
    let cards = cards.to_str().unwrap();
    let mut reader = Shipped::start(&terminal, &["card-reader", "--hex", cards]);
    reader.says("punchd cannot be reached");
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    daemon.welcome("card-reader", &json!(["card"]));
    for nth in 0..500 {
        let number = (0xa0_0000 + nth).to_string();
        let mut call = daemon.receive();
        assert_eq!(call["params"], json!({"card": number}));
        daemon.result(&call, json!({"pin": number}));
        call = daemon.receive();
        if call["method"] == "status" {
            daemon.result(&call, json!({"time": null}));
            call = daemon.receive();
        }
        assert_eq!(call["method"], "punch");
        daemon.result(&call, json!({"seq": nth}));
    }
    assert_eq!(reader.ends(), 0);
    assert!(!reader.log().contains("NOT recorded"), "{}", reader.log());
}

#[test]
fn what_is_no_reader_and_no_line_is_said_in_words() {
    let terminal = nowhere();
    let directory = terminal.path("run");
    let directory = directory.to_str().unwrap();
    for (arguments, code, message) in [
        (&["card-reader"][..], 64, "DEVICE is missing"),
        (&["card-reader", "/dev/null"], 66, "/dev/null: it is neither an input device"),
        (&["card-reader", directory], 66, "nothing can be read from it"),
        (&["card-reader", "x", "--again", "-1"], 64, "-1"),
        (
            &["card-reader", "x", "--status", "256"],
            64,
            "--status 256 is not a whole number from 0 to 255",
        ),
        (&["card-reader", "x", "--pulse", "1"], 64, "--pulse"),
        (&["card-reader", "x", "y"], 64, "y"),
        (&["relay"], 64, "LINE is missing"),
        (&["relay", "gpiochip0"], 64, "of the form gpiochip0:17 or file:/path"),
        (&["relay", "gpiochip0:x"], 64, "is no line"),
        (&["relay", "gpiochip0:-1"], 64, "is no line"),
        (&["relay", "file:"], 64, "is no line"),
        (&["relay", "file:/x", "--alarm", "5"], 64, "is no line"),
        (&["relay", "file:/x", "--pulse", "0"], 64, "--pulse 0 is not a whole number from 10"),
        (&["relay", "gpiochip77:1"], 71, "/dev/gpiochip77, line 1: there is no such chip"),
        (&["relay", "/dev/null:1"], 71, "/dev/null, line 1: "),
        (&["relay", "file:/nowhere/door"], 71, "/nowhere/door: No such file"),
    ] {
        let done = terminal.punchd(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}

#[test]
fn a_card_is_enrolled_for_the_server_and_goes_up() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let ann = server.queue("DATA UPDATE USERINFO PIN=1001\tName=Ann");
    assert_eq!(answer(&server, &ann).0, 0);
    let (path, mut fifo) = fifo(&terminal);
    let reader = Shipped::start(&terminal, &["card-reader", &path]);
    reader.says("registered");
    // Nobody's card becomes Ann's, at once; then it is her punch.
    fifo.write_all(b"0004711\n").unwrap();
    reader.says("card 4711 belongs to nobody");
    let enroll = server.queue("ENROLL_MF PIN=1001\tRETRY=1");
    reader.says("the next card is enrolled for 1001");
    fifo.write_all(b"0004711\n").unwrap();
    assert_eq!(answer(&server, &enroll).0, 0);
    let card = || server.users().iter().any(|row| row.raw.windows(9).any(|at| at == b"Card=4711"));
    until("her card went up", card, || format!("{:?}", server.users()));
    let (path, mut fifo) = (path + "2", fifo);
    fs::write(&path, "4711\n").unwrap();
    let mut file = Shipped::start(&terminal, &["card-reader", &path]);
    assert_eq!(file.ends(), 0);
    until("her punch", || server.attlog().len() == 1, || reader.log());
    // The second reader provided cards last; the first is asked no longer, but still reads.
    fifo.write_all(b"x\n").unwrap();
    reader.says("is no card");
    server.assert_strict();
}
