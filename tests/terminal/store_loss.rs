//! A store that is gone, older than it was, damaged, or on a disk that fails: it is told everywhere,
//! and nothing healthy is set aside.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, second, server};

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `punchd status` says of a lost store.
fn notice(terminal: &Terminal) -> Option<String> {
    let status = terminal.status();
    let notice = status["store_notice"].as_str().map(str::to_owned);
    let shown = String::from_utf8(terminal.punchd(&["status", "--check"]).stdout).unwrap();
    assert_eq!(notice.is_some(), shown.contains(".notice when this is settled"), "{shown}");
    notice
}

/// A copy of a file of the terminal.
fn copy(terminal: &Terminal, from: &str, to: &str) {
    fs::copy(terminal.path(from), terminal.path(to)).unwrap();
}

#[test]
fn a_store_that_is_gone_is_told_until_a_person_acts() {
    type Loss<'a> = (&'a str, &'a dyn Fn(&mut Terminal));
    let losses: [Loss<'_>; 7] = [
        ("is missing or has no bytes", &|terminal| {
            terminal.stop();
            fs::remove_file(terminal.path("punchd.db")).unwrap();
        }),
        ("is missing or has no bytes", &|terminal| {
            terminal.stop();
            fs::write(terminal.path("punchd.db"), "").unwrap();
        }),
        ("its log was kept as", &|terminal| {
            terminal.kill();
            fs::write(terminal.path("punchd.db"), "").unwrap();
        }),
        ("the latest records are lost", &|terminal| {
            terminal.kill();
            fs::remove_file(terminal.path("punchd.db-wal")).unwrap();
        }),
        ("the latest records are lost", &|terminal| {
            terminal.kill();
            let log = terminal.path("punchd.db-wal");
            let mut bytes = fs::read(&log).unwrap();
            bytes[20] ^= 1;
            fs::write(&log, bytes).unwrap();
        }),
        ("is older than the one that ran here before", &|terminal| {
            terminal.stop();
            copy(terminal, "punchd.db", "backup");
            terminal.run();
            terminal.driver().punch("1002", &second(2));
            terminal.stop();
            copy(terminal, "backup", "punchd.db");
        }),
        ("is not the one that ran here before", &|terminal| {
            terminal.stop();
            let limits = punchd::store::Limits::default();
            punchd::store::Store::open(&terminal.path("other.db"), limits).unwrap();
            copy(terminal, "other.db", "punchd.db");
        }),
    ];
    for (expected, lose) in losses {
        let server = server();
        let mut terminal = Terminal::start(&server, "");
        terminal.driver().punch("1001", &second(1));
        assert_eq!(notice(&terminal), None, "{expected}");
        lose(&mut terminal);
        terminal.run();
        let told = notice(&terminal).unwrap_or_else(|| panic!("{expected}: not told"));
        assert!(told.contains(expected), "{told}");
        assert!(terminal.log().contains(expected), "{}", terminal.log());
        // No other error was recorded.
        let told = |received: &iclock_emulator::Received| {
            received.requests().any(|seen| seen.target.contains("table=ERRORLOG"))
        };
        assert!(server.wait_until(TIMEOUT, told), "{expected}: nothing in ERRORLOG");
        assert!(!terminal.log().contains("could not be written"), "{}", terminal.log());
        // It stays over a restart, until the file is removed; and is no news a second time.
        terminal.stop();
        terminal.run();
        assert!(notice(&terminal).is_some(), "{expected}");
        fs::remove_file(terminal.path("punchd.db.notice")).unwrap();
        assert_eq!(notice(&terminal), None, "{expected}");
        terminal.stop();
        terminal.run();
        assert_eq!(notice(&terminal), None, "{expected}: {}", terminal.log());
    }
}

#[test]
fn power_cuts_and_a_lost_marker_are_no_loss_of_the_store() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    for nth in 1..4 {
        terminal.run();
        terminal.driver().punch("1001", &second(nth));
        assert_eq!(notice(&terminal), None, "{}", terminal.log());
        match nth {
            1 => terminal.kill(),
            _ => {
                terminal.stop();
                fs::remove_file(terminal.path("punchd.db.marker")).unwrap();
            }
        }
    }
    // A marker that cannot be read is as good as none.
    fs::write(terminal.path("punchd.db.marker"), [0xFF; 4000]).unwrap();
    terminal.run();
    assert_eq!((notice(&terminal), &terminal.status()["punches"]), (None, &json!(3)));
}

