//! Whatever a driver is told is recorded goes up, and the strict server can read it: calls with random
//! parameters, right and wrong, the same in every run.

use serde_json::{Value, json};

use crate::harness::{JPEG, TIMEOUT, Terminal, base64, given, second};

/// Random numbers, the same in every run.
struct Random(u64);

/// What texts are made of.
const PARTS: [&str; 32] = [
    "",
    "0",
    "1",
    "7",
    "25",
    "a",
    "Z",
    "-",
    ".",
    "_",
    " ",
    "=",
    "&",
    ",",
    "\"",
    "'",
    "é",
    "张",
    "😀",
    "USERPIC",
    "PIN=1",
    " Name=",
    "x PIN=",
    "abcdefghijklmnopqrstuvwx",
    "110105194912310",
    "\u{2028}",
    "\t",
    "\n",
    "\r",
    "\0",
    "\u{7f}",
    "\u{85}",
];
/// How many of them a text may have.
const CLEAN: usize = 26;

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn text(&mut self) -> Value {
        // Parts that no text may have come rarely: they stand at the end.
        let known = if self.below(25) == 0 { PARTS.len() } else { CLEAN };
        let parts = self.below(4);
        Value::from((0..parts).map(|_| self.one(&PARTS[..known])).collect::<String>())
    }

    fn pin(&mut self) -> Value {
        let parts = 1 + self.below(3);
        let of = ["0", "1", "42", "a", "-", ".", "_", "Z9", "USERPIC", "110105194912310"];
        Value::from((0..parts).map(|_| self.one(&of)).collect::<String>())
    }

    fn number(&mut self, highest: usize) -> Value {
        match self.below(60) {
            0 => json!(highest + 1),
            1 => json!(-1),
            2 => self.text(),
            _ => json!(self.below(highest + 1)),
        }
    }

    /// A call, its parameters at random; `nth` makes what happens unlike all before it.
    fn call(&mut self, nth: u32) -> (&'static str, Value) {
        let time = second(nth);
        let data = self.one(&[base64(JPEG), base64(JPEG), base64("made up"), "*".into()]);
        let idnum = ["11010519491231002X", "110105194912310", "110105194912311", "123"];
        let mut params = match self.below(8) {
            0 | 1 => json!({
                "pin": self.pin(), "time": time, "status": self.number(255), "verify": self.number(28),
                "workcode": self.one(&["", "A7", "0", "a b"]), "mask": self.one(&[json!(true), json!(0), json!(1), json!(2)]),
                "temperature": self.one(&[json!(36.5), json!(20), json!(96.8), json!(null)]),
                "idnum": self.one(&idnum), "type": self.number(1)
            }),
            2 => json!({
                "pin": self.pin(), "time": time, "kind": self.number(4), "idnum": self.one(&idnum), "data": data
            }),
            3 => json!({
                "op": self.number(65_535), "time": time, "operator": self.one(&["", "14", "a-1", "Mr X"]), "who": self.text(),
                "v1": self.text(), "v2": self.text(), "v3": self.text()
            }),
            4 => json!({
                "code": self.one(&["D01E0001", "S99E9999", "00000000"]), "message": self.text(),
                "command": nth.to_string(), "additional": {self.text().to_string(): [0.1, self.text()]}
            }),
            5 => json!({
                "pin": self.pin(), "name": self.text(), "pri": self.one(&[0, 2, 6, 10, 14, 3]),
                "passwd": self.text(), "card": self.one(&["", "0", "133440", "[15CD5B07]", "x"]),
                "grp": self.number(65_535), "tz": self.one(&["0000000100000000", "1"]),
                "verify": self.number(28), "vicecard": self.one(&["", "5"]),
                "startdatetime": self.one(&["0", "", "2026-01-01", "20260101", "soon"]),
                "enddatetime": self.one(&["0", "2027-01-01 00:00:00", "1798761600"]),
                "expires": self.number(3)
            }),
            6 => json!({
                "pin": self.pin(), "kind": self.one(&["fingerprint", "face", "fvein", "unified", "user", "comparison"]),
                "number": self.number(9), "index": self.number(2), "type": self.number(9),
                "majorver": self.number(999), "minorver": self.number(999), "format": self.number(2),
                "valid": self.one(&[true, false]), "duress": self.one(&[true, false]), "data": data
            }),
            _ => json!({
                "pin": self.pin(), "idnum": self.one(&idnum), "snnum": self.text(), "dnnum": self.text(),
                "name": self.text(), "gender": self.one(&["1", "2", "2", "3"]), "nation": self.number(57),
                "birthday": self.one(&["", "19491231", "19491331"]),
                "validinfo": self.one(&["", "2017091520270915", "2017"]), "address": self.text(),
                "additionalinfo": self.text(), "issuer": self.text(), "photo": self.one(&["", "cGhvdG8="]),
                "fptemplate1": "", "fptemplate2": self.one(&["", "b25l"]), "reserve": self.text(),
                "notice": self.text()
            }),
        };
        let is_picture = matches!(params["kind"].as_str(), Some("user" | "comparison"));
        let method = match &params {
            params if params.get("workcode").is_some() => "punch",
            params if params.get("op").is_some() => "operation",
            params if params.get("code").is_some() => "error",
            params if params.get("passwd").is_some() => "user.put",
            params if params.get("gender").is_some() => "idcard.put",
            _ if is_picture => "picture.put",
            params if params.get("majorver").is_some() => "template.put",
            _ => "photo",
        };
        // Most of the time less is given.
        for (key, _) in params.clone().as_object().into_iter().flatten() {
            if !["pin", "time", "data", "command"].contains(&key.as_str()) && self.below(3) == 0 {
                params.as_object_mut().unwrap().remove(key);
            }
        }
        (method, params)
    }
}

