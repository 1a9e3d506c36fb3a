//! Token, user and password of `server` and of the proxy are shown to nobody.

use std::fs;

use serde_json::json;

use crate::harness::{RawAnswer, RawServer, Terminal, options, says, second, until};

/// The secrets, as they stand in the configuration, and as they travel.
const SECRETS: [&str; 6] = [
    "TOKEN-5e3f",
    "PASSWORD-71",
    "PASSWORD%2D71",
    // user:PASSWORD-71 and agent:PROXYWORD-7 in base64
    "dXNlcjpQQVNTV09SRC03MQ==",
    "PROXYWORD-7",
    "YWdlbnQ6UFJPWFlXT1JELTc=",
];

/// The URL of a server with all that it may carry.
fn with_secrets(url: &str) -> String {
    url.replace("http://", "http://user:PASSWORD%2D71@") + "/?token=TOKEN-5e3f&site=7"
}

fn assert_hidden(place: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{place} shows {secret}: {text}");
    }
}

/// Every file in the terminal's directory but its configuration.
fn assert_not_on_disk(terminal: &Terminal) {
    for entry in fs::read_dir(terminal.path("")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name != "punchd.toml" && entry.path().is_file() {
            assert_hidden(&name, &String::from_utf8_lossy(&fs::read(entry.path()).unwrap()));
        }
    }
}

