//! The exchanges of the document, example by example, with made-up numbers: none is a deviation,
//! each is kept and answered as the document says.

mod terminal;

use std::io::Write;
use std::time::Duration;

use iclock_emulator::{Charset, Emulator, Settings};
use terminal::{SN, Terminal, start};

#[test]
fn the_initial_exchange() {
    let (server, t) = start();
    let answer = t.get(&format!(
        "/iclock/cdata?SN={SN}&options=all&pushver=2.2.14&language=83&pushcommkey=4a9594af164f2b97"
    ));
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("\r\nDate: ") && answer.head.contains("\r\nContent-Length: "));
    assert!(answer.body.starts_with(&format!("GET OPTION FROM: {SN}\nATTLOGStamp=None\n")));
    for line in ["ErrorDelay=30", "Delay=10", "TransTimes=00:00;14:05", "PushProtVer=2.4.1"] {
        assert!(answer.body.lines().any(|it| it == line), "{line}");
    }
    server.set_option("Delay", "1");
    server.set_option("ATTLOGStamp", "0");
    server.remove_option("PushProtVer");
    let body = t.handshake().body;
    assert!(body.contains("\nDelay=1\n") && body.contains("\nATTLOGStamp=0\n"));
    assert!(!body.contains("PushProtVer"));
    server.assert_strict();
}

#[test]
fn options_and_info() {
    let (server, t) = start();
    assert_eq!(t.upload("options", 1, "FingerFunOn=1,FaceFunOn=1").body, "OK");
    assert_eq!(server.received(|received| received.options()["FaceFunOn"].clone()), "1");
    let info = "Ver%202.0.12-20150625,0,0,0,192.168.16.27,10,7,15,0,111";
    assert_eq!(t.get(&format!("/iclock/getrequest?SN={SN}&INFO={info}")).body, "OK");
    server.assert_strict();
}

#[test]
fn attendance() {
    let (server, t) = start();
    let rows: String =
        (28..37).map(|s| format!("1452\t2015-07-30 15:16:{s}\t0\t1\t0\t0\t0\n")).collect();
    assert_eq!(t.upload("ATTLOG", 9, &rows).body, "OK:9");
    let cards: String = (28..37)
        .map(|s| format!("8965\t2015-07-30 15:17:{s}\t0\t1\t0\t0\t0\t2102181991050723{s}\t0\n"))
        .collect();
    assert_eq!(t.upload("ATTLOG", 18, &cards).body, "OK:9");
    assert_eq!(t.upload("ATTLOG", 18, &cards).body, "OK:9");
    let punches = server.attlog();
    assert_eq!((punches.len(), punches[0].times, punches[9].times), (18, 1, 2));
    assert_eq!(punches[0].record.pin, "1452");
    assert_eq!(punches[0].raw, b"1452\t2015-07-30 15:16:28\t0\t1\t0\t0\t0");
    let summary = server.summary();
    assert_eq!((summary.punch_rows_received_total, summary.duplicates), (27, 9));
    server.assert_strict();
}

#[test]
fn photos_of_punches() {
    let (server, t) = start();
    let body = |name: &str, size: usize, data: &str| {
        format!("PIN={name}\nSN={SN}\nsize={size}\nCMD=uploadphoto\0{data}")
    };
    assert_eq!(t.upload("ATTPHOTO", 1, &body("20150731103012-123.jpg", 3, "\u{1}\n\0")).body, "OK");
    let name = "20160615093758-0-1457-210218199011304365.jpg";
    let path = format!("/iclock/fdata?SN={SN}&table=ATTPHOTO&Stamp=2");
    assert_eq!(t.post(&path, body(name, 1, "x")).body, "OK");
    server.set_option("ATTPHOTOBase64", "1");
    t.handshake();
    t.upload("ATTPHOTO", 3, &body("20150731103013-123.jpg", 4, "SghTUw=="));
    let sizes = server.received(|received| {
        received.att_photos().iter().map(|p| p.record.data.len()).collect::<Vec<_>>()
    });
    assert_eq!(sizes, [3, 1, 4]);
    server.assert_strict();
}

const USER: &str = "USER PIN=36234\tName=36234\tPri=0\tPasswd=\tCard=133440\tGrp=1\tTZ=0001000000000000\tVerify=-1\tViceCard=\n";

#[test]
fn operations_users_templates_and_pictures() {
    let (server, t) = start();
    let rows = [
        "OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0\n",
        USER,
        &USER.replace("36234", "36235"),
        "FP PIN=2\tFID=0\tSize=8\tValid=1\tTMP=SghTUw==\n",
        "FACE PIN=306\tFID=2\tSIZE=24\tVALID=1\tTMP=AAAAAAAAAAAAAAAAAAAAAFo=\n",
        "FVEIN Pin=306\tFID=2\tIndex=0\tSize=8\tValid=1\tTmp=SghTUw==\n",
    ]
    .concat();
    assert_eq!(t.upload("OPERLOG", 6, &rows).body, "OK:6");
    let picture = "USERPIC PIN=123\tFileName=123.jpg\tSize=8\tContent=SghTUw==\n";
    assert_eq!(t.upload("OPERLOG", 7, picture).body, "OK:1");
    let photo = "BIOPHOTO PIN=123\tFileName=123.jpg\tType=2\tSize=8\tContent=SghTUw==\n";
    assert_eq!(t.upload("OPERLOG", 8, photo).body, "OK");
    let bio = "BIODATA Pin=306\tNo=0\tIndex=2\tValid=1\tDuress=0\tType=8\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp=SghTUw==\n";
    assert_eq!(t.upload("BIODATA", 1, bio).body, "OK:1");
    t.upload("OPERLOG", 9, &USER.replace("Name=36234", "Name=Ann"));
    let users = server.users();
    assert_eq!((users.len(), users[0].record.name.as_str(), users[0].times), (2, "Ann", 2));
    assert_eq!(server.oplog()[0].record.operator, "14");
    assert_eq!(server.received(|r| (r.templates().len(), r.photos().len())), (4, 2));
    server.assert_strict();
}

