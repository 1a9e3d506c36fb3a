//! How long each activity is held back after a failure, and how often it runs without one: not
//! sooner and not later than the rules say.

use std::time::Duration;

use super::terminal::Terminal;
use crate::uplink::Cause;

const SECOND: Duration = Duration::from_secs(1);
const ERROR_DELAY: u32 = 60;
const DELAY: u32 = 30;
/// What else the loop does meanwhile takes no longer.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Status(u16),
    /// The connection breaks in the middle of the request.
    Breaks,
}

/// The times between so many attempts at what has `part` in its target, while it fails.
fn gaps(seed: u64, part: &'static str, fault: Fault, list: &str, count: usize) -> Vec<Duration> {
    let mut terminal = Terminal::new(seed);
    {
        let mut server = terminal.server.borrow_mut();
        server.options = "ErrorDelay=60\nDelay=30\n";
        match fault {
            Fault::None => {}
            Fault::Status(status) => server.fails.push((part, status)),
            Fault::Breaks => server.breaks.push((part, Cause::Other)),
        }
    }
    // A punch waits; the queries and the files of the list are asked for once they can be.
    terminal.punch_now("7");
    terminal.give(list.to_owned());
    terminal.run_until("many attempts", |terminal| terminal.heard_at(part).len() > count);
    let heard = terminal.heard_at(part);
    heard.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// `ErrorDelay` and up to a quarter.
fn is_error_delay(gap: Duration) -> bool {
    let delay = SECOND * ERROR_DELAY;
    (delay..=delay * 5 / 4 + SLACK).contains(&gap)
}

#[test]
fn what_fails_is_tried_again_after_error_delay_and_not_before() {
    const QUERY: &str = "C:1:DATA QUERY ATTLOG\n";
    for (nth, (what, part, fault, list)) in [
        ("handshake", "options=all", Fault::Status(503), ""),
        ("handshake", "options=all", Fault::Breaks, ""),
        ("poll", "/getrequest", Fault::Status(503), ""),
        ("poll", "/getrequest", Fault::Status(404), ""),
        ("poll", "/getrequest", Fault::Breaks, ""),
        ("upload", "table=ATTLOG", Fault::Status(503), ""),
        ("upload", "table=ATTLOG", Fault::Breaks, ""),
        ("reply", "/devicecmd", Fault::Breaks, "C:1:INFO\n"),
        ("query", "CmdId=", Fault::Status(503), QUERY),
        ("query", "CmdId=", Fault::Status(400), QUERY),
        ("query", "CmdId=", Fault::Breaks, QUERY),
    ]
    .into_iter()
    .enumerate()
    {
        let found = gaps(5_300_000 + nth as u64, part, fault, list, 5);
        // A row that was refused is offered once more at once, to see whether it is the row.
        let at_once = found.iter().filter(|gap| **gap < SECOND).count();
        let pauses = found.iter().filter(|gap| **gap >= SECOND);
        assert!(at_once <= usize::from(what == "upload"), "{what}, {fault:?}: {found:?}");
        assert!(pauses.copied().all(is_error_delay), "{what}, {fault:?}: {found:?}");
    }
}

#[test]
fn what_is_tried_so_often_and_no_more_waits_twice_as_long_each_time() {
    for (nth, (what, part, list)) in [
        ("download", "never.bin", "C:1:PutFile never.bin\tx\n"),
        ("refused reply", "/devicecmd", "C:1:INFO\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let found = gaps(5_310_000 + nth as u64, part, Fault::Status(503), list, 8);
        // A result that was refused goes once more by itself at once: its pauses begin there.
        let pauses = if what == "download" { &found[..] } else { &found[1..] };
        for (pause, nth) in pauses.iter().zip(0..) {
            let least = (SECOND * ERROR_DELAY * 2u32.pow(nth)).min(SECOND * 900);
            let expected = least..=least * 5 / 4 + SLACK;
            assert!(expected.contains(pause), "{what}, {nth}: {found:?}");
        }
    }
}

#[test]
fn error_delay_counts_as_fifteen_minutes_at_most() {
    let mut terminal = Terminal::new(5_350_000);
    {
        let mut server = terminal.server.borrow_mut();
        server.options = "ErrorDelay=86400\nDelay=30\n";
        server.fails.push(("/getrequest", 503));
    }
    terminal.run_until("some attempts", |terminal| terminal.heard_at("/getrequest").len() > 3);
    for pair in terminal.heard_at("/getrequest").windows(2) {
        let gap = pair[1] - pair[0];
        assert!((SECOND * 900..=SECOND * 1125 + SLACK).contains(&gap), "{gap:?}");
    }
}

#[test]
fn an_idle_terminal_polls_each_delay() {
    let found = gaps(5_320_000, "/getrequest", Fault::None, "", 20);
    // The first list shows that there may be more.
    let delay = SECOND * DELAY;
    let is_delay = |gap: &Duration| (delay..=delay + SLACK).contains(gap);
    assert!(found[2..].iter().all(is_delay), "{found:?}");
}

#[test]
fn an_idle_terminal_rests_from_poll_to_poll() {
    let mut terminal = Terminal::new(5_340_000);
    terminal.server.borrow_mut().options = "ErrorDelay=60\nDelay=30\n";
    terminal.run_until("idle", |terminal| terminal.now() >= SECOND * 600);
    let (rests, polls) = (terminal.rests, terminal.heard_at("").len());
    let until = terminal.now() + SECOND * 3600;
    terminal.run_until("an hour", |terminal| terminal.now() >= until);
    let (rests, polls) = (terminal.rests - rests, terminal.heard_at("").len() - polls);
    assert!((119..=121).contains(&polls), "{polls}");
    assert!(rests as usize <= polls + 2, "{rests} rests beside {polls} polls");
}

#[test]
fn a_query_that_is_refused_for_ever_ends_and_holds_up_nothing() {
    let mut terminal = Terminal::new(5_330_000);
    terminal.server.borrow_mut().options = "ErrorDelay=60\nDelay=30\n";
    terminal.record_punch(0);
    terminal.server.borrow_mut().fails.push(("CmdId=bad", 400));
    terminal.give("C:bad:DATA QUERY ATTLOG\nC:good:DATA QUERY ATTLOG\n".into());
    terminal.run_until("refused", |terminal| !terminal.heard_at("CmdId=bad").is_empty());
    let begun = terminal.now();
    terminal.punch_now("9");
    terminal.give("C:user:DATA UPDATE USERINFO PIN=1\n".into());
    let took = terminal.run_until("given up", |terminal| terminal.code("bad").is_some());
    // Six attempts, five pauses of a minute and up to a quarter.
    assert_eq!(terminal.heard_at("CmdId=bad").len(), 6);
    assert!((SECOND * 300..=SECOND * 380).contains(&took), "{took:?}");
    assert_eq!(terminal.code("bad").unwrap(), "-1003");
    // Meanwhile a punch went, a command was carried out, and polls came as they should.
    let meanwhile = |part: &str| {
        let heard = terminal.heard_at(part);
        heard.into_iter().filter(|at| (begun..begun + SECOND * 61).contains(at)).count()
    };
    assert!(meanwhile("table=ATTLOG") >= 1 && meanwhile("/devicecmd") >= 1);
    assert!(meanwhile("/getrequest") >= 2);
    // The query behind it is answered.
    terminal.run_until("answered", |terminal| terminal.code("good").is_some());
    assert_eq!(terminal.code("good").unwrap(), "0");
}

/// What came first after a request of the operation log that failed after so long: the poll that became
/// due meanwhile, or the punch.
fn after_a_failure(seed: u64, takes: Duration) -> Vec<&'static str> {
    let mut terminal = Terminal::new(seed);
    terminal.server.borrow_mut().options = "ErrorDelay=60\nDelay=30\n";
    terminal.run_until("idle", |terminal| terminal.heard_at("/getrequest").len() == 5);
    // The next poll is due while the request is under way.
    let begins_at = terminal.now() + SECOND * DELAY - Duration::from_millis(800);
    terminal.run_to(begins_at);
    {
        let mut server = terminal.server.borrow_mut();
        server.breaks.push(("table=OPERLOG", Cause::Other));
        server.break_takes = takes;
    }
    terminal.operation_now();
    terminal.run_until("failed", |terminal| !terminal.heard_at("table=OPERLOG").is_empty());
    let failed_at = terminal.now();
    terminal.punch_now("7");
    let came = |terminal: &Terminal, part: &'static str| {
        let first = terminal.heard_at(part).into_iter().find(|at| *at > failed_at);
        first.map(|at| (at, part))
    };
    const PARTS: [&str; 2] = ["/getrequest", "table=ATTLOG"];
    terminal.run_until("both", |it| PARTS.iter().all(|part| came(it, part).is_some()));
    let mut order = PARTS.map(|part| came(&terminal, part).unwrap());
    order.sort_unstable();
    order.map(|(_, part)| part).into()
}

#[test]
fn after_a_request_that_stalled_for_a_second_the_poll_goes_first() {
    // An exchange takes 20 ms in itself.
    for (nth, (takes, expected)) in [
        (Duration::ZERO, ["table=ATTLOG", "/getrequest"]),
        (Duration::from_millis(979), ["table=ATTLOG", "/getrequest"]),
        (Duration::from_millis(980), ["/getrequest", "table=ATTLOG"]),
        (Duration::from_secs(30), ["/getrequest", "table=ATTLOG"]),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(after_a_failure(5_360_000 + nth as u64, takes), expected, "{takes:?}");
    }
}
