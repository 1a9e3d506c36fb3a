//! What a review found: commands that get stuck, run wild, or come in the wrong order.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use iclock_emulator::{Act, Emulator, Fault, Kind, On};
use serde_json::json;

use crate::files::answer;
use crate::harness::{TIMEOUT, Terminal, second, server, targets};

/// A terminal with a directory `files` that is listed for everything.
fn terminal(server: &Emulator, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    fs::create_dir(terminal.path("files")).unwrap();
    let files = terminal.path("files").display().to_string();
    let commands = format!(
        "[commands]\nget_file = \"allow\"\nget_dirs = [\"{files}\"]\nput_dirs = [\"{files}\"]\n{more}"
    );
    terminal.configure(&server.url(), &commands);
    terminal.run();
    terminal.wait_until_online();
    terminal
}

fn store(terminal: &Terminal) -> rusqlite::Connection {
    rusqlite::Connection::open(terminal.path("punchd.db")).unwrap()
}

#[test]
fn a_journal_full_of_results_keeps_nobody_from_connecting() {
    let server = server();
    server.allow(Kind::UnknownCommand);
    let mut terminal = terminal(&server, "");
    terminal.stop();
    let mut db = store(&terminal);
    let filling = db.transaction().unwrap();
    for nth in 0..200_002_i64 {
        let digest: Vec<u8> = nth.to_le_bytes().iter().chain(&[0; 8]).copied().collect();
        let sql = "INSERT INTO command (digest, id, name, attempts, code, due) VALUES (?1, ?2, 'DATA', 1, 0, 1)";
        filling.execute(sql, rusqlite::params![digest, format!("x{nth}")]).unwrap();
    }
    filling.commit().unwrap();
    drop(db);
    terminal.run();
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    assert!(server.wait_until(TIMEOUT, |received| received.count("reply") > 5));
}

#[test]
fn the_list_after_one_that_was_cut_off_is_carried_out_with_care() {
    let server = server();
    let mut terminal = terminal(&server, "");
    terminal.stop();
    let mark = "SELECT count(*) FROM option WHERE key = 'punchd.list'";
    store(&terminal).execute("INSERT INTO option VALUES ('punchd.list', '1')", []).unwrap();
    let is_marked = |terminal: &Terminal| {
        store(terminal).query_row(mark, [], |row| row.get::<_, i64>(0)).unwrap() == 1
    };
    // Neither a handshake nor a poll without commands is the list that was cut off.
    terminal.run();
    let polls = server.received(|received| received.count("poll"));
    assert!(server.wait_until(TIMEOUT, |received| received.count("poll") > polls + 1));
    terminal.kill();
    assert!(is_marked(&terminal));
    terminal.run();
    let list: String = (0..3000).map(|nth| format!("C:l{nth}:SET OPTION Volume={nth}\n")).collect();
    server.next_poll_body(list);
    let last = server.queue("INFO");
    assert_eq!(answer(&server, "l2999").0, 0);
    assert_eq!(answer(&server, &last).0, 0);
    terminal.kill();
    assert!(!is_marked(&terminal));
    server.assert_strict();
}

#[test]
fn data_by_file_needs_the_permission_for_data() {
    let server = server();
    let mut terminal = terminal(&server, "data = \"deny\"");
    let add_ann = |terminal: &Terminal| {
        terminal.driver().call("user.put", json!({"pin": "1", "name": "Ann"})).unwrap();
    };
    add_ann(&terminal);
    server.serve_file("add", "DATA UPDATE USERINFO PIN=666\tPri=14");
    server.serve_file("none", " ");
    let none = "PutFile none\t\tAction=SyncData\tTableName=USERINFO\tRecordCount=0";
    for text in ["PutFile add\t\tAction=AppendData", none] {
        let id = server.queue(text);
        assert_eq!(answer(&server, &id).0, -1002, "{text}");
    }
    // An empty file in place of all users is a CLEAR DATA.
    terminal.stop();
    let files = terminal.path("files").display().to_string();
    terminal.configure(&server.url(), &format!("[commands]\nput_dirs = [\"{files}\"]"));
    terminal.run();
    let id = server.queue(none);
    assert_eq!(answer(&server, &id).0, -1002);
    assert_eq!(terminal.status()["users"], 1);
    server.assert_strict();
}

#[test]
fn what_changed_since_a_file_was_ordered_stays() {
    let server = server();
    let terminal = terminal(&server, "");
    server.serve_file(
        "users",
        "DATA UPDATE USERINFO PIN=1\tName=File\nDATA UPDATE USERINFO PIN=2\tName=File",
    );
    server.next_poll_body(
        "C:s0:DATA UPDATE USERINFO PIN=5\n\
         C:s1:PutFile users\t\tAction=SyncData\tTableName=USERINFO\tRecordCount=2\n\
         C:s2:DATA UPDATE USERINFO PIN=9\n\
         C:s3:DATA UPDATE USERINFO PIN=2\tName=Newer\n",
    );
    assert_eq!(answer(&server, "s1").0, 2);
    let mut driver = terminal.driver();
    let mut name =
        |pin: &str| driver.call("user.get", json!({"pin": pin})).unwrap()["name"].clone();
    assert_eq!(name("1"), "File");
    assert_eq!(name("2"), "Newer");
    assert_eq!(name("9"), "");
    assert!(name("5").is_null());
    server.assert_strict();
}

