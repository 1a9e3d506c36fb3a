//! What sensors load: all at first, then only what changed, and what is gone.

use std::collections::BTreeMap;

use iclock_emulator::Emulator;
use serde_json::{Value, json};

use crate::harness::{Driver, Terminal, answer, base64, second, server};

fn done(server: &Emulator, commands: &[&str]) {
    let ids: Vec<String> = commands.iter().map(|command| server.queue(command)).collect();
    for (id, command) in ids.iter().zip(commands) {
        assert_eq!(answer(server, id).0, 0, "{command}");
    }
}

/// What a sensor knows, and how it comes by it.
#[derive(Default)]
struct Memory {
    upto: i64,
    users: BTreeMap<String, Value>,
    templates: BTreeMap<(String, String), Value>,
    pages: usize,
    rows: usize,
}

impl Memory {
    /// Loads all there is to load, as `docs/drivers.md` says.
    fn load(&mut self, driver: &mut Driver, most: u32) {
        loop {
            let page = driver.call("changes", json!({"after": self.upto, "most": most})).unwrap();
            if page["anew"] == true {
                self.users.clear();
                self.templates.clear();
            }
            let list = |key: &str| page[key].as_array().unwrap().clone();
            for gone in list("gone") {
                let pin = gone["pin"].as_str().unwrap_or_default();
                if let Some(kind) = gone["kind"].as_str() {
                    let place = format!("{kind} {} {}", gone["number"], gone["index"]);
                    self.templates.remove(&(pin.to_owned(), place));
                } else if gone["picture"].is_null() && gone["table"].is_null() {
                    self.users.remove(pin);
                    self.templates.retain(|(owner, _), _| owner != pin);
                }
            }
            for user in list("users") {
                self.users.insert(user["pin"].as_str().unwrap().into(), user);
            }
            for template in list("templates") {
                let kind = template["kind"].as_str().unwrap();
                let place = format!("{kind} {} {}", template["number"], template["index"]);
                let pin = template["pin"].as_str().unwrap().to_owned();
                self.templates.insert((pin, place), template);
            }
            self.rows += ["users", "templates", "entries", "gone", "pictures"]
                .iter()
                .map(|key| list(key).len())
                .sum::<usize>();
            self.upto = page["upto"].as_i64().unwrap();
            self.pages += 1;
            if page["more"] == false {
                return;
            }
        }
    }

    fn pins(&self) -> Vec<&str> {
        self.users.keys().map(String::as_str).collect()
    }
}

