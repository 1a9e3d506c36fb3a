//! Faults: what the terminal sees of each, and whether the server did what it was asked.

mod terminal;

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use iclock_emulator::{Act, Emulator, Fault, On, Weather};
use terminal::{Answer, SN, Terminal, kinds, post, punch, start};

/// Uploads a punch under a fault: what came, how it ended, how many punches the server has.
fn upload_under(act: Act) -> (String, Option<ErrorKind>, usize) {
    let (server, t) = start();
    server.fault(Fault::new(On::table("ATTLOG"), act));
    let path = format!("/iclock/cdata?SN={SN}&table=ATTLOG&Stamp=1");
    let (came, end) = t.send(&post(&path, punch(1, 0).as_bytes()));
    let kept = server.attlog().len();
    let again = t.upload("ATTLOG", 1, &punch(1, 0));
    assert_eq!(again.body, "OK:1", "the fault is used up");
    server.assert_strict();
    (String::from_utf8_lossy(&came).into_owned(), end.err().map(|error| error.kind()), kept)
}

#[test]
fn nothing_is_answered() {
    let reset = Some(ErrorKind::ConnectionReset);
    for (act, end, kept) in [
        (Act::ResetUnread, reset, 0),
        (Act::ResetRead, reset, 0),
        (Act::Stall { ms: Some(20) }, None, 0),
        (Act::LoseAck { reset: false }, None, 1),
        (Act::LoseAck { reset: true }, reset, 1),
    ] {
        assert_eq!(upload_under(act.clone()), (String::new(), end, kept), "{act:?}");
    }
    let (came, _, kept) = upload_under(Act::Drop);
    assert_eq!((came.as_str(), kept), ("", 0));
}

#[test]
fn something_else_is_answered() {
    for (act, expected) in [
        (Act::status(500, "sorry"), "HTTP/1.1 500 "),
        (Act::html(), "<!DOCTYPE html>"),
        (Act::empty(), "Content-Length: 0\r\n"),
        (Act::redirect("https://localhost/"), "\r\nLocation: https://localhost/\r\n"),
        (Act::garbage(), "220 mail.example ESMTP"),
        (Act::LongLine { bytes: 100_000 }, "\r\n\r\nOKAAAA"),
    ] {
        let (came, end, kept) = upload_under(act.clone());
        assert!(came.contains(expected), "{act:?}");
        assert_eq!((end, kept), (None, 0), "{act:?}");
    }
}

#[test]
fn the_answer_is_spoilt() {
    let reset = Some(ErrorKind::ConnectionReset);
    for (act, head, body, end) in [
        (Act::HalfBody, "Content-Length: 4\r\n", "OK", None),
        (Act::ResetBody, "Content-Length: 4\r\n", "OK", reset),
        (Act::ShortLength, "Content-Length: 2\r\n", "OK:1", None),
        (Act::NoLength, "Connection: close\r\n", "OK:1", None),
        (Act::NoLengthReset, "Connection: close\r\n", "OK", reset),
        (Act::Chunked, "Transfer-Encoding: chunked\r\n", "1\r\nO\r\n3\r\nK:1\r\n0\r\n\r\n", None),
        (Act::CountOff { by: -1 }, "Content-Length: 4\r\n", "OK:0", None),
        (Act::CountOff { by: 5 }, "Content-Length: 4\r\n", "OK:6", None),
        (Act::NoCount, "Content-Length: 2\r\n", "OK", None),
        (Act::Drip { ms: 0 }, "Content-Length: 4\r\n", "OK:1", None),
        (Act::Delay { ms: 10 }, "Content-Length: 4\r\n", "OK:1", None),
    ] {
        let (came, ended, kept) = upload_under(act.clone());
        let answer = Answer::of(came.as_bytes());
        assert_eq!((answer.body.as_str(), ended, kept), (body, end, 1), "{act:?}");
        assert!(came.contains(head), "{act:?}: {came}");
        let no_length = matches!(act, Act::NoLength | Act::NoLengthReset | Act::Chunked);
        assert_eq!(came.contains("Content-Length"), !no_length, "{act:?}");
    }
}

