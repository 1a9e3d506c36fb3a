//! A web page that stands where an answer of the protocol should be, such as that of a portal: nothing
//! in it is a command, whatever its lines look like and whatever the head says of it.

use serde_json::json;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, options, replies_to, says, second, until,
};

const COMMAND: &str = "C:9:DATA UPDATE USERINFO PIN=666\n";

/// Pages with the command in them; none has it in its first line.
const PAGES: [&str; 4] =
    ["<html>\n{}</html>\n", "<!DOCTYPE html>\r\n<pre>\r\n{}</pre>", " \t<p>\n{}", "<\n{}"];
const HEADS: [&str; 2] = ["", "Content-Type: text/html\r\n"];

/// Which requests get a page.
type Of = fn(&RawRequest) -> bool;

#[test]
fn a_command_in_a_web_page_is_not_carried_out() {
    let kinds: [(&str, Of, usize); 4] = [
        ("handshake", RawRequest::is_handshake, 4),
        ("poll", RawRequest::is_poll, 4),
        ("upload", |request| request.is_upload("ATTLOG"), 4),
        // Each is offered after twice the time.
        ("reply", |request| request.target.contains("/devicecmd"), 1),
    ];
    std::thread::scope(|scope| {
        for (kind, is_it, pages) in kinds {
            scope.spawn(move || no_command_is_carried_out(kind, is_it, &PAGES[..pages]));
        }
    });
}

fn no_command_is_carried_out(kind: &str, is_it: Of, pages: &[&str]) {
    // Given a server, or what is between, that answers with pages, one after the other,
    let of =
        |head: &'static str, page: &&str| RawAnswer::Says(200, head, page.replace("{}", COMMAND));
    let mut left: Vec<RawAnswer> =
        HEADS.into_iter().flat_map(|head| pages.iter().map(move |page| of(head, page))).collect();
    let count = left.len();
    let mut has_asked = false;
    let server = RawServer::start(move |request| match request {
        request if is_it(request) && !left.is_empty() => left.remove(0),
        request if request.is_handshake() => options(""),
        request if request.is_poll() => match std::mem::replace(&mut has_asked, true) {
            false => says(200, "C:1:INFO\n"),
            true => says(200, "OK"),
        },
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    driver.punch("1001", &second(1));
    // when all of them were given out, and the server is itself again,
    let given = || server.requests().iter().filter(|it| is_it(it)).count();
    until("given", || given() > count, || terminal.log());
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
    until("answered", || replies_to(&server).contains_key("1"), || terminal.log());
    // then nobody was added, and no command was answered but the server's own.
    assert!(driver.call("user.get", json!({"pin": "666"})).unwrap().is_null(), "{kind}");
    let replies = replies_to(&server);
    assert_eq!(replies.keys().collect::<Vec<_>>(), ["1"], "{kind}: {replies:?}");
}

#[test]
fn lines_of_a_page_behind_commands_are_no_commands_and_are_told() {
    // What begins as a command list is one; the page behind it is skipped, line by line.
    let mut polls = 0;
    let server = RawServer::start(move |request| {
        polls += u32::from(request.is_poll());
        match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() && polls == 2 => {
                says(200, "C:1:INFO\n<html>\n<p>C:9:REBOOT</p>\n</html>\n")
            }
            _ => says(200, "OK"),
        }
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    until("answered", || replies_to(&server).contains_key("1"), || terminal.log());
    let told = || terminal.log().matches("is no command and was skipped").count() == 3;
    until("told", told, || terminal.log());
    assert_eq!(replies_to(&server).len(), 1);
}
