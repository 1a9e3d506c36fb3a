//! The driver socket: what is answered, what is refused, and that one bad driver harms
//! nobody else.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::files::answer;
use crate::harness::{Driver, TIMEOUT, Terminal, second, server};

#[test]
fn wrong_input_is_refused_with_the_field_in_it() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for (method, params, field) in [
        ("punch", json!({}), "pin"),
        ("punch", json!({"pin": ""}), "pin"),
        ("punch", json!({"pin": "a\tb"}), "pin"),
        ("punch", json!({"pin": "1234567890123456789012345"}), "pin"),
        ("punch", json!({"pin": ["1"]}), "pin"),
        ("punch", json!({"pin": "1", "time": "2026-02-30 00:00:00"}), "time"),
        ("punch", json!({"pin": "1", "time": "yesterday"}), "time"),
        ("punch", json!({"pin": "1", "time": "1970-01-01 00:00:00"}), "time"),
        ("punch", json!({"pin": "1", "status": 256}), "status"),
        ("punch", json!({"pin": "1", "status": "0"}), "status"),
        ("punch", json!({"pin": "1", "status": 1.5}), "status"),
        ("punch", json!({"pin": "1", "verify": 29}), "verify"),
        ("punch", json!({"pin": "1", "verify": -1}), "verify"),
        ("punch", json!({"pin": "1", "workcode": "a b"}), "workcode"),
        ("punch", json!({"pin": "1\u{0}"}), "pin"),
        ("punch", json!({"pin": 1e300}), "pin"),
        ("punch", json!({"pin": "1", "status": 1e300}), "status"),
        ("punch", json!({"pin": "1", "status": u64::MAX}), "status"),
        ("punch", json!({"pin": "1", "verify": [[[]]]}), "verify"),
        ("alarm", json!({}), "reason"),
        ("alarm", json!({"reason": 65536}), "reason"),
        ("alarm", json!({"reason": "51"}), "reason"),
        ("alarm", json!({"reason": 51, "operator": "a\nb"}), "operator"),
        ("changes", json!({"after": -1}), "after"),
        ("changes", json!({"most": 1e3}), "most"),
        ("operation", json!({}), "op"),
        ("operation", json!({"op": 70000}), "op"),
        ("operation", json!({"op": 4, "who": "a\nb"}), "who"),
        ("operation", json!({"op": 4, "v3": "x".repeat(65)}), "v3"),
        ("user.get", json!({}), "pin"),
        ("user.get", json!({"pin": "a b"}), "pin"),
        ("user.put", json!({"name": "Ann"}), "pin"),
        ("user.put", json!({"pin": "1", "pri": 3}), "pri"),
        ("user.put", json!({"pin": "1", "card": "xyz"}), "card"),
        ("user.put", json!({"pin": "1", "name": "a\u{0}b"}), "name"),
        ("register", json!({}), "name"),
        ("register", json!({"name": ""}), "name"),
    ] {
        let error = driver.call(method, params.clone()).unwrap_err();
        assert_eq!(
            (&error["code"], &error["data"]["field"]),
            (&json!(-32602), &json!(field)),
            "{method} {params}: {error}"
        );
        assert!(error["message"].as_str().unwrap().contains(field), "{error}");
    }
    let status = terminal.status();
    assert_eq!((&status["punches"], &status["users"]), (&json!(0), &json!(0)));
}

#[test]
fn what_is_no_call_is_refused_by_the_rules_of_json_rpc() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for (line, code) in [
        (&b"{"[..], -32700),
        (b"\xff\xfe", -32700),
        (b"nonsense\0", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"st\xc3(\"}", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"", -32700),
        (b"\"method\":\"status\"}", -32700),
        (&[b'['; 5000], -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1e999,\"method\":\"status\"}", -32700),
        (b"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"status\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":null,\"result\":1}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":null}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":[1],\"result\":1}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sta\\u0000tus\"}", -32601),
        (b"[]", -32600),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}]", -32600),
        (b"7", -32600),
        (b"{\"id\":1,\"method\":\"status\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"status\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":[]}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fly\"}", -32601),
    ] {
        driver.send(line).unwrap();
        let answer = driver.receive().unwrap();
        assert_eq!(answer["error"]["code"], code, "{}: {answer}", String::from_utf8_lossy(line));
    }
    // The connection is as good as before; a notification is done and not answered.
    driver.send(br#"{"jsonrpc":"2.0","method":"punch","params":{"pin":"5","time":"2026-11-02 08:00:00"}}"#).unwrap();
    let seq = driver.punch("6", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2), "{seq}");
}

