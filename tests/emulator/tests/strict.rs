//! Every rule the server minds: a terminal that breaks it is told so, and of nothing else; one that
//! keeps them all is told nothing.
#![allow(clippy::unwrap_used)] // this is a test

mod terminal;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use iclock_emulator::{Kind, Settings};
use terminal::{SN, Terminal, get, kinds, post, punch, start, start_with};

/// Does the one thing that `kind` is about. The match has no default: a new kind needs its line
/// here.
fn provoke(kind: Kind, t: Terminal) {
    let path = |table: &str, rest: &str| format!("/iclock/cdata?SN={SN}&table={table}&{rest}");
    let att = path("ATTLOG", "Stamp=1");
    let opr = path("OPERLOG", "Stamp=1");
    let bare = |line: &str, fields: &str, body: &str| {
        t.raw(&format!("{line}\r\n{fields}Connection: close\r\n\r\n{body}"));
    };
    let length = |n: usize| format!("Host: x\r\nContent-Length: {n}\r\n");
    let poll = |info: &str| t.get(&format!("/iclock/getrequest?SN={SN}&INFO={info}"));
    let row = punch(1, 0);
    match kind {
        Kind::Malformed => drop(t.send(b"EHLO terminal\r\n\r\n")),
        Kind::CutShort => {
            let mut socket = t.connect();
            let request = post(&att, row.as_bytes());
            socket.write_all(&request[..request.len() - 5]).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            socket.read_to_end(&mut Vec::new()).unwrap();
        }
        Kind::HttpVersion => {
            bare(&format!("GET /iclock/getrequest?SN={SN} HTTP/1.0"), "Host: x\r\n", "");
        }
        Kind::MissingHost => bare(&format!("GET /iclock/getrequest?SN={SN} HTTP/1.1"), "", ""),
        Kind::MissingLength => bare(&format!("POST {att} HTTP/1.1"), "Host: x\r\n", ""),
        Kind::Chunked => {
            let fields = "Host: x\r\nTransfer-Encoding: chunked\r\n";
            bare(&format!("POST {att} HTTP/1.1"), fields, "0\r\n\r\n");
        }
        Kind::ContentType => {
            let fields = length(row.len()) + "Content-Type: application/x-www-form-urlencoded\r\n";
            bare(&format!("POST {att} HTTP/1.1"), &fields, &row);
        }
        Kind::SplitRequest => {
            let mut socket = t.connect();
            let request = post(&att, row.as_bytes());
            let (head, body) = request.split_at(request.len() - row.len());
            socket.write_all(head).unwrap();
            thread::sleep(Duration::from_millis(100));
            socket.write_all(body).unwrap();
            socket.read_to_end(&mut Vec::new()).unwrap();
        }
        Kind::QueryEncoding => {
            assert_eq!(poll("Ver 1,0,0,0,10.0.0.1,10,7,15,0,111").status, 400);
            poll("Ver|1,0,0,0,10.0.0.1,10,7,15,0,111");
        }
        Kind::DuplicateParameter => drop(t.get(&format!("/iclock/getrequest?SN={SN}&SN={SN}"))),
        Kind::UnknownPath => {
            t.get(&format!("/iclock/ping?SN={SN}"));
            t.upload("RTLOG", 1, &row);
            t.post(&format!("/iclock/exchange?SN={SN}&type=publickey"), "PublicKey=x");
        }
        Kind::Method => {
            t.post(&format!("/iclock/getrequest?SN={SN}"), "");
            t.get(&format!("/iclock/devicecmd?SN={SN}"));
        }
        Kind::MissingSerial => {
            t.get("/iclock/getrequest");
            t.get("/iclock/getrequest?SN=");
        }
        Kind::UnknownSerial => {
            assert_eq!(t.get("/iclock/getrequest?SN=NOBODY").body, "UNKNOWN DEVICE");
        }
        #[cfg(not(feature = "exchange"))]
        Kind::KeyForm | Kind::Unsealed => unreachable!("this build has no keys"),
        #[cfg(feature = "exchange")]
        Kind::KeyForm => {
            t.post(&format!("/iclock/exchange?SN={SN}&type=publickey"), "PublicKey=x");
            t.post(&format!("/iclock/exchange?SN={SN}&type=factors"), "Factors=x");
        }
        #[cfg(feature = "exchange")]
        Kind::Unsealed => {
            exchange_keys(t);
            assert_eq!(t.get(&format!("/iclock/getrequest?SN={SN}")).status, 409);
        }
        Kind::BeforeHandshake => drop(t.get("/iclock/getrequest?SN=TEST0002")),
        Kind::HandshakeParameter => {
            for rest in ["options=some", "options=all&pushver=2.2.9", "options=all&language=zh"] {
                t.get(&format!("/iclock/cdata?SN={SN}&{rest}"));
            }
        }
        Kind::MissingStamp => {
            t.post(&format!("/iclock/cdata?SN={SN}&table=ATTLOG"), &row);
            t.post(&format!("/iclock/cdata?SN={SN}&table=options"), "FingerFunOn=1");
        }
        Kind::StampForm => drop(t.post(&path("ATTLOG", "Stamp=None"), &row)),
        Kind::StampOrder => {
            t.upload("ATTLOG", 7, &row);
            t.upload("ATTLOG", 7, &row);
            t.upload("ATTLOG", 6, &punch(2, 0));
        }
        Kind::StampDialect => {
            t.upload("ATTLOG", 9999, &row);
            t.upload("ATTLOG", 9999, &punch(2, 0));
        }
        Kind::OpStampDialect => {
            t.post(
                &path("OPERLOG", "OpStamp=9999"),
                "OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0\n",
            );
        }
        Kind::EmptyBody => {
            t.post(&att, "");
            t.reply("");
        }
        Kind::BodySize => {
            drop(t.upload("ATTLOG", 40, &(0..40).map(|n| punch(n, n)).collect::<String>()))
        }
        Kind::RowEnd => {
            t.post(&att, row.trim_end());
            t.upload("ATTLOG", 2, &punch(2, 0).replace('\n', "\r\n"));
        }
        Kind::BlankRow => drop(t.post(&att, format!("{row}\n"))),
        Kind::SharedBody => {
            let picture = "USERPIC PIN=1\tFileName=1.jpg\tSize=8\tContent=/9j/2Q==\n";
            let operation = "OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0\n";
            t.post(&opr, format!("{operation}{picture}"));
        }
        Kind::UnknownRow => drop(t.post(&opr, "NOTE PIN=1\n")),
        Kind::Encoding => drop(t.post(&att, b"\xd5\xc5\t2026-03-02 08:00:00\t0\t1\t0\t0\t0\n")),
        Kind::FieldCount => {
            t.post(&att, "1\t2026-03-02 08:00:00\t0\t1\n");
            t.post(&opr, "OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\n");
        }
        Kind::AttlogDialect => {
            t.post(&att, "1\t2026-03-02 08:00:00\t0\t1\t\t0\t0\t\t\t43\n");
        }
        Kind::Keys => drop(t.post(&opr, "FP Pin=1\tFID=0\tSize=4\tValid=1\tTMP=AAAA\n")),
        Kind::Time => drop(t.post(&att, row.replace("2026-03-02", "2026-02-30"))),
        Kind::Pin => drop(t.post(&att, format!("{}{row}", "9".repeat(24)))),
        Kind::Value => drop(t.post(&opr, "FP PIN=1\tFID=12\tSize=4\tValid=1\tTMP=AAAA\n")),
        Kind::NameLength => {
            let keys = "Pri=0\tPasswd=\tCard=\tGrp=1\tTZ=0000000000000000\tVerify=-1\tViceCard=";
            t.post(&opr, format!("USER PIN=1\tName={}\t{keys}\n", "N".repeat(256)));
        }
        Kind::Size => drop(t.post(&opr, "FP PIN=1\tFID=0\tSize=3\tValid=1\tTMP=AAAA\n")),
        Kind::Base64 => drop(t.post(&opr, "FP PIN=1\tFID=0\tSize=4\tValid=1\tTMP=A*AA\n")),
        Kind::FaceHeader => drop(t.post(&opr, "FACE PIN=1\tFID=0\tSIZE=4\tVALID=1\tTMP=AAAA\n")),
        Kind::FileName => {
            t.post(&opr, "USERPIC PIN=1\tFileName=1.png\tSize=4\tContent=AAAA\n");
            t.upload("ATTPHOTO", 1, &format!("PIN=1.jpg\nSN={SN}\nsize=1\nCMD=uploadphoto\0x"));
        }
        Kind::Additional => {
            let row =
                "ERRORLOG ErrCode=D01E0001\tErrMsg=\tDataOrigin=dev\tCmdId=\tAdditional=AAAA\n";
            t.upload("ERRORLOG", 1, row);
        }
        Kind::PhotoForm => {
            t.upload("ATTPHOTO", 1, "no picture");
            let name = "20260302080000-1.jpg";
            t.upload("ATTPHOTO", 2, &format!("PIN={name}\nSN=OTHER\nsize=1\nCMD=uploadphoto\0x"));
        }
        Kind::Archive => {
            t.post(&path("OPERLOG", "Stamp=1&ContentType=tgz"), "no archive");
        }
        Kind::OptionsForm => drop(t.upload("options", 1, "FingerFunOn")),
        Kind::Version => {
            t.get(&format!("/iclock/cdata?SN={SN}&options=all&pushver=2.2.14"));
            t.upload("ATTLOG", 1, "1\t2026-03-02 08:00:00\t0\t1\t0\t0\t0\t210218199105072345\t0\n");
            let row = "ERRORLOG ErrCode=D01E0001\tErrMsg=\tDataOrigin=dev\tCmdId=\tAdditional=\n";
            t.upload("ERRORLOG", 1, row);
        }
        Kind::RowDiffers => {
            t.upload("ATTLOG", 1, &row);
            t.upload("ATTLOG", 2, &row.replace("\t0\t1\t", "\t1\t1\t"));
            t.upload("ATTLOG", 3, &punch(3, 0));
            t.upload("ATTLOG", 4, &punch(4, 0));
            t.upload("ATTLOG", 4, &punch(3, 0));
        }
        Kind::Query => {
            t.upload("ATTLOG&Count=1&PackCnt=1", 1, &row);
            t.upload("ATTLOG&Count=1&PackCnt=1&PackIdx=1&CmdId=none", 1, &row);
            t.upload("ATTLOG&Count=x&PackCnt=1&PackIdx=1&CmdId=none", 1, &row);
        }
        Kind::InfoCount => drop(poll("Ver,1,2")),
        Kind::InfoDialect => drop(poll("Ver,1,0,16,192.168.0.25,10,39,12,1,01110,0,0,0")),
        Kind::InfoValue => drop(poll("Ver,0,0,0,192.168.16.27,10,7,15,0,1")),
        Kind::UnknownCommand => drop(t.reply("ID=404&Return=0&CMD=DATA")),
        Kind::ReplyForm
        | Kind::ReplyOrder
        | Kind::ReplyDialect
        | Kind::ReplyName
        | Kind::ReplyCount
        | Kind::ReplyAlone
        | Kind::ReplyDiffers => {
            assert_eq!(t.poll().body, "C:1:CHECK\nC:2:INFO\nC:3:PutFile a.bin");
            provoke_reply(kind, t);
        }
    }
}