#[test]
fn a_damaged_store_is_set_aside_without_a_person_where_the_owner_wants_it() {
    let more = "[limits]\nstart_spread = 0\non_damage = \"set-aside\"\n";
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", more);
    let damage = |terminal: &Terminal| {
        let store = terminal.path("punchd.db");
        let mut bytes = fs::read(&store).unwrap();
        bytes[1024..].fill(0xAA);
        fs::write(&store, &bytes).unwrap();
        bytes
    };
    let aside = |terminal: &Terminal| -> Vec<Vec<u8>> {
        let files = fs::read_dir(terminal.path("")).unwrap().map(Result::unwrap);
        let damaged = files.filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with("punchd.db.damaged-") && !name.ends_with("-wal")
        });
        damaged.map(|file| fs::read(file.path()).unwrap()).collect()
    };
    for nth in 1..=3 {
        terminal.run();
        terminal.driver().punch("1001", &second(nth));
        terminal.stop();
        let bytes = damage(&terminal);
        terminal.run();
        terminal.driver().punch("1002", &second(nth));
        let told = notice(&terminal).unwrap();
        // Each store that was set aside is told, also while the notice of an earlier one is there.
        let renamed = told.matches("was damaged; it was renamed to").count();
        assert_eq!(renamed, nth as usize, "{told}");
        assert!(!terminal.log().contains("could not be written"), "{}", terminal.log());
        assert_eq!(terminal.status()["punches"], 1);
        assert_eq!(aside(&terminal).len(), nth as usize);
        assert!(aside(&terminal).contains(&bytes), "the damaged store is gone");
        terminal.stop();
    }
    // Three times is the disk's fault: a person has to look.
    let bytes = damage(&terminal);
    let output = terminal.punchd(&["run"]);
    assert_eq!(output.status.code(), Some(65), "{}", message(&output));
    assert_eq!((fs::read(terminal.path("punchd.db")).unwrap(), aside(&terminal).len()), (bytes, 3));
}

#[test]
fn a_damaged_store_that_is_refused_is_left_as_a_power_cut_left_it() {
    // Given a store with a log, of which a page is damaged that the log does not have,
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    terminal.stop();
    terminal.run();
    terminal.driver().punch("1001", &second(1));
    terminal.kill();
    let store = terminal.path("punchd.db");
    let mut bytes = fs::read(&store).unwrap();
    bytes[8192..].fill(0xAA);
    fs::write(&store, &bytes).unwrap();
    let log = fs::read(terminal.path("punchd.db-wal")).unwrap();
    // when it is refused,
    let output = terminal.punchd(&["run"]);
    assert_eq!(output.status.code(), Some(65), "{}", message(&output));
    // then neither has changed: the punches in them may still be rescued.
    assert!(fs::read(&store).unwrap() == bytes, "the store was written");
    assert!(
        fs::read(terminal.path("punchd.db-wal")).is_ok_and(|now| now == log),
        "the log is gone"
    );
}

#[test]
fn a_store_of_another_program_is_never_set_aside() {
    let more = "[limits]\nstart_spread = 0\non_damage = \"set-aside\"\n";
    let terminal = Terminal::prepare("http://127.0.0.1:9", more);
    let db = rusqlite::Connection::open(terminal.path("punchd.db")).unwrap();
    db.execute_batch("CREATE TABLE cheese (x);").unwrap();
    drop(db);
    let before = fs::read(terminal.path("punchd.db")).unwrap();
    for arguments in [&["run"][..], &["run", "--set-aside-damaged-store"]] {
        let output = terminal.punchd(arguments);
        assert_eq!(output.status.code(), Some(65), "{}", message(&output));
        assert_eq!(fs::read(terminal.path("punchd.db")).unwrap(), before);
    }
}

/// Runs punchd where the disk fails at each read from the `nth` on.
fn run_on_a_failing_disk(terminal: &Terminal, nth: u32, arguments: &[&str]) -> Option<Output> {
    let command = terminal.command(arguments);
    let mut strace = Command::new("timeout");
    strace.args(["60", "strace", "-f", "-qq", "-o", "/dev/null", "-P"]);
    strace.arg(terminal.path("punchd.db")).args(["-e", "trace=pread64", "-e"]);
    strace.arg(format!("inject=pread64:error=EIO:when={nth}+"));
    strace.arg(command.get_program()).args(command.get_args());
    strace.stdin(Stdio::null()).output().ok()
}

#[test]
fn a_disk_that_fails_is_not_a_damaged_store() {
    let more = "[limits]\nstart_spread = 0\non_damage = \"set-aside\"\n";
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", more);
    terminal.run();
    terminal.driver().punch("1001", &second(1));
    terminal.stop();
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let before = fs::read(terminal.path("punchd.db")).unwrap();
    for nth in [1, 2, 3, 5, 8, 13, 21] {
        for arguments in [&["run"][..], &["run", "--set-aside-damaged-store"]] {
            let output = run_on_a_failing_disk(&terminal, nth, arguments).unwrap();
            let message = message(&output);
            assert_eq!(output.status.code(), Some(73), "read {nth}: {message}");
            assert!(message.contains("the disk failed while the store"), "read {nth}: {message}");
            assert!(!message.contains("set-aside"), "read {nth}: {message}");
            assert_eq!(fs::read(terminal.path("punchd.db")).unwrap(), before, "read {nth}");
        }
    }
    terminal.run();
    assert_eq!((notice(&terminal), &terminal.status()["punches"]), (None, &json!(1)));
}
