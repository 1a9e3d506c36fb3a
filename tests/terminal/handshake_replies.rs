//! Handshake replies and polls as servers in use answer them,
//! against a raw server that knows only the rule.

use serde_json::json;

use crate::harness::{RawAnswer, RawServer, Terminal, options, polls_of, says, second, until};

/// The options with some of them in another spelling.
fn with(changes: &[(&str, &str)]) -> String {
    let RawAnswer::Says(_, _, mut text) = options("") else { unreachable!() };
    for (key, line) in changes {
        let kept: Vec<&str> =
            text.lines().filter(|old| !old.starts_with(&format!("{key}="))).collect();
        text = format!("{}\n{line}\n", kept.join("\n"));
    }
    text
}

/// A server with this handshake reply that takes all, and a terminal that runs.
fn given(reply: String) -> (RawServer, Terminal) {
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => says(200, reply.clone()),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.wait_until_online();
    (server, terminal)
}

/// Whether rows of the two kinds go by themselves: a punch, and an operation.
fn what_goes(server: &RawServer, terminal: &Terminal) -> (bool, bool) {
    let mut driver = terminal.driver();
    driver.punch("7", &second(1));
    driver.call("user.put", json!({"pin": "7", "name": "Ann"})).unwrap();
    // Two polls later everything that goes by itself has gone.
    polls_of(server, 3);
    let requests = server.requests();
    (
        requests.iter().any(|it| it.is_upload("ATTLOG")),
        requests.iter().any(|it| it.is_upload("OPERLOG") && it.text().contains("USER PIN=7")),
    )
}

#[test]
fn transflag_is_understood_in_every_spelling() {
    for (line, punches, users) in [
        ("TransFlag=1111111111", true, true),
        ("TransFlag=1000000000", true, false),
        ("TransFlag=TransData AttLog\tEnrollUser", true, true),
        ("TransFlag=TransData AttLog EnrollUser", true, true),
        ("TransFlag=TransData AttLog\\tEnrollUser\\tChgUser", true, true),
        ("TransFlag=TransData AttLog,OpLog", true, false),
        ("TransFlag=AttLog;EnrollUser", true, true),
        ("TransFlag=AttLog|OpLog|EnrollUser", true, true),
        ("TransFlag=TransData OpLog", false, false),
        ("TransFlag=Everything", true, true),
        ("TransFlag=0000000000", false, false),
    ] {
        let (server, terminal) = given(with(&[("TransFlag", line)]));
        assert_eq!(what_goes(&server, &terminal), (punches, users), "{line:?}");
    }
}

#[test]
fn the_owner_can_have_punches_sent_whatever_the_flag_says() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => {
            says(200, with(&[("TransFlag", "TransFlag=TransData OpLog")]))
        }
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[upload]\npunches = \"always\"\n");
    terminal.run();
    terminal.wait_until_online();
    assert!(what_goes(&server, &terminal).0);
}

#[test]
fn versions_are_read_as_far_as_they_are_digits() {
    for (version, expected) in [
        ("2.4.1", "2.4.1"),
        ("V2.4.1", "2.4.1"),
        ("2.4.1-20190802", "2.4.1"),
        ("2.2", "2.2.14"),
        ("2.0.1", "2.2.14"),
        ("1", "2.2.14"),
        ("none", "2.2.14"),
    ] {
        let (_server, terminal) =
            given(with(&[("PushProtVer", &format!("PushProtVer={version}"))]));
        let line = format!("protocol {expected},");
        assert!(terminal.log().contains(&line), "{version}: {}", terminal.log());
    }
}

#[test]
fn indented_lines_a_byte_order_mark_and_colons_are_taken() {
    let plain = with(&[("Delay", "Delay=7")]);
    let indented: String = plain.lines().map(|line| format!("   {line}\n")).collect();
    for reply in [
        format!("\u{feff}{plain}"),
        indented,
        plain.replace("Delay=7", "Delay: 7"),
        plain.replace("OPTION FROM: MADE0001", "OPTION FROM: OTHER001"),
    ] {
        let (_server, terminal) = given(reply.clone());
        assert!(terminal.log().contains("polling every 7 s"), "{reply}: {}", terminal.log());
    }
}

