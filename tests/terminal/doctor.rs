//! `punchd doctor`: what is wrong on the way to the server, each against a server that knows only the
//! rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{RawAnswer, RawServer, Terminal, dated, options, says, second};

/// What the doctor found, and its exit code.
fn examined(terminal: &Terminal) -> (Vec<Value>, i32) {
    let output = terminal.punchd(&["doctor", "--json"]);
    let found = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (found, output.status.code().unwrap())
}

/// The findings that are not `ok`, one line each.
fn complaints(found: &[Value]) -> Vec<String> {
    let is_complaint = |finding: &&Value| finding["level"] != "ok";
    found.iter().filter(is_complaint).map(line).collect()
}

fn line(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let remedy = finding["remedy"].as_str().map(|remedy| format!(": {remedy}"));
    let remedy = remedy.unwrap_or_default();
    format!("{} {} {}{remedy}", text("level"), text("check"), text("message"))
}

/// The checks that were made, in order.
fn checks(found: &[Value]) -> Vec<&str> {
    let mut checks: Vec<_> = found.iter().map(|one| one["check"].as_str().unwrap()).collect();
    checks.dedup();
    checks
}

/// Every file of the terminal's store, with its bytes.
fn store_files(terminal: &Terminal) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(terminal.path("")).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file() && !path.ends_with("log"));
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The time of this machine.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs() as i64
}

const ALL_CHECKS: [&str; 12] = [
    "configuration",
    "punchd",
    "clock",
    "zone",
    "store",
    "room",
    "name",
    "tcp",
    "tls",
    "handshake",
    "date",
    "versions",
];

#[test]
fn a_terminal_in_order_has_no_complaint_beside_punchd_and_without_it() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => dated(options(""), now()),
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    // Before the first start there is no store, and none is made.
    let (found, code) = examined(&terminal);
    assert_eq!(checks(&found), ALL_CHECKS);
    assert_eq!(
        complaints(&found).iter().map(|line| &line[..14]).collect::<Vec<_>>(),
        ["warning punchd", "warning zone n"]
    );
    assert_eq!((code, server.requests().len()), (0, 1));
    assert!(server.requests()[0].is_handshake());
    assert!(!terminal.path("punchd.db").exists());
    // Beside a punchd that runs.
    terminal.run();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "reader"})).unwrap();
    let (found, code) = examined(&terminal);
    assert_eq!(checks(&found), [&ALL_CHECKS[..], &["streams", "drivers"]].concat());
    assert!(found.iter().any(|one| one["message"] == "connected: reader"), "{found:#?}");
    drop(driver);
    terminal.wait_for("gone", |status| status["drivers"] == json!([]));
    let (found, _) = examined(&terminal);
    assert!(found.iter().any(|one| line(one).starts_with("ok drivers none has registered")));
    assert_eq!((complaints(&found), code), (vec![], 0));
    // And after it was killed: what is in the log of the store counts, and no byte changes.
    terminal.kill();
    let before = store_files(&terminal);
    let (found, code) = examined(&terminal);
    assert_eq!(code, 0);
    assert_eq!(complaints(&found).len(), 1, "{:?}", complaints(&found));
    let zone = found.iter().find(|one| one["check"] == "zone").unwrap();
    assert_eq!(zone["message"], "UTC+00:00, as the server named it");
    assert_eq!(store_files(&terminal), before);
}