#[test]
fn secrets_of_the_address_are_shown_to_nobody() {
    // Given a server that returns what it was sent, in every way in which a message quotes it,
    let mut answers = [
        RawAnswer::Says(
            301,
            "Location: https://h/iclock/cdata?SN=1&token=TOKEN-5e3f\r\n",
            String::new(),
        ),
        says(404, "Cannot GET /iclock/cdata?token=TOKEN-5e3f"),
        says(403, "dXNlcjpQQVNTV09SRC03MQ== is wrong: PASSWORD-71"),
        says(200, "FAIL token=TOKEN-5e3f&site=7"),
    ]
    .into_iter();
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => answers.next().unwrap_or_else(|| options("")),
        request if request.is_upload("ATTLOG") && request.text().contains("bad\t") => {
            says(400, "TOKEN-5e3f PASSWORD-71")
        }
        request if request.is_poll() => says(200, "C:7:SHELL id\n"),
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&with_secrets(&server.url()), "");
    let log = fs::File::create(terminal.path("log")).unwrap();
    terminal.run_telling_all(log.into());
    terminal.wait_until_online();
    // when a row is refused and a command is denied,
    let mut driver = terminal.driver();
    driver.punch("bad", &second(1));
    driver.punch("good", &second(2));
    terminal.wait_for("passed over", |status| status["streams"]["punches"]["suspect"] == 1);
    terminal.wait_for("audit", |status| status["audit"] != json!([]));
    // and the configuration is read again, wrong and right,
    let (url, wrong) = (
        server.url(),
        [
            "http://user:PASSWORD%2D71@h:0",
            "http://user:PASSWORD-71%@h",
            "http://h/?token=TOKEN-5e3f b",
            "user:PASSWORD-71@h",
        ],
    );
    let count = |what: &str| terminal.log().matches(what).count();
    for (nth, wrong) in wrong.into_iter().enumerate() {
        terminal.configure(wrong, "");
        terminal.signal("HUP");
        until("refused", || count("stays as it was") > nth, || terminal.log());
        let output = terminal.punchd(&["check"]);
        assert_eq!(output.status.code(), Some(78));
        assert_hidden("check", &format!("{output:?}"));
    }
    for proxy in [
        "[proxy]\nurl = \"http://agent:PROXYWORD-7@h\"\n",
        "proxy = \"http://agent:PROXYWORD-7@h:1\"\n",
    ] {
        terminal.configure(&url, proxy);
        assert_hidden("check", &format!("{:?}", terminal.punchd(&["check"])));
    }
    for line in [
        "server: \"http://user:PASSWORD-71@h\"",
        "server = http://user:PASSWORD-71@h",
        "server = \"\"\"\nhttp://user:PASSWORD-71@h:0\"\"\"",
        "server = [\"http://user:PASSWORD-71@h\"]",
        "[server]\nurl = \"http://user:PASSWORD-71@h\"",
    ] {
        fs::write(terminal.path("punchd.toml"), format!("serial = \"S\"\n{line}\n")).unwrap();
        let output = terminal.punchd(&["check"]);
        assert_eq!(output.status.code(), Some(78), "{line}: {output:?}");
        assert_hidden("check", &format!("{output:?}"));
    }
    let proxy = "[proxy]\nurl = \"http://agent:PROXYWORD-7@127.0.0.1:1\"\n";
    terminal.configure(&with_secrets(&url), proxy);
    terminal.signal("HUP");
    until("read again", || count("read again") > 0, || terminal.log());
    // then nothing that is shown, stored or sent in a body has one of the secrets.
    for line in ["check", "status", "status --json", "quarantine", "export"] {
        let output = terminal.punchd(&line.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{line}: {output:?}");
        assert_hidden(line, &String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
    for name in ["punchd.server", "server"] {
        assert_eq!(driver.call("option.get", json!({"name": name})), Ok(json!(null)));
    }
    for request in server.requests() {
        assert_hidden("a body", &request.text());
    }
    terminal.stop();
    assert_not_on_disk(&terminal);
}

#[test]
fn a_trace_shows_requests_and_answers_without_passwords_templates_and_pictures() {
    let mut lists =
        vec!["C:7:DATA UPDATE USERINFO PIN=9\tName=Bob\tPasswd=PASSWORD-71\n"].into_iter();
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, lists.next().unwrap_or("OK")),
        _ => says(200, "OK"),
    });
    let mut terminal =
        Terminal::prepare(&server.url(), "[device]\ncomm_key = \"TOKEN-5e3f\"\nfp_version = 10\n");
    let log = fs::File::create(terminal.path("log")).unwrap();
    terminal.run_telling_all(log.into());
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    let user = json!({"pin": "7", "name": "Ann", "password": "PASSWORD-71"});
    driver.call("user.put", user).unwrap();
    let template = json!({"pin": "7", "kind": "fingerprint", "no": 1, "data": "UFJPWFlXT1JELTc="});
    driver.call("template.put", template).unwrap();
    driver.punch("7", &second(1));
    let has_sent = |row: &str| {
        server.requests().iter().any(|it| it.text().contains(row) || it.target.contains(row))
    };
    for row in ["USER PIN=7", "FP PIN=7", "7\t20", "devicecmd"] {
        until(row, || has_sent(row), || terminal.log());
    }
    let output = terminal.punchd(&["doctor", "-v"]);
    let doctor = String::from_utf8(output.stderr).unwrap();
    terminal.stop();
    let log = terminal.log();
    for shown in [
        "request: GET /iclock/cdata?SN=MADE0001&options=all&",
        "&pushcommkey=…",
        "request: POST /iclock/cdata?SN=MADE0001&table=OPERLOG&Stamp=",
        "USER PIN=7\\tName=Ann\\t",
        "Passwd=…",
        "TMP=…",
        "request: GET /iclock/getrequest?SN=MADE0001",
        "answer to /iclock/getrequest: status 200, 59 bytes in ",
        "\"C:7:DATA UPDATE USERINFO PIN=9\\tName=Bob\\tPasswd=…\\n\"",
        "answer to /iclock/cdata: status 200, 2 bytes in ",
    ] {
        assert!(log.replace("\\\\", "\\").contains(shown), "{shown}: {log}");
    }
    assert!(doctor.contains("request: GET /iclock/cdata?SN=MADE0001&options=all&"), "{doctor}");
    assert!(doctor.contains("answer to /iclock/cdata: status 200, "), "{doctor}");
    for text in [&log, &doctor] {
        assert_hidden("the trace", text);
        assert!(!text.contains("UFJPWFl"), "{text}");
    }
}