#[cfg(feature = "exchange")]
fn exchange_keys(t: Terminal) {
    use iclock_emulator::suite;
    let target = |kind: &str| format!("/iclock/exchange?SN={SN}&type={kind}");
    let ours = suite::ServerKeys::make();
    let answer = t.post(&target("publickey"), format!("PublicKey={}", ours.public));
    let theirs = answer.body.trim().strip_prefix("PublicKey=").unwrap().to_owned();
    let factor = suite::wrap(&theirs, &[7; 32]).unwrap();
    assert_eq!(t.post(&target("factors"), format!("Factors={factor}")).status, 200);
}

fn provoke_reply(kind: Kind, t: Terminal) {
    let one = "ID=1&Return=0&CMD=CHECK";
    match kind {
        Kind::ReplyForm => t.reply("ID=1&Return=yes&CMD=CHECK"),
        Kind::ReplyOrder => t.reply("ID=1&CMD=CHECK&Return=0"),
        Kind::ReplyDialect => t.reply("ID=3&Return=1&CMD=PutFile"),
        Kind::ReplyName => t.reply("ID=1&Return=0&CMD=DATA"),
        Kind::ReplyCount => t.reply(&vec![one; 101].join("\n")),
        Kind::ReplyAlone => t.reply(&format!("{one}\nID=2&Return=0&CMD=INFO\nUserCount=1\n")),
        _ => {
            t.reply(one);
            t.reply("ID=1&Return=-1&CMD=CHECK")
        }
    };
}

