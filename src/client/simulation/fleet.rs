//! Terminals that start together, or lost their server together: how many requests come in the busiest
//! second.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Terminal;
use crate::client::activity::Activity;
use crate::client::backoff::Backoffs;
use crate::client::pauses::Pause;
use crate::uplink::Cause;

const TERMINALS: u32 = 5_000;
/// `ErrorDelay` and `Delay` in seconds.
const ERROR_DELAY: u32 = 60;
const DELAY: u32 = 30;
const SECOND: Duration = Duration::from_secs(1);

/// When a terminal tries during so long, counted from its first failure; a try takes `took`.
fn tries(serial: &str, during: Duration, took: Duration, pause: Pause) -> Vec<Duration> {
    let (mut backoffs, mut now, mut tries) = (Backoffs::new(serial), Duration::ZERO, Vec::new());
    while now < during {
        now += took;
        now += backoffs.fail(Activity::Handshake, now, ERROR_DELAY, pause);
        tries.push(now);
    }
    tries
}

/// The most moments within one second.
fn busiest(moments: impl Iterator<Item = Duration>) -> u32 {
    // In tenths of a second, so that no second is missed that begins between two.
    let mut tenths = BTreeMap::<u128, u32>::new();
    moments.for_each(|moment| *tenths.entry(moment.as_millis() / 100).or_default() += 1);
    let within = |from: u128| tenths.range(from..from + 10).map(|(_, count)| count).sum();
    tenths.keys().map(|from| within(*from)).max().unwrap_or(0)
}

fn serial(nth: u32) -> String {
    format!("MADE{nth:04}")
}

#[test]
fn a_fleet_comes_back_evenly_after_an_outage() {
    let even = f64::from(TERMINALS) / f64::from(ERROR_DELAY);
    let minutes = |minutes: u32| SECOND * 60 * minutes;
    let (no_time, time_out) = (Duration::ZERO, SECOND * 15);
    for (what, pause, took) in [
        ("refused", Pause::Link(Cause::NoConnection), no_time),
        ("no route", Pause::Link(Cause::NoConnection), SECOND * 3),
        ("time-outs", Pause::Link(Cause::TimedOut), time_out),
        ("errors of HTTP", Pause::ErrorDelay, no_time),
    ] {
        // All meet it in the same moment (a held poll), or each with its own poll.
        let cases = [4, 5, 7, 10, 13, 30, 60, 600].map(minutes);
        let cases: Vec<(Duration, u32)> =
            cases.into_iter().flat_map(|outage| [(outage, 0), (outage, DELAY)]).collect();
        let mut came = vec![Vec::new(); cases.len()];
        for nth in 0..TERMINALS {
            let tries = tries(&serial(nth), minutes(600), took, pause);
            for ((outage, spread), came) in cases.iter().zip(&mut came) {
                let begun = SECOND * *spread * nth / TERMINALS;
                let first = tries.partition_point(|at| begun + *at < *outage);
                came.push(begun + tries[first] - *outage);
            }
        }
        for ((outage, spread), came) in cases.iter().zip(came) {
            let what = format!("{what}, outage of {outage:?}, met within {spread} s");
            let most = f64::from(busiest(came.iter().copied())) / even;
            println!("{what}: {most:.2} × even");
            assert!(most <= 2.0, "{what}: {most}");
            let last = came.into_iter().max().unwrap();
            assert!(last <= SECOND * ERROR_DELAY * 5 / 4 + took, "{what}: {last:?}");
        }
    }
}

#[test]
fn a_fleet_that_starts_or_gets_its_link_together_is_spread() {
    const SPREAD: u32 = 60;
    let even = f64::from(TERMINALS) / f64::from(SPREAD);
    let starts = (0..TERMINALS).map(|nth| {
        let mut backoffs = Backoffs::new(&serial(nth));
        backoffs.spread(Activity::Handshake, Duration::ZERO, SPREAD);
        backoffs.until(Activity::Handshake)
    });
    let most = f64::from(busiest(starts)) / even;
    assert!(most <= 2.0, "start: {most}");
    let links = (0..TERMINALS).map(|nth| {
        let mut backoffs = Backoffs::new(&serial(nth));
        backoffs.fail(Activity::Handshake, SECOND, 900, Pause::Link(Cause::Other));
        backoffs.release_link(SECOND, SPREAD, true);
        backoffs.until(Activity::Handshake)
    });
    let most = f64::from(busiest(links)) / even;
    assert!(most <= 2.0, "link: {most}");
}

/// The polls of a terminal in the first `rounds` times `DELAY` after its start.
fn polls(nth: u32, start_spread: u32, rounds: u32) -> Vec<Duration> {
    let mut terminal = Terminal::of_fleet(3_000_000 + u64::from(nth), &serial(nth), start_spread);
    terminal.server.borrow_mut().options = "Delay=30\n";
    let until = SECOND * DELAY * rounds;
    terminal.run_until("over", |terminal| terminal.now() >= until);
    let polls = std::mem::take(&mut terminal.server.borrow_mut().polls);
    polls.into_iter().filter(|at| *at < until).collect()
}

#[test]
fn a_fleet_that_starts_together_polls_evenly() {
    const ROUNDS: u32 = 4;
    const FLEET: u32 = 300;
    let even = f64::from(FLEET) / f64::from(DELAY);
    let of_each: Vec<_> = (0..FLEET).map(|nth| polls(nth, 3, ROUNDS)).collect();
    for polls in &of_each {
        assert!(polls[0] <= SECOND * DELAY, "{polls:?}");
        assert!((ROUNDS as usize - 1..=ROUNDS as usize).contains(&polls.len()), "{polls:?}");
    }
    for round in 0..ROUNDS {
        let round = SECOND * DELAY * round..SECOND * DELAY * (round + 1);
        let polls = of_each.iter().flatten().copied().filter(|at| round.contains(at));
        let most = f64::from(busiest(polls)) / even;
        println!("{round:?}: {most:.2} × even");
        assert!(most <= 2.0, "{round:?}: {most} × even");
    }
}

#[test]
fn a_terminal_that_need_not_wait_for_its_place_polls_at_once() {
    let polls = polls(7, 0, 3);
    assert!(polls[0] < SECOND && polls[1] - polls[0] >= SECOND * DELAY, "{polls:?}");
}

#[test]
fn terminals_that_start_together_have_their_first_contact_at_places_of_their_own() {
    const SPREAD: u32 = 60;
    let mut seconds = std::collections::BTreeSet::new();
    for nth in 0..SPREAD {
        let seed = 3_100_000 + u64::from(nth);
        let mut terminal = Terminal::of_fleet(seed, &serial(nth), SPREAD);
        terminal.run_until("there", |terminal| !terminal.server.borrow().heard.is_empty());
        let first = terminal.server.borrow().heard[0].at;
        assert!(first <= SECOND * (SPREAD + 1), "{nth}: {first:?}");
        seconds.insert(first.as_secs());
    }
    // In 60 seconds; nearly all are alone in theirs.
    assert!(seconds.len() >= 40, "{seconds:?}");
}
