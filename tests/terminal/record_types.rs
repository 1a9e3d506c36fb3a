//! Every type of record that a terminal uploads (U5, U8–U18, S3, S10), in the document's bytes.

use iclock_emulator::{Emulator, Kind, Received};
use serde_json::{Value, json};

use crate::harness::{Driver, JPEG, TIMEOUT, Terminal, base64, given, second, server, targets};

/// Does a call, waits for the row, and gives back its bytes.
#[track_caller]
fn row(
    server: &Emulator,
    driver: &mut Driver,
    method: &str,
    params: Value,
    rows: impl Fn(&Received) -> Vec<Vec<u8>>,
) -> String {
    driver.call(method, params).unwrap();
    assert!(
        server.wait_until(TIMEOUT, |received| !rows(received).is_empty()),
        "no row of {method}"
    );
    let found = server.received(&rows);
    assert_eq!(found.len(), 1);
    String::from_utf8(found[0].clone()).unwrap()
}

fn templates(received: &Received) -> Vec<Vec<u8>> {
    received.templates().iter().map(|row| row.raw.clone()).collect()
}

fn photos(received: &Received) -> Vec<Vec<u8>> {
    received.photos().iter().map(|row| row.raw.clone()).collect()
}

#[test]
fn fingerprints_arrive_as_fp_rows() {
    let (server, _terminal, mut driver) = given("");
    let params = json!({"pin": "2", "kind": "fingerprint", "number": 1, "data": base64(b"made-up template")});
    let row = row(&server, &mut driver, "template.put", params, templates);
    assert_eq!(row, "FP PIN=2\tFID=1\tSize=24\tValid=1\tTMP=bWFkZS11cCB0ZW1wbGF0ZQ==");
    assert!(targets(&server, "upload:OPERLOG").last().unwrap().contains("table=OPERLOG&Stamp="));
    server.assert_strict();
}

#[test]
fn faces_arrive_with_sixteen_bytes_before_them() {
    let (server, _terminal, mut driver) = given("");
    let params = json!({"pin": "306", "kind": "face", "number": 2, "data": base64(b"face")});
    let row = row(&server, &mut driver, "template.put", params, templates);
    let data = base64([&[0; 16], &b"face"[..]].concat());
    assert_eq!(row, format!("FACE PIN=306\tFID=2\tSIZE={}\tVALID=1\tTMP={data}", data.len()));
    server.assert_strict();
}

#[test]
fn finger_veins_arrive_as_fvein_rows() {
    let (server, _terminal, mut driver) = given("");
    let params =
        json!({"pin": "306", "kind": "fvein", "number": 2, "index": 1, "data": base64(b"vein")});
    let row = row(&server, &mut driver, "template.put", params, templates);
    assert_eq!(row, "FVEIN Pin=306\tFID=2\tIndex=1\tSize=8\tValid=1\tTmp=dmVpbg==");
    server.assert_strict();
}

#[test]
fn unified_templates_go_by_their_own_table() {
    let (server, _terminal, mut driver) = given("");
    let params = json!({
        "pin": "306", "kind": "unified", "type": 8, "number": 0, "index": 2, "majorver": 1, "data": base64(b"palm")
    });
    let row = row(&server, &mut driver, "template.put", params, templates);
    assert_eq!(
        row,
        "BIODATA Pin=306\tNo=0\tIndex=2\tValid=1\tDuress=0\tType=8\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp=cGFsbQ=="
    );
    assert_eq!(targets(&server, "upload:BIODATA").len(), 1);
    server.assert_strict();
}

#[test]
fn user_photos_arrive_as_userpic_rows() {
    let (server, _terminal, mut driver) = given("");
    let params = json!({"pin": "123", "kind": "user", "data": base64(JPEG)});
    let row = row(&server, &mut driver, "picture.put", params, photos);
    let data = base64(JPEG);
    assert_eq!(
        row,
        format!("USERPIC PIN=123\tFileName=123.jpg\tSize={}\tContent={data}", data.len())
    );
    server.assert_strict();
}

#[test]
fn comparison_photos_arrive_as_biophoto_rows() {
    let (server, _terminal, mut driver) = given("");
    let params = json!({"pin": "123", "kind": "comparison", "type": 9, "data": base64(JPEG)});
    let row = row(&server, &mut driver, "picture.put", params, photos);
    let data = base64(JPEG);
    assert_eq!(
        row,
        format!("BIOPHOTO PIN=123\tFileName=123.jpg\tType=9\tSize={}\tContent={data}", data.len())
    );
    server.assert_strict();
}