#[test]
fn a_sensor_loads_all_and_then_only_what_changed() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    done(
        &server,
        &[
            "DATA UPDATE USERINFO PIN=1001\tName=Ann\tCard=77",
            "DATA UPDATE USERINFO PIN=1002\tName=Bob",
            "DATA UPDATE FINGERTMP PIN=1001\tFID=3\tSize=4\tValid=1\tTMP=AAAA",
            "DATA UPDATE BIODATA Pin=1002\tNo=0\tIndex=1\tValid=1\tDuress=0\tType=9\tMajorVer=39\tMinorVer=3\tFormat=0\tTmp=AAEC",
            "DATA UPDATE BIOPHOTO PIN=1002\tType=9\tSize=8\tContent=/9j/2Q==\tFormat=0",
            "DATA UPDATE AccGroup ID=1\tVerify=0\tValidHoliday=1\tTZ=1;0;0",
        ],
    );
    let mut driver = terminal.driver();
    let all = driver.call("changes", json!({})).unwrap();
    assert_eq!(
        (&all["anew"], &all["more"], &all["gone"]),
        (&json!(true), &json!(false), &json!([]))
    );
    assert_eq!(all["users"][0]["card"], "77");
    assert_eq!(
        all["templates"],
        json!([
            {"pin": "1001", "kind": "fingerprint", "number": 3, "index": 0, "valid": true,
             "duress": false, "data": "AAAA"},
            {"pin": "1002", "kind": "unified", "type": 9, "number": 0, "index": 1, "valid": true,
             "duress": false, "majorver": 39, "minorver": 3, "format": 0, "data": "AAEC"},
        ])
    );
    assert_eq!(
        all["pictures"],
        json!([{"pin": "1002", "kind": "comparison", "type": 9, "data": "/9j/2Q=="}])
    );
    assert_eq!(
        all["entries"],
        json!([{"table": "AccGroup", "record": {"id": "1", "verify": "0", "validholiday": "1", "tz": "1;0;0"}}])
    );
    let upto = all["upto"].as_i64().unwrap();
    // Nothing new; then what changed, also what another driver did, and after a restart.
    let nothing = driver.call("changes", json!({"after": upto})).unwrap();
    assert_eq!((&nothing["upto"], &nothing["users"]), (&json!(upto), &json!([])));
    let mut other = terminal.driver();
    other.punch("1001", &second(1));
    other.call("user.put", json!({"pin": "1002", "name": "Robert"})).unwrap();
    terminal.stop();
    terminal.run();
    done(
        &server,
        &[
            "DATA DELETE FINGERTMP PIN=1001\tFID=3",
            "DATA DELETE FINGERTMP PIN=1001\tFID=4",
            "DATA DELETE BIOPHOTO PIN=1002",
            "DATA UPDATE USERINFO PIN=1003\tName=Cid",
            "DATA DELETE USERINFO PIN=1003",
            "DATA UPDATE SMS MSG=Made up\tTAG=253\tUID=1\tMIN=60\tStartTime=2026-11-02 00:00:00",
            "DATA DELETE SMS UID=1",
        ],
    );
    let mut driver = terminal.driver();
    let new = driver.call("changes", json!({"after": upto})).unwrap();
    assert_eq!(new["anew"], false);
    assert_eq!(new["users"].as_array().unwrap().len(), 1);
    assert_eq!(new["users"][0]["name"], "Robert");
    assert_eq!(
        new["gone"],
        json!([
            {"pin": "1001", "kind": "fingerprint", "number": 3, "index": 0},
            {"pin": "1002", "picture": "comparison"},
            {"pin": "1003"},
            {"table": "SMS", "record": {"uid": "1"}},
        ])
    );
    assert_eq!((&new["templates"], &new["entries"]), (&json!([]), &json!([])));
    // A place that never was, as of another store: all anew.
    let far = driver.call("changes", json!({"after": 1_000_000})).unwrap();
    assert_eq!((&far["anew"], far["users"].as_array().unwrap().len()), (&json!(true), 2));
    server.assert_strict();
}

#[test]
fn pages_are_bounded_and_together_they_are_all() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut keypad = terminal.driver();
    let data = base64(vec![7; 30_000]);
    for nth in 0..40 {
        let pin = format!("{:04}", nth);
        keypad.call("user.put", json!({"pin": pin})).unwrap();
        let template = json!({"pin": pin, "kind": "fingerprint", "number": 1, "data": data});
        keypad.call("template.put", template).unwrap();
    }
    let mut driver = terminal.driver();
    let mut memory = Memory::default();
    memory.load(&mut driver, 1000);
    assert_eq!((memory.users.len(), memory.templates.len()), (40, 40));
    assert!((6..=8).contains(&memory.pages), "{}", memory.pages);
    // By rows, while somebody goes, somebody comes, and all that was gone is forgotten.
    let mut small = Memory::default();
    let first = driver.call("changes", json!({"after": 0, "most": 7})).unwrap();
    assert_eq!(first["more"], true);
    assert_eq!(first["users"].as_array().unwrap().len(), 4);
    small.load(&mut driver, 7);
    assert_eq!((small.pages, small.pins()), (12, memory.pins()));
    done(&server, &["DATA DELETE USERINFO PIN=0003", "DATA UPDATE USERINFO PIN=0900\tName=New"]);
    let before = (small.rows, small.pages);
    small.load(&mut driver, 7);
    assert_eq!((small.rows - before.0, small.pages - before.1), (2, 1));
    assert_eq!((small.users.len(), small.templates.len()), (40, 39));
    // Pages that are asked for without reading wait for the reader, and not in memory.
    let mut greedy = terminal.driver();
    for nth in 0..60 {
        let call = json!({"jsonrpc": "2.0", "id": nth, "method": "changes", "params": {}});
        greedy.send(call.to_string().as_bytes()).unwrap();
    }
    terminal.driver().punch("1001", &second(1));
    let answers: Vec<Value> = (0..60).map(|_| greedy.receive().unwrap()).collect();
    assert!(answers.iter().all(|answer| answer["result"]["more"] == true));
    assert!(terminal.proc("status", "VmHWM") < 32 << 10, "{}", terminal.proc("status", "VmHWM"));
    for (key, value) in [("after", json!(-1)), ("after", json!("x")), ("most", json!(1001))] {
        let error = driver.call("changes", json!({key: value})).unwrap_err();
        assert_eq!(error["data"]["field"], key);
    }
}

