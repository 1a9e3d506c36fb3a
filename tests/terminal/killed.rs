//! SIGKILL at random moments, under punches and commands: nothing lost, nothing done twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iclock_emulator::{Emulator, Kind, Received, Repeat};
use serde_json::json;

use crate::harness::{Driver, PATIENCE, Terminal, second, server};

/// A small generator; the moments differ from kill to kill, not from run to run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
#[ignore = "slow: a hundred kills"]
fn a_hundred_kills_lose_nothing_and_double_nothing_but_what_was_cut() {
    kills(100);
}

#[test]
fn five_kills_lose_nothing_and_double_nothing_but_what_was_cut() {
    kills(5);
}

/// Renames at the keypad who was made by a command that is answered.
fn rename(
    server: &Emulator,
    terminal: &Terminal,
    commands: &[String],
    renamed: &mut BTreeSet<String>,
) {
    let mut keypad = terminal.driver();
    for pin in commands {
        let is_answered = server.received(|received| received.reply(pin).is_some());
        if is_answered && renamed.insert(pin.clone()) {
            keypad.call("user.put", json!({"pin": pin, "name": "Keypad"})).unwrap();
        }
    }
}

fn kills(count: u32) {
    let server = server();
    server.allow(Kind::CutShort); // A kill in the middle of a request is the point.
    let mut terminal = Terminal::start(&server, "");
    let socket = terminal.path("run/driver.sock");
    let answered = Arc::new(Mutex::new(BTreeSet::new()));
    let stop = Arc::new(AtomicBool::new(false));

    // A steady flow of punches. A punch without an answer is not repeated: whether it was
    // recorded is open, and both are right.
    let sensor = std::thread::spawn({
        let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
        move || {
            let mut nth = 0;
            while !stop.load(Ordering::Relaxed) {
                let Some(mut driver) = Driver::try_connect(&socket) else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                loop {
                    nth += 1;
                    let pin = format!("{nth}");
                    let params = json!({"pin": pin, "time": second(nth)});
                    match driver.try_call("punch", &params) {
                        Some(done) => {
                            done.unwrap();
                            answered.lock().unwrap().insert(pin);
                        }
                        None => break,
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(3));
                }
            }
        }
    });

    // Commands whose effect can be counted: the server makes a user, the keypad renames them
    // once the command is answered, and the server sends the command again, twice, at the end.
    // Carried out a second time, it would undo the renaming.
    let mut dice = Dice(7);
    let text = |pin: &str| format!("DATA UPDATE USERINFO PIN={pin}\tName=Server");
    let mut commands = Vec::new();
    let mut renamed = BTreeSet::new();
    for nth in 0..count {
        for pin in [format!("a{nth}"), format!("b{nth}")] {
            server.queue_repeated(&pin, &text(&pin), Repeat::UntilAnswered);
            commands.push(pin);
        }
        std::thread::sleep(Duration::from_millis(dice.roll(150)));
        terminal.kill();
        terminal.run();
        rename(&server, &terminal, &commands, &mut renamed);
    }
    let all_answered = |received: &Received| commands.iter().all(|id| received.reply(id).is_some());
    assert!(server.wait_until(PATIENCE, all_answered));
    rename(&server, &terminal, &commands, &mut renamed);
    for pin in &commands {
        server.queue_repeated(pin, &text(pin), Repeat::Times(2));
    }
    let last = server.queue("INFO");
    assert!(server.wait_until(PATIENCE, |received| received.reply(&last).is_some()));
    stop.store(true, Ordering::Relaxed);
    sensor.join().unwrap();
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);

    let answered = answered.lock().unwrap();
    let received: BTreeSet<String> =
        server.attlog().iter().map(|row| row.record.pin.clone()).collect();
    let lost: Vec<_> = answered.difference(&received).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    // What came twice came in requests whose acknowledgement a kill cut off: rows that
    // stand together, one such run of rows a kill at most.
    let times: Vec<u32> = server.attlog().iter().map(|row| row.times).collect();
    let runs = times.windows(2).filter(|pair| pair[0] == 1 && pair[1] > 1).count()
        + usize::from(times.first().is_some_and(|times| *times > 1));
    let doubled = times.iter().filter(|times| **times > 1).count();
    println!(
        "{count} kills: {} punches answered, {} received, {doubled} of them twice, in {runs} requests; {} commands",
        answered.len(),
        received.len(),
        commands.len()
    );
    assert!(runs <= count as usize, "{runs} requests were sent twice in {count} kills");
    let mut keypad = terminal.driver();
    for pin in &renamed {
        let user = keypad.call("user.get", json!({"pin": pin})).unwrap();
        assert_eq!(user["name"], "Keypad", "the command for {pin} was carried out twice");
    }
    assert_eq!(renamed.len(), commands.len());
    let again: Vec<String> = server
        .replies()
        .iter()
        .filter(|reply| reply.ret != 0)
        .map(|reply| format!("{reply:?}"))
        .collect();
    assert!(again.is_empty(), "{again:?}");
    server.assert_strict();
}