#[test]
fn each_fault_of_a_server_is_named_with_what_to_change() {
    let with = |line: &str| {
        let RawAnswer::Says(_, _, text) = options(line) else { unreachable!() };
        let key = line.split('=').next().unwrap().to_owned();
        let kept: Vec<_> = text
            .lines()
            .filter(|old| !old.starts_with(&format!("{key}=")) || *old == line)
            .collect();
        dated(says(200, kept.join("\n")), now())
    };
    let moved = "Location: http://login.example/x\r\n";
    let to_https = "Location: https://127.0.0.1/iclock/cdata?SN=1\r\n";
    let cases: Vec<(RawAnswer, i32, &str)> = vec![
        (
            RawAnswer::Says(302, moved, String::new()),
            1,
            "fault redirect the server redirects at /iclock/cdata to another host, \"http://login.example/x\" (status 302): if that is a login page",
        ),
        (
            RawAnswer::Says(301, to_https, String::new()),
            1,
            "fault redirect the server redirects at /iclock/cdata to \"https://127.0.0.1/iclock/cdata?SN=1\"",
        ),
        (
            says(407, "<html>"),
            1,
            "fault proxy a proxy between the terminal and the server wants a password (status 407)",
        ),
        (
            says(404, "no such page"),
            1,
            "fault handshake the server does not know the path /iclock/cdata (status 404",
        ),
        (says(500, "no such column"), 1, "fault handshake the server answered"),
        (says(403, ""), 1, "fault handshake the server does not accept this terminal (status 403)"),
        (
            says(200, "UNKNOWN DEVICE"),
            1,
            "fault handshake the server does not know this terminal (\"UNKNOWN DEVICE\"): register its serial number",
        ),
        (
            says(200, ""),
            1,
            "fault handshake the server answered at /iclock/cdata with an empty body",
        ),
        (
            says(200, "<html><title>Log in</title>"),
            1,
            "fault handshake the server answered at /iclock/cdata with a web page \"Log in\"",
        ),
        (RawAnswer::Closes, 1, "fault handshake http://127.0.0.1"),
        (
            says(200, "OK"),
            0,
            "warning handshake the server answers only \"OK\", and no options: register the serial number",
        ),
        (
            with("TransFlag=TransData OpLog"),
            0,
            "warning handshake the server does not ask for punches (TransFlag), nor for: ",
        ),
        (
            with("TimeZone=Mars"),
            0,
            "warning handshake the server names no time zone that can be used (TimeZone): set TimeZone at the server",
        ),
        (with("Delay=soon"), 0, "warning handshake delay"),
        (
            with("C:5:CHECK"),
            0,
            "warning handshake 1 commands came with the reply, and are not done: the server has to send them again",
        ),
        (options(""), 0, "warning date the answer has no Date"),
        (dated(options(""), now() - 5000), 0, "ok date the server's clock is -"),
        (
            dated(options("").for_serial("OTHER"), now()),
            0,
            "warning handshake the reply is for the serial number \"OTHER\"",
        ),
    ];
    for (answer, expected, start) in cases {
        let said = answer.clone();
        let server = RawServer::start(move |_| said.clone());
        let terminal = Terminal::prepare(&server.url(), "timezone = \"server\"\n");
        let (found, code) = examined(&terminal);
        let lines: Vec<_> = found.iter().map(line).collect();
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start:?}: {lines:#?}");
        assert_eq!(code, expected, "{answer:?}: {lines:#?}");
        // Nothing but one handshake, whatever was answered.
        let requests = server.requests();
        assert!(requests.len() == 1 && requests[0].is_handshake(), "{requests:?}");
    }
}

trait ForSerial {
    fn for_serial(self, serial: &str) -> Self;
}

impl ForSerial for RawAnswer {
    /// The same options for another serial number.
    fn for_serial(self, serial: &str) -> Self {
        let Self::Says(status, more, text) = self else { unreachable!() };
        Self::Says(status, more, text.replace("MADE0001", serial))
    }
}