#[test]
fn registration_tells_the_driver_where_it_is() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let here = terminal
        .driver()
        .call("register", json!({"name": "sensor", "provides": ["fingerprint"], "new": 1}));
    assert_eq!(
        here.unwrap(),
        json!({"protocol": 1, "serial": "MADE0001", "version": env!("CARGO_PKG_VERSION")})
    );
    assert!(terminal.log().contains("driver sensor is here"));
}

#[test]
fn an_overlong_line_ends_its_own_connection_only() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut good = terminal.driver();
    let mut bad = terminal.driver();
    let line = vec![b'x'; 4 << 20];
    let _ = bad.stream().write_all(&line);
    assert_eq!(bad.receive().unwrap()["error"]["code"], -32600);
    assert!(bad.receive().is_none());
    good.punch("1001", &second(1));
}

#[test]
fn silent_and_dead_drivers_do_not_keep_others_out() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut working = terminal.driver();
    working.punch("1001", &second(1));
    // Many connect and say nothing, some die in the middle of a line.
    let socket = terminal.path("run/driver.sock");
    let mut silent: Vec<UnixStream> =
        (0..100).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for stream in silent.iter_mut().take(50) {
        let _ = stream.write_all(b"{\"jsonrpc\":");
    }
    silent.truncate(80);
    let mut newcomer = Driver::connect(&socket);
    newcomer.punch("1002", &second(2));
    working.punch("1003", &second(3));
    assert_eq!(terminal.status()["punches"], 3);
}

#[test]
fn a_thousand_connections_are_bounded() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut working = terminal.driver();
    working.call("register", json!({"name": "relay", "provides": ["unlock"]})).unwrap();
    let socket = terminal.path("run/driver.sock");
    for nth in 0..1000 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let bytes: &[u8] = match nth % 4 {
            0 => b"",
            1 => b"{\"jsonrpc\":\"2.0\",\"id\":1,",
            2 => b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}\n",
            _ => b"\n\0\n[]\n",
        };
        let _ = stream.write_all(bytes);
    }
    let mut newcomer = Driver::connect(&socket);
    newcomer.punch("1002", &second(2));
    working.punch("1001", &second(1));
    let open = std::fs::read_dir(format!("/proc/{}/fd", terminal.pid())).unwrap().count();
    assert!(open < 100, "{open} descriptors");
    // Who is at work is still asked.
    let id = server.queue("AC_UNLOCK");
    assert_eq!(working.receive().unwrap()["method"], "unlock");
    drop(working);
    assert_eq!(answer(&server, &id).0, -3);
}

#[test]
fn who_does_not_read_is_disconnected_with_a_reason() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut deaf = terminal.driver();
    deaf.call("register", json!({"name": "deaf", "provides": ["unlock"]})).unwrap();
    let photo = [&[0xff, 0xd8, 0xff][..], &[7; 700_000], &[0xff, 0xd9]].concat();
    let data = base64::engine::general_purpose::STANDARD.encode(photo);
    deaf.call("picture.put", json!({"pin": "1", "kind": "user", "data": data})).unwrap();
    deaf.send(br#"{"jsonrpc":"2.0","id":7,"method":"changes"}"#).unwrap();
    let id = server.queue("AC_UNLOCK");
    let code = answer(&server, &id).0;
    assert!([-3, -1003].contains(&code), "{code}");
    terminal.driver().punch("1001", &second(1));
    let until = Instant::now() + TIMEOUT;
    while !terminal.log().contains("driver deaf left: it did not read what it was told") {
        assert!(Instant::now() < until, "{}", terminal.log());
        std::thread::sleep(Duration::from_millis(50));
    }
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
fn a_flood_from_one_driver_does_not_starve_another() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut flood = terminal.driver();
    let mut reader = flood.stream().try_clone().unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let flooding = std::thread::spawn(move || {
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) && flood.send(call).is_ok() {}
    });
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut other = terminal.driver();
    let started = Instant::now();
    for nth in 0..20 {
        other.punch("1001", &second(nth));
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    drop(terminal);
    flooding.join().unwrap();
}

