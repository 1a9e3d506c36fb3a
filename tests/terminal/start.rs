//! Starting: what cannot work is said at once, with an exit code; a damaged store is left
//! alone until somebody asks.

use std::fs;

use crate::harness::{TIMEOUT, Terminal, polls, second, server, until, until_unanswered};

fn message(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_its_place() {
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    for (text, word) in [
        ("server = \"http://h\"", "serial"),
        ("server = \"http://h\"\nserial = \"S\"\ncolour = 1", "line 3, column 1"),
        ("server = \"ftp://h\"\nserial = \"S\"", "line 1"),
        ("server = \"http://h\"\nserial = \"a b\"", "line 2"),
        ("server = \"http://h\"\nserial = \"S\"\n[timeouts]\nconnect = 0", "connect"),
        ("server = ", "line 1"),
    ] {
        fs::write(terminal.path("punchd.toml"), text).unwrap();
        for command in ["check", "run"] {
            let output = terminal.punchd(&[command]);
            assert_eq!(output.status.code(), Some(78), "{text:?}: {}", message(&output));
            assert!(
                message(&output).contains(word) && message(&output).contains("punchd.toml"),
                "{text:?}: {}",
                message(&output)
            );
        }
    }
    // What may be mended without a word to punchd does not keep it from taking punches (tls.rs).
    let text = "server = \"https://h\"\nserial = \"S\"\n[tls]\nca = \"/no/such.pem\"";
    fs::write(terminal.path("punchd.toml"), text).unwrap();
    let output = terminal.punchd(&["check"]);
    assert_eq!(output.status.code(), Some(78), "{}", message(&output));
    assert!(message(&output).contains("/no/such.pem"), "{}", message(&output));
    fs::remove_file(terminal.path("punchd.toml")).unwrap();
    let output = terminal.punchd(&["check"]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_configuration_that_can_work_is_called_good() {
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    let output = terminal.punchd(&["check"]);
    assert!(output.status.success(), "{}", message(&output));
}

#[test]
fn what_the_configuration_names_and_is_not_there_is_refused_by_check_and_logged_by_run() {
    let mut terminal = Terminal::prepare(
        "http://127.0.0.1:1/iclock/cdata",
        "[drivers]\nshared = \"/no/shared\"\n[upgrade]\ncommand = [\"/no/upgrade\"]\n",
    );
    let config = fs::read_to_string(terminal.path("punchd.toml")).unwrap();
    let config = config.replace("serial = \"MADE0001\"", "serial = \"CHANGE-ME\"");
    fs::write(terminal.path("punchd.toml"), config).unwrap();
    let faults = [
        "server \"http://127.0.0.1:1/iclock/cdata\" ends with a path of the protocol, which punchd \
         adds by itself: write \"http://127.0.0.1:1\"",
        "serial is still \"CHANGE-ME\"",
        "[drivers] shared: the directory /no/shared cannot be used (No such file or directory (os \
         error 2)): create it (mkdir -p /no/shared), or name another",
        "[upgrade] command: the program \"/no/upgrade\" is not there: install it, or correct its \
         path",
    ];
    let output = terminal.punchd(&["check"]);
    assert_eq!(output.status.code(), Some(78), "{}", message(&output));
    assert_eq!(message(&output).lines().count(), faults.len(), "{}", message(&output));
    // It can be mended while punchd runs, and punches are recorded meanwhile.
    terminal.run();
    terminal.driver().punch("7", &second(1));
    for fault in faults {
        let path = terminal.path("punchd.toml");
        let line = format!("{}: {fault}", path.display());
        assert!(message(&output).contains(&format!("punchd: {line}")), "{}", message(&output));
        assert!(terminal.log().contains(&format!("error: {line}")), "{}", terminal.log());
    }
}

#[test]
fn the_configuration_that_ships_is_good() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/punchd.toml");
    punchd::config::Config::load(std::path::Path::new(example)).unwrap();
}

#[test]
fn a_damaged_store_is_refused_and_set_aside_only_on_request() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
    let damages: [Damage<'_>; 3] = [
        &|bytes| *bytes = b"this was never a store of any kind, nor a database".repeat(100),
        &|bytes| bytes[..16].fill(0),
        &|bytes| bytes[1024..].fill(0xAA),
    ];
    for damage in damages {
        let store = terminal.path("punchd.db");
        terminal.run();
        terminal.driver().punch("1001", &second(1));
        assert_eq!(terminal.stop(), 0);
        let mut bytes = fs::read(&store).unwrap();
        damage(&mut bytes);
        fs::write(&store, &bytes).unwrap();
        let output = terminal.punchd(&["run"]);
        assert_eq!(output.status.code(), Some(65), "{}", message(&output));
        assert!(message(&output).contains("--set-aside-damaged-store"), "{}", message(&output));
        assert_eq!(fs::read(&store).unwrap(), bytes, "the damaged store was touched");
        // As asked: the old file stays, under another name, and the terminal works.
        let mut child = terminal
            .command(&["run", "--set-aside-damaged-store"])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        terminal.wait_until_socket();
        terminal.driver().punch("1002", &second(2));
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = fs::read_dir(terminal.path("")).unwrap().filter_map(Result::ok).any(|file| {
            file.file_name().to_string_lossy().starts_with("punchd.db.damaged-")
                && fs::read(file.path()).unwrap() == bytes
        });
        assert!(kept, "the damaged store is gone");
        for file in ["punchd.db", "punchd.db-wal"] {
            let _ = fs::remove_file(terminal.path(file));
        }
    }
}

#[test]
fn a_store_of_something_else_or_of_later_is_refused() {
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    let db = rusqlite::Connection::open(terminal.path("punchd.db")).unwrap();
    db.execute_batch("CREATE TABLE cheese (x); PRAGMA user_version = 1;").unwrap();
    drop(db);
    let output = terminal.punchd(&["run"]);
    assert_eq!(output.status.code(), Some(65), "{}", message(&output));
    assert!(message(&output).contains("other program"), "{}", message(&output));
    fs::remove_file(terminal.path("punchd.db")).unwrap();
    punchd::store::Store::open(&terminal.path("punchd.db"), punchd::store::Limits::default())
        .unwrap();
    let db = rusqlite::Connection::open(terminal.path("punchd.db")).unwrap();
    // A later one that this one could go on with says so (`src/store/schema.rs`).
    db.execute_batch("PRAGMA user_version = 99; UPDATE option SET value = 99 WHERE key = 'punchd.readable-from';")
        .unwrap();
    drop(db);
    let output = terminal.punchd(&["run"]);
    assert_eq!(output.status.code(), Some(73), "{}", message(&output));
    assert!(message(&output).contains("later"), "{}", message(&output));
}

#[test]
fn a_store_that_cannot_be_made_or_is_in_use_is_said_plainly() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let output = terminal.punchd(&["run"]);
    assert_eq!(output.status.code(), Some(73), "{}", message(&output));
    assert!(message(&output).contains("in use"), "{}", message(&output));
    let elsewhere = Terminal::prepare(&server.url(), "");
    let text = fs::read_to_string(elsewhere.path("punchd.toml")).unwrap();
    fs::write(elsewhere.path("punchd.toml"), text.replace("punchd.db", "no/such/place.db"))
        .unwrap();
    let output = elsewhere.punchd(&["run"]);
    assert_eq!(output.status.code(), Some(73), "{}", message(&output));
    assert!(message(&output).contains("place.db"), "{}", message(&output));
}

