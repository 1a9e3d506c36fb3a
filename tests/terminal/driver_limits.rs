//! One bad driver harms nobody else: overlong lines, silence, floods, thousands of connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Driver, Terminal, answer, base64, jpeg, second, server, until};

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
fn ten_thousand_connections_leave_room_for_a_driver() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let socket = terminal.path("run/driver.sock");
    // What a first punch takes is not the connections' share.
    terminal.driver().punch("1", &second(0));
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
    let more = terminal.proc("status", "VmHWM").saturating_sub(before);
    assert!(more < 1024, "{more} KiB more");
}

#[test]
fn who_does_not_read_is_disconnected_with_a_reason() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut deaf = terminal.driver();
    deaf.call("register", json!({"name": "deaf", "provides": ["unlock"]})).unwrap();
    let data = base64(jpeg(700_000));
    deaf.call("picture.put", json!({"pin": "1", "kind": "user", "data": data})).unwrap();
    deaf.send(br#"{"jsonrpc":"2.0","id":7,"method":"changes"}"#).unwrap();
    let id = server.queue("AC_UNLOCK");
    let code = answer(&server, &id).0;
    assert!([-3, -1003].contains(&code), "{code}");
    terminal.driver().punch("1001", &second(1));
    let reason = "driver deaf disconnected: it did not read what it was sent";
    until("disconnected", || terminal.log().contains(reason), || terminal.log());
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
fn who_does_not_read_its_pages_leaves_the_room_for_pages_to_others() {
    const CALLS: usize = 12;
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut other = terminal.driver();
    let picture = |pin: &str| json!({"pin": pin, "kind": "user", "data": base64(jpeg(150_000))});
    other.call("picture.put", picture("1")).unwrap();
    // Together the pages are larger than the room for pages that were not read.
    let mut deaf = terminal.driver();
    let call = |id: usize| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"changes\"}}\n");
    let calls: String = (1..=CALLS).map(call).collect();
    deaf.stream().write_all(calls.as_bytes()).unwrap();
    for _ in 0..3 * CALLS {
        let page = other.call("changes", json!({})).unwrap();
        assert_eq!(page["pictures"][0]["pin"], "1", "{page}");
    }
    // So it is not disconnected for the others, and gets its answers when it reads.
    for id in 1..=CALLS {
        let page = deaf.receive().unwrap_or_else(|| panic!("page {id}: {}", terminal.log()));
        assert_eq!((&page["id"], &page["result"]["pictures"][0]["pin"]), (&json!(id), &json!("1")));
    }
}

#[test]
fn pages_that_many_do_not_read_share_a_bounded_room() {
    const PAGE_KIB: u64 = 900;
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut other = terminal.driver();
    let data = base64(jpeg(PAGE_KIB as usize * 1024 * 3 / 4));
    other.call("picture.put", json!({"pin": "1", "kind": "user", "data": data})).unwrap();
    other.call("changes", json!({})).unwrap();
    let before = terminal.proc("status", "VmHWM");
    let mut deaf: Vec<Driver> = (0..20).map(|_| terminal.driver()).collect();
    for driver in &mut deaf {
        driver.send(br#"{"jsonrpc":"2.0","id":1,"method":"changes"}"#).unwrap();
    }
    // In as many rounds each of them would get its page.
    for nth in 0..40 {
        other.punch("1001", &second(nth));
    }
    let more = terminal.proc("status", "VmHWM") - before;
    println!("20 pages of {PAGE_KIB} KiB that are not read take {more} KiB");
    assert!(more < 6 * PAGE_KIB, "{more} KiB");
}

#[test]
fn a_flood_from_one_driver_does_not_starve_another() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut flood = terminal.driver();
    let reader = BufReader::new(flood.stream().try_clone().unwrap());
    let flooding = thread::spawn(move || {
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
        while flood.send(call).is_ok() {}
    });
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answered);
    thread::spawn(move || {
        for _ in reader.lines().map_while(Result::ok) {
            counted.fetch_add(1, Relaxed);
        }
    });
    let mut other = terminal.driver();
    until("flooded", || answered.load(Relaxed) > 100, || terminal.log());
    let before = answered.load(Relaxed);
    for nth in 0..100 {
        other.punch("1001", &second(nth));
    }
    let meanwhile = answered.load(Relaxed) - before;
    println!("{meanwhile} calls of the flood were answered during 100 punches");
    assert!(!flooding.is_finished() && meanwhile < 100 * 1000, "{meanwhile} calls");
    drop(terminal);
    flooding.join().unwrap();
}
