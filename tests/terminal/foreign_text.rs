//! Text that others wrote is harmless in the log, in `status` and in the error log: it is bounded,
//! it forges no line, and nothing in it turns the direction of writing.

use serde_json::json;

use crate::harness::{RawAnswer, RawServer, Terminal, options, polls_of, says, second, until};

/// What a person does not see, one of each kind.
const HIDDEN: &str = "\u{202e}\u{202a}\u{202b}\u{202c}\u{202d}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}";

/// Whether something hidden is in a text. Line ends are none.
fn has_hidden(text: &str) -> bool {
    text.chars().any(|c| HIDDEN.contains(c) || (c.is_control() && c != '\n'))
}

#[track_caller]
fn check(what: &str, text: &str) {
    let lines: Vec<&str> = text.lines().filter(|line| has_hidden(line)).collect();
    assert!(lines.is_empty(), "{what}: {lines:?}");
    let longest = text.lines().map(str::len).max().unwrap_or(0);
    assert!(longest < 8000, "{what}: a line of {longest} bytes");
}

/// What the program says in all its places.
fn check_all(terminal: &Terminal) {
    check("log", &terminal.log());
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["quarantine"],
        &["status", "--check"],
        &["check"],
    ] {
        let output = terminal.punchd(arguments);
        check(&format!("{arguments:?}"), &String::from_utf8_lossy(&output.stdout));
        check(&format!("{arguments:?}"), &String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn words_of_a_server_are_shown_without_hidden_characters() {
    // Each answers one request of its kind, and then again from the first.
    let bad = format!("{HIDDEN}\u{1b}[2J\u{7}evil");
    let commands = [
        format!("C:1:SHELL echo {bad}"),
        format!("C:2:DATA UPDATE USERINFO PIN=7\tName={bad}\tPri=0"),
        format!("C:3:DATA UPDATE USERINFO PIN={bad}\tName=x"),
        format!("C:4:{bad}"),
        format!("C:5:SET OPTION {bad}={bad}"),
        format!("C:6:GetFile /tmp/{bad}"),
        format!("C:7:DATA UPDATE {bad} PIN=1"),
        format!("C:8:PutFile http://127.0.0.1:9/{bad}\t/tmp/{bad}"),
        format!("C:9:DATA UPDATE USERPIC PIN=7\tFileName={bad}\tSize=1\tContent={bad}"),
        format!("C:{bad}:INFO"),
    ]
    .join("\n");
    let (mut uploads, mut polls) = (0, 0);
    let words = bad.clone();
    let server = RawServer::start(move |request| {
        if request.is_handshake() {
            return options(&format!(
                "TransFlag={words}\nTimeZone={words}\n{words}={words}\nServerName={words}\n"
            ));
        }
        if request.is_poll() {
            polls += 1;
            return says(200, if polls == 2 { commands.as_str() } else { "OK" });
        }
        if request.is_upload("ATTLOG") {
            uploads += 1;
            return match uploads {
                1 => says(200, words.clone()),
                2 => says(400, words.clone()),
                3 => says(500, words.clone()),
                4 => says(200, format!("<html><title>{words}</title>")),
                5 => RawAnswer::Says(
                    302,
                    "Location: http://x/\u{202e}\u{2066}moc.elpmaxe\u{200f}\r\nRetry-After: \u{61c}1\r\nDate: \u{202e}now\r\n",
                    String::new(),
                ),
                6 => says(403, format!("ERROR {words}")),
                _ => says(200, "OK"),
            };
        }
        says(200, "OK")
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..8 {
        driver.punch("1001", &second(nth));
        polls_of(&server, 1);
        check_all(&terminal);
    }
    until(
        "uploaded",
        || {
            let seen = server.requests();
            seen.iter().filter(|request| request.is_upload("ATTLOG")).count() > 7
        },
        || terminal.log(),
    );
    check_all(&terminal);
    // What went up as an error of the terminal is plain, too.
    for request in server.requests() {
        for line in request.lines().iter().filter(|line| line.starts_with("ERRORLOG")) {
            assert!(!has_hidden(&line.replace('\t', " ")), "{line:?}");
        }
    }
}

#[test]
fn words_of_drivers_are_shown_without_hidden_characters() {
    let server = RawServer::start(|request| match request.is_handshake() {
        true => options(""),
        false => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    let long = HIDDEN.repeat(1000);
    for (method, params) in [
        (HIDDEN, json!({})),
        (long.as_str(), json!({})),
        ("register", json!({"name": HIDDEN})),
        ("register", json!({"name": "sensor", "provides": [HIDDEN, long]})),
        ("user.put", json!({"pin": "7", "name": HIDDEN, "pri": HIDDEN, "tz": HIDDEN})),
        ("user.put", json!({"pin": HIDDEN})),
        ("error", json!({"code": "D01E0001", "message": HIDDEN})),
        ("photo", json!({"pin": "7", "file": HIDDEN})),
        ("idcard.put", json!({"pin": "7", "idnum": HIDDEN, "birthday": HIDDEN})),
        ("quarantine", json!({"action": HIDDEN})),
    ] {
        if let Err(error) = driver.call(method, params) {
            let message = error["message"].as_str().unwrap();
            assert!(!has_hidden(message) && message.chars().count() <= 500, "{:.40}", method);
        }
    }
    // A name may be written from right to left; only what shows it is plain.
    driver.call("user.put", json!({"pin": "8", "name": "\u{200f}علي"})).unwrap();
    assert_eq!(driver.call("user.get", json!({"pin": "8"})).unwrap()["name"], "\u{200f}علي");
    check_all(&terminal);
    until(
        "uploaded",
        || server.requests().iter().any(|request| request.text().contains("ERRORLOG")),
        || terminal.log(),
    );
    let bodies = server.requests();
    let lines = bodies.iter().flat_map(|request| request.lines());
    for line in lines.filter(|line| line.starts_with("ERRORLOG")) {
        assert!(!has_hidden(&line.replace('\t', " ")), "{line:?}");
    }
}

#[test]
fn words_of_files_are_shown_without_hidden_characters() {
    let terminal = Terminal::prepare("http://127.0.0.1:9", "");
    let good = std::fs::read_to_string(terminal.path("punchd.toml")).unwrap();
    for line in [
        format!("\"{HIDDEN}\" = 1"),
        format!("language = \"{HIDDEN}\""),
        format!("timezone = \"{HIDDEN}\""),
        format!("# {HIDDEN}\nserver = "),
    ] {
        std::fs::write(terminal.path("punchd.toml"), format!("{line}\n{good}")).unwrap();
        let output = terminal.punchd(&["check"]);
        assert!(!output.status.success(), "{line}");
        check(&line, &String::from_utf8_lossy(&output.stderr));
    }
    std::fs::write(terminal.path("punchd.toml"), good).unwrap();
    let csv = format!("pin,time,status,verify,workcode\n{HIDDEN},2026-11-02 08:00:00,0,1,0\n");
    std::fs::write(terminal.path("rows.csv"), csv).unwrap();
    let output = terminal.punchd(&["import", terminal.path("rows.csv").to_str().unwrap()]);
    assert!(!output.status.success());
    check("import", &String::from_utf8_lossy(&output.stderr));
    let output = terminal.punchd(&["import", HIDDEN]);
    check("import", &String::from_utf8_lossy(&output.stderr));
    let output = terminal.punchd(&[HIDDEN]);
    check("a command", &String::from_utf8_lossy(&output.stderr));
}