/// Nothing waits in any stream, and nothing is refused.
fn all_delivered(terminal: &Terminal) {
    let status = terminal.wait_for("all delivered", |status| {
        let streams = status["streams"].as_object().unwrap();
        streams.values().all(|stream| stream["pending"] == 0 && stream["suspect"] == 0)
    });
    assert_eq!(status["quarantine"], json!([]), "{status:#}");
}

#[test]
fn whatever_is_accepted_from_a_driver_goes_up_and_can_be_read() {
    // The second one is that of GB2312.
    for (language, seed) in [("", 13), ("language = 83", 14)] {
        goes_up(language, seed);
    }
}

fn goes_up(language: &str, seed: u64) {
    let (server, terminal, mut driver) = given(language);
    let mut random = Random(seed);
    let (mut accepted, mut refused) = (std::collections::BTreeMap::new(), 0);
    for nth in 0..1500 {
        let (method, params) = random.call(nth);
        match driver.call(method, params.clone()) {
            Ok(_) => *accepted.entry(method).or_insert(0_usize) += 1,
            Err(error) => {
                // It is said which parameter is wrong.
                assert!(error["data"]["field"].is_string(), "{method} {params}: {error}");
                refused += 1;
            }
        }
    }
    assert!(accepted.len() == 8 && accepted.values().all(|count| *count > 10), "{accepted:?}");
    assert!(refused > 100, "{refused}");
    let expected = ["punch", "photo", "operation", "error"].map(|method| accepted[method]);
    let arrived = server.wait_until(TIMEOUT, |received| {
        // The start of the terminal is an operation as well.
        let operations = received.oplog().len() - 1;
        let photos = received.att_photos().len();
        // A card that is given to somebody else is an error as well.
        let errors = received.errors().iter().filter(|row| row.record.code != "D01E1005").count();
        [received.attlog().len(), photos, operations, errors] == expected
    });
    let seen = server.received(|it| {
        [it.attlog().len(), it.att_photos().len(), it.oplog().len() - 1, it.errors().len()]
    });
    assert!(arrived, "{seen:?} of {expected:?}; {:#?}", server.deviations());
    all_delivered(&terminal);
    assert!(!terminal.log().contains("cannot read"), "{}", terminal.log());
    server.assert_strict();
}
