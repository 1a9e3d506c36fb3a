//! How long commands wait for others: nothing waits for ever.

use std::time::Duration;

use super::terminal::Terminal;
use crate::protocol::stream::{Stream, Table};
use crate::protocol::time::LocalTime;
use crate::store::{Moment, NewPunch};
use crate::uplink::Cause;

const SECOND: Duration = Duration::from_secs(1);

/// Whether this took from so many seconds to so many.
#[track_caller]
fn within(took: Duration, from: u32, to: u32) {
    assert!((SECOND * from..=SECOND * to).contains(&took), "{took:?}");
}

#[test]
fn a_reboot_waits_a_minute_for_a_download_that_does_not_come() {
    let mut terminal = Terminal::new(u64::MAX);
    terminal.server.borrow_mut().fails.push(("never.bin", 503));
    terminal.give("C:1:PutFile never.bin\tx\nC:2:REBOOT\n".into());
    let took = terminal.run_until("rebooted", |terminal| !terminal.acts.borrow().is_empty());
    within(took, 60, 75);
    assert_eq!(terminal.code("2").unwrap(), "0");
    // What is unfinished goes on.
    assert_eq!(terminal.store().jobs().count().unwrap(), 1);
}

#[test]
fn a_reboot_waits_ten_minutes_while_a_download_grows() {
    let mut terminal = Terminal::new(u64::MAX - 1);
    terminal.server.borrow_mut().trickles = Some("endless.bin");
    terminal.give("C:1:PutFile endless.bin\tx\nC:2:REBOOT\n".into());
    let took = terminal.run_until("rebooted", |terminal| !terminal.acts.borrow().is_empty());
    within(took, 600, 620);
}

#[test]
fn an_enrolment_waits_ten_seconds_for_a_photo_of_the_same_person() {
    let mut terminal = Terminal::new(u64::MAX - 2);
    terminal.server.borrow_mut().fails.push(("never.jpg", 503));
    terminal.give(
        "C:1:DATA UPDATE USERINFO PIN=1\nC:2:DATA UPDATE BIOPHOTO PIN=1\tType=9\tUrl=never.jpg\n\
         C:3:ENROLL_FP PIN=1\tFID=1\tRETRY=1\tOVERWRITE=1\n"
            .into(),
    );
    let took = terminal.run_until("asked", |terminal| !terminal.acts.borrow().is_empty());
    within(took, 10, 13);
}

#[test]
fn a_query_that_brings_nothing_through_ends_and_what_would_delete_its_rows_is_not_done() {
    let mut terminal = Terminal::new(u64::MAX - 3);
    terminal.record_punch(0);
    terminal.server.borrow_mut().fails.push(("CmdId=", 503));
    terminal.give("C:1:DATA QUERY ATTLOG\nC:2:CLEAR LOG\nC:3:DATA UPDATE USERINFO PIN=1\n".into());
    let took = terminal.run_until("given up", |terminal| terminal.code("2").is_some());
    within(took, 600, 660);
    assert_eq!(
        (terminal.code("1").unwrap(), terminal.code("2").unwrap()),
        ("-1003".into(), "-1003".into())
    );
    assert_eq!(terminal.code("3").unwrap(), "0");
    assert_eq!(terminal.store().journal().count_punches().unwrap(), 1);
}

#[test]
fn a_log_whose_rows_cannot_go_again_is_not_cleared() {
    let mut terminal = Terminal::new(u64::MAX - 4);
    terminal.record_punch(0);
    {
        let mut server = terminal.server.borrow_mut();
        server.options = "ATTLOGStamp=0\n";
        server.fails.push(("table=ATTLOG", 503));
    }
    terminal.give("C:1:CHECK\nC:2:CLEAR LOG\nC:3:CLEAR PHOTO\n".into());
    let took = terminal.run_until("given up", |terminal| terminal.code("2").is_some());
    within(took, 600, 700);
    assert_eq!(terminal.code("2").unwrap(), "-1003");
    assert_eq!(terminal.code("3").unwrap(), "0");
    assert_eq!(terminal.store().journal().count_punches().unwrap(), 1);
}

#[test]
fn a_reboot_waits_for_its_answer_as_long_as_the_server_does_not_hear_it() {
    let mut terminal = Terminal::new(u64::MAX - 5);
    terminal.server.borrow_mut().breaks.push(("/devicecmd", Cause::Other));
    terminal.give("C:1:REBOOT\n".into());
    terminal.run_until("sent", |terminal| terminal.heard_at("/devicecmd").len() > 10);
    assert!(terminal.acts.borrow().is_empty());
    terminal.server.borrow_mut().breaks.clear();
    terminal.run_until("rebooted", |terminal| !terminal.acts.borrow().is_empty());
    assert_eq!(terminal.code("1").unwrap(), "0");
}

#[test]
fn the_audit_log_has_the_last_thousand_commands() {
    let mut terminal = Terminal::new(5_300_000);
    // Each is audited: the owner does not allow it.
    terminal.give((1..=1100).map(|nth| format!("C:{nth}:CLEAR DATA\n")).collect());
    terminal.run_until("answered", |terminal| terminal.code("1100").is_some());
    let kept = terminal.store().audit_log().latest(2000).unwrap();
    assert_eq!((kept.len(), kept[0].id.as_str(), kept[999].id.as_str()), (1000, "1100", "101"));
}

#[test]
fn a_clear_that_gets_on_between_kills_is_never_given_up() {
    let mut terminal = Terminal::new(5_300_001);
    let store = terminal.store();
    for nth in 0..20_000 {
        let at = LocalTime::from_seconds(1_793_600_000 + nth).expect("a time");
        store.journal().add_punch(&NewPunch::of("7", Moment::At(at))).unwrap();
    }
    let streams = [Stream::Punches.into()];
    while let Some(batch) = store.outbox().next_batch(&streams, 4096).unwrap() {
        store.outbox().acknowledge(Table::Attlog, batch.pass, &batch.rows).unwrap();
    }
    let left = |terminal: &Terminal| terminal.store().journal().count_punches().unwrap();
    assert_eq!(left(&terminal), 20_000);
    terminal.give("C:1:CLEAR LOG\n".into());
    for _ in 0..5 {
        let before = left(&terminal);
        terminal.run_until("some are deleted", |terminal| left(terminal) < before);
        assert_eq!(terminal.code("1"), None);
        terminal.restart();
    }
    terminal.run_until("answered", |terminal| terminal.code("1").is_some());
    assert_eq!((terminal.code("1").unwrap().as_str(), left(&terminal)), ("0", 0));
}