#[test]
fn term_stops_cleanly_also_in_the_middle_of_an_exchange() {
    let server = server();
    server.fault(
        iclock_emulator::Fault::new(
            iclock_emulator::On::poll(),
            iclock_emulator::Act::Stall { ms: None },
        )
        .always(),
    );
    let mut terminal = Terminal::start(&server, "[timeouts]\nanswer = 600\nretry = 1");
    until_unanswered(&server);
    let started = std::time::Instant::now();
    assert_eq!(terminal.stop(), 0);
    assert!(started.elapsed() < TIMEOUT, "it waited for the answer");
    assert!(!terminal.path("run/driver.sock").exists());
    assert!(terminal.log().ends_with("stopped\n"), "{}", terminal.log());
}

/// A log that grew punch by punch would cost the file system's journal several blocks each time.
#[test]
fn the_log_of_the_store_has_its_size_from_the_start() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    for _ in 0..2 {
        terminal.run();
        let size = || fs::metadata(terminal.path("punchd.db-wal")).unwrap().len();
        until("as large as it gets", || size() >= 1100 << 10, || size().to_string());
        terminal.stop();
    }
}

#[test]
fn an_idle_terminal_wakes_only_to_poll() {
    let server = server();
    server.set_option("Delay", "2");
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let seen = || {
        let polls = server.requests().into_iter().filter(|seen| seen.exchange == "poll");
        polls.map(|seen| seen.at_ms).collect::<Vec<_>>()
    };
    polls(&server, 2);
    let (woken, before) = (terminal.proc("status", "voluntary_ctxt_switches"), seen().len());
    polls(&server, 4);
    let woken = terminal.proc("status", "voluntary_ctxt_switches") - woken;
    let times = seen();
    let polled = (times.len() - before) as u64;
    // A poll waits for the connection, for the answer, and for the next poll; the rest is
    // what the machine's other work adds.
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1900), "polls at {times:?} ms");
    assert!(woken <= polled * 8, "{woken} wake-ups for {polled} polls");
}
