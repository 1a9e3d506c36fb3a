//! The driver socket: registration, punches, alarms, whose socket it is, the log.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{TIMEOUT, Terminal, jpeg, second, server};

#[test]
fn registration_tells_the_driver_where_it_is() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let here = terminal
        .driver()
        .call("register", json!({"name": "sensor", "provides": ["fingerprint"], "new": 1}));
    assert_eq!(
        here.unwrap(),
        json!({"protocol": 1, "serial": "MADE0001", "version": env!("CARGO_PKG_VERSION"),
            "ignored": ["new"]})
    );
    assert!(terminal.log().contains("driver sensor registered"));
}

#[test]
fn alarms_are_operations_with_their_reason() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.driver().call("alarm", json!({"reason": 54, "time": second(9)})).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| {
        received
            .oplog()
            .iter()
            .any(|row| row.record.op == 3 && row.raw.ends_with(b"00:00:09\t0\t54\t0\t0"))
    }));
    server.assert_strict();
}

#[test]
fn punches_can_be_recorded_from_a_shell() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let done = terminal.punchd(&[
        "punch",
        "--pin",
        "1001",
        "--time",
        &second(1),
        "--verify",
        "1",
        "--workcode",
        "7",
    ]);
    assert!(done.status.success(), "{done:?}");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    assert!(server.attlog()[0].raw.ends_with(b"\t0\t1\t7\t0\t0"));
    let refused = terminal.punchd(&["punch", "--pin", "a b"]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pin"), "{refused:?}");
    let message = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(message.contains("online") && message.contains("MADE0001"), "{message}");
}

#[test]
fn punches_that_come_together_share_a_commit() {
    let server = server();
    server.pause();
    let terminal = Terminal::start(&server, "");
    let written = |terminal: &Terminal| terminal.proc("io", "wchar");
    let mut driver = terminal.driver();
    driver.punch("1", &second(0));
    let before = written(&terminal);
    for nth in 0..50 {
        driver.punch(&nth.to_string(), &second(nth));
    }
    let singly = (written(&terminal) - before) / 50;
    // Fifty in one write arrive in one turn.
    let lines: Vec<String> = (0..50)
        .map(|nth| json!({"jsonrpc": "2.0", "id": nth, "method": "punch", "params": {"pin": nth, "time": second(nth)}}).to_string())
        .collect();
    let before = written(&terminal);
    driver.send(lines.join("\n").as_bytes()).unwrap();
    let answers: Vec<Value> = (0..50).map(|_| driver.receive().unwrap()).collect();
    let together = (written(&terminal) - before) / 50;
    assert!(
        answers
            .iter()
            .enumerate()
            .all(|(nth, answer)| answer["id"] == nth && answer["result"]["seq"].is_u64())
    );
    println!("bytes written per punch: {singly} singly, {together} in bursts of fifty");
    assert!(singly <= 2600, "{singly} bytes a punch");
    assert!(together <= singly / 3, "{together} of {singly} bytes a punch");
}

#[test]
fn the_socket_belongs_to_whom_the_owner_says_and_large_data_comes_as_files() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let shared = terminal.path("shared");
    std::fs::create_dir(&shared).unwrap();
    let config = format!(
        "[drivers]\nmode = \"0600\"\ngroup = \"daemon\"\nshared = \"{}\"",
        shared.display()
    );
    terminal.configure(&server.url(), &config);
    terminal.run();
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "sensor"})).unwrap();
    let socket = std::fs::metadata(terminal.path("run/driver.sock")).unwrap();
    assert_eq!((socket.permissions().mode() & 0o777, socket.gid()), (0o600, 1));
    let pid = std::process::id();
    assert!(terminal.log().contains(&format!("driver sensor registered (process {pid}, user 0)")));

    driver.call("user.put", json!({"pin": "1"})).unwrap();
    std::fs::write(shared.join("1.jpg"), jpeg(100_000)).unwrap();
    let put = json!({"pin": "1", "kind": "user", "file": "1.jpg"});
    assert!(driver.call("picture.put", put).unwrap()["seq"].as_i64() > Some(0));
    std::os::unix::fs::symlink("/etc/passwd", shared.join("link")).unwrap();
    for file in ["../punchd.toml", "link", "/etc/passwd", "none", "", "."] {
        let put = json!({"pin": "1", "kind": "user", "file": file});
        let error = driver.call("picture.put", put).unwrap_err();
        assert_eq!(error["data"]["field"], "file", "{file}: {error}");
    }
    // The content is checked as it is in the file, and the error names the parameter.
    std::fs::write(shared.join("2.jpg"), "/9j/2Q==").unwrap();
    let put = json!({"pin": "1", "kind": "user", "file": "2.jpg"});
    let error = driver.call("picture.put", put).unwrap_err();
    assert_eq!(error["data"]["field"], "file", "{error}");
    let came = |received: &iclock_emulator::Received| received.photos().len() == 1;
    assert!(server.wait_until(TIMEOUT, came));
}

#[test]
fn a_log_that_nobody_takes_in_stops_nothing() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    let log = terminal.run_telling_all(Stdio::piped()).unwrap();
    let here = |name: &str| {
        terminal.driver().call("register", json!({"name": name, "provides": []})).unwrap();
    };
    let some = |count: u32| {
        let begun = Instant::now();
        (0..count).for_each(|_| here("somebody with a name that is not short"));
        begun.elapsed()
    };
    // Far more lines than the pipe takes; and none of those that find no room is waited for.
    let with_room = some(20);
    some(1_500);
    let without = some(20);
    assert!(without < 20 * with_room + Duration::from_secs(10), "{without:?}, {with_room:?}");
    terminal.driver().punch("1001", &second(1));
    // Whoever comes back to it reads how many are missing.
    let mut lines = BufReader::new(log).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(300).count(), 300);
    here("late");
    let missing = lines.find(|line| line.contains("are missing here")).unwrap();
    assert!(lines.any(|line| line.contains("driver late registered")), "{missing}");
    assert_eq!(terminal.stop(), 0);
}
