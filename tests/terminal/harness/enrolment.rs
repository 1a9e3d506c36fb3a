//! A terminal with a sensor that enrols, and what it is asked (R1 to R3).

use iclock_emulator::Emulator;
use serde_json::{Value, json};

use super::{Driver, Terminal, answer, server};

/// A terminal with Ann, 1001, on it, and a driver that enrols all there is.
pub fn enrolling(more: &str) -> (Emulator, Terminal, Driver) {
    let server = server();
    let terminal = Terminal::start(&server, more);
    let ann = server.queue("DATA UPDATE USERINFO PIN=1001\tName=Ann");
    assert_eq!(answer(&server, &ann).0, 0);
    let driver = sensor(&terminal, "sensor");
    (server, terminal, driver)
}

pub fn sensor(terminal: &Terminal, name: &str) -> Driver {
    let mut driver = terminal.driver();
    let provides = ["fingerprint", "card", "visibleface", "palm"];
    driver.call("register", json!({"name": name, "provides": provides})).unwrap();
    driver
}

/// The next request of punchd: its id, and its parameters.
#[track_caller]
pub fn asked_to_enroll(driver: &mut Driver) -> (u64, Value) {
    let mut request = driver.receive().expect("a request");
    assert_eq!((&request["jsonrpc"], &request["method"]), (&json!("2.0"), &json!("enroll")));
    (request["id"].as_u64().unwrap(), request["params"].take())
}

/// Queues these commands together; the driver answers each when it is asked. Each must have
/// its code.
#[track_caller]
pub fn enroll_all(server: &Emulator, driver: &mut Driver, cases: Vec<(&str, Value, i64)>) {
    let ids: Vec<String> = cases.iter().map(|(command, ..)| server.queue(command)).collect();
    for (command, result, _) in &cases {
        let (number, params) = asked_to_enroll(driver);
        assert_eq!(params["kind"] == "card", command.starts_with("ENROLL_MF"));
        driver.reply(number, result.clone());
    }
    for (id, (command, result, code)) in ids.iter().zip(cases) {
        let shown: String = result.to_string().chars().take(80).collect();
        assert_eq!(answer(server, id).0, code, "{command}: {shown}");
    }
}

pub fn finger(number: u8) -> Value {
    json!({"outcome": "done", "templates": [{"kind": "fingerprint", "number": number, "data": "bWFkZSB1cA=="}]})
}

pub const FP: &str = "ENROLL_FP PIN=1001\tFID=3\tRETRY=2\tOVERWRITE=1";
