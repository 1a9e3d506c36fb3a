//! The page's side of HTTP: what it serves, to whom, and how much of it.
#![allow(clippy::unwrap_used)] // this is a test

mod terminal;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iclock_emulator::{Emulator, Settings};
use serde_json::{Value, json};
use terminal::{Answer, SN, Terminal, punch};

fn start() -> (Emulator, Terminal) {
    let page = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    terminal::start_with(Settings { page, ..Settings::default() })
}

/// Sends these lines and a body to the page.
fn send(server: &Emulator, lines: &[&str], body: &str) -> Answer {
    let mut socket = TcpStream::connect(server.page_address().unwrap()).unwrap();
    let head = format!("{}\r\nContent-Length: {}\r\n\r\n", lines.join("\r\n"), body.len());
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut came = Vec::new();
    socket.read_to_end(&mut came).unwrap();
    Answer::of(&came)
}

fn get(server: &Emulator, path: &str) -> Answer {
    send(server, &[&format!("GET {path} HTTP/1.1"), "Host: localhost"], "")
}

fn post(server: &Emulator, path: &str, body: &str) -> Answer {
    let lines = [&format!("POST {path} HTTP/1.1"), "Host: localhost", "Origin: http://localhost"];
    send(server, &lines, body)
}

fn view(server: &Emulator, query: &str) -> Value {
    serde_json::from_str(&get(server, &format!("/view?{query}")).body).unwrap()
}

