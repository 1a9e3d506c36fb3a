//! Waiting for what comes: an answer to a command, or anything else.

use std::time::{Duration, Instant};

use iclock_emulator::{Emulator, Received};

use super::TIMEOUT;

/// Waits until it is so; `more` says what else is known if it never is.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool, more: impl Fn() -> String) {
    let limit = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < limit, "never {what}: {}", more());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the server has seen this many more polls. A poll that was on its way is the first
/// of them: after `more`, the loop has been once through all that is due at least `more - 1` times.
#[track_caller]
pub fn polls(server: &Emulator, more: usize) {
    let before = server.received(|received| received.count("poll"));
    let came = server.wait_until(TIMEOUT, |received| received.count("poll") >= before + more);
    assert!(came, "no {more} further polls");
}

/// Waits until the terminal is in an exchange that the server does not answer.
#[track_caller]
pub fn until_unanswered(server: &Emulator) {
    let hangs =
        |received: &Received| received.requests().last().is_some_and(|seen| seen.status == 0);
    assert!(server.wait_until(TIMEOUT, hangs), "every request was answered");
}

/// The answer to a command: its `Return`, and its content.
#[track_caller]
pub fn answer(server: &Emulator, id: &str) -> (i64, Vec<u8>) {
    let came = server.wait_until(TIMEOUT, |received| received.reply(id).is_some());
    assert!(came, "{id} was never answered");
    let reply = server.received(|received| received.reply(id).unwrap().clone());
    (reply.ret, reply.content.unwrap_or_default())
}

/// The answer to a command: its `Return`, and the whole text of it.
#[track_caller]
pub fn answer_text(server: &Emulator, id: &str) -> (i64, String) {
    assert!(
        server.wait_until(TIMEOUT, |received| received.reply(id).is_some()),
        "{id} was never answered"
    );
    let reply = server.received(|received| received.reply(id).unwrap().clone());
    (reply.ret, String::from_utf8(reply.body).unwrap())
}

/// Queues a command, and waits for what it returns.
#[track_caller]
pub fn returns(server: &Emulator, text: &str) -> i64 {
    let id = server.queue(text);
    answer(server, &id).0
}

/// Queues commands, and waits for what each returns.
#[track_caller]
pub fn returns_all(server: &Emulator, commands: &[String]) -> Vec<i64> {
    let ids: Vec<String> = commands.iter().map(|text| server.queue(text)).collect();
    let all = |received: &Received| ids.iter().all(|id| received.reply(id).is_some());
    assert!(server.wait_until(TIMEOUT, all), "not every command was answered");
    server.received(|received| ids.iter().map(|id| received.reply(id).unwrap().ret).collect())
}