#[test]
fn attendance_photos_go_raw_or_in_base64_as_the_server_wants() {
    for in_base64 in [false, true] {
        let server = server();
        if in_base64 {
            server.set_option("ATTPHOTOBase64", "1");
        }
        let terminal = Terminal::start(&server, "");
        let photo = json!({"pin": "123", "time": "2015-07-31 10:30:12", "data": base64(JPEG)});
        terminal.driver().call("photo", photo).unwrap();
        assert!(
            server.wait_until(TIMEOUT, |received| received.att_photos().len() == 1),
            "{in_base64}"
        );
        let body = server.received(|received| received.att_photos()[0].raw.clone());
        let head = format!(
            "PIN=20150731103012-123.jpg\nSN=MADE0001\nsize={}\nCMD=uploadphoto\0",
            JPEG.len()
        );
        assert!(body.starts_with(head.as_bytes()), "{}", String::from_utf8_lossy(&body));
        server.assert_strict();
    }
}

#[test]
fn identity_cards_arrive_with_all_their_fields() {
    let (server, _terminal, mut driver) = given("");
    let card = json!({
        "pin": "2", "snnum": "SN1", "idnum": "11010519491231002X", "name": "张三", "gender": 1, "nation": 1,
        "birthday": "19491231", "validinfo": "2017091520270915", "address": "Made-up Street 1",
        "issuer": "Made-up Office", "photo": base64(b"photo"), "fptemplate1": base64(b"one"), "fptemplate2": base64(b"two")
    });
    let cards =
        |received: &Received| received.id_cards().iter().map(|row| row.raw.clone()).collect();
    let row = row(&server, &mut driver, "idcard.put", card, cards);
    assert_eq!(
        row,
        "IDCARD PIN=2\tSNNum=SN1\tIDNum=11010519491231002X\tDNNum=\tName=张三\tGender=1\tNation=1\tBirthday=19491231\
         \tValidInfo=2017091520270915\tAddress=Made-up Street 1\tAdditionalInfo=\tIssuer=Made-up Office\tPhoto=cGhvdG8=\
         \tFPTemplate1=b25l\tFPTemplate2=dHdv\tReserve=\tNotice="
    );
    server.assert_strict();
}

#[test]
fn punches_with_an_identity_card_have_nine_fields() {
    let (server, _terminal, mut driver) = given("");
    let attendance =
        json!({"pin": "1452", "time": second(1), "verify": 1, "idnum": "11010519491231002X"});
    driver.call("punch", attendance).unwrap();
    let check = json!({"pin": "1452", "time": second(2), "status": 1, "verify": 2, "idnum": "11010519491231002X", "type": 1});
    driver.call("punch", check).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2));
    let rows: Vec<String> =
        server.attlog().iter().map(|row| String::from_utf8(row.raw.clone()).unwrap()).collect();
    assert_eq!(rows[0], "1452\t2026-11-02 00:00:01\t0\t1\t0\t0\t0\t11010519491231002X\t0");
    assert_eq!(rows[1], "1452\t2026-11-02 00:00:02\t1\t2\t0\t0\t0\t11010519491231002X\t1");
    server.assert_strict();
}

#[test]
fn photos_with_an_identity_card_are_named_after_it() {
    let (server, _terminal, mut driver) = given("");
    let photo = json!({
        "pin": "1457", "time": "2016-06-15 09:37:58", "kind": 0, "idnum": "11010519491231002X", "data": base64(JPEG)
    });
    driver.call("photo", photo).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.att_photos().len() == 1));
    let body = server.received(|received| received.att_photos()[0].raw.clone());
    assert!(
        body.starts_with(b"PIN=20160615093758-0-1457-11010519491231002X.jpg\n"),
        "{}",
        String::from_utf8_lossy(&body)
    );
    server.assert_strict();
}