#[test]
fn every_rule_is_minded_and_named_alone() {
    for kind in Kind::ALL.iter().copied() {
        let exchanges_keys = matches!(kind, Kind::KeyForm | Kind::Unsealed);
        if exchanges_keys && cfg!(not(feature = "exchange")) {
            continue;
        }
        let serials = match kind {
            Kind::UnknownSerial => vec![SN.to_owned()],
            _ => Vec::new(),
        };
        let options = match kind {
            Kind::BodySize => vec![("MaxPostSize".to_owned(), "1000".to_owned())],
            _ if exchanges_keys => vec![("Encrypt".to_owned(), "1".to_owned())],
            _ => Vec::new(),
        };
        let body_grace = Duration::from_millis(if kind == Kind::SplitRequest { 50 } else { 5000 });
        let (server, t) = start_with(Settings {
            serials,
            options,
            body_grace,
            exchanges_keys,
            ..Settings::default()
        });
        server.queue("CHECK");
        server.queue("INFO");
        server.queue("PutFile a.bin");
        provoke(kind, t);
        assert_eq!(kinds(&server), [kind], "{:#?}", server.deviations());
    }
}

#[test]
fn what_is_allowed_is_no_deviation() {
    let (server, t) = start();
    server.allow(Kind::AttlogDialect);
    server.allow(Kind::StampDialect);
    for pin in [12, 13] {
        t.upload("ATTLOG", 9999, &format!("{pin}\t2026-10-05 11:49:53\t1\t1\t\t0\t0\t\n"));
    }
    server.assert_strict();
    assert_eq!(server.attlog().len(), 2);
}

