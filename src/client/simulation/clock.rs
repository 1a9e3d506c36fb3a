//! Punches of a terminal without a clock: the server's `Date` gives each the time at which it
//! happened, to the second.

use std::time::Duration;

use super::terminal::Terminal;
use super::world::Outage;
use crate::clock::BUILD_TIME;
use crate::protocol::time::LocalTime;

const SECOND: Duration = Duration::from_secs(1);
/// The zone, in seconds.
const ZONE: i32 = 8 * 3600;
/// What the server's clock shows when the terminal boots.
const BOOTED: i64 = BUILD_TIME + 40 * 86_400;

/// A terminal that has just been switched on without a clock, and whose server is away for so long.
fn switched_on(seed: u64, away: Duration) -> Terminal {
    let mut terminal = Terminal::new(seed);
    terminal.set_zone(ZONE);
    terminal.boot_without_clock("first");
    let mut server = terminal.server.borrow_mut();
    server.utc_at_boot = Some(BOOTED);
    server.outage = Some((Duration::ZERO, away, Outage::Refused));
    drop(server);
    terminal
}

/// The PINs and times of the punches at the server, in seconds since 1970 in UTC.
fn punches(terminal: &Terminal) -> Vec<(String, i64)> {
    let server = terminal.server.borrow();
    let uploads = server.heard.iter().filter(|heard| heard.target.contains("table=ATTLOG"));
    let rows = uploads.flat_map(|heard| heard.body.lines());
    rows.map(|row| {
        let mut fields = row.split('\t');
        let (pin, time) = (fields.next().unwrap(), fields.next().unwrap());
        (pin.to_owned(), LocalTime::parse(time).unwrap().seconds() - i64::from(ZONE))
    })
    .collect()
}

fn run_until_there(terminal: &mut Terminal, count: usize) {
    terminal.run_until("at the server", |terminal| punches(terminal).len() == count);
}

#[test]
fn punches_without_a_clock_get_the_time_at_which_they_happened() {
    let away = SECOND * 7200;
    let mut terminal = switched_on(5_000_000, away);
    let mut expected = Vec::new();
    // Given punches at moments of which only the time since boot is known,
    for (pin, at) in [("1", 30), ("2", 31), ("3", 3600), ("4", 7190)] {
        terminal.run_until("so late", |terminal| terminal.now() + SECOND >= SECOND * at);
        let left = (SECOND * at).saturating_sub(terminal.now());
        terminal.pass(left);
        let at = terminal.now().as_secs() as i64;
        terminal.punch_now(pin);
        expected.push((pin.to_owned(), BOOTED + at));
    }
    // none leaves before the server is there, nor with a time of 1970;
    assert!(punches(&terminal).is_empty());
    // when it is there, then each has its time, and keeps it.
    run_until_there(&mut terminal, 4);
    assert_eq!(punches(&terminal), expected);
    terminal.punch_now("5");
    expected.push(("5".into(), BOOTED + terminal.now().as_secs() as i64));
    run_until_there(&mut terminal, 5);
    assert_eq!(punches(&terminal), expected);
}

#[test]
fn punches_of_boots_without_a_clock_get_the_earliest_time_they_can_have_in_their_order() {
    let mut terminal = switched_on(5_000_001, SECOND);
    // Given a punch whose time is known,
    terminal.run_until("set", |terminal| terminal.now() >= SECOND * 60);
    terminal.punch_now("1");
    let known = BOOTED + terminal.now().as_secs() as i64;
    run_until_there(&mut terminal, 1);
    // two boots without a server, with punches so long after each of them,
    terminal.server.borrow_mut().outage = Some((Duration::ZERO, Duration::MAX, Outage::Refused));
    let mut expected = vec![("1".to_owned(), known)];
    let mut base = known;
    for (boot, pins) in [("second", ["2", "3"]), ("third", ["4", "5"])] {
        terminal.boot_without_clock(boot);
        for (pin, after) in pins.into_iter().zip([900, 1000]) {
            terminal.pass(SECOND * after - terminal.now());
            terminal.punch_now(pin);
            expected.push((pin.into(), base + i64::from(after)));
        }
        base += 1000;
    }
    // and a third one a day later, at which the server is there again,
    terminal.boot_without_clock("fourth");
    let mut server = terminal.server.borrow_mut();
    (server.outage, server.utc_at_boot) = (None, Some(BOOTED + 86_400));
    drop(server);
    terminal.pass(SECOND * 50);
    terminal.punch_now("6");
    expected.push(("6".into(), BOOTED + 86_400 + 50));
    // then each has the earliest time that it can have; that of this boot is counted back.
    run_until_there(&mut terminal, 6);
    assert_eq!(punches(&terminal), expected);
}

#[test]
fn what_waits_for_the_clock_stays_when_what_was_recorded_before_it_goes() {
    // Given a punch with its time that has not gone yet, and one of a boot without a clock behind it,
    let mut terminal = switched_on(5_000_002, SECOND);
    terminal.run_until("set", |terminal| terminal.now() >= SECOND * 60);
    terminal.server.borrow_mut().outage = Some((Duration::ZERO, Duration::MAX, Outage::Refused));
    terminal.punch_now("1");
    let known = BOOTED + terminal.now().as_secs() as i64;
    terminal.boot_without_clock("second");
    terminal.pass(SECOND * 50);
    terminal.punch_now("2");
    // when there is a server that does not tell the time, then only the first goes;
    {
        let mut server = terminal.server.borrow_mut();
        (server.outage, server.utc_at_boot) = (None, None);
    }
    run_until_there(&mut terminal, 1);
    let until = terminal.now() + SECOND * 60;
    terminal.run_until("a minute", |terminal| terminal.now() >= until);
    assert_eq!(punches(&terminal), [("1".to_owned(), known)]);
    assert!(terminal.store().quarantine().is_empty().unwrap());
    // when it tells the time, then the second goes with its own.
    terminal.server.borrow_mut().utc_at_boot = Some(BOOTED + 86_400);
    run_until_there(&mut terminal, 2);
    assert_eq!(punches(&terminal)[1], ("2".to_owned(), BOOTED + 86_400 + 50));
}

#[test]
fn a_date_counts_from_its_head_however_long_the_body_takes() {
    let mut terminal = switched_on(5_000_003, SECOND);
    terminal.pass(SECOND * 10);
    terminal.punch_now("1");
    terminal.server.borrow_mut().body_takes = SECOND * 100;
    run_until_there(&mut terminal, 1);
    assert_eq!(punches(&terminal), [("1".to_owned(), BOOTED + 10)]);
}