#[test]
fn errors_arrive_with_their_addition_as_base64_json() {
    let (server, _terminal, mut driver) = given("");
    let error = json!({"code": "D01E0001", "message": "no face", "command": "123", "additional": {"pin": "7"}});
    let errors =
        |received: &Received| received.errors().iter().map(|row| row.raw.clone()).collect();
    let row = row(&server, &mut driver, "error", error, errors);
    let additional = base64(br#"{"pin":"7"}"#);
    assert_eq!(
        row,
        format!(
            "ERRORLOG ErrCode=D01E0001\tErrMsg=no face\tDataOrigin=cmd\tCmdId=123\tAdditional={additional}"
        )
    );
    server.assert_strict();
}

#[test]
fn operation_log_data_is_packed_when_that_is_worth_it() {
    let server = server();
    server.pause();
    let terminal = Terminal::start(&server, "[dialect]\npacked = true");
    let mut driver = terminal.driver();
    for nth in 0..100 {
        driver.call("user.put", json!({"pin": nth, "name": format!("User {nth}")})).unwrap();
    }
    server.resume().unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.users().len() == 100));
    let packed: Vec<String> = targets(&server, "upload:OPERLOG")
        .into_iter()
        .filter(|target| target.contains("ContentType=tgz"))
        .collect();
    assert!(!packed.is_empty());
    let bytes: usize = server
        .requests()
        .iter()
        .filter(|seen| seen.exchange == "upload:OPERLOG")
        .map(|seen| seen.body_length)
        .sum();
    assert!(bytes < 3000, "{bytes} bytes for a hundred users");
    server.assert_strict();
}

#[test]
fn records_newer_than_the_negotiated_version_wait() {
    let server = server();
    server.set_option("PushProtVer", "2.2.14");
    // What waited comes after later rows of its table: its stamp cannot be greater.
    server.allow(Kind::StampOrder);
    server.allow(Kind::RowDiffers);
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    let verification = json!({
        "pin": "1", "time": second(1), "status": 1, "verify": 1, "idnum": "11010519491231002X", "type": 1
    });
    driver.call("punch", verification).unwrap();
    driver
        .call(
            "idcard.put",
            json!({"pin": "1", "idnum": "11010519491231002X", "gender": 1, "nation": 1}),
        )
        .unwrap();
    driver.call("error", json!({"code": "D01E0001"})).unwrap();
    driver.call("photo", json!({"pin": "1", "time": second(1), "kind": 0, "idnum": "11010519491231002X", "data": base64(JPEG)})).unwrap();
    driver.punch("2", &second(2));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    let pending = |status: &Value, name: &str| status["streams"][name]["pending"].as_u64();
    let status = terminal.status();
    for stream in ["card verifications", "identity cards", "errors", "card photos"] {
        assert_eq!(pending(&status, stream), Some(1), "{stream}: {status:#}");
    }
    // The server is brought up to date: everything goes.
    server.set_option("PushProtVer", "2.4.1");
    server.queue("CHECK");
    terminal.wait_for("all sent", |status| {
        ["card verifications", "identity cards", "errors", "card photos"]
            .iter()
            .all(|stream| pending(status, stream) == Some(0))
    });
    server.assert_strict();
}

#[test]
fn what_changed_is_sent_as_it_is_and_what_was_deleted_is_not() {
    let server = server();
    server.pause();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for data in [&b"first"[..], b"second", b"third!"] {
        let params = json!({"pin": "7", "kind": "fingerprint", "data": base64(data)});
        driver.call("template.put", params).unwrap();
    }
    driver.call("user.put", json!({"pin": "8"})).unwrap();
    driver
        .call("template.put", json!({"pin": "8", "kind": "face", "data": base64(b"face")}))
        .unwrap();
    // The server takes user 8 off the terminal before anything went up.
    server.next_handshake_body("GET OPTION FROM: MADE0001\nTransFlag=000000000001\nErrorDelay=1\nDelay=1\nC:9:DATA DELETE USERINFO PIN=8\n");
    server.resume().unwrap();
    terminal.wait_for("deleted", |status| status["users"] == 0);
    server.queue("CHECK");
    assert!(server.wait_until(TIMEOUT, |received| received.templates().len() == 1));
    let row =
        server.received(|received| String::from_utf8(received.templates()[0].raw.clone()).unwrap());
    assert!(row.ends_with(&format!("TMP={}", base64(b"third!"))), "{row}");
    terminal.wait_for("all sent", |status| status["streams"]["faces"]["pending"] == 0);
    assert!(server.users().is_empty());
}
