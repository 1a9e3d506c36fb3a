//! Forms of uploads that servers in use need, and rows that drivers were told are recorded: each goes
//! up, whatever is in it. Against raw servers that know only the rule, and against the strict one.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use iclock_emulator::Kind;
use serde_json::{Value, json};

use crate::harness::{
    JPEG, RawAnswer, RawRequest, RawServer, TIMEOUT, Terminal, answer, base64, given, options,
    says, second, store, targets, terminal_with_files,
};

/// A server that takes everything and counts it.
fn takes_all() -> RawServer {
    RawServer::start(|request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, "OK"),
        request => ok(request),
    })
}

fn ok(request: &RawRequest) -> RawAnswer {
    says(200, format!("OK:{}", request.lines().len()))
}

/// Nothing waits in any stream, and nothing is refused.
fn all_delivered(terminal: &Terminal) {
    let status = terminal.wait_for("all delivered", |status| {
        streams(status).all(|stream| stream["pending"] == 0 && stream["suspect"] == 0)
    });
    assert!(streams(&status).all(|stream| stream["quarantined"] == 0), "{status:#}");
}

fn streams(status: &Value) -> impl Iterator<Item = &Value> {
    status["streams"].as_object().unwrap().values()
}

#[test]
fn photos_go_for_every_pin_and_the_name_gives_it_back() {
    let (server, terminal, mut driver) = given("");
    let pins = ["a-1", "-", "a_b.c", "1--2", "0-1", "20150731103012-7", "x.jpg", "..", "3-4-5"];
    for pin in pins {
        let photo = json!({"pin": pin, "time": second(1), "data": base64(JPEG)});
        driver.call("photo", photo).unwrap();
        let with_card = json!({
            "pin": pin, "time": second(2), "kind": 4, "idnum": "11010519491231002X", "data": base64(JPEG)
        });
        driver.call("photo", with_card).unwrap();
    }
    // In the name of a photo this would be the PIN 1 and an identity card.
    let error = driver.call("photo", json!({"pin": "0-1-110105194912310", "data": base64(JPEG)}));
    assert_eq!(error.unwrap_err()["data"]["field"], "pin");
    assert!(
        server.wait_until(TIMEOUT, |received| received.att_photos().len() == 2 * pins.len()),
        "{}",
        terminal.log()
    );
    let seen = server.received(|received| {
        let row = |photo: &iclock_emulator::record::attphoto::AttPhoto| {
            (photo.pin.clone(), photo.card.as_ref().map(|card| card.kind))
        };
        received.att_photos().iter().map(|photo| row(&photo.record)).collect::<Vec<_>>()
    });
    for pin in pins {
        for kind in [None, Some(4)] {
            assert!(seen.contains(&(pin.to_owned(), kind)), "{pin} {kind:?}: {seen:?}");
        }
    }
    all_delivered(&terminal);
    server.assert_strict();
}

#[test]
fn texts_that_look_like_keys_go_up_as_they_are() {
    let (server, terminal, mut driver) = given("");
    let card = json!({
        "pin": "2", "idnum": "11010519491231002X", "name": "x PIN=3", "gender": 1, "nation": 1,
        "address": "Street 1 Notice=none", "notice": " IDNum=1"
    });
    driver.call("idcard.put", card).unwrap();
    // Nearly as many bytes as are allowed: numbers can become longer when they are read back.
    let numbers: Vec<f64> = (0..780).map(|nth| 1.0 / f64::from(3 + nth)).collect();
    let error = json!({"code": "D01E0001", "message": "a = b", "additional": {"of": numbers}});
    driver.call("error", error).unwrap();
    driver.call("operation", json!({"op": 108, "who": "USERPIC PIN=1", "v1": "a=b"})).unwrap();
    driver.call("user.put", json!({"pin": "5", "name": "FP PIN=1 Pri=14", "passwd": " "})).unwrap();
    assert!(
        server.wait_until(TIMEOUT, |received| {
            received.id_cards().len() == 1 && received.errors().len() == 1
        }),
        "{}",
        terminal.log()
    );
    let card = server.received(|received| received.id_cards()[0].record.clone());
    assert_eq!(card.name, "x PIN=3");
    assert_eq!((card.address.as_str(), card.notice.as_str()), ("Street 1 Notice=none", " IDNum=1"));
    all_delivered(&terminal);
    server.assert_strict();
}

