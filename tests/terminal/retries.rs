//! Retries: one broken exchange holds up no other, and its pauses do not grow.

use std::time::Duration;

use iclock_emulator::{Act, Fault, On};

use crate::harness::{
    RawAnswer, RawServer, TIMEOUT, Terminal, options, polls_of, says, second, server,
};

#[test]
fn one_broken_way_holds_up_no_other() {
    // The server resets every reply to a command, and goes on resetting.
    let server = server();
    server.fault(Fault::new(On::reply(), Act::ResetRead).always());
    server.queue("INFO");
    let terminal = Terminal::start(&server, "");
    terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    for nth in 0..3 {
        terminal.driver().punch("1001", &second(nth));
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == nth + 1));
    }
    // Each try comes as soon after the last one as the first did, and polls get through between them.
    assert!(server.wait_until(TIMEOUT, |received| received.count("reply") >= 16));
    let order: Vec<String> = server.requests().into_iter().map(|seen| seen.exchange).collect();
    // A reset shows nothing if the same request goes well at once: each try is made twice.
    let tries = order.split(|exchange| exchange == "reply").skip(1);
    let tries = tries.filter(|between| !between.is_empty()).take(7);
    let polls: Vec<usize> =
        tries.map(|between| between.iter().filter(|seen| *seen == "poll").count()).collect();
    assert!(polls.iter().all(|polls| (1..=6).contains(polls)), "polls between tries: {polls:?}");
}

#[test]
fn results_without_an_answer_do_not_stop_polls_of_a_slow_server() {
    // Given a server that never answers a result, and takes longer for a handshake than ErrorDelay,
    let mut commands = vec!["C:1:INFO"];
    let server = RawServer::start(move |request| {
        if request.is_handshake() {
            std::thread::sleep(Duration::from_millis(1500));
            options("")
        } else if request.is_poll() {
            says(200, commands.pop().unwrap_or("OK"))
        } else if request.target.contains("/devicecmd") {
            RawAnswer::Hangs
        } else {
            says(200, "OK")
        }
    });
    let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nanswer = 2\nretry = 1\n");
    terminal.run();
    // when the result has failed,
    terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    // then polls go on.
    polls_of(&server, 4);
}