#[test]
fn a_driver_that_does_not_read_costs_no_memory() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut deaf = terminal.driver();
    deaf.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let call: Vec<u8> = br#"{"jsonrpc":"2.0","id":1,"method":"status"}
"#
    .repeat(200);
    let mut sent = 0;
    while deaf.stream().write_all(&call).is_ok() && sent < 200 {
        sent += 1;
    }
    assert!(sent < 200, "everything was taken, though no answer was read");
    terminal.driver().punch("1001", &second(1));
    let peak = terminal.proc("status", "VmHWM");
    assert!(peak < 24 << 10, "{peak} KiB");
    // What was asked is still answered when the driver comes back to it.
    let mut first = [0; 1];
    deaf.stream().read_exact(&mut first).unwrap();
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
    assert!(terminal.log().contains(&format!("driver sensor is here (process {pid}, user 0)")));

    driver.call("user.put", json!({"pin": "1"})).unwrap();
    let picture = [&[0xFF, 0xD8, 0xFF][..], &[7; 100_000], &[0xFF, 0xD9]].concat();
    std::fs::write(shared.join("1.jpg"), &picture).unwrap();
    let put = json!({"pin": "1", "kind": "user", "file": "1.jpg"});
    assert!(driver.call("picture.put", put).unwrap()["seq"].as_i64() > Some(0));
    std::os::unix::fs::symlink("/etc/passwd", shared.join("link")).unwrap();
    for file in ["../punchd.toml", "link", "/etc/passwd", "none", "", "."] {
        let put = json!({"pin": "1", "kind": "user", "file": file});
        let error = driver.call("picture.put", put).unwrap_err();
        assert_eq!(error["data"]["field"], "file", "{file}: {error}");
    }
    let came = |received: &iclock_emulator::Received| received.photos().len() == 1;
    assert!(server.wait_until(TIMEOUT, came));
}

#[test]
fn ten_thousand_connections_leave_room_for_a_driver() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let socket = terminal.path("run/driver.sock");
    let before = terminal.proc("status", "VmHWM");
    let mut silent = Vec::new();
    for nth in 0..10_000 {
        // Those that were turned away are closed on this side, too.
        silent.extend(std::os::unix::net::UnixStream::connect(&socket));
        if nth % 200 == 199 {
            silent.clear();
        }
    }
    let mut driver = terminal.driver();
    driver.punch("1", &second(1));
    let more = terminal.proc("status", "VmHWM") - before;
    assert!(more < 1024, "{more} KiB more");
}

#[test]
fn a_log_that_nobody_takes_in_stops_nothing() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    let log = terminal.run_telling(Stdio::piped()).unwrap();
    let here = |name: &str| {
        terminal.driver().call("register", json!({"name": name, "provides": []})).unwrap();
    };
    // Far more lines than the pipe takes.
    (0..3_000).for_each(|_| here("somebody with a name that is not short"));
    terminal.driver().punch("1001", &second(1));
    // Whoever comes back to it reads how many are missing.
    let mut lines = BufReader::new(log).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(300).count(), 300);
    here("late");
    let missing = lines.find(|line| line.contains("are missing here")).unwrap();
    assert!(lines.next().unwrap().contains("driver late is here"), "{missing}");
    assert_eq!(terminal.stop(), 0);
}