#[test]
fn a_row_that_cannot_be_read_is_set_aside_and_stops_nothing() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    let mut driver = terminal.driver();
    let seq = driver.punch("1001", &second(1));
    driver.punch("1002", &second(2));
    drop(driver);
    terminal.stop();
    // As a later version may have written it.
    let changed = store(&terminal).execute("UPDATE punch SET pin = 'a b' WHERE seq = ?1", [seq]);
    assert_eq!(changed.unwrap(), 1);
    let server = takes_all();
    terminal.configure(&server.url(), "");
    terminal.run();
    let status = terminal.wait_for("set aside", |status| {
        status["streams"]["punches"]["quarantined"] == 1
            && status["streams"]["punches"]["pending"] == 0
    });
    assert_eq!(status["quarantine"][0]["seq"], seq, "{status:#}");
    assert!(terminal.log().contains("cannot read the row"), "{}", terminal.log());
    let uploads: Vec<_> =
        server.requests().into_iter().filter(|it| it.is_upload("ATTLOG")).collect();
    assert_eq!(uploads.len(), 1);
    assert!(uploads[0].text().starts_with("1002\t"));
}

/// A vendor's server: a body in which the word USERPIC stands holds photos of users, it thinks. It
/// passes over all other rows, and says OK to all of them.
fn passes_over_what_shares_a_body_with_photos() -> (RawServer, Arc<Mutex<Vec<String>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&kept);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, "OK"),
        request if request.is_upload("OPERLOG") => {
            let body = unpacked(request);
            let rows = body.lines().map(str::to_owned);
            let is_photo = |row: &String| row.starts_with("USERPIC ");
            let mut kept = keeps.lock().unwrap();
            match body.contains("USERPIC") {
                true if rows.clone().any(|row| is_photo(&row)) => {
                    kept.extend(rows.filter(is_photo))
                }
                true if rows.clone().count() > 1 => {}
                _ => kept.extend(rows),
            }
            says(200, format!("OK:{}", body.lines().count()))
        }
        request => ok(request),
    });
    (server, kept)
}

/// The body as text, out of its tgz if it is packed.
fn unpacked(request: &RawRequest) -> String {
    if !request.target.contains("ContentType=tgz") {
        return request.text();
    }
    let mut text = String::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&request.body[..]));
    for entry in archive.entries().unwrap() {
        entry.unwrap().read_to_string(&mut text).unwrap();
    }
    text
}

#[test]
fn photos_of_users_share_no_body_with_other_rows() {
    for dialect in ["", "[dialect]\npacked = true"] {
        let (server, kept) = passes_over_what_shares_a_body_with_photos();
        let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
        terminal.run();
        let mut driver = terminal.driver();
        for pin in 1..=5 {
            let name = if pin == 3 { "The userpic USERPIC" } else { "Ann" };
            driver.call("user.put", json!({"pin": pin, "name": name})).unwrap();
            let finger = json!({"pin": pin, "kind": "fingerprint", "data": base64([7; 1200])});
            driver.call("template.put", finger).unwrap();
            let picture = json!({"pin": pin, "kind": "user", "data": base64(JPEG)});
            driver.call("picture.put", picture).unwrap();
            driver.call("operation", json!({"op": 6, "who": pin})).unwrap();
        }
        // Two photos in a row may share a body.
        driver
            .call("picture.put", json!({"pin": 6, "kind": "user", "data": base64(JPEG)}))
            .unwrap();
        driver
            .call("picture.put", json!({"pin": 7, "kind": "user", "data": base64(JPEG)}))
            .unwrap();
        driver.call("operation", json!({"op": 6, "who": "USERPIC"})).unwrap();
        drop(driver);
        terminal.stop();
        terminal.configure(&server.url(), dialect);
        terminal.run();
        all_delivered(&terminal);
        let kept = kept.lock().unwrap();
        for (start, rows) in [("USER ", 5), ("FP ", 5), ("USERPIC ", 7), ("OPLOG 6\t", 6)] {
            let found = kept.iter().filter(|row| row.starts_with(start)).count();
            assert_eq!(found, rows, "{start}: {kept:#?}");
        }
        let photos: Vec<_> = server
            .requests()
            .iter()
            .filter(|request| request.is_upload("OPERLOG"))
            .map(unpacked)
            .filter(|body| body.starts_with("USERPIC "))
            .map(|body| body.lines().count())
            .collect();
        assert_eq!(photos, [1, 1, 1, 1, 1, 2]);
    }
}