#[test]
fn what_is_before_the_server_is_checked_first() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let closed = format!("http://127.0.0.1:{port}");
    // No name server has a name this long, and none is asked.
    let no_name = format!("http://{}", "a".repeat(64));
    let unreachable = format!("http://h@localhost:{port}/?token=SECRET");
    for (url, more, last, starts) in [
        (&*closed, "", "versions", vec!["fault tcp 127.0.0.1:", "warning punchd none runs ("]),
        (&unreachable, "", "versions", vec!["fault tcp 127.0.0.1:"]),
        (&no_name, "", "versions", vec!["fault name aaaa"]),
        (
            &closed,
            "[drivers]\nshared = \"/no/shared\"\n",
            "versions",
            vec!["fault configuration /", "fault tcp "],
        ),
        (&closed, "colour = 1\n", "configuration", vec!["fault configuration /"]),
        ("http://127.0.0.1:1/iclock", "", "versions", vec!["fault configuration /"]),
    ] {
        let terminal = Terminal::prepare(url, more);
        let (found, code) = examined(&terminal);
        let complaints = complaints(&found);
        assert_eq!((code, *checks(&found).last().unwrap()), (1, last), "{complaints:#?}");
        for start in starts {
            assert!(
                complaints.iter().any(|line| line.starts_with(start)),
                "{start}: {complaints:#?}"
            );
        }
        assert!(!complaints.concat().contains("SECRET"), "{complaints:#?}");
        // For people it is the same, one line each.
        let output = terminal.punchd(&["doctor"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.lines().filter(|line| !line.starts_with(' ')).count() >= found.len(),
            "{text}"
        );
        let end = String::from_utf8(output.stderr).unwrap();
        assert!(end.contains("punchd: there is a fault") || end.contains(" faults"), "{end}");
    }
}

