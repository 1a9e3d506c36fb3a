//! A command with an id and a text that came before, over hours and over a reboot.

use std::time::Duration;

use super::terminal::Terminal;
use crate::protocol::record::Pin;

const HOUR: Duration = Duration::from_secs(3600);

/// Lets the server give one command, and waits for the answer to it.
fn given(terminal: &mut Terminal, id: u32, command: &str) {
    terminal.server.borrow_mut().answers.clear();
    terminal.give(format!("C:{id}:{command}\n"));
    terminal.run_until("answered", |terminal| terminal.code(&id.to_string()).is_some());
}

/// Whether the command is carried out when it comes now.
fn is_done_again(terminal: &mut Terminal) -> bool {
    let pin = Pin::new("7").unwrap();
    terminal.store().atomically(|| terminal.store().people().delete(&pin)).unwrap();
    given(terminal, 9, "DATA UPDATE USERINFO PIN=7");
    terminal.store().people().get(&pin).unwrap().is_some()
}

#[test]
fn a_command_of_a_server_whose_ids_rise_is_a_repeat_for_twelve_hours() {
    let mut terminal = Terminal::new(5_200_000);
    for id in 1..=8 {
        given(&mut terminal, id, "RELOAD OPTIONS");
    }
    given(&mut terminal, 9, "DATA UPDATE USERINFO PIN=7");
    terminal.pass(11 * HOUR);
    assert!(!is_done_again(&mut terminal));
    // Twelve hours after the last time that it came.
    terminal.pass(11 * HOUR);
    assert!(!is_done_again(&mut terminal));
    // The time goes on over a reboot, if only by what has passed since.
    terminal.pass(11 * HOUR);
    given(&mut terminal, 10, "RELOAD OPTIONS");
    terminal.boot_without_clock("second");
    terminal.pass(2 * HOUR);
    assert!(is_done_again(&mut terminal));
}
