//! Personas: each plays its server of the field.

mod terminal;

use std::time::{Duration, Instant};

use iclock_emulator::{DateField, Kind, Persona, Settings};
use terminal::{SN, get, kinds, post, punch, start, start_with};

/// What a persona answers to the initial exchange.
fn handshake_of(persona: Persona) -> String {
    let (_server, t) = start_with(Settings::persona(persona));
    t.handshake().body
}

#[test]
fn stamps() {
    for (persona, line) in [
        (Persona::Document, "\nATTLOGStamp=None\n"),
        (Persona::NoneStamps, "\nStamp=None\n"),
        (Persona::ZeroStamps, "\nOPERLOGStamp=0\n"),
        (Persona::KeepStamps, "\nATTLOGStamp=0\n"),
        (Persona::Stamps9999, "\nATTLOGStamp=9999\n"),
    ] {
        assert!(handshake_of(persona).contains(line), "{persona}");
    }
    let body = handshake_of(Persona::UnixStamps);
    let stamp = body.lines().find_map(|line| line.strip_prefix("ATTLOGStamp=")).unwrap();
    assert!(stamp.parse::<u64>().unwrap() > 1_700_000_000);
}

#[test]
fn kept_stamps_come_back_and_a_zero_lets_old_rows_follow() {
    let (server, t) = start_with(Settings::persona(Persona::KeepStamps));
    t.upload("ATTLOG", 57, &punch(1, 0));
    assert!(t.handshake().body.contains("\nATTLOGStamp=57\n"));
    server.set_option("ATTLOGStamp", "0");
    t.handshake();
    t.upload("ATTLOG", 12, &punch(2, 0));
    server.assert_strict();
}

#[test]
fn a_bare_ok_means_the_oldest_version() {
    let (server, t) = start_with(Settings::persona(Persona::OkOnly));
    assert_eq!(t.handshake().body, "OK");
    t.poll();
    server.assert_strict();
    let row = "ERRORLOG ErrCode=D01E0001\tErrMsg=\tDataOrigin=dev\tCmdId=\tAdditional=\n";
    t.upload("ERRORLOG", 1, row);
    assert_eq!(kinds(&server), [Kind::Version]);
}

#[test]
fn line_ends() {
    for (persona, expected) in [
        (Persona::Crlf, "C:1:LOG\r\nC:2:CHECK\r\n"),
        (Persona::LfCrLf, "C:1:LOG\n\r\nC:2:CHECK\n\r\n"),
    ] {
        let (server, t) = start_with(Settings::persona(persona));
        server.queue("LOG");
        server.queue("CHECK");
        assert_eq!(t.poll().body, expected, "{persona}");
    }
    assert!(handshake_of(Persona::Crlf).contains("\r\nDelay=10\r\n"));
}

#[test]
fn commands_at_the_end_of_the_options() {
    let (server, t) = start_with(Settings::persona(Persona::CommandsInHandshake));
    server.queue("LOG");
    assert!(t.handshake().body.ends_with("\nPushOptionsFlag=1\nC:1:LOG\n"));
    t.reply("ID=1&Return=0&CMD=LOG");
    assert_eq!(t.poll().body, "OK");
    server.assert_strict();
}

#[test]
fn only_new_rows_count() {
    let (server, t) = start_with(Settings::persona(Persona::CountNewOnly));
    let rows = punch(1, 0) + &punch(2, 0);
    assert_eq!(t.upload("ATTLOG", 2, &rows).body, "OK: 2");
    assert_eq!(t.upload("ATTLOG", 2, &rows).body, "OK: 0");
    assert_eq!(t.upload("ATTLOG", 3, &(rows + &punch(3, 0))).body, "OK: 1");
    server.assert_strict();
}

