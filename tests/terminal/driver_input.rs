//! What drivers send: calls and data that are wrong are refused with the field.

use serde_json::json;

use crate::harness::{JPEG, TIMEOUT, Terminal, base64, given, second, server};

#[test]
fn wrong_input_is_refused_with_the_field_in_it() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for (method, params, field) in [
        ("punch", json!({}), "pin"),
        ("punch", json!({"pin": ""}), "pin"),
        ("punch", json!({"pin": "a\tb"}), "pin"),
        ("punch", json!({"pin": "1234567890123456789012345"}), "pin"),
        ("punch", json!({"pin": ["1"]}), "pin"),
        ("punch", json!({"pin": "1", "time": "2026-02-30 00:00:00"}), "time"),
        ("punch", json!({"pin": "1", "time": "yesterday"}), "time"),
        ("punch", json!({"pin": "1", "time": "1970-01-01 00:00:00"}), "time"),
        ("punch", json!({"pin": "1", "status": 256}), "status"),
        ("punch", json!({"pin": "1", "status": "0"}), "status"),
        ("punch", json!({"pin": "1", "status": 1.5}), "status"),
        ("punch", json!({"pin": "1", "verify": 29}), "verify"),
        ("punch", json!({"pin": "1", "verify": -1}), "verify"),
        ("punch", json!({"pin": "1", "workcode": "a b"}), "workcode"),
        ("punch", json!({"pin": "1\u{0}"}), "pin"),
        ("punch", json!({"pin": 1e300}), "pin"),
        ("punch", json!({"pin": "1", "status": 1e300}), "status"),
        ("punch", json!({"pin": "1", "status": u64::MAX}), "status"),
        ("punch", json!({"pin": "1", "verify": [[[]]]}), "verify"),
        ("alarm", json!({}), "reason"),
        ("alarm", json!({"reason": 65536}), "reason"),
        ("alarm", json!({"reason": "51"}), "reason"),
        ("alarm", json!({"reason": 51, "operator": "a\nb"}), "operator"),
        ("changes", json!({"after": -1}), "after"),
        ("changes", json!({"most": 1e3}), "most"),
        ("operation", json!({}), "op"),
        ("operation", json!({"op": 70000}), "op"),
        ("operation", json!({"op": 4, "who": "a\nb"}), "who"),
        ("operation", json!({"op": 4, "v3": "x".repeat(65)}), "v3"),
        ("user.get", json!({}), "pin"),
        ("user.get", json!({"pin": "a b"}), "pin"),
        ("user.put", json!({"name": "Ann"}), "pin"),
        ("user.put", json!({"pin": "1", "pri": 3}), "pri"),
        ("user.put", json!({"pin": "1", "card": "xyz"}), "card"),
        ("user.put", json!({"pin": "1", "name": "a\u{0}b"}), "name"),
        ("register", json!({}), "name"),
        ("register", json!({"name": ""}), "name"),
    ] {
        let error = driver.call(method, params.clone()).unwrap_err();
        assert_eq!(
            (&error["code"], &error["data"]["field"]),
            (&json!(-32602), &json!(field)),
            "{method} {params}: {error}"
        );
        assert!(error["message"].as_str().unwrap().contains(field), "{error}");
    }
    let status = terminal.status();
    assert_eq!((&status["punches"], &status["users"]), (&json!(0), &json!(0)));
}

