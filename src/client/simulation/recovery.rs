//! Back after an outage: as soon as can be, and without a storm.

use std::time::Duration;

use super::terminal::Terminal;
use super::world::{Outage, TIME_OUT};
use crate::protocol::stream::Stream;

const SECOND: Duration = Duration::from_secs(1);
/// `ErrorDelay`.
const ERROR_DELAY: Duration = Duration::from_secs(60);

fn terminal(seed: u64) -> Terminal {
    let mut terminal = Terminal::new(seed);
    terminal.server.borrow_mut().options = "ErrorDelay=60\nDelay=30\n";
    terminal.record_punch(0);
    terminal
}

#[test]
fn a_terminal_is_back_within_error_delay_and_a_quarter_whatever_the_outage() {
    for (nth, seconds) in [10, 600, 36_000].into_iter().enumerate() {
        for (kind, outage) in
            [Outage::Refused, Outage::Closed, Outage::TimedOut, Outage::Status(503)]
                .into_iter()
                .enumerate()
        {
            let mut terminal = terminal(u64::MAX - 100 - (nth * 4 + kind) as u64);
            // Given an outage that begins at the next poll,
            let begun = terminal.now();
            let end = begun + ERROR_DELAY + SECOND * seconds;
            terminal.server.borrow_mut().outage = Some((begun, end, outage));
            let before = terminal.server.borrow().exchanges.len();
            // when it is over,
            terminal.run_until("over", |terminal| terminal.now() >= end);
            let failed = terminal.server.borrow().exchanges.len() - before;
            // then the terminal is back,
            terminal.run_until("back", |terminal| {
                terminal.server.borrow().exchanges.last().is_some_and(|(_, answered)| *answered)
            });
            let came = terminal.server.borrow().exchanges.last().unwrap().0 - end;
            let took = if matches!(outage, Outage::TimedOut) { TIME_OUT } else { SECOND };
            assert!(came <= ERROR_DELAY * 5 / 4 + took, "{outage:?} of {seconds} s: {came:?}");
            // and it has not asked all the time: a few first tries, and then one per ErrorDelay of each
            // thing that has work (the handshake, or the poll).
            let most = 12 + 2 * seconds as usize / 60;
            assert!(failed <= most, "{outage:?} of {seconds} s: {failed} tries");
            terminal.run_until("uploaded", |terminal| {
                terminal.store().outbox().backlog(Stream::Punches).unwrap().new == 0
            });
        }
    }
}

#[test]
fn a_server_that_closes_every_second_connection_gets_everything_in_twice_the_requests() {
    let mut terminal = terminal(u64::MAX - 99);
    {
        let mut server = terminal.server.borrow_mut();
        server.closes_every_second = true;
        server.exchanges.clear();
    }
    for nth in 1..30 {
        terminal.record_punch(nth);
    }
    terminal.give("C:1:DATA UPDATE USERINFO PIN=1\nC:2:DATA QUERY USERINFO\n".into());
    terminal.run_until("answered", |terminal| terminal.code("2").is_some());
    let answered =
        terminal.server.borrow().exchanges.iter().filter(|(_, answered)| *answered).count();
    let all = terminal.server.borrow().exchanges.len();
    assert!(all <= 2 * answered + 1, "{all} requests, {answered} of them answered");
    // 29 punches, and at most one poll beside each.
    assert!(answered <= 70, "{answered} answered requests");
}

#[test]
fn a_link_that_comes_ends_the_pause_and_one_that_flaps_makes_no_storm() {
    for outage in [Outage::Refused, Outage::TimedOut] {
        let mut terminal = terminal(u64::MAX - 98);
        let begun = terminal.now();
        let flaps_from = begun + SECOND * 3600;
        let end = flaps_from + SECOND * 600;
        terminal.server.borrow_mut().outage = Some((begun, end, outage));
        terminal.run_until("hours", |terminal| terminal.now() >= flaps_from);
        // Given a link that comes and goes a hundred times a second, for ten minutes,
        let before = terminal.server.borrow().exchanges.len();
        while terminal.now() < end {
            terminal.link_came();
            let next = terminal.now() + SECOND / 100;
            terminal.step_until(next);
        }
        let tries = terminal.server.borrow().exchanges.len() - before;
        // then there are a few attempts more than without: one in a minute more.
        assert!(tries <= 10 + 10 + 8, "{outage:?}: {tries} attempts");
        // Given one that comes after it was away for an hour,
        let begun = terminal.now() + SECOND * 200;
        let end = begun + SECOND * 3600;
        terminal.server.borrow_mut().outage = Some((begun, end, outage));
        terminal.run_until("another hour", |terminal| terminal.now() + SECOND * 20 >= end);
        terminal.run_to(end);
        // when it comes at last, then the terminal is back at once.
        let came = terminal.now();
        terminal.link_came();
        terminal.run_until("back", |terminal| {
            terminal.server.borrow().exchanges.last().is_some_and(|(at, ok)| *ok && *at >= came)
        });
        assert!(terminal.now() - came <= SECOND, "{outage:?}: {:?}", terminal.now() - came);
    }
}