#[test]
fn a_sentence_names_request_and_field() {
    let (server, t) = start();
    t.upload("ATTLOG", 2, &format!("{}2\t2026-03-02 08:00:00\t0\t1\n", punch(1, 0)));
    assert_eq!(
        server.deviations(),
        [
            "request 2 (POST cdata?SN=TEST0001&table=ATTLOG&Stamp=2): row 2 of ATTLOG: the row has 4 values joined by TAB, not 7"
        ]
    );
}

#[test]
#[should_panic(expected = "there is no Stamp")]
fn assert_strict_shows_the_list() {
    let (server, t) = start();
    t.post(&format!("/iclock/cdata?SN={SN}&table=ATTLOG"), punch(1, 0));
    server.assert_strict();
}

#[test]
fn a_connection_without_a_request_is_nothing() {
    let (server, t) = start();
    drop(t.connect());
    t.poll();
    server.assert_strict();
}

#[test]
fn several_requests_may_share_a_connection() {
    let (server, t) = start();
    let mut socket = t.connect();
    for n in 1..=3 {
        let request =
            get(&format!("/iclock/getrequest?SN={SN}")).replace("Connection: close\r\n", "");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let length = socket.read(&mut answer).unwrap();
        assert!(answer[..length].ends_with(b"\r\n\r\nOK"), "{n}");
    }
    assert_eq!(server.received(|received| received.count("poll")), 3);
    assert_eq!(server.requests().iter().filter(|seen| seen.connection == 2).count(), 3);
    server.assert_strict();
}