#[test]
fn time_passes() {
    let (server, t) = start();
    let took = |act: Act| {
        server.fault(Fault::new(On::poll(), act));
        let since = Instant::now();
        t.poll_bytes();
        since.elapsed().as_millis()
    };
    assert!((30..2000).contains(&took(Act::Delay { ms: 30 })));
    assert!((30..2000).contains(&took(Act::Stall { ms: Some(30) })));
    assert!(took(Act::Drip { ms: 1 }) > 100);
}

#[test]
fn the_stalled_are_silent_until_they_are_released() {
    let (server, t) = start();
    server.fault(Fault::new(On::poll(), Act::Stall { ms: None }));
    let waiting = thread::spawn(move || t.poll_bytes());
    assert!(server.wait_until(Duration::from_secs(5), |received| received.count("poll") == 1));
    assert!(!waiting.is_finished());
    server.release_stalled();
    assert_eq!(waiting.join().unwrap(), b"");
    assert_eq!(t.poll().body, "OK");
}

#[test]
fn a_stalled_request_does_not_keep_the_server_from_ending() {
    let (server, t) = start();
    server.fault(Fault::new(On::any(), Act::Stall { ms: None }));
    let waiting = thread::spawn(move || t.poll_bytes());
    server.wait_until(Duration::from_secs(5), |received| received.count("poll") == 1);
    let since = Instant::now();
    drop(server);
    assert!(since.elapsed() < Duration::from_secs(2));
    waiting.join().unwrap();
}

#[test]
fn a_fault_meets_its_kind_of_request_only() {
    let (server, t) = start();
    server.fault(Fault::new(On::handshake(), Act::status(503, "")).times(2));
    server.fault(Fault::new(On::reply(), Act::status(502, "")));
    assert_eq!(t.poll().status, 200);
    assert_eq!([t.handshake().status, t.handshake().status, t.handshake().status], [503, 503, 200]);
    assert_eq!(t.reply("ID=1&Return=0&CMD=LOG").status, 502);
    server.fault(Fault::new(On::any(), Act::Drop));
    assert_eq!(t.poll_bytes(), b"", "without reading");
    server.fault(Fault::new(On::any(), Act::status(400, "")).always());
    assert_eq!([t.poll().status, t.poll().status], [400, 400]);
    server.clear_faults();
    assert_eq!(t.poll().status, 200);
    let statuses: Vec<u16> = server.requests().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 200, 503, 503, 200, 502, 400, 400, 200]);
    server.assert_strict();
}

#[test]
fn a_row_is_refused_as_long_as_it_is_there() {
    let (server, t) = start();
    server
        .fault(Fault::new(On::upload(), Act::status(400, "bad row")).containing("4711\t").always());
    assert_eq!(t.upload("ATTLOG", 2, &(punch(1, 0) + &punch(4711, 1))).status, 400);
    assert_eq!(t.upload("ATTLOG", 1, &punch(1, 0)).body, "OK:1");
    assert_eq!(t.upload("ATTLOG", 2, &punch(4711, 1)).status, 400);
    server.assert_strict();
}

#[test]
fn a_handshake_that_failed_is_none() {
    let server = Emulator::start(iclock_emulator::Settings::default()).unwrap();
    let t = Terminal::at(&server);
    server.fault(Fault::new(On::handshake(), Act::html()));
    server.fault(Fault::new(On::handshake(), Act::HalfBody));
    t.handshake();
    t.handshake();
    t.poll();
    assert_eq!(kinds(&server), [iclock_emulator::Kind::BeforeHandshake]);
}

#[test]
fn weather_is_the_same_for_the_same_seed() {
    let statuses = |seed| {
        let (server, t) = start();
        server.weather(Some(Weather { percent: 50, seed }));
        (0..20).for_each(|_| drop(t.poll_bytes()));
        server.weather(None);
        server.requests().iter().map(|seen| seen.status).collect::<Vec<_>>()
    };
    let one = statuses(1);
    assert_eq!(one, statuses(1));
    assert!(one.contains(&0) && one.iter().filter(|status| **status == 200).count() > 5);
}
