//! Retries: one broken exchange holds up no other, and its pauses grow.

use iclock_emulator::{Act, Fault, On};

use crate::harness::{TIMEOUT, Terminal, second, server};

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
    // Every further failure makes the pause longer: more polls go between two tries.
    assert!(server.wait_until(TIMEOUT, |received| received.count("reply") >= 4));
    let order: Vec<String> = server.requests().into_iter().map(|seen| seen.exchange).collect();
    let polls: Vec<usize> = order
        .split(|exchange| exchange == "reply")
        .map(|between| between.iter().filter(|exchange| *exchange == "poll").count())
        .collect();
    assert!(
        polls[1] < polls[3] && polls[3] >= 3,
        "polls before, between and after tries: {polls:?}"
    );
}