#[test]
fn answers_to_queries_are_divided_at_a_row_with_the_word() {
    let (server, _terminal, mut driver) = given("");
    for (pin, name) in [(1, "Ann"), (2, "Ben"), (3, "Mr USERPIC"), (4, "Cem"), (5, "Dan")] {
        driver.call("user.put", json!({"pin": pin, "name": name})).unwrap();
    }
    let id = server.queue("DATA QUERY USERINFO");
    assert!(server.wait_until(TIMEOUT, |received| received.reply(&id).is_some()));
    let packs: Vec<String> = targets(&server, "upload:OPERLOG")
        .into_iter()
        .filter(|target| target.contains("&CmdId="))
        .map(|target| target.split_once("&Count=").unwrap().1.to_owned())
        .collect();
    let expected = [1, 2, 3].map(|nth| format!("5&PackCnt=3&PackIdx={nth}"));
    assert_eq!(packs, expected);
    server.assert_strict();
}

/// A server that says OK to photos at `cdata` and keeps those at `fdata`.
#[test]
fn photos_go_to_fdata_where_the_dialect_says_so() {
    let server = takes_all();
    let dialect = "[dialect]\nphoto_path = \"fdata\"";
    let mut terminal = Terminal::prepare(&server.url(), dialect);
    terminal.run();
    let mut driver = terminal.driver();
    driver.call("photo", json!({"pin": "1", "time": second(1), "data": base64(JPEG)})).unwrap();
    let with_card = json!({
        "pin": "1", "time": second(1), "kind": 0, "idnum": "11010519491231002X", "data": base64(JPEG)
    });
    driver.call("photo", with_card).unwrap();
    driver.punch("1", &second(1));
    all_delivered(&terminal);
    for (table, path, count) in [("ATTPHOTO", "/iclock/fdata?", 2), ("ATTLOG", "/iclock/cdata?", 1)]
    {
        let requests = server.requests();
        let uploads: Vec<_> = requests.iter().filter(|it| it.is_upload(table)).collect();
        assert_eq!(uploads.len(), count, "{table}");
        assert!(uploads.iter().all(|it| it.target.starts_with(path)), "{uploads:?}");
    }
    // What a query asks for goes the same way; the strict server takes nothing else there.
    let server = crate::harness::server();
    let terminal = Terminal::start(&server, dialect);
    let mut driver = terminal.driver();
    driver.call("photo", json!({"pin": "1", "time": second(1), "data": base64(JPEG)})).unwrap();
    all_delivered(&terminal);
    let times = format!("StartTime={}\tEndTime={}", second(0), second(9));
    let id = server.queue(&format!("DATA QUERY ATTPHOTO {times}"));
    assert_eq!(answer(&server, &id).0, 0);
    let uploads = targets(&server, "upload:ATTPHOTO");
    assert_eq!(uploads.len(), 2, "{uploads:?}");
    assert!(uploads.iter().all(|target| target.starts_with("/iclock/fdata?")), "{uploads:?}");
    server.assert_strict();
}

