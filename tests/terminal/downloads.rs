//! Downloads: in parts, over faults and restarts, within limits, with pauses.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iclock_emulator::{Act, Fault, Kind, On};

use crate::harness::{
    RawAnswer, RawServer, TIMEOUT, answer, noise, polls, returns, second, server, targets,
    terminal_with_files,
};

#[test]
fn a_comparison_photo_is_fetched() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    let mut photo = vec![0xFF, 0xD8, 0xFF];
    photo.extend(noise(40_000));
    photo.extend([0xFF, 0xD9]);
    server.serve_file("photos/1.jpg", photo.clone());
    server.serve_file("photos/2.jpg", "no picture");
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=1"), 0);
    let by_url = |pin: u32, url: &str| {
        returns(&server, &format!("DATA UPDATE BIOPHOTO PIN={pin}\tType=9\tFormat=1\tUrl={url}"))
    };
    assert_eq!(by_url(1, "photos/1.jpg"), 0);
    assert_eq!(by_url(7, "photos/1.jpg"), -10);
    assert_eq!(by_url(1, "photos/2.jpg"), -1);
    assert_eq!(by_url(1, "http://192.0.2.1/1.jpg"), -1002);
    drop(terminal);
    server.assert_strict();
}

#[test]
fn a_download_goes_on_where_it_was_cut() {
    let server = server();
    let mut terminal = terminal_with_files(&server, "");
    let content = noise(4 << 20);
    server.serve_file("large.bin", content.clone());
    server.fault(Fault::new(On::file(), Act::ResetBody).times(1));
    server.fault(Fault::new(On::file(), Act::HalfBody).times(1));
    server.fault(Fault::new(
        On::file(),
        Act::Answer { status: 503, body: "busy".into(), fields: vec![] },
    ));
    let id = server.queue("PutFile large.bin\tlarge.bin");
    for _ in 0..3 {
        terminal.wait_for("some of it", |status| {
            status["jobs"][0]["fetched"].as_u64().unwrap_or(4 << 20) > 0
        });
        server.allow(Kind::CutShort);
        terminal.kill();
        terminal.run();
    }
    assert_eq!(answer(&server, &id).0, 4 << 20);
    assert!(fs::read(terminal.path("files/large.bin")).unwrap() == content);
    let fetched = server.received(|received| received.file_bytes());
    assert!(fetched < (4 << 20) + 6 * (512 << 10), "{fetched} bytes were fetched");
    server.assert_strict();
}

#[test]
fn a_file_that_changes_is_fetched_anew() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    let (old, new) = (noise(3 << 20), noise(2 << 20));
    server.serve_file("f", old);
    // Each part comes so late that the file changes before the last, however busy the machine is.
    server.fault(Fault::new(On::file(), Act::Delay { ms: 3000 }).always());
    let id = server.queue("PutFile f\tf");
    terminal.wait_for("some of it", |status| status["jobs"][0]["fetched"].as_u64() > Some(0));
    server.serve_file("f", new.clone());
    server.clear_faults();
    assert_eq!(answer(&server, &id).0, 2 << 20);
    assert!(fs::read(terminal.path("files/f")).unwrap() == new);
    server.assert_strict();
}

/// Faults of a file server; each is given up in the end, and leaves nothing behind.
#[test]
fn hopeless_downloads_are_given_up() {
    let server = server();
    let limits = "[limits]\nfile_mib = 1\nstart_spread = 0\n[timeouts]\nretry = 1\nanswer = 2";
    let terminal = terminal_with_files(&server, limits);
    server.set_option("ErrorDelay", "1");
    server.serve_file("too-long", noise((1 << 20) + 1));
    assert_eq!(returns(&server, "PutFile too-long\tx"), -1006);
    // Endless, and without a word of its length.
    let endless = noise(3 << 20);
    server.serve_file("endless", endless);
    server.fault(Fault::new(On::file(), Act::Chunked).always());
    assert_eq!(returns(&server, "PutFile endless\tx"), -1006);
    server.clear_faults();
    assert!(!terminal.path("files/x").exists());
    assert_eq!(fs::read_dir(terminal.path("punchd.db.files")).unwrap().count(), 0);
    server.assert_strict();
}

