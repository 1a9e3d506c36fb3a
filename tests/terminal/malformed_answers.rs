//! Servers that answer anything but the protocol: nothing is marked sent, nothing is done, the
//! reason stands in `status` in plain language, memory stays where it was.

use iclock_emulator::{Act, Fault, On};

use crate::harness::{Terminal, second, server};

/// What comes in place of an answer, and a word of the reason for it.
fn nonsense() -> Vec<(&'static str, Act, &'static str)> {
    vec![
        ("a web page", Act::html(), "web page"),
        ("a web page of a million lines", many_lines(), "web page"),
        ("nothing", Act::empty(), "an empty body"),
        ("500", Act::status(500, "C:9:DATA UPDATE USERINFO PIN=666"), "status 500"),
        ("301", Act::redirect("https://127.0.0.1/"), "redirects"),
        ("half a body", Act::HalfBody, "broke off"),
        ("a reset in the body", Act::ResetBody, "broke off"),
        ("10 MB in one line", Act::LongLine { bytes: 10 << 20 }, "the server answered"),
        ("binary junk", Act::garbage(), "HTTP"),
        ("a length that is too small", Act::ShortLength, "Content-Length"),
    ]
}

/// Few bytes of each line would be a lot for all of them.
fn many_lines() -> Act {
    let body = format!("<html>\n{}", "x\n".repeat(1_000_000));
    Act::Answer { status: 200, body, fields: vec![] }
}

#[test]
fn nothing_is_believed_that_is_not_the_protocol() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    for (name, act, word) in nonsense() {
        for on in [On::handshake(), On::poll(), On::upload(), On::reply()] {
            server.fault(Fault::new(on, act.clone()).always());
        }
        terminal.driver().punch("1001", &second(1));
        let status = terminal.wait_for(name, |status| {
            status["trouble"].as_str().is_some_and(|message| message.contains(word))
        });
        assert!(status["streams"]["punches"]["pending"].as_u64() > Some(0), "{name}: {status:#}");
        assert_eq!(status["users"], 0, "{name}");
        // Once the server is itself again, all goes well.
        server.clear_faults();
        let status = terminal.wait_for("well again", |status| {
            status["trouble"].is_null() && status["streams"]["punches"]["pending"] == 0
        });
        assert_eq!(status["online"], true);
        let peak = terminal.proc("status", "VmHWM");
        assert!(peak < 24 << 10, "{name}: {peak} KiB");
    }
}