#[test]
fn what_failed_before_and_works_by_now_is_a_warning() {
    let mut is_first = true;
    let server = RawServer::start(move |_| match std::mem::take(&mut is_first) {
        true => says(500, "not yet"),
        false => dated(options(""), now()),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 600\n");
    terminal.run();
    terminal.wait_for("trouble", |status| status["trouble"].is_string());
    let (found, code) = examined(&terminal);
    let lines = complaints(&found);
    let is_it =
        |line: &&String| line.starts_with("warning requests connecting: the server answered");
    let said = lines.iter().find(is_it).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(said.contains("by now the server answers: the next attempt comes in "), "{said}");
    assert_eq!(code, 0, "{lines:#?}");
}

#[test]
fn a_store_that_cannot_be_opened_is_a_fault() {
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    fs::write(terminal.path("punchd.db"), "nothing that a database begins with ".repeat(300))
        .unwrap();
    let before = store_files(&terminal);
    let (found, _) = examined(&terminal);
    let complaints = complaints(&found);
    assert!(
        complaints.iter().any(|line| line.starts_with("fault store the store ")),
        "{complaints:?}"
    );
    assert_eq!(store_files(&terminal), before);
}

#[test]
fn rows_that_wait_are_named_with_their_reason() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => dated(options("TransFlag=TransData OpLog"), now()),
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.call("register", json!({"name": "door", "provides": ["unlock"]})).unwrap();
    driver.punch("7", &second(1));
    let (found, code) = examined(&terminal);
    let lines: Vec<_> = found.iter().map(line).collect();
    let waits = "warning streams 1 punches wait: not asked for by the server's TransFlag (AttLog)";
    assert!(lines.iter().any(|line| line.starts_with(waits)), "{lines:#?}");
    assert!(lines.contains(&"ok drivers unlock by door".to_owned()), "{lines:#?}");
    assert_eq!(code, 0);
}

#[cfg(feature = "tls")]
#[test]
fn the_certificate_is_good_by_what_is_trusted_or_it_is_a_fault() {
    use iclock_emulator::{Settings, Tls, private_ca};
    let (ours, theirs) = (private_ca().unwrap(), private_ca().unwrap());
    let tls = Tls { certificates: ours.certificate.clone(), key: ours.key.clone(), clients: None };
    let server = crate::harness::server_with(Settings { tls: Some(tls), ..Settings::default() });
    let terminal = Terminal::prepare(&server.url(), "");
    let file = terminal.path("ca.pem");
    terminal.configure(&server.url(), &format!("[tls]\nca = \"{}\"", file.display()));
    // Without the file nothing can be trusted: that is a fault of the configuration, too.
    for (certificates, check, start, faults) in [
        (Some(&ours.ca), "tls", "ok tls the server's certificate is trusted by ", 0),
        (Some(&theirs.ca), "tls", "fault tls https://", 1),
        (None, "configuration", "fault configuration ", 2),
    ] {
        match certificates {
            Some(certificates) => fs::write(&file, certificates).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let (found, code) = examined(&terminal);
        let lines: Vec<_> = found.iter().filter(|one| one["check"] == check).map(line).collect();
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}: {found:#?}");
        let count = found.iter().filter(|one| one["level"] == "fault").count();
        assert_eq!((count, code), (faults, i32::from(faults > 0)), "{found:#?}");
    }
}

#[test]
fn a_punchd_that_goes_by_another_configuration_is_told_to_read_it() {
    let servers = [(); 2].map(|()| RawServer::start(|_| options("")));
    let mut terminal = Terminal::prepare(&servers[0].url(), "");
    terminal.run();
    terminal.wait_until_online();
    terminal.configure(&servers[1].url(), "");
    let (found, code) = examined(&terminal);
    let (old, new) = (servers[0].url(), servers[1].url());
    let complaint = format!(
        "fault punchd it goes by server = {old:?}, and the file says {new:?}: tell it to read the file: \
         kill -HUP"
    );
    assert!(complaints(&found).contains(&complaint), "{found:#?}");
    assert_eq!(code, 1);
    terminal.signal("HUP");
    terminal.wait_for("the other server", |status| status["server"] == new.as_str());
    assert!(!complaints(&examined(&terminal).0).contains(&complaint));
}

#[cfg(feature = "exchange")]
#[test]
fn a_server_that_does_not_ask_for_the_encryption_that_is_required_is_a_fault() {
    for (exchange, encrypt, is_fault) in [
        ("required", "0", true),
        ("required", "1", false),
        ("auto", "0", false),
        ("off", "1", false),
    ] {
        let answer = format!("Encrypt={encrypt}\n");
        let server = RawServer::start(move |_| dated(options(&answer), now()));
        let more = format!("[encryption]\nexchange = \"{exchange}\"\n");
        let (found, code) = examined(&Terminal::prepare(&server.url(), &more));
        let fault = "fault handshake the server does not ask for encryption";
        let has_fault = complaints(&found).iter().any(|line| line.starts_with(fault));
        assert_eq!((has_fault, code == 1), (is_fault, is_fault), "{exchange}: {found:#?}");
    }
}

/// The doctor makes a handshake and exchanges no keys: the running punchd knows more.
#[cfg(feature = "exchange")]
#[test]
fn a_server_without_an_exchange_is_a_warning_or_a_fault_if_it_is_required() {
    for (exchange, level) in [("auto", "warning"), ("required", "fault")] {
        let server = RawServer::start(|request| match request {
            request if request.is_handshake() => dated(options("Encrypt=1\n"), now()),
            request if request.target.contains("/exchange?") => says(404, "Not Found"),
            _ => says(200, "OK"),
        });
        let more = format!("[encryption]\nexchange = \"{exchange}\"\n");
        let mut terminal =
            Terminal::prepare(&server.url(), &format!("timezone = \"+00:00\"\n{more}"));
        terminal.run();
        terminal.wait_for("known", |status| !status["unencrypted"].is_null());
        let (found, code) = examined(&terminal);
        let complaints = complaints(&found);
        let first = complaints.first().cloned().unwrap_or_default();
        assert!(
            first.starts_with(&format!("{level} encryption "))
                && first.contains("/iclock/exchange?type=publickey with status 404"),
            "{exchange}: {complaints:#?}"
        );
        // That a handshake is answered does not help.
        let is_of_requests = |line: &String| line.contains(" requests ");
        assert!(!complaints.iter().any(is_of_requests), "{exchange}: {complaints:#?}");
        assert_eq!(code == 1, level == "fault", "{exchange}");
    }
    // Nor does it complain where all is encrypted.
    let server = crate::harness::encrypting_server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_for("encrypted", |status| status["encrypted"] == true);
    let (found, _) = examined(&terminal);
    let lines: Vec<_> = found.iter().map(line).collect();
    assert!(lines.iter().any(|line| line.starts_with("ok encryption ")), "{lines:#?}");
}