#[test]
fn a_file_that_is_not_there_is_given_up_and_holds_up_no_other() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    server.allow(Kind::UnknownPath);
    server.serve_file("b", "b");
    let missing = server.queue("PutFile a\ta");
    assert_eq!(returns(&server, "PutFile b\tb"), 1);
    assert_eq!(answer(&server, &missing).0, -1008);
    assert!(terminal.log().contains("the server has no file /"));
    let asked = targets(&server, "file").iter().filter(|target| target.ends_with("/a")).count();
    assert!((2..=4).contains(&asked), "{asked}");
}

#[test]
fn a_file_without_a_length_is_given_up_soon_and_the_reason_told() {
    let files = RawServer::start(|_| RawAnswer::Exactly(b"HTTP/1.0 200 OK\r\n\r\nabc".into()));
    let server = server();
    let terminal = terminal_with_files(&server, &format!("urls = [\"{}/\"]", files.url()));
    assert_eq!(returns(&server, &format!("PutFile {}/a\ta", files.url())), -1008);
    assert!(terminal.log().contains("does not say how long the file is (Content-Length)"));
    let asked = files.requests().len();
    assert!((2..=4).contains(&asked), "{asked}");
    assert!(!terminal.path("files/a").exists());
}

#[test]
fn hundreds_of_downloads_wait_and_none_is_refused() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    server.fault(
        Fault::new(On::file(), Act::Answer { status: 503, body: "later".into(), fields: vec![] })
            .always(),
    );
    let url = "a".repeat(1900);
    let list: String =
        (0..350).map(|nth| format!("C:j{nth}:PutFile {url}{nth}\tx{nth}\n")).collect();
    server.next_poll_body(list + "C:last:VERIFY SUM ATTLOG StartTime=2000-01-01 00:00:00\tEndTime=2000-01-02 00:00:00\n");
    assert_eq!(answer(&server, "last").0, 0);
    let waiting = (0..350)
        .filter(|nth| server.received(|received| received.reply(&format!("j{nth}")).is_none()));
    assert_eq!(waiting.count(), 350);
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
    let terminal = terminal_with_files(&server, &more);
    let mut blanks = vec![b'A'];
    blanks.resize(4 << 20, b' ');
    server.serve_file("emfw.cfg", blanks);
    let id =
        server.queue("UPGRADE checksum=0cc175b9c0f1b6a831c399e269772661,size=4000000,url=emfw.cfg");
    server.queue(&format!("PutFile http://127.0.0.1:{port}/x\tx"));
    assert_eq!(answer(&server, &id).0, -1008);
    assert!(targets(&server, "file").len() < 5);
    terminal.wait_for("in trouble", |status| status["jobs"][0]["trouble"].as_u64() > Some(1));
    polls(&server, 4);
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 20, "asked {asked} times");
}

#[test]
fn a_416_is_an_empty_file_only_if_it_says_so() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
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
    let mut terminal =
        terminal_with_files(&server, &format!("urls = [\"https://127.0.0.1:{port}/\"]"));
    std::thread::spawn(move || listener.incoming().for_each(drop));
    server.queue(&format!("PutFile https://127.0.0.1:{port}/x\tx"));
    terminal.wait_for("in trouble", |status| status["jobs"][0]["trouble"].as_u64() > Some(0));
    assert!(!terminal.has_ended());
    assert_eq!(terminal.status()["online"], true);
}

#[test]
fn a_file_that_the_disk_has_no_room_for_is_not_fetched() {
    let server = server();
    // As much is to stay free as no disk has.
    let limits = "[limits]\nfree_mib = 1000000000\nstart_spread = 0";
    let terminal = terminal_with_files(&server, limits);
    server.serve_file("x", noise(1000));
    assert_eq!(returns(&server, "PutFile x\tx"), -1001);
    assert_eq!(fs::read_dir(terminal.path("punchd.db.files")).unwrap().count(), 0);
}