#[test]
fn only_so_many_commands_go_on_at_once() {
    let server = server();
    let terminal = terminal(&server, "");
    server.fault(
        Fault::new(On::file(), Act::Answer { status: 503, body: "later".into(), fields: vec![] })
            .always(),
    );
    let url = "a".repeat(1900);
    let list: String =
        (0..150).map(|nth| format!("C:j{nth}:PutFile {url}{nth}\tx{nth}\n")).collect();
    server.next_poll_body(list);
    assert_eq!(answer(&server, "j149").0, -1005);
    assert_eq!(answer(&server, "j100").0, -1005);
    let waiting = (0..100)
        .filter(|nth| server.received(|received| received.reply(&format!("j{nth}")).is_none()));
    assert_eq!(waiting.count(), 100);
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
}

#[test]
fn a_download_that_does_not_come_on_makes_pauses() {
    let server = server();
    // A file server that gives one byte a part, and one whose base64 is blanks.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let amount = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..amount]).to_ascii_lowercase();
            let from = request.split("bytes=").nth(1).and_then(|range| range.split('-').next());
            let from: u64 = from.and_then(|from| from.parse().ok()).unwrap_or(0);
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = write!(
                stream,
                "HTTP/1.1 206 Partial\r\nContent-Length: 1\r\nContent-Range: bytes {from}-{from}/100000000\r\n\
                 ETag: \"a\"\r\nConnection: close\r\n\r\nx"
            );
        }
    });
    let more =
        format!("urls = [\"http://127.0.0.1:{port}\"]\n[upgrade]\ncommand = [\"/bin/true\"]");
    let terminal = terminal(&server, &more);
    let mut blanks = vec![b'A'];
    blanks.resize(4 << 20, b' ');
    server.serve_file("emfw.cfg", blanks);
    let id =
        server.queue("UPGRADE checksum=0cc175b9c0f1b6a831c399e269772661,size=4000000,url=emfw.cfg");
    server.queue(&format!("PutFile http://127.0.0.1:{port}/x\tx"));
    assert_eq!(answer(&server, &id).0, -1008);
    assert!(targets(&server, "file").len() < 5);
    terminal.wait_for("in trouble", |status| status["jobs"][0]["trouble"].as_u64() > Some(1));
    std::thread::sleep(Duration::from_secs(3));
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 20, "asked {asked} times");
}

#[test]
fn a_416_is_an_empty_file_only_if_it_says_so() {
    let server = server();
    let terminal = terminal(&server, "");
    fs::write(terminal.path("files/x"), "precious").unwrap();
    let no_part = |range: &str| {
        let fields = vec![("Content-Range".into(), range.into())];
        Fault::new(On::file(), Act::Answer { status: 416, body: String::new(), fields })
    };
    server.serve_file("x", "new");
    server.fault(no_part("bytes */11"));
    let id = server.queue("PutFile x\tx");
    assert_eq!(answer(&server, &id).0, 3);
    server.fault(no_part("bytes */0"));
    let id = server.queue("PutFile x\ty");
    assert_eq!(answer(&server, &id).0, 0);
    assert_eq!(fs::read(terminal.path("files/x")).unwrap(), b"new");
    assert_eq!(fs::read(terminal.path("files/y")).unwrap(), b"");
}

#[cfg(feature = "tls")]
#[test]
fn https_beside_a_plain_server_is_no_end() {
    let server = server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut terminal = terminal(&server, &format!("urls = [\"https://127.0.0.1:{port}/\"]"));
    std::thread::spawn(move || listener.incoming().for_each(drop));
    server.queue(&format!("PutFile https://127.0.0.1:{port}/x\tx"));
    terminal.wait_for("in trouble", |status| status["jobs"][0]["trouble"].as_u64() > Some(0));
    assert!(!terminal.has_ended());
    assert_eq!(terminal.status()["online"], true);
}

#[test]
fn a_reboot_waits_for_the_program_that_installs() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let script = |name: &str, text: &str| {
        fs::write(terminal.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(terminal.path(name), mode).unwrap();
        terminal.path(name).display().to_string()
    };
    let hook = script("hook", "touch \"$0.begun\"; sleep 2; touch \"$0.done\"");
    let reboot = script("reboot", &format!("ls {hook}.done > \"$0.saw\" 2>&1"));
    let config = format!("[device]\nreboot = [\"{reboot}\"]\n[upgrade]\ncommand = [\"{hook}\"]");
    terminal.configure(&server.url(), &config);
    terminal.run();
    server.serve_file("emfw.cfg", "a");
    let upgrade = server
        .queue("UPGRADE type=1,checksum=0cc175b9c0f1b6a831c399e269772661,size=1,url=emfw.cfg");
    terminal.wait_for("handed over", |status| status["jobs"][0]["stage"] == "handed over");
    let id = server.queue("REBOOT");
    assert_eq!(answer(&server, &id).0, 0);
    assert_eq!(answer(&server, &upgrade).0, 0);
    let until = std::time::Instant::now() + TIMEOUT;
    while fs::read_to_string(terminal.path("reboot.saw")).is_ok_and(|saw| saw.is_empty())
        || !terminal.path("reboot.saw").exists()
    {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        fs::read_to_string(terminal.path("reboot.saw")).unwrap().trim(),
        format!("{hook}.done")
    );
    server.assert_strict();
}

#[test]
fn a_file_that_does_not_get_through_holds_up_no_other_answer() {
    let server = server();
    server.allow(Kind::CutShort);
    let terminal = terminal(&server, "");
    fs::write(terminal.path("files/x"), vec![b'x'; 100_000]).unwrap();
    let fault = Fault::new(On::reply(), Act::ResetRead).always().containing("CMD=GetFile");
    server.fault(fault);
    let file = server.queue(&format!("GetFile {}", terminal.path("files/x").display()));
    let info = server.queue("INFO");
    assert_eq!(answer(&server, &info).0, 0);
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    server.clear_faults();
    assert_eq!(answer(&server, &file).0, 100_000);
}