#[test]
fn a_socket_read_once() {
    let (server, t) = start_with(Settings::persona(Persona::ReadOnce));
    let since = Instant::now();
    assert_eq!(t.upload("ATTLOG", 1, &punch(1, 0)).body, "OK:1");
    assert!(since.elapsed() >= Duration::from_millis(500));
    server.assert_strict();
    let rows: String = (0..300).map(|n| punch(100 + n, n)).collect();
    assert_eq!(t.upload("ATTLOG", 301, &rows).body, "OK", "to rows it never saw");
    assert!(server.attlog().len() < 300);
    assert_eq!(kinds(&server), [Kind::SplitRequest]);
}

#[test]
fn a_page_for_whom_it_does_not_know() {
    let settings =
        Settings { serials: vec![SN.into()], ..Settings::persona(Persona::HtmlOnUnknown) };
    let (server, t) = start_with(settings);
    server.allow(Kind::UnknownSerial);
    server.allow(Kind::UnknownPath);
    let stranger = t.get("/iclock/cdata?SN=NOBODY&options=all");
    assert_eq!((stranger.status, &stranger.body[..9]), (200, "<!DOCTYPE"));
    assert_eq!(&t.get("/iclock/ping").body[..9], "<!DOCTYPE");
    assert_eq!(t.poll().body, "OK");
    server.assert_strict();
}

#[test]
fn rows_that_share_a_body_with_photos_of_users_are_passed_over() {
    let (server, t) = start_with(Settings::persona(Persona::UserpicAlone));
    t.handshake();
    let picture = "USERPIC PIN=1\tFileName=1.jpg\tSize=8\tContent=/9j/2Q==\n";
    let operation = "OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0\n";
    assert_eq!(t.upload("OPERLOG", 2, &format!("{operation}{picture}")).body, "OK:2");
    assert_eq!((server.oplog().len(), kinds(&server)), (0, vec![Kind::SharedBody]));
    assert_eq!(t.upload("OPERLOG", 3, operation).body, "OK:1");
    assert_eq!(server.oplog().len(), 1);
}

#[test]
fn a_terminal_the_server_gets_to_know_later() {
    let (server, t) = start();
    server.allow(Kind::UnknownSerial);
    server.set_serials(&["TEST0009"]);
    assert_eq!(t.handshake().body, "UNKNOWN DEVICE");
    server.set_serials(&[SN]);
    assert!(t.handshake().body.starts_with("GET OPTION FROM: "));
    server.assert_strict();
}

#[test]
fn the_clock() {
    let (server, t) = start();
    let dates = || {
        let head = t.poll().head;
        let dates = head.lines().filter_map(|line| line.strip_prefix("Date: "));
        dates.map(str::to_owned).collect::<Vec<_>>()
    };
    server.fix_clock(Some(1_435_906_381));
    assert_eq!(dates(), ["Fri, 03 Jul 2015 06:53:01 GMT"]);
    server.set_clock_offset(-60);
    assert_eq!(dates(), ["Fri, 03 Jul 2015 06:52:01 GMT"]);
    server.set_date_field(DateField::Doubled);
    assert_eq!(dates().len(), 2);
    server.set_date_field(DateField::Omitted);
    assert!(dates().is_empty());
}

#[test]
fn a_handshake_of_the_tests_own() {
    let (server, t) = start();
    server.next_handshake_body("get options from: x\r\nTransFlag=TransData\nAttLog");
    assert_eq!(t.handshake().body, "get options from: x\r\nTransFlag=TransData\nAttLog");
    assert!(t.handshake().body.starts_with("GET OPTION FROM: TEST0001\n"));
    server.assert_strict();
}

#[test]
fn one_answer_in_one_piece() {
    // The terminal's own helpers are tested along: a request is one write, an answer is read whole.
    let (_server, t) = start();
    let (came, _) = t.send(get(&format!("/iclock/getrequest?SN={SN}")).as_bytes());
    assert!(came.starts_with(b"HTTP/1.1 200 OK\r\nServer: iclock-emulator\r\nDate: "));
    assert!(post("/x", b"ab").ends_with(b"Content-Length: 2\r\n\r\nab"));
}