#[test]
fn when_much_is_gone_all_is_loaded_anew() {
    let server = server();
    let terminal = Terminal::start(&server, "[commands]\nclear_data = \"allow\"");
    done(&server, &["DATA UPDATE USERINFO PIN=1\tName=A", "DATA UPDATE USERINFO PIN=2\tName=B"]);
    let mut driver = terminal.driver();
    let mut memory = Memory::default();
    memory.load(&mut driver, 1000);
    // In the middle of its pages, and with a place of before.
    let page = driver.call("changes", json!({"after": 0, "most": 1})).unwrap();
    done(&server, &["CLEAR DATA", "DATA UPDATE USERINFO PIN=3\tName=C"]);
    let page = driver.call("changes", json!({"after": page["upto"], "most": 1})).unwrap();
    assert_eq!((&page["anew"], &page["users"][0]["pin"]), (&json!(true), &json!("3")));
    memory.load(&mut driver, 1);
    assert_eq!(memory.pins(), ["3"]);
    let (pages, upto) = (memory.pages, memory.upto);
    memory.load(&mut driver, 1);
    assert_eq!((memory.pages, memory.upto), (pages + 1, upto));
}

#[test]
fn who_has_loaded_hears_of_changes_once() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut stranger = terminal.driver();
    let mut driver = terminal.driver();
    let mut memory = Memory::default();
    memory.load(&mut driver, 1000);
    done(&server, &["DATA UPDATE USERINFO PIN=1\tName=A", "DATA UPDATE USERINFO PIN=2\tName=B"]);
    stranger.call("user.put", json!({"pin": "3"})).unwrap();
    let told = driver.receive().unwrap();
    assert_eq!((&told["method"], &told["id"]), (&json!("changed"), &json!(null)));
    assert!(told["params"]["upto"].as_i64().unwrap() > memory.upto);
    // Only once until it loads; punches are no change.
    driver.punch("1", &second(1));
    memory.load(&mut driver, 1000);
    assert_eq!(memory.pins(), ["1", "2", "3"]);
    driver.punch("1", &second(2));
    // What it changes itself is a change as well.
    driver.send(br#"{"jsonrpc":"2.0","method":"user.put","params":{"pin":"4"}}"#).unwrap();
    assert_eq!(driver.receive().unwrap()["method"], "changed");
    stranger.punch("1", &second(3));
}

#[test]
fn who_shows_messages_is_told_of_them() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let sms = |nth: u32, text: &str| {
        format!(
            "DATA UPDATE SMS MSG={text}\tTAG=253\tUID={nth}\tMIN=60\tStartTime=2026-11-02 08:00:00"
        )
    };
    done(&server, &[&sms(1, "Before anybody listens")]);
    let mut display = terminal.driver();
    let mut other = terminal.driver();
    for driver in [&mut display, &mut other] {
        driver.call("register", json!({"name": "display", "provides": ["message"]})).unwrap();
    }
    let commands: Vec<String> = (2..50).map(|nth| sms(nth, &format!("Number {nth}"))).collect();
    done(&server, &commands.iter().map(String::as_str).collect::<Vec<_>>());
    for driver in [&mut display, &mut other] {
        for nth in 2..50 {
            let told = driver.receive().unwrap();
            let text = format!("Number {nth}");
            assert_eq!(
                told,
                json!({"jsonrpc": "2.0", "method": "message", "params": {
                    "uid": nth.to_string(), "text": text, "tag": "253", "min": "60",
                    "starttime": "2026-11-02 08:00:00"
                }})
            );
        }
    }
    display.call("register", json!({"name": "display"})).unwrap();
    done(&server, &[&sms(50, "Last")]);
    assert_eq!(other.receive().unwrap()["params"]["text"], "Last");
    display.punch("1", &second(1));
    server.assert_strict();
}
