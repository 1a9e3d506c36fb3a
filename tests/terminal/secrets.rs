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
