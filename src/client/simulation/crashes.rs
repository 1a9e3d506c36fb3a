//! The store as a power cut would leave it between two commands of a list: a command that has its
//! effect has its result, and the other way round.

use std::path::Path;

use super::terminal::Terminal;
use crate::protocol::record::Pin;
use crate::store::{Limits, Store};

/// Users that a list adds, each followed by a command during which the store is copied.
fn list(users: u32) -> String {
    (1..=users)
        .map(|nth| format!("C:{nth}:DATA UPDATE USERINFO PIN={nth}\nC:r{nth}:RELOAD OPTIONS\n"))
        .collect()
}

/// A terminal that carries out a list; the images of its store.
fn carried_out(terminal: &mut Terminal, users: u32) -> Vec<std::path::PathBuf> {
    terminal.images.replace(Some(Vec::new()));
    terminal.give(list(users));
    let last = format!("r{users}");
    terminal.run_until("answered", |terminal| terminal.code(&last).is_some());
    let images = terminal.images.take().unwrap();
    assert_eq!(images.len() as u32, users);
    images
}

/// Which users an image has. Each must be there exactly if its command has its result.
#[track_caller]
fn whole_commands(image: &Path, users: u32) -> Vec<u32> {
    let store = Store::open(image, Limits::default()).unwrap();
    let due = store.command_log().replies_due(10_000).unwrap();
    let is_there = |nth: &u32| {
        let pin = Pin::new(&nth.to_string()).unwrap();
        let has_effect = store.people().get(&pin).unwrap().is_some();
        let has_result = due.iter().any(|due| due.reply.id == nth.to_string());
        assert_eq!(has_effect, has_result, "command {nth} in {}", image.display());
        has_effect
    };
    (1..=users).filter(is_there).collect()
}

#[test]
fn a_power_cut_between_two_commands_parts_no_effect_from_its_result() {
    // A short list is one transaction: at each command none is done.
    let mut terminal = Terminal::new(5_100_000);
    let images = carried_out(&mut terminal, 3);
    for image in &images {
        assert!(whole_commands(image, 3).is_empty(), "{}", image.display());
    }
    // After a power cut in the middle of it, each command has a transaction of its own.
    terminal.crash_to(&images[1]);
    terminal.server.borrow_mut().answers.clear();
    let images = carried_out(&mut terminal, 3);
    for (image, done) in images.iter().zip(1..) {
        let expected: Vec<u32> = (1..=done).collect();
        assert_eq!(whole_commands(image, 3), expected, "{}", image.display());
    }
    // A long list takes as many commands together as there is time for.
    let mut terminal = Terminal::new(5_100_001);
    for image in carried_out(&mut terminal, 100) {
        whole_commands(&image, 100);
    }
}

#[test]
fn a_command_in_which_the_power_fails_three_times_is_not_begun_again() {
    let mut terminal = Terminal::new(5_100_002);
    let is_begun = |terminal: &Terminal| {
        terminal.images.borrow().as_ref().is_some_and(|images| !images.is_empty())
    };
    let list = "C:1:RELOAD OPTIONS\nC:2:DATA UPDATE USERINFO PIN=1\n";
    for _ in 0..3 {
        terminal.images.replace(Some(Vec::new()));
        terminal.give(list.into());
        terminal.run_until("begun", is_begun);
        let images = terminal.images.take().unwrap();
        terminal.crash_to(&images[0]);
        terminal.server.borrow_mut().answers.clear();
    }
    terminal.images.replace(Some(Vec::new()));
    terminal.give(list.into());
    terminal.run_until("answered", |terminal| terminal.code("2").is_some());
    assert!(!is_begun(&terminal));
    assert_eq!([terminal.code("1"), terminal.code("2")].map(Option::unwrap), ["-1003", "0"]);
}

#[test]
fn a_command_that_stands_twice_in_a_list_is_carried_out_once() {
    for (nth, more) in [(0, ""), (1, "C:2:INFO\n"), (2, &*"C:2:INFO\n".repeat(100))] {
        let mut terminal = Terminal::new(5_100_010 + nth);
        terminal.images.replace(Some(Vec::new()));
        terminal.give(format!("C:1:RELOAD OPTIONS\n{more}C:1:RELOAD OPTIONS\nC:3:INFO\n"));
        terminal.run_until("answered", |terminal| terminal.code("3").is_some());
        assert_eq!(terminal.images.take().unwrap().len(), 1, "{more}");
        assert_eq!(terminal.code("1").unwrap(), "0");
    }
}
