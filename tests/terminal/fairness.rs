//! A backlog of photos delays no punch by more than the one request in flight.

use std::time::{Duration, Instant};

use iclock_emulator::{Act, Emulator, Fault, On, Received};
use punchd::protocol::record::{Jpeg, Pin};
use punchd::protocol::time::LocalTime;
use punchd::store::{Limits, Moment, NewPhoto, Store, StoreError};

use crate::harness::{TIMEOUT, Terminal, jpeg, new_punch, second, server};

/// A punch at the nth second of a made-up year.
fn moment(nth: u32) -> Moment {
    let first = LocalTime::parse("2025-01-01 00:00:00").unwrap().seconds();
    Moment::At(LocalTime::from_seconds(first + i64::from(nth)).unwrap())
}

/// Fills a store that no daemon has open yet.
fn fill(terminal: &Terminal, photos: u32, punches: u32) {
    let store = Store::open(&terminal.path("punchd.db"), Limits::default()).unwrap();
    let picture = jpeg(60 << 10);
    for first in (0..photos).step_by(500) {
        store
            .atomically(|| {
                for nth in first..(first + 500).min(photos) {
                    let pin = Pin::new(&format!("{nth}")).unwrap();
                    let photo = Jpeg::new("photo", picture.clone()).unwrap();
                    store.journal().add_photo(&NewPhoto {
                        pin,
                        moment: moment(nth),
                        card: None,
                        photo,
                    })?;
                }
                Ok::<_, StoreError>(())
            })
            .unwrap();
    }
    store
        .atomically(|| {
            for nth in 0..punches {
                store.journal().add_punch(&new_punch(&nth.to_string(), moment(nth)))?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

/// New punches, one after the other: how long each took from its answer to the server, and
/// how many requests went before it at most.
fn delays(server: &Emulator, terminal: &Terminal, count: u32) -> (Vec<Duration>, u64) {
    let mut driver = terminal.driver();
    let (mut delays, mut most) = (Vec::new(), 0);
    for nth in 0..count {
        let pin = format!("new{nth}");
        driver.punch(&pin, &second(nth));
        let before = server.received(Received::request_count);
        let started = Instant::now();
        let arrived =
            |received: &Received| received.attlog().last().is_some_and(|row| row.record.pin == pin);
        assert!(server.wait_until(TIMEOUT, arrived), "{pin} never arrived");
        delays.push(started.elapsed());
        let its_own = server.received(|received| {
            let mut uploads =
                received.requests().rev().filter(|seen| seen.exchange == "upload:ATTLOG");
            uploads.next().map_or(0, |seen| seen.number)
        });
        most = most.max(its_own.saturating_sub(before + 1));
        std::thread::sleep(Duration::from_millis(20));
    }
    delays.sort();
    (delays, most)
}

fn print(what: &str, delays: &[Duration]) {
    let at = |part: f64| delays[(delays.len() as f64 * part) as usize];
    println!("{what}: a new punch is at the server after p50 {:?}, p99 {:?}", at(0.5), at(0.99));
}

fn fairness(photos: u32, punches: u32, count: u32) {
    let (idle, _) = {
        let server = server();
        let terminal = Terminal::start(&server, "");
        terminal.wait_until_online();
        delays(&server, &terminal, count)
    };
    print("with nothing pending", &idle);
    let server = server();
    // On a fast machine, too, the photos take longer than all the punches.
    server.fault(Fault::new(On::table("ATTPHOTO"), Act::Delay { ms: 20 }).always());
    let mut terminal = Terminal::prepare(&server.url(), "");
    fill(&terminal, photos, punches);
    let started = Instant::now();
    terminal.run();
    let all = |received: &iclock_emulator::Received| received.attlog().len() as u32 >= punches;
    assert!(server.wait_until(TIMEOUT, all));
    let took = started.elapsed();
    let photos_first = server.received(|received| received.att_photos().len());
    println!(
        "{punches} pending punches were at the server after {took:?}; {photos_first} photos went \
         before the last of them"
    );
    let (busy, most) = delays(&server, &terminal, count);
    let left = terminal.status()["streams"]["photos"]["pending"].as_u64().unwrap();
    print(&format!("with {left} to {photos} photos pending"), &busy);
    assert!(left > 0, "the photos had gone before the punches came");
    println!("at most {most} requests went between a new punch and its upload");
    assert!(most <= 2, "{most} requests went before a punch");
    let photos_sent = server.received(|received| received.att_photos().len());
    assert!(photos_sent > 0, "the photos stand still");
}

#[test]
fn photos_pending_do_not_hold_up_punches() {
    fairness(300, 2000, 20);
}

#[test]
#[ignore = "slow: 5 000 photos of 60 KB and 20 000 punches"]
fn five_thousand_photos_pending_do_not_hold_up_punches() {
    fairness(5000, 20_000, 100);
}
