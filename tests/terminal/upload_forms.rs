//! Forms of uploads that servers in use need, and rows that drivers were told are recorded: each goes
//! up, whatever is in it. Against raw servers that know only the rule, and against the strict one.

use serde_json::{Value, json};

use crate::harness::{
    JPEG, RawAnswer, RawRequest, RawServer, TIMEOUT, Terminal, base64, given, options, says,
    second, store,
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
