//! What punchd says of each answer that a server can give in place of the protocol's, word for word:
//! to the handshake, to an upload and to a poll.

use crate::harness::{RawAnswer, RawServer, Terminal, options, says, second, until};

fn head(status: u16, head: &'static str, body: &str) -> RawAnswer {
    RawAnswer::Says(status, head, body.into())
}

/// Answers that are not the protocol's, and what is said of each. `{at}` is where it was asked.
fn strange_answers() -> Vec<(RawAnswer, &'static str)> {
    vec![
        (
            head(302, "Location: http://login.example/?from=x\r\n", "<html>"),
            "the server redirects at {at} to another host, \"http://login.example/?from=x\" (status 302): \
             if that is a login page of the network, let the terminal pass without it; if the server \
             moved, set `server` to its new address",
        ),
        (
            head(301, "Location: https://127.0.0.1/iclock/cdata?SN=1\r\n", ""),
            "the server redirects at {at} to \"https://127.0.0.1/iclock/cdata?SN=1\" (status 301): set \
             `server` to that address, without /iclock and what follows it",
        ),
        (
            head(302, "Location: /login?next=x\r\n", ""),
            "the server redirects at {at} to \"/login?next=x\" (status 302), which is for people: is \
             `server` the address for terminals, and does the network want a login?",
        ),
        (
            head(307, "", ""),
            "the server redirects at {at} (status 307) and does not say where to: set `server` to the \
             address it moved to, often https:// in place of http://",
        ),
        (
            says(404, "Cannot GET /x\nat line 5"),
            "the server does not know the path {at} (status 404: \"Cannot GET /x\"): is `server` the right \
             address and port, without /iclock at its end?",
        ),
        (
            says(500, "no such column: punch"),
            "the server answered with status 500 at {at}: \"no such column: punch\": its own log says what \
             failed there",
        ),
        (
            says(502, "<html><title>Bad Gateway</title>"),
            "the server answered with status 502 at {at}: \"Bad Gateway\": the program behind it does not \
             run, or is too slow",
        ),
        (says(405, ""), "the server answered with status 405 at {at}: see its own log"),
        (
            says(407, "<html><title>Access Denied</title>"),
            "a proxy between the terminal and the server wants a password (status 407: \"Access Denied\"): \
             write user and password into url of [proxy] (http://user:password@proxy:3128), correct those \
             that are there, or let the proxy pass the terminal without",
        ),
        (
            says(401, ""),
            "the server does not accept this terminal (status 401): register its serial number at the \
             server; if it wants a user and a password, write them into `server` \
             (http://user:password@host), or correct those that are there",
        ),
        (
            says(403, "who are you"),
            "the server does not accept this terminal (status 403: \"who are you\"): register its serial \
             number at the server",
        ),
        (
            says(413, "too much"),
            "the server finds the request at {at} too large (status 413: \"too much\"): requests are made \
             smaller; if this goes on, set post_bytes in [limits] below the server's limit",
        ),
        (
            says(200, "UNKNOWN DEVICE"),
            "the server does not know this terminal (\"UNKNOWN DEVICE\"): register its serial number at \
             the server",
        ),
        (
            says(200, "{\"code\": 0, \"msg\": \"success\"}"),
            "the server answered at {at} in JSON (\"{\\\"code\\\": 0, \\\"msg\\\": \\\"success\\\"}\"): set \
             `server` to its address for terminals; this one is for other programs",
        ),
        (
            says(200, ""),
            "the server answered at {at} with an empty body: is `server` the address for terminals, and \
             does the server know this terminal?",
        ),
        (
            says(200, "<!DOCTYPE html><html><title>Log in</title>"),
            "the server answered at {at} with a web page \"Log in\": is there a login page or another \
             program at this address?",
        ),
        (
            RawAnswer::Bytes(b"\x1f\x8b\x08\x00\x00\x00OK".to_vec()),
            "the server answered at {at} in gzip, which the terminal did not ask for: turn compression \
             off at the server or at the proxy before it",
        ),
        (
            head(200, "Content-Encoding: gzip\r\n", "xyz"),
            "the server answered at {at} in \"gzip\", which the terminal did not ask for: turn \
             compression off at the server or at the proxy before it",
        ),
        (
            says(200, "FAIL"),
            "the server answered at {at} with \"FAIL\", not as the protocol wants: see its own log",
        ),
    ]
}

