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

#[test]
fn a_download_is_written_down_a_few_times() {
    const MIB: usize = 1 << 20;
    let mut terminal = Terminal::new(4_000_002);
    terminal.run_until("idle", |terminal| terminal.now().as_secs() > 5);
    let before = terminal.store().rows_written();
    terminal.server.borrow_mut().files.insert("large.bin".into(), vec![7; 32 * MIB]);
    terminal.give("C:1:PutFile large.bin\tlarge.bin\n".into());
    terminal.run_until("answered", |terminal| terminal.code("1").is_some());
    assert_eq!(terminal.code("1"), Some((32 * MIB).to_string()));
    // Each time costs two writes to the disk that drivers wait for: after 512 KiB, or a hundredth of
    // a larger file.
    let written = terminal.store().rows_written() - before;
    assert!(written < 85, "{written} rows for 32 MiB");
}