#[test]
fn what_is_no_call_is_refused_by_the_rules_of_json_rpc() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for (line, code) in [
        (&b"{"[..], -32700),
        (b"\xff\xfe", -32700),
        (b"nonsense\0", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"st\xc3(\"}", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"", -32700),
        (b"\"method\":\"status\"}", -32700),
        (&[b'['; 5000], -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1e999,\"method\":\"status\"}", -32700),
        (b"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"status\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":null,\"result\":1}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":null}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":[1],\"result\":1}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sta\\u0000tus\"}", -32601),
        (b"[]", -32600),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}]", -32600),
        (b"7", -32600),
        (b"{\"id\":1,\"method\":\"status\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"status\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":[]}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fly\"}", -32601),
    ] {
        driver.send(line).unwrap();
        let answer = driver.receive().unwrap();
        assert_eq!(answer["error"]["code"], code, "{}: {answer}", String::from_utf8_lossy(line));
    }
    // The connection is as good as before; a notification is done and not answered.
    driver.send(br#"{"jsonrpc":"2.0","method":"punch","params":{"pin":"5","time":"2026-11-02 08:00:00"}}"#).unwrap();
    let seq = driver.punch("6", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2), "{seq}");
}

#[test]
fn wrong_data_from_drivers_is_refused_with_the_field() {
    let (_server, terminal, mut driver) = given("");
    let tmp = base64(b"x");
    for (method, params, field) in [
        ("template.put", json!({"pin": "1", "kind": "fingerprint", "data": "not base64!"}), "data"),
        ("template.put", json!({"pin": "1", "kind": "fingerprint", "data": ""}), "data"),
        (
            "template.put",
            json!({"pin": "1", "kind": "fingerprint", "number": 10, "data": tmp}),
            "number",
        ),
        ("template.put", json!({"pin": "1", "kind": "toe", "data": tmp}), "kind"),
        ("template.put", json!({"pin": "1"}), "kind"),
        ("template.put", json!({"pin": "1", "kind": "toe", "data": "!!"}), "kind"),
        ("template.put", json!({"pin": "a b", "kind": "face", "data": tmp}), "pin"),
        ("template.put", json!({"pin": "1", "kind": "unified", "type": 10, "data": tmp}), "type"),
        (
            "template.put",
            json!({"pin": "1", "kind": "face", "data": base64(vec![0; 70_000])}),
            "data",
        ),
        ("picture.put", json!({"pin": "1", "kind": "user", "data": tmp}), "data"),
        ("picture.put", json!({"pin": "1", "kind": "comparison", "data": base64(JPEG)}), "type"),
        ("photo", json!({"pin": "1", "time": "2026-13-01 00:00:00", "data": base64(JPEG)}), "time"),
        ("photo", json!({"pin": "1", "data": base64(b"GIF89a")}), "data"),
        ("photo", json!({"pin": "1", "idnum": "11010519491231002X", "data": base64(JPEG)}), "kind"),
        ("idcard.put", json!({"pin": "1", "idnum": "", "gender": 1, "nation": 1}), "idnum"),
        (
            "idcard.put",
            json!({"pin": "1", "idnum": "11010519491231002X", "gender": 3, "nation": 1}),
            "gender",
        ),
        (
            "idcard.put",
            json!({"pin": "1", "idnum": "11010519491231002X", "gender": 1, "nation": 1, "name": "a\tb"}),
            "name",
        ),
        ("error", json!({"code": "oops"}), "code"),
        ("error", json!({"code": "D01E0001", "additional": [1]}), "additional"),
        ("punch", json!({"pin": "1", "idnum": "x y"}), "idnum"),
        ("punch", json!({"pin": "1", "verify": 20}), "verify"),
    ] {
        match driver.call(method, params.clone()) {
            Err(error) => assert_eq!(error["data"]["field"], field, "{method} {params}: {error}"),
            Ok(_) if field == "verify" => {} // 20 is a way of verification; 29 is not.
            Ok(done) => panic!("{method} {params}: {done}"),
        }
    }
    assert_eq!(
        driver.call("punch", json!({"pin": "1", "verify": 29})).unwrap_err()["data"]["field"],
        "verify"
    );
    // A photo of 30 MB is a line that is too long.
    let _ = driver.send(
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"photo\",\"params\":{{\"data\":\"{}\"}}}}",
            "A".repeat(30 << 20)
        )
        .as_bytes(),
    );
    assert!(terminal.proc("status", "VmHWM") < 40 << 10);
    terminal.driver().punch("9", &second(9));
}
