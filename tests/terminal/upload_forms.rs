//! Forms of uploads that servers in use need, and rows that drivers were told are recorded: each goes
//! up, whatever is in it. Against raw servers that know only the rule, and against the strict one.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{
    JPEG, RawAnswer, RawRequest, RawServer, TIMEOUT, Terminal, base64, given, options, says,
    second, store, targets,
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