#[test]
fn each_answer_to_the_handshake_has_its_words() {
    for (answer, words) in strange_answers() {
        let said = answer.clone();
        let server = RawServer::start(move |_| said.clone());
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        let status = terminal.wait_for("trouble", |status| status["trouble"].is_string());
        let line = format!("connecting: {}", words.replace("{at}", "/iclock/cdata"));
        assert_eq!(status["trouble"], line, "{answer:?}");
        assert!(terminal.log().contains(&line), "{}", terminal.log());
    }
}

#[test]
fn each_answer_to_an_upload_has_its_words() {
    for (answer, words) in strange_answers() {
        let said = answer.clone();
        // The handshake was answered well: `server` is right.
        let end = words
            .find("set `server` to its address")
            .or(words.find("is `server` the address for terminals, and does the server"));
        let words = match end {
            Some(end) => {
                format!(
                    "{}rows count only after OK: correct the server's answer to this POST",
                    &words[..end]
                )
            }
            None => words.to_owned(),
        };
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => says(200, "OK"),
            request if request.is_upload("ATTLOG") => said.clone(),
            _ => says(200, "OK"),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        terminal.wait_until_online();
        terminal.driver().punch("7", &second(1));
        let words = words.replace("{at}", "/iclock/cdata");
        until(words.as_str(), || terminal.log().contains(&words), || terminal.log());
    }
}

#[test]
fn an_ok_in_quotes_or_behind_a_byte_order_mark_is_an_ok() {
    for answer in ["\"OK\"", "\u{feff}OK", "\"OK:1\"", " ok", "OK: 1\r\n"] {
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => {
                let RawAnswer::Says(_, _, text) = options("") else { unreachable!() };
                says(200, format!("\u{feff}{text}"))
            }
            request if request.is_poll() => says(200, answer),
            _ => says(200, answer),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        terminal.run();
        terminal.driver().punch("7", &second(1));
        terminal.wait_for("sent", |status| status["streams"]["punches"]["sent_up_to"] != 0);
        let log = terminal.log();
        assert!(!log.contains("warning"), "{answer:?}: {log}");
    }
}

#[test]
fn an_answer_to_a_poll_that_is_no_command_is_told_once() {
    let mut polls = 0;
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => {
            polls += 1;
            match polls {
                ..=3 => says(200, "REBOOT"),
                4 => says(200, "OK"),
                5 => says(200, "{\"code\": 0}"),
                6 => options(""),
                7 => says(200, "C:1:CHECK\n"),
                _ => says(200, ""),
            }
        }
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let polled = || server.requests().iter().filter(|request| request.is_poll()).count();
    until("polled", || polled() >= 9, || terminal.log());
    let log = terminal.log();
    let words = |answer: &str| {
        format!(
            "warning: the server answered the poll for commands with {answer:?}, which is no command \
             and is not carried out: a command begins with C:ID: (C:1:REBOOT), and OK says that there \
             is none"
        )
    };
    for answer in ["REBOOT", "{\"code\": 0}"] {
        assert_eq!(log.matches(&words(answer)).count(), 1, "{answer}: {log}");
    }
    assert_eq!(log.matches("is no command").count(), 2, "{log}");
}

#[test]
fn a_reply_for_another_serial_number_is_taken_and_told() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => {
            let RawAnswer::Says(_, _, text) = options("") else { unreachable!() };
            says(200, text.replace("MADE0001", "OTHER-1"))
        }
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.wait_until_online();
    let words = "warning: the server's reply is for the serial number \"OTHER-1\": it is taken all the \
                 same; if the server knows this terminal by another number than \"MADE0001\", correct \
                 `serial` in punchd.toml";
    assert!(terminal.log().contains(words), "{}", terminal.log());
}
