//! Lists of commands in one answer: cut off, malformed, overlong, repeated, a hundred thousand.

use std::time::Duration;

use iclock_emulator::{Act, Fault, On, Received, Repeat};
use serde_json::json;

use crate::harness::{
    TIMEOUT, Terminal, answer, polls, returns, second, server, store, terminal_with_files,
};

#[test]
fn a_list_that_is_cut_off_never_runs_its_last_line() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    // `PIN=12` must not come of `PIN=123`: half a body, a reset, no length and an end.
    for act in [Act::HalfBody, Act::ResetBody, Act::NoLength] {
        server.fault(Fault::new(On::poll(), act.clone()).always());
        server.next_poll_body("C:1:DATA UPDATE USERINFO PIN=12345678901234567890");
        // One that was on its way, the one with the list, and one more behind it.
        polls(&server, 3);
        server.clear_faults();
        assert_eq!(terminal.status()["users"], 0, "{act:?}: {}", terminal.log());
    }
}

#[test]
fn what_ends_with_the_connection_runs_when_it_comes_again() {
    let server = server();
    server.fault(Fault::new(On::poll(), Act::NoLength).always());
    let terminal = Terminal::start(&server, "");
    // The list has no line end after its last command, and no length: only a second poll
    // with the same bytes shows that it was whole.
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=7"), 0);
    assert_eq!(terminal.status()["users"], 1);
}

#[test]
fn lines_that_are_no_commands_are_skipped_and_the_rest_is_done() {
    let server = server();
    server.next_poll_body("C:1:DATA UPDATE USERINFO PIN=1\r\n\r\nhello\nC::LOG\nC:a b:LOG\nC:2:DATA UPDATE USERINFO PIN=2\n\r\nC:3:DATA UPDATE USERINFO PIN=3");
    let terminal = Terminal::start(&server, "");
    terminal.wait_for("three users", |status| status["users"] == 3);
    assert!(terminal.log().contains("skipped"), "{}", terminal.log());
}

#[test]
fn an_overlong_command_is_refused_and_its_neighbours_are_done() {
    let server = server();
    let terminal = Terminal::start(&server, "[limits]\ncommand_bytes = 4096\nstart_spread = 0");
    terminal.wait_until_online();
    let before = server.queue("DATA UPDATE USERINFO PIN=1");
    let long = server.queue(&format!("DATA UPDATE USERINFO PIN=2\tName={}", "x".repeat(5000)));
    let after = server.queue("DATA UPDATE USERINFO PIN=3");
    let code = |id: &str| server.received(|received| received.reply(id).map(|reply| reply.ret));
    assert!(server.wait_until(TIMEOUT, |received| received.reply(&after).is_some()));
    assert_eq!((code(&before), code(&long), code(&after)), (Some(0), Some(-1006), Some(0)));
    assert_eq!(terminal.status()["users"], 2);
}

#[test]
fn a_command_sent_again_is_answered_again_and_not_done_again() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    server.queue_repeated("r1", "DATA UPDATE USERINFO PIN=7\tName=Server", Repeat::Times(5));
    answer(&server, "r1");
    driver.call("user.put", json!({"pin": "7", "name": "Keypad"})).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| {
        received.reply("r1").is_some_and(|reply| reply.times == 5)
    }));
    // Done again, it would have undone the change at the keypad.
    assert_eq!(driver.call("user.get", json!({"pin": "7"})).unwrap()["name"], "Keypad");
    // The same id with another text is another command.
    server.queue_as("r1", "DATA UPDATE USERINFO PIN=7\tName=Other");
    let answers = |received: &Received| -> u32 {
        received.replies().iter().filter(|reply| reply.id == "r1").map(|reply| reply.times).sum()
    };
    assert!(server.wait_until(TIMEOUT, |received| answers(received) == 6));
    assert_eq!(driver.call("user.get", json!({"pin": "7"})).unwrap()["name"], "Other");
}

#[test]
fn the_same_id_with_other_text_is_another_command_and_the_same_text_is_not() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let body: String = ["Ann", "Bea", "Ann", "Cid", "Cid", "Cid"]
        .map(|name| format!("C:7:DATA UPDATE USERINFO PIN=1\tName={name}\n"))
        .concat();
    server.next_poll_body(body);
    let last = server.queue("INFO");
    assert_eq!(answer(&server, &last).0, 0);
    // Ann came before and is not done again: Cid is the last.
    let user = terminal.driver().call("user.get", json!({"pin": "1"})).unwrap();
    assert_eq!(user["name"], "Cid");
    assert_eq!(terminal.status()["users"], 1);
}

#[test]
fn the_list_after_one_that_was_cut_off_is_carried_out_with_care() {
    let server = server();
    let mut terminal = terminal_with_files(&server, "");
    terminal.stop();
    let mark = "SELECT count(*) FROM option WHERE key = 'punchd.list'";
    store(&terminal)
        .execute("INSERT INTO option (key, value) VALUES ('punchd.list', '1')", [])
        .unwrap();
    let is_marked = |terminal: &Terminal| {
        store(terminal).query_row(mark, [], |row| row.get::<_, i64>(0)).unwrap() == 1
    };
    // Neither a handshake nor a poll without commands is the list that was cut off.
    terminal.run();
    polls(&server, 2);
    terminal.kill();
    assert!(is_marked(&terminal));
    terminal.run();
    let list: String = (0..3000).map(|nth| format!("C:l{nth}:SET OPTION Volume={nth}\n")).collect();
    server.next_poll_body(list);
    let last = server.queue("INFO");
    assert_eq!(answer(&server, "l2999").0, 0);
    assert_eq!(answer(&server, &last).0, 0);
    terminal.kill();
    assert!(!is_marked(&terminal));
    server.assert_strict();
}

#[test]
fn a_hundred_thousand_commands_in_one_answer_are_done_while_drivers_are_served() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let count = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    let list: String =
        (0..count).map(|nth| format!("C:h{nth}:SET OPTION Volume={nth}\n")).collect();
    server.next_poll_body(list);
    let mut driver = terminal.driver();
    let mut slowest = Duration::ZERO;
    let mut nth = 0;
    while server.received(|received| received.replies().len()) < count {
        nth += 1;
        let begun = std::time::Instant::now();
        driver.punch("1", &second(nth));
        slowest = slowest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "{count} commands in one answer; of {nth} punches meanwhile the slowest took {slowest:?}"
    );
    assert!(server.received(|received| received.replies().iter().all(|reply| reply.ret == 0)));
    server.assert_strict();
}
