//! `docs/drivers.md` says what is so: every example in it is run.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use iclock_emulator::Emulator;
use punchd::rpc::{DriverMethod, ErrorCode, Method};
use serde_json::{Value, json};

use crate::harness::{Driver, TIMEOUT, Terminal, answer, server};

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/drivers.md")).unwrap()
}

/// The blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The lines of an example; one that begins with a blank goes on the one before.
fn lines(block: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in block.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// Whether something is as the document has it: `…` is any value, or any further members.
fn is_as(shown: &Value, found: &Value) -> bool {
    match (shown, found) {
        (Value::String(text), _) if text == "…" => true,
        (Value::Object(shown), Value::Object(found)) => {
            let is_open = shown.contains_key("…");
            let known = |key: &&String| *key != "…";
            shown
                .keys()
                .filter(known)
                .all(|key| found.get(key).is_some_and(|found| is_as(&shown[key], found)))
                && (is_open || found.keys().all(|key| shown.contains_key(key)))
        }
        (Value::Array(shown), Value::Array(found)) => {
            shown.len() == found.len() && shown.iter().zip(found).all(|(a, b)| is_as(a, b))
        }
        _ => shown == found,
    }
}

/// Runs one example, with a connection of its own.
fn run(block: &str, server: &Emulator, driver: &mut Driver) {
    // punchd numbers its requests as they come; the document as it likes.
    let mut numbers: HashMap<u64, Value> = HashMap::new();
    let mut command = String::new();
    for line in lines(block) {
        if let Some(text) = line.strip_prefix("server: ") {
            command = server.queue(&text.replace('⇥', "\t"));
        } else if let Some(code) = line.strip_prefix("server gets: ") {
            assert_eq!(answer(server, &command).0.to_string(), code, "{block}");
        } else if let Some(said) = line.strip_prefix("→ ") {
            let mut said: Value = serde_json::from_str(said).expect(&line);
            if said["method"].is_null() {
                said["id"] = numbers[&said["id"].as_u64().unwrap()].clone();
            }
            driver.send(said.to_string().as_bytes()).unwrap();
        } else {
            let shown = line.strip_prefix("← ").expect(&line);
            let mut shown: Value = serde_json::from_str(shown).expect(&line);
            let found = driver.receive().expect("a line");
            if shown["method"] == "cancel" {
                let number = shown["params"]["id"].as_u64().unwrap();
                shown["params"]["id"] = numbers[&number].clone();
            } else if shown["method"].is_string() && shown["id"].is_u64() {
                numbers.insert(shown["id"].as_u64().unwrap(), found["id"].clone());
                shown["id"] = found["id"].clone();
            }
            assert!(is_as(&shown, &found), "shown: {shown}\nfound: {found}\nin\n{block}");
        }
    }
}

#[test]
fn every_example_for_drivers_is_so() {
    let server = server();
    server.set_option("PostSelfDefineDataType", "PostVerifyData");
    server.set_remote_user("2001", "DATA UPDATE USERINFO PIN=2001\tName=Guest");
    let terminal = Terminal::start(&server, "[device]\nenroll_seconds = 3");
    terminal.wait_until_online();
    let text = document();
    let examples = blocks(&text, "json");
    for block in &examples {
        run(block, &server, &mut terminal.driver());
    }
    // Every method has an example, and is in the tables at the beginning.
    let tables = text.split("## The wire").next().unwrap();
    let shown = examples.concat();
    let calls = Method::ALL.iter().map(|method| method.name());
    for method in calls.chain(DriverMethod::ALL.iter().map(|method| method.name())) {
        assert!(shown.contains(&format!("\"method\": \"{method}\"")), "{method} has no example");
        assert!(tables.contains(&format!("`{method}`")), "{method} is not in the tables");
    }
    // Every error code is in its table.
    for code in ErrorCode::ALL.into_iter().filter(|code| *code != ErrorCode::LineFailed) {
        let number = code.number().to_string().replace('-', "−");
        assert!(text.contains(&format!("| {number}")) || text.contains(&format!(", {number} |")));
    }
    server.assert_strict();
}

#[test]
fn the_driver_in_twenty_lines_records_a_punch() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.driver().call("user.put", json!({"pin": "1001", "card": "77"})).unwrap();
    let text = document();
    let blocks = blocks(&text, "python");
    assert_eq!(blocks.len(), 1);
    assert!(blocks[0].lines().count() <= 21, "it has more lines than it says");
    let socket = terminal.path("run/driver.sock").display().to_string();
    let program = blocks[0].replace("/run/punchd/driver.sock", &socket);
    let mut python = Command::new("python3")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // An unknown card, a known one, and the end of the input.
    python.stdin.take().unwrap().write_all(b"78\n77\n").unwrap();
    let output = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.starts_with("recorded as ") && output.lines().count() == 1, "{output}");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    assert_eq!(server.attlog()[0].record.pin, "1001");
}

#[test]
fn the_simulated_sensor_enrols_loads_and_punches() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sensor.py");
    let mut python = Command::new("python3")
        .arg(example)
        .arg("--socket")
        .arg(terminal.path("run/driver.sock"))
        .args(["--count", "8", "--interval", "0.01", "--stay"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Eight people were enrolled at the terminal, and came by.
    assert!(server.wait_until(TIMEOUT, |received| {
        received.attlog().len() == 8 && received.templates().len() == 8
    }));
    let id = server.queue("ENROLL_FP PIN=1001\tFID=3\tRETRY=3\tOVERWRITE=0");
    assert_eq!(answer(&server, &id).0, 0);
    assert!(server.wait_until(TIMEOUT, |received| received.templates().len() == 9));
    for (command, code) in [("AC_UNLOCK", 0), ("AC_UNALARM", -1002)] {
        let id = server.queue(command);
        assert_eq!(answer(&server, &id).0, code, "{command}");
    }
    python.kill().unwrap();
    python.wait().unwrap();
    server.assert_strict();
}