#[test]
fn a_poll_without_a_command_is_no_failure() {
    for body in ["", "\n", "GET OPTION FROM: MADE0001\nDelay=1\n", "2026-11-02 08:00:00", "OK"] {
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => says(200, body),
            request => says(200, format!("OK:{}", request.lines().len())),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        polls_of(&server, 4);
        let status = terminal.status();
        assert_eq!(
            (&status["trouble"], &status["online"]),
            (&json!(null), &json!(true)),
            "{body:?}"
        );
        let handshakes = server.requests().iter().filter(|it| it.is_handshake()).count();
        assert_eq!(handshakes, 1, "{body:?}");
    }
}

#[test]
fn a_server_that_forgot_the_terminal_gets_a_handshake() {
    for (status, body) in
        [(401, ""), (403, "no"), (200, "UNKNOWN DEVICE"), (200, "Terminal Not Authorized")]
    {
        let mut known = 0;
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => {
                known = 2;
                options("")
            }
            _ if known == 0 => says(status, body),
            request if request.is_poll() => {
                known -= 1;
                says(200, "OK")
            }
            request => says(200, format!("OK:{}", request.lines().len())),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        polls_of(&server, 8);
        let handshakes = server.requests().iter().filter(|it| it.is_handshake()).count();
        assert!(handshakes >= 2, "{status} {body:?}");
    }
}

#[test]
fn a_reply_for_another_serial_number_is_taken_with_a_warning() {
    let reply = with(&[]).replace("OPTION FROM: MADE0001", "OPTION FROM: OTHER001");
    let (_server, terminal) = given(reply);
    assert!(terminal.log().contains("for the serial number \"OTHER001\""), "{}", terminal.log());
}

#[test]
fn a_refused_handshake_is_made_again_after_error_delay() {
    for (status, body) in [
        (200, "UNREGISTERED\n"),
        (200, "GET OPTION FROM: MADE0001\nRETRY\n"),
        (200, "<html>Login</html>"),
        (404, "GET OPTION FROM: MADE0001\n"),
        (200, "OK\n"),
        (200, "OK: 0\n"),
    ] {
        let mut handshakes = 0;
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => {
                handshakes += 1;
                if handshakes == 1 { says(status, body) } else { options("Delay=7\n") }
            }
            _ => says(200, "OK"),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        let count = || server.requests().iter().filter(|it| it.is_handshake()).count();
        until("two handshakes", || count() == 2, || terminal.log());
        terminal.wait_until_online();
        // The count of a bare `OK: 0` is no serial number.
        assert!(!terminal.log().contains("for the serial number"), "{}", terminal.log());
    }
}

#[test]
fn an_option_is_never_read_from_a_reply_that_may_be_cut_off() {
    let whole = with(&[("Delay", "Delay=120")]);
    let without_end = whole.trim_end().to_owned();
    // The reply, how much of the first comes, and how many handshakes it takes.
    for (reply, cut, expected) in [
        (whole.clone(), 0, 1),
        (whole, 2, 2),
        (without_end.clone(), 0, 2),
        (without_end.clone(), 1, 4),
        (without_end, 2, 4),
    ] {
        let mut handshakes = 0;
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => {
                handshakes += 1;
                let cut = if handshakes == 1 { cut } else { 0 };
                let body = &reply[..reply.len() - cut];
                RawAnswer::Exactly(format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes())
            }
            _ => says(200, "OK"),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        terminal.wait_until_online();
        let count = server.requests().iter().filter(|it| it.is_handshake()).count();
        let told = terminal.log().matches("names no Content-Length").count();
        assert_eq!((count, told), (expected, expected / 4), "{cut}: {}", terminal.log());
        let connected = terminal.log().matches("connected to").count();
        assert!(terminal.log().contains("polling every 120 s"), "{cut}: {}", terminal.log());
        assert_eq!(connected, 1);
    }
}
