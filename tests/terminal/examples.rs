//! The examples that ship: each is what somebody copies, so each is run.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{FakeDaemon, SERIAL, TIMEOUT, Terminal, answer, server};

/// An example that runs, with its stdin open and its stdout in a file.
struct Example {
    child: Child,
    out: PathBuf,
}

impl Example {
    fn start(terminal: &Terminal, program: &Path) -> Self {
        let out = terminal.path("out");
        let child = Command::new(program)
            .arg(terminal.path("run/driver.sock"))
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .spawn()
            .unwrap();
        Self { child, out }
    }

    fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn says(&self, message: &str) {
        let limit = Instant::now() + TIMEOUT;
        while !fs::read_to_string(&self.out).unwrap().contains(message) {
            assert!(Instant::now() < limit, "{message:?}: {:?}", fs::read_to_string(&self.out));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Whether a program is there; a line says it if not.
fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: there is no {program} on this machine");
    }
    is_there
}

/// Punches go to the server; the door and the enrolment are answered. What is enrolled, and
/// the answer to that, are the driver's.
fn drives(program: &Path, provides: &[&str], verify: u8, kind: &str, enrolled: &Value) {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = Example::start(&terminal, program);
    driver.types("1001\n1002\n");
    driver.says("done: {\"");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 2));
    let rows = server.attlog();
    for (row, pin) in rows.iter().zip(["1001", "1002"]) {
        let text = String::from_utf8_lossy(&row.raw).into_owned();
        assert!(text.starts_with(&format!("{pin}\t")), "{text}");
        assert!(text.contains(&format!("\t0\t{verify}\t")), "{text}");
        assert_eq!(row.sn, SERIAL);
    }
    // What the server wants: the door, and something of a person.
    let command = match kind {
        "card" => "ENROLL_MF PIN=1001\tRETRY=1",
        _ => "ENROLL_FP PIN=1001\tFID=6\tRETRY=1\tOVERWRITE=1",
    };
    for command in ["DATA UPDATE USERINFO PIN=1001\tName=Ann", "AC_UNLOCK", command] {
        let id = server.queue(command);
        assert_eq!(answer(&server, &id).0, 0, "{command}: {}", terminal.log());
    }
    driver.says("the door is open");
    driver.says("enrolled a");
    server.assert_strict();
    drop(driver);
    let terminal = Terminal::prepare("http://127.0.0.1:9", "");
    fs::create_dir_all(terminal.path("run")).unwrap();
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    let mut driver = Example::start(&terminal, program);
    let name = program.file_name().unwrap().to_str().unwrap();
    daemon.welcome(name, &json!(provides));
    daemon.ask(7, "unlock", json!({}));
    let opened = daemon.receive();
    assert_eq!((&opened["id"], &opened["result"]), (&json!(7), &json!(true)));
    driver.says("the door is open");
    let finger = json!({"pin": "408", "kind": kind, "no": 6, "retry": 3, "overwrite": true,
                        "name": "Ann \"\\\" {[,"});
    daemon.ask(8, "enroll", finger);
    let answer = daemon.receive();
    assert_eq!((&answer["id"], &answer["result"]), (&json!(8), enrolled), "{answer}");
    driver.types("1003\n");
    let call = daemon.receive();
    assert_eq!(call["params"], json!({"pin": "1003", "verify": verify}));
    // It ends with the daemon, or sees that it has gone.
    daemon.hang_up();
    drop(daemon);
    drop(driver.child.stdin.take());
    driver.child.wait().unwrap();
}

#[test]
fn the_driver_in_c() {
    if !has("cc") {
        return;
    }
    let directory = std::env::temp_dir().join(format!("punchd-driver-c-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join("driver.c");
    let built = Command::new("cc")
        .args(["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-O2", "-o"])
        .args([program.as_path(), example("driver.c").as_path()])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let template = json!({"kind": "fingerprint", "number": 6, "majorver": 10,
                          "data": "YSBmaW5nZXIgb2YgdGhlIGV4YW1wbGU="});
    let enrolled = json!({"outcome": "done", "templates": [template]});
    drives(&program, &["fingerprint", "unlock"], 1, "fingerprint", &enrolled);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_driver_in_python() {
    if has("python3") {
        let enrolled = json!({"outcome": "done", "card": "1234567"});
        drives(&example("driver.py"), &["card", "unlock"], 4, "card", &enrolled);
    }
}

#[test]
fn the_driver_in_javascript() {
    if has("node") {
        let enrolled = json!({"outcome": "done", "card": "1234567"});
        drives(&example("driver.js"), &["card", "unlock"], 4, "card", &enrolled);
    }
}

#[test]
fn the_punch_from_a_shell() {
    let server = server();
    let mut terminal = Terminal::start(&server, "");
    let punch = |terminal: &Terminal, arguments: &[&str]| {
        let done = Command::new(example("punch.sh"))
            .args(arguments)
            .env("PUNCHD", env!("CARGO_BIN_EXE_punchd"))
            .env("PUNCHD_CONFIG", terminal.path("punchd.toml"))
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (code, said) = punch(&terminal, &["1001", "1"]);
    assert!(code == Some(0) && said.contains("green"), "{said}");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    assert!(server.attlog()[0].raw.ends_with(b"\t1\t0\t0\t0\t0"));
    let (code, said) = punch(&terminal, &["a b"]);
    assert!(code == Some(69) && said.contains("red"), "{said}");
    terminal.stop();
    let (code, said) = punch(&terminal, &["1001"]);
    assert!(code == Some(69) && said.contains("red"), "{said}");
}
