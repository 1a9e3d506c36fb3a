//! What a long command list costs, in what can be counted.

use super::terminal::Terminal;

/// Commands of a list.
const COMMANDS: u64 = 2000;

/// The rows that a terminal writes for a list of so many commands.
fn rows_written(seed: u64, command: impl Fn(u64) -> String) -> u64 {
    let mut terminal = Terminal::new(seed);
    terminal.run_until("idle", |terminal| terminal.now().as_secs() > 5);
    let before = terminal.store().rows_written();
    let list = (0..COMMANDS).map(|nth| format!("C:{nth}:{}\n", command(nth)));
    terminal.give(list.collect());
    terminal.run_until("carried out", |terminal| {
        terminal.store().command_log().count_replies().unwrap() == COMMANDS
    });
    terminal.store().rows_written() - before
}

#[test]
fn a_command_of_a_long_list_costs_one_row_beside_its_effect() {
    let add = |nth| format!("DATA UPDATE USERINFO PIN={}\tName=Person {nth}\tCard={nth}", nth + 1);
    // Its row in the command log with the result, and the person; little for each part of the list.
    let written = rows_written(4_000_000, add);
    assert!(written < COMMANDS * 5 / 2, "{written} rows for {COMMANDS} commands");
    // One that is refused writes its result, and the reason for the server.
    let written = rows_written(4_000_001, |_| "DATA UPDATE USERINFO PIN=".into());
    assert!(written < COMMANDS * 13 / 2, "{written} rows for {COMMANDS} refusals");
}