#[test]
fn the_browser_gets_everything_from_here_and_runs_nothing_else() {
    let (server, _) = start();
    for (path, media_type) in [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/view", "application/json"),
        ("/state", "application/json"),
        ("/nothing", "application/json"),
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        for field in [
            &format!("Content-Type: {media_type}"),
            "Content-Security-Policy: default-src 'self';",
            "X-Content-Type-Options: nosniff",
            "Cross-Origin-Resource-Policy: same-origin",
        ] {
            assert!(answer.head.contains(field), "{path}: {}", answer.head);
        }
    }
    // What the policy would refuse: code and style in the document, and addresses elsewhere.
    let html = get(&server, "/").body;
    for inline in ["<script>", "<style", " style=", " onclick=", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
    for path in ["/", "/page.js", "/page.css"] {
        let text = get(&server, path).body;
        assert!(!text.contains("//www.") && !text.contains("https://"), "{path}");
    }
}

#[test]
fn other_sites_are_refused() {
    let (server, _) = start();
    let own = server.page_address().unwrap().to_string();
    let (host, origin) = (format!("Host: {own}"), format!("Origin: http://{own}"));
    for (lines, status) in [
        (&["GET /state HTTP/1.1", &host][..], 200),
        (&["GET /state HTTP/1.1", "Host: LOCALHOST:8083"], 200),
        (&["GET /state HTTP/1.1", "Host: [::1]:8083"], 200),
        (&["GET /state HTTP/1.1", "Host: 192.168.1.5"], 200),
        // A name that leads here (DNS rebinding).
        (&["GET /state HTTP/1.1", "Host: evil.example"], 403),
        (&["GET / HTTP/1.1", "Host: evil.example:8083"], 403),
        (&["GET /state HTTP/1.1", "Host: 127.0.0.1.evil.example"], 403),
        (&["GET /state HTTP/1.1", "Host: localhost.evil.example"], 403),
        (&["GET /state HTTP/1.1", "Host: evil.example:127.0.0.1"], 403),
        (&["GET /state HTTP/1.1", "Host: [evil.example]"], 403),
        (&["GET /state HTTP/1.1", "Host:"], 403),
        (&["GET /state HTTP/1.1"], 403),
        (&["GET /state HTTP/1.1", "Host: localhost", "Host: evil.example"], 403),
        (&["POST /commands HTTP/1.1", "Host: evil.example", "Origin: http://evil.example"], 403),
        // Another site that sends a form (CSRF).
        (&["POST /commands HTTP/1.1", &host], 403),
        (&["POST /commands HTTP/1.1", &host, "Origin: http://evil.example"], 403),
        (&["POST /commands HTTP/1.1", &host, "Origin: null"], 403),
        (&["POST /commands HTTP/1.1", &host, "Origin: http://localhost"], 403),
        (&["POST /commands HTTP/1.1", &host, &origin, "Origin: http://evil.example"], 403),
        (&["DELETE /faults HTTP/1.1", &host], 403),
        (&["DELETE /faults HTTP/1.1", &host, &origin], 200),
    ] {
        let answer = send(&server, lines, "CLEAR DATA");
        assert_eq!(answer.status, status, "{lines:?}: {}", answer.body);
    }
    assert_eq!(server.summary().commands_queued, 0);
    let lines = ["POST /commands HTTP/1.1", &host, &origin];
    assert_eq!(send(&server, &lines, "CHECK").status, 200);
    assert_eq!(server.summary().commands_queued, 1);
}

#[test]
fn a_view_comes_when_something_is_new() {
    let (server, t) = start();
    let change: [(&str, &dyn Fn()); 6] = [
        ("a punch", &|| drop(t.upload("ATTLOG", 1, &punch(7, 0)))),
        ("a command", &|| drop(server.queue("CHECK"))),
        ("an answer", &|| drop((t.poll(), t.reply("ID=1&Return=0&CMD=CHECK")))),
        ("a persona", &|| drop(post(&server, "/persona", "crlf"))),
        ("a fault", &|| drop(post(&server, "/faults", r#"{"on":"poll","act":"drop"}"#))),
        ("a reset", &|| server.reset()),
    ];
    for (name, make) in change {
        let revision = &view(&server, "")["revision"];
        thread::scope(|scope| {
            let query = format!("revision={revision}");
            let server = &server;
            let waiting = scope.spawn(move || view(server, &query));
            // Enough for a view that does not wait to be made before the change.
            for _ in 0..20 {
                get(server, "/state");
            }
            make();
            assert_ne!(&waiting.join().unwrap()["revision"], revision, "{name}");
        });
    }
}

#[test]
fn what_is_shown() {
    let (server, t) = start();
    t.get(&format!("/iclock/getrequest?SN={SN}&INFO=Ver%201,0,0,0,192.168.16.27,10,7,15,0,111"));
    t.upload("ATTLOG", 1, &punch(7, 0));
    t.upload("OPERLOG", 1, "USER PIN=7\tName=<b>Ann</b>\tPri=0\tPasswd=secret\tCard=\tGrp=1\tTZ=0000000100000000\tVerify=0\tViceCard=\n");
    server.queue("LOG");
    server.queue("DATA QUERY USERINFO");
    t.poll();
    t.reply("ID=1&Return=-2&CMD=LOG");
    post(&server, "/faults", r#"{"on":"poll","times":4294967295,"act":"stall"}"#);
    post(&server, "/faults", r#"{"percent":20,"seed":7}"#);

    let view = view(&server, "");
    assert_eq!(view["figures"], serde_json::to_value(server.summary()).unwrap());
    let terminal = &view["terminals"]["rows"][0];
    for (key, value) in [
        ("sn", json!(SN)),
        ("established", json!(true)),
        ("version", json!("2.4.1")),
        ("exchange", json!("reply")),
        ("requests", json!(6)),
        ("info", json!("Ver 1,0,0,0,192.168.16.27,10,7,15,0,111")),
    ] {
        assert_eq!(terminal[key], value, "{key}");
    }
    assert!(terminal["at_ms"].as_u64() <= view["now_ms"].as_u64());
    assert_eq!(view["punches"]["rows"][0]["pin"], "7");
    assert_eq!(view["people"]["rows"][0]["name"], "<b>Ann</b>");
    assert!(!view.to_string().contains("secret"));
    let commands = &view["commands"]["rows"];
    assert_eq!(commands[0]["reply"], json!({ "ret": -2, "content": null }));
    assert_eq!((&commands[1]["handed_out"], &commands[1]["reply"]), (&json!(1), &Value::Null));
    assert_eq!(view["persona"], "document");
    assert_eq!(
        view["faults"],
        json!({ "total": 1, "percent": 20, "armed": [{ "on": "poll", "times": null, "act": "stall" }] })
    );
}

#[test]
fn a_view_is_short_whatever_came_in() {
    let (server, t) = start();
    for body in 0..100 {
        let rows: String = (0..1000).map(|row| punch(body * 1000 + row + 1, 0)).collect();
        t.upload("ATTLOG", u64::from(body) + 1, &rows);
    }
    let long = "x".repeat(1_000_000);
    t.upload("ATTLOG", 200, &format!("9\t2026-03-02 08:00:00\t0\t1\t{long}\t0\t0\n"));
    let wide = "x".repeat(30_000);
    t.upload(&wide, 1, "1");
    t.get(&format!("/iclock/cdata?SN={wide}&options=all&pushver={wide}"));
    t.get(&format!("/iclock/getrequest?SN={wide}&INFO={wide}"));
    t.reply(&format!("ID=9&Return=0&CMD={long}"));
    for _ in 0..300 {
        server.queue(&format!("SHELL {long}"));
        post(&server, "/faults", r#"{"on":"verify","act":"drop"}"#);
    }
    t.poll();
    t.reply(&format!("ID=1\nSN={SN}\nReturn=0\nCMD=Shell\nFILENAME=shellout.txt\nContent={long}"));
    for number in 0..300 {
        t.upload("OPERLOG", number, "no row\n");
        t.get(&format!("/iclock/cdata?SN=OTHER{number}&options=all"));
    }
    let length = get(&server, "/view").body.len();
    assert!((1000..300_000).contains(&length), "{length} bytes");

    // The latest, and those of a place that is asked for.
    let newest = view(&server, "");
    let page = |list: &str, view: &Value| {
        let list = &view[list];
        (list["total"].clone(), list["start"].clone(), list["rows"].as_array().unwrap().len())
    };
    assert_eq!(page("punches", &newest), (json!(100_001), json!(99_951), 50));
    assert_eq!(newest["punches"]["rows"][49]["pin"], "9");
    let oldest = view(&server, "punches=0&terminals=252&commands=0&deviations=0");
    assert_eq!(page("punches", &oldest), (json!(100_001), json!(0), 50));
    assert_eq!(oldest["punches"]["rows"][0]["pin"], "1");
    assert_eq!(page("terminals", &oldest), (json!(302), json!(252), 50));
    assert_eq!(newest["faults"]["armed"].as_array().unwrap().len(), 50);
    for text in [&newest, &oldest].map(longest) {
        assert!(text.chars().count() <= 2001, "{text}");
    }
    for beyond in ["punches=99990", "punches=18446744073709551615", "punches=x"] {
        assert_eq!(page("punches", &view(&server, beyond)).2, 50, "{beyond}");
    }
}

/// The longest text in a value.
fn longest(value: &Value) -> &str {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().map(longest).collect(),
        Value::Object(values) => values.values().map(longest).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().max_by_key(|text| text.len()).unwrap_or("")
}

#[test]
fn only_pictures_are_served_as_photos() {
    let (server, t) = start();
    let body = |picture: &[u8]| {
        let name = format!("202603020800{:02}-7.jpg", picture.len());
        let head = format!("PIN={name}\nSN={SN}\nsize={}\nCMD=uploadphoto\0", picture.len());
        [head.as_bytes(), picture].concat()
    };
    let pictures: [(&[u8], _); 4] = [
        (b"\xff\xd8\xff\xe0 jpeg", Some("image/jpeg")),
        (b"\x89PNG\r\n\x1a\n png", Some("image/png")),
        (b"<svg onload=alert(1)>", None),
        (b"<script>alert(1)</script>", None),
    ];
    for (picture, _) in pictures {
        t.post(&format!("/iclock/cdata?SN={SN}&table=ATTPHOTO&Stamp=1"), body(picture));
    }
    t.upload("OPERLOG", 1, "USERPIC PIN=7\tFileName=7.jpg\tSize=8\tContent=/9j/4AA=\n");
    let shown = view(&server, "");
    for (n, (picture, media_type)) in pictures.into_iter().enumerate() {
        let row = &shown["punch_photos"]["rows"][n];
        assert_eq!((&row["bytes"], &row["picture"]), (&json!(picture.len()), &json!(media_type)));
        let answer = get(&server, &format!("/photos/punches/{n}?any"));
        assert_eq!(answer.status, if media_type.is_some() { 200 } else { 404 }, "{n}");
        if let Some(media_type) = media_type {
            assert!(
                answer.head.contains(&format!("Content-Type: {media_type}")),
                "{}",
                answer.head
            );
        }
    }
    assert_eq!(get(&server, "/photos/people/0").status, 200);
    for nothing in ["/photos/people/1", "/photos/people/x", "/photos/", "/photos/other/0"] {
        assert_eq!(get(&server, nothing).status, 404, "{nothing}");
    }
}

#[test]
fn the_bytes_of_requests_that_deviate_are_kept() {
    let (server, t) = start();
    let requests = [
        terminal::post("/iclock/cdata?SN=TEST0001&table=ATTLOG&Stamp=1", b"7\t\xff\n"),
        b"GET /iclock/getrequest?SN=TEST0001 HTTP/1.0\r\n\r\n".to_vec(),
        b"\x16\x03\x01 hello\r\n\r\n".to_vec(),
    ];
    for request in &requests {
        let _ = t.send(request);
    }
    let shown = view(&server, "");
    let rows = shown["deviations"]["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["has_bytes"] == true));
    for (n, request) in requests.iter().enumerate() {
        // The handshake was the first.
        let answer = get(&server, &format!("/requests/{}", n + 2));
        let kept: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(kept["length"], request.len(), "{n}");
        assert_eq!(&STANDARD.decode(kept["bytes"].as_str().unwrap()).unwrap(), request, "{n}");
    }
    assert_eq!(get(&server, "/requests/1").status, 404);
    assert_eq!(rows.last().unwrap()["rule"], "The bytes are no HTTP request.");

    let long = [b"x".repeat(100_000), b"\n".to_vec()].concat();
    let _ = t.send(&terminal::post("/iclock/cdata?SN=TEST0001&table=ATTLOG&Stamp=2", &long));
    let kept: Value = serde_json::from_str(&get(&server, "/requests/5").body).unwrap();
    assert!(kept["length"].as_u64() > Some(100_000));
    assert_eq!(STANDARD.decode(kept["bytes"].as_str().unwrap()).unwrap().len(), 8192);
}

#[test]
fn the_persona_is_switched() {
    let (server, t) = start();
    let personas: Value = serde_json::from_str(&get(&server, "/personas").body).unwrap();
    assert_eq!(personas[3], json!({ "name": "crlf", "about": "Ends its lines with CRLF." }));
    assert_eq!(post(&server, "/persona", "crlf").status, 200);
    assert_eq!(view(&server, "")["persona"], "crlf");
    assert!(t.handshake().body.contains("\r\n"));
    assert_eq!(post(&server, "/persona", "nobody").status, 400);
    assert_eq!(view(&server, "")["persona"], "crlf");
}

#[test]
fn the_page_offers_each_fault_of_the_readme() {
    let (server, _) = start();
    let html = get(&server, "/").body;
    let readme = include_str!("../README.md");
    let (_, table) = readme.split_once("| act |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    // The first column of the table, without what is in parentheses.
    let column = table.lines().skip(2).map(|row| row.split('|').nth(1).unwrap());
    let acts: Vec<&str> = column
        .flat_map(|cell| cell.split(", "))
        .filter_map(|act| act.trim().strip_prefix('`')?.split('`').next())
        .filter(|act| !["body", "fields"].contains(act))
        .collect();
    assert_eq!(acts.len(), 20 - 1, "{acts:?}");
    for act in acts {
        assert!(html.contains(&format!("<option value=\"{act}\">")), "{act}");
    }
}

#[test]
fn the_page_offers_each_command() {
    let (server, _) = start();
    let html = get(&server, "/").body;
    for command in [
        "DATA UPDATE",
        "DATA DELETE",
        "DATA QUERY",
        "CLEAR LOG",
        "CLEAR PHOTO",
        "CLEAR DATA",
        "CHECK",
        "LOG",
        "VERIFY SUM",
        "SET OPTION",
        "RELOAD OPTIONS",
        "INFO",
        "GetFile",
        "PutFile",
        "ENROLL_FP",
        "ENROLL_MF",
        "ENROLL_BIO",
        "REBOOT",
        "AC_UNLOCK",
        "AC_UNALARM",
        "SHELL",
        "UPGRADE",
    ] {
        let is_there =
            ["queue", "fill"].iter().any(|kind| html.contains(&format!("data-{kind}=\"{command}")));
        assert!(is_there, "{command}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_iclock-emulator"))
        .args(["--listen", "127.0.0.1:0", "--page", &address])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("cannot listen at {address}: ")), "{said}");
    assert_eq!(output.status.code(), Some(64));
}