#[test]
fn mask_and_temperature_go_up_and_again_with_the_same_bytes() {
    let mut refuse_once = true;
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, "OK"),
        request if request.is_upload("ATTLOG") && std::mem::take(&mut refuse_once) => {
            RawAnswer::Closes
        }
        request => ok(request),
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    let mut driver = terminal.driver();
    for (nth, seen) in [
        json!({"mask": true, "temperature": 36.54}),
        json!({"mask": 0, "temperature": 38}),
        json!({}),
        json!({"temperature": 20.0, "workcode": "A", "status": 1}),
        json!({"mask": true, "temperature": 36.5, "idnum": "11010519491231002X"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut punch = json!({"pin": "7", "time": second(nth as u32), "verify": 15});
        punch.as_object_mut().unwrap().extend(seen.as_object().unwrap().clone());
        driver.call("punch", punch).unwrap();
    }
    for (field, value) in [
        ("temperature", json!(97.7)),
        ("temperature", json!(-36)),
        ("temperature", json!("36.5")),
        ("temperature", json!([])),
        ("mask", json!(255)),
        ("mask", json!("yes")),
    ] {
        let error = driver.call("punch", json!({"pin": "7", field: value})).unwrap_err();
        assert_eq!(error["data"]["field"], field, "{error}");
    }
    drop(driver);
    terminal.stop();
    terminal.configure(&server.url(), "[dialect]\nfamily = \"visible-light\"");
    terminal.run();
    all_delivered(&terminal);
    let requests = server.requests();
    let uploads: Vec<_> = requests.iter().filter(|it| it.is_upload("ATTLOG")).collect();
    assert_eq!(uploads[0].body, uploads[1].body);
    let rows = |at: &[u32], end: &[&str]| -> Vec<String> {
        at.iter().zip(end).map(|(at, end)| format!("7\t{}\t{end}", second(*at))).collect()
    };
    assert_eq!(
        uploads[1].lines(),
        rows(
            &[0, 1, 2, 3, 4],
            &[
                "0\t15\t0\t0\t0\t1\t36.5\t97.7",
                "0\t15\t0\t0\t0\t0\t38.0\t100.4",
                "0\t15\t0\t0\t0\t255\t0\t0",
                "1\t15\tA\t0\t0\t255\t20.0\t68.0",
                "0\t15\t0\t0\t0\t11010519491231002X\t0",
            ]
        )
    );
}

#[test]
fn replies_with_several_lines_can_be_in_one() {
    let (server, terminal) = {
        let server = crate::harness::server();
        server.allow(Kind::ReplyDialect);
        let more = "shell = \"allow\"\n[dialect]\none_line_replies = true";
        let terminal = terminal_with_files(&server, more);
        (server, terminal)
    };
    std::fs::write(terminal.path("files/a"), "x&y\nID=2&Return=0").unwrap();
    server.serve_file("file/b", b"content".to_vec());
    let a = terminal.path("files/a").display().to_string();
    let b = terminal.path("files/b").display().to_string();
    for (command, code, form) in [
        (
            format!("GetFile {a}"),
            17,
            format!("SN=MADE0001&FILENAME={a}&CMD=GetFile&Return=17&Content=x&y\nID=2&Return=0"),
        ),
        (format!("GetFile {a}x"), -2, format!("SN=MADE0001&FILENAME={a}x&CMD=GetFile&Return=-2")),
        (
            "SHELL printf 'one\\ntwo'".into(),
            0,
            "SN=MADE0001&Return=0&CMD=Shell&FILENAME=shellout.txt&Content=one\ntwo".into(),
        ),
        (format!("PutFile file/b\t{b}"), 7, "Return=7&CMD=PutFile".into()),
        ("CHECK".into(), 0, "Return=0&CMD=CHECK".into()),
    ] {
        let id = server.queue(&command);
        assert_eq!(answer(&server, &id).0, code, "{command}");
        let body = server.received(|received| received.reply(&id).unwrap().body.clone());
        assert_eq!(String::from_utf8(body).unwrap(), format!("ID={id}&{form}"), "{command}");
    }
    server.assert_strict();
}

#[test]
fn the_validity_of_a_user_is_kept_and_goes_up_again() {
    let (server, _terminal, mut driver) = given("");
    let update = |record: &str| {
        let id = server.queue(&format!("DATA UPDATE USERINFO PIN=7\t{record}"));
        answer(&server, &id).0
    };
    assert_eq!(update("Name=Ann\tStartDatetime=2026-01-01 00:00:00\tEndDatetime=\tExpires=1"), 0);
    assert_eq!(update("Card=5"), 0);
    assert_eq!(update("EndDatetime=soon"), -1);
    assert_eq!(update("EndDatetime=20261231"), 0);
    let user = driver.call("user.get", json!({"pin": "7"})).unwrap();
    assert_eq!(
        (&user["startdatetime"], &user["enddatetime"], &user["expires"], &user["name"]),
        (&json!("2026-01-01 00:00:00"), &json!("20261231"), &json!(1), &json!("Ann"))
    );
    let changes = driver.call("changes", json!({"after": 0})).unwrap();
    assert_eq!(changes["users"][0]["enddatetime"], "20261231", "{changes:#}");
    // A driver changes one of them; the row has all.
    driver.call("user.put", json!({"pin": "7", "enddatetime": "2027-01-01"})).unwrap();
    let error = driver.call("user.put", json!({"pin": "7", "expires": 4})).unwrap_err();
    assert_eq!(error["data"]["field"], "expires", "{error}");
    assert!(server.wait_until(TIMEOUT, |received| received.users().len() == 1));
    let row = String::from_utf8(server.users()[0].raw.clone()).unwrap();
    let end = "\tStartDatetime=2026-01-01 00:00:00\tEndDatetime=2027-01-01\tExpires=1";
    assert!(row.ends_with(end), "{row}");
    server.assert_strict();
}
