//! The admin interface, and the program: what the README shows.
#![allow(clippy::unwrap_used)] // this is a test

mod terminal;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use iclock_emulator::{Emulator, Kind, Persona, Settings};
use serde_json::{Value, json};
use terminal::{Answer, SN, Terminal, punch};

fn start() -> (Emulator, Terminal) {
    let admin = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    terminal::start_with(Settings { admin, ..Settings::default() })
}

/// One request to the admin interface.
fn ask(server: &Emulator, method: &str, path: &str, body: &str) -> (u16, Value) {
    ask_at(server.admin_address().unwrap(), method, path, body)
}

fn ask_at(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(address).unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut came = Vec::new();
    socket.read_to_end(&mut came).unwrap();
    let answer = Answer::of(&came);
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[test]
fn web_sites_are_refused() {
    let (server, _) = start();
    for (method, path, body) in
        [("POST", "/commands", "REBOOT"), ("POST", "/reset", ""), ("DELETE", "/faults", "")]
    {
        let foreign = format!("{path} HTTP/1.1\r\nOrigin: http://example.org\r\nX: ");
        let (status, answer) = ask(&server, method, &foreign, body);
        assert_eq!(status, 403, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("http://example.org"), "{answer}");
    }
    assert_eq!(ask(&server, "GET", "/state", "").1["commands_queued"], 0);
    // A name that leads here; `x`, a name without a dot, is a machine of the same network.
    let (status, answer) = ask(&server, "GET", "/users HTTP/1.1\r\nHost: example.org\r\nX:", "");
    assert_eq!(status, 403, "{answer}");
    assert_eq!(ask(&server, "POST", "/clock", "9223372036854775807").0, 400);
}

#[test]
fn what_came_in() {
    let (server, t) = start();
    t.upload("ATTLOG", 1, &punch(7, 0));
    t.upload("ATTLOG", 1, &punch(7, 0));
    t.upload("OPERLOG", 1, "OPLOG 4\t14\t2015-07-30 10:22:34\t0\t0\t0\t0\n");
    t.upload("options", 1, "FingerFunOn=1");
    let get = |path: &str| ask(&server, "GET", path, "").1;
    let state = get("/state");
    for (key, value) in [
        ("punches", 1),
        ("punch_rows_received_total", 2),
        ("duplicates", 1),
        ("operations", 1),
        ("requests", 5),
        ("commands_queued", 0),
        ("commands_answered", 0),
        ("deviations", 0),
    ] {
        assert_eq!(state[key], value, "{key}");
    }
    let row = &get("/attlog")[0];
    assert_eq!((&row["pin"], &row["times"]), (&json!("7"), &json!(2)));
    assert_eq!(row["raw"], "7\t2026-03-02 08:00:00\t0\t1\t0\t0\t0");
    assert_eq!(get("/oplog")[0]["operator"], "14");
    assert_eq!(get("/options")["FingerFunOn"], "1");
    assert_eq!(get("/requests")[1]["exchange"], "upload:ATTLOG");
    for empty in ["/users", "/templates", "/idcards", "/errors", "/replies", "/deviations"] {
        assert_eq!(get(empty), json!([]), "{empty}");
    }
    assert_eq!(get("/photos"), json!({ "attendance": [], "people": [] }));
    let (status, answer) = ask(&server, "GET", "/", "");
    assert_eq!(status, 404);
    let listed = answer["error"].as_str().unwrap().split_once("there is: GET ").unwrap().1;
    let listed = listed.split_once(';').unwrap().0.split(' ');
    for path in listed.filter(|path| !path.ends_with("NUMBER")) {
        assert_eq!(ask(&server, "GET", path, "").0, 200, "{path}");
    }
}

#[test]
fn what_is_to_be_done() {
    let (server, t) = start();
    let post = |path: &str, body: &str| ask(&server, "POST", path, body);
    assert_eq!(post("/commands", "LOG\nCHECK\n").1, json!({ "ids": ["1", "2"] }));
    assert_eq!(t.poll().body, "C:1:LOG\nC:2:CHECK");
    t.reply("ID=1&Return=0&CMD=LOG");
    assert_eq!(ask(&server, "GET", "/replies", "").1[0]["ret"], 0);

    let fault = r#"{"on":"handshake","times":2,"act":"answer","status":503}"#;
    assert_eq!(post("/faults", fault).0, 200);
    assert_eq!(t.handshake().status, 503);
    assert_eq!(ask(&server, "DELETE", "/faults", "").0, 200);
    post("/handshake", "Delay=3\nTimeZone\n");
    let body = t.handshake().body;
    assert!(body.contains("\nDelay=3\n") && !body.contains("TimeZone"));

    assert_eq!(post("/allow", "row-end stamp-dialect").0, 200);
    t.upload("ATTLOG", 1, punch(1, 0).trim_end());
    server.assert_strict();
    post("/files/fw/main.tgz", "bytes");
    assert_eq!(t.get("/iclock/fw/main.tgz").body, "bytes");
    post("/faults", r#"{"percent":100,"seed":1}"#);
    post("/reset", "");
    assert_eq!(ask(&server, "GET", "/state", "").1["requests"], 0);
    assert_eq!(post("/release", "").0, 200);
    for (path, body) in [("/allow", "anything"), ("/faults", r#"{"on":"poll","act":"explode"}"#)] {
        assert_eq!(post(path, body).0, 400, "{path}");
    }
}

/// The program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(arguments: &[&str]) -> (Program, impl Iterator<Item = String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iclock-emulator"));
    let mut child =
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (Program(child), lines)
}

#[test]
fn the_program() {
    let (_program, mut lines) = run(&[
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--option",
        "Delay=2",
        "--persona",
        "crlf",
    ]);
    let mut address = |start: &str| {
        let line = lines.next().unwrap();
        line.strip_prefix(start).unwrap_or_else(|| panic!("{line}")).parse::<SocketAddr>().unwrap()
    };
    let (device, admin) =
        (address("terminals connect to http://"), address("the admin interface is at http://"));
    let t = Terminal::to(device);
    assert!(t.handshake().body.contains("\r\nDelay=2\r\n"));
    t.upload("ATTLOG", 1, &punch(7, 0));
    assert_eq!(lines.next().unwrap(), format!("{SN} made the initial exchange"));
    assert_eq!(lines.next().unwrap(), format!("{SN} sent a punch of 7 at 2026-03-02 08:00:00"));
    assert_eq!(ask_at(admin, "GET", "/state", "").1["punches"], 1);
}

#[test]
fn the_program_ends_at_the_first_deviation_if_told_so() {
    let (mut program, mut lines) = run(&["--listen", "127.0.0.1:0", "--once-strict"]);
    let line = lines.next().unwrap();
    let address = line.strip_prefix("terminals connect to http://").unwrap().parse().unwrap();
    Terminal::to(address).poll_bytes();
    assert_eq!(program.0.wait().unwrap().code(), Some(1));
    assert!(
        lines.any(|line| line.starts_with("deviation: request 1 (GET getrequest?SN=TEST0001): "))
    );
}

#[test]
fn the_programs_words() {
    let say = |arguments: &[&str]| {
        let (mut program, lines) = run(arguments);
        let lines: Vec<String> = lines.collect();
        (program.0.wait().unwrap().code(), lines.join("\n"))
    };
    let (code, help) = say(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(Persona::ALL.iter().all(|persona| help.contains(&persona.to_string())));
    assert_eq!(
        say(&["--version"]),
        (Some(0), format!("iclock-emulator {}", env!("CARGO_PKG_VERSION")))
    );
    for wrong in [
        &["--persona", "nobody"][..],
        &["--nothing"],
        &["--tls-cert", "/dev/null"],
        &["--option", "x"],
    ] {
        assert_eq!(say(wrong).0, Some(64), "{wrong:?}");
    }
}

#[test]
fn the_readme_names_everything() {
    let readme = include_str!("../README.md");
    for kind in Kind::ALL {
        assert!(readme.contains(&format!("`{kind}`")), "{kind}");
    }
    for persona in Persona::ALL {
        assert!(readme.contains(&format!("`{persona}`")), "{persona}");
    }
}