#[test]
fn packed_rows() {
    let (server, t) = start();
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    let mut header = tar::Header::new_gnu();
    header.set_size(USER.len() as u64);
    header.set_cksum();
    archive.append_data(&mut header, "rows", USER.as_bytes()).unwrap();
    let mut gzip = archive.into_inner().unwrap();
    gzip.flush().unwrap();
    let path = format!("/iclock/cdata?SN={SN}&table=OPERLOG&ContentType=tgz&Stamp=1");
    assert_eq!(t.post(&path, gzip.finish().unwrap()).body, "OK:1");
    assert_eq!(server.users().len(), 1);
    server.assert_strict();
}

#[test]
fn identity_cards_and_errors() {
    let (server, t) = start();
    let card = "IDCARD PIN=2\tSNNum=0\tIDNum=000000199112180000\tDNNum=\tName=张三\tGender=1\tNation=1\tBirthday=19911218\tValidInfo=2017091520270915\tAddress=xx\tAdditionalInfo=\tIssuer=xx\tPhoto=V0xm\tFPTemplate1=\tFPTemplate2=\tReserve=\tNotice=\n";
    assert_eq!(t.upload("IDCARD", 1, card).body, "OK:1");
    let error = "ERRORLOG ErrCode=D01E0001\tErrMsg=\tDataOrigin=cmd\tCmdId=123\tAdditional=\n";
    assert_eq!(t.upload("ERRORLOG", 1, error).body, "OK");
    assert_eq!(server.received(|r| (r.id_cards().len(), r.errors().len())), (1, 1));
    server.assert_strict();
}

#[test]
fn a_chinese_terminal_writes_gb2312() {
    let (server, t) = start();
    t.get(&format!("/iclock/cdata?SN={SN}&options=all&pushver=2.4.1&language=83"));
    let path = format!("/iclock/cdata?SN={SN}&table=OPERLOG&Stamp=1");
    t.post(&path, Charset::Gbk.encode(&USER.replace("Name=36234", "Name=张三")));
    assert_eq!(server.users()[0].record.name, "张三");
    server.queue_as("1", "DATA UPDATE USERINFO PIN=1\tName=张三");
    let (came, _) = t.send(terminal::get(&format!("/iclock/getrequest?SN={SN}")).as_bytes());
    assert!(came.ends_with(&Charset::Gbk.encode("Name=张三")));
    server.assert_strict();
}

#[test]
fn remote_attendance_and_background_verification() {
    let (server, t) = start();
    server.set_remote_user("7", "DATA UPDATE USERINFO PIN=7\tName=Ann");
    let remote =
        |pin: &str| t.get(&format!("/iclock/cdata?SN={SN}&table=RemoteAtt&PIN={pin}")).body;
    assert_eq!(
        (remote("7").as_str(), remote("8").as_str()),
        ("DATA UPDATE USERINFO PIN=7\tName=Ann", "NONE")
    );
    let verify = || {
        let path = format!("/iclock/cdata?SN={SN}&type=PostVerifyData");
        t.post(&path, "7\t2026-03-02 08:00:00\t0\t1\t0\t0\t0\n").body
    };
    assert_eq!(verify(), "OK");
    server.set_verify_answer("DENIED");
    assert_eq!(verify(), "DENIED");
    assert_eq!(server.received(|received| received.verifications().len()), 2);
    server.assert_strict();
}

#[test]
fn keys_are_not_exchanged() {
    let (server, t) = start();
    server.set_option("Encrypt", "1");
    t.handshake();
    let answer = t.post(&format!("/iclock/exchange?SN={SN}&type=publickey"), "PublicKey=x");
    assert_eq!(answer.status, 404);
    server.assert_strict();
}

#[test]
fn a_prefix_and_a_suffix_are_allowed() {
    let (server, t) = start();
    t.get(&format!("/site/iclock/getrequest.aspx?SN={SN}"));
    t.post(&format!("/iclock/cdata.aspx?SN={SN}&table=ATTLOG&Stamp=1"), terminal::punch(1, 0));
    assert_eq!(server.attlog().len(), 1);
    server.assert_strict();
}

#[test]
fn several_terminals() {
    let server = Emulator::start(Settings::default()).unwrap();
    let t = Terminal::at(&server);
    for n in 1..=3 {
        t.get(&format!("/iclock/cdata?SN=TEST000{n}&options=all"));
        let path = format!("/iclock/cdata?SN=TEST000{n}&table=ATTLOG&Stamp=1");
        t.post(&path, terminal::punch(n, 0));
    }
    assert_eq!(server.attlog()[2].sn, "TEST0003");
    assert!(server.wait_until(Duration::ZERO, |received| received.count("handshake") == 3));
    server.assert_strict();
}
