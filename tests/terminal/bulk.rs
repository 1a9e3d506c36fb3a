//! A command list that is far larger than the memory of a terminal.

use std::fs;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::harness::{TIMEOUT, Terminal, polls, server};

/// A template of 1.5 KB.
fn template() -> String {
    "QUJD".repeat(375)
}

#[test]
fn a_thousand_users_with_templates_come_in_one_answer() {
    mass(1_000);
}

#[test]
#[ignore = "slow: a hundred thousand commands"]
fn fifty_thousand_users_with_templates_come_in_one_answer() {
    mass(50_000);
}

/// Users and as many templates in one answer: all are stored, and the daemon needs no more
/// memory for it than when idle.
fn mass(count: u32) {
    let server = server();
    let template = template();
    let mut list = Vec::new();
    for nth in 1..=count {
        let user = format!(
            "C:u{nth}:DATA UPDATE USERINFO PIN={nth}\tName=User {nth}\tPri=0\tCard={nth}\n"
        );
        list.extend_from_slice(user.as_bytes());
    }
    for nth in 1..=count {
        let finger = format!(
            "C:f{nth}:DATA UPDATE FINGERTMP PIN={nth}\tFID=1\tSize={}\tValid=1\tTMP={template}\n",
            template.len()
        );
        list.extend_from_slice(finger.as_bytes());
    }
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    polls(&server, 2); // A poll of an idle terminal.
    let idle = terminal.proc("status", "VmHWM");
    let megabytes = list.len() >> 20;
    let before = server.received(|received| received.count("poll"));
    server.next_poll_body(list);
    assert!(server.wait_until(TIMEOUT, |received| received.count("poll") > before));
    let begun = Instant::now();
    // The first reply of all comes when the list is at its end.
    let sent = |received: &iclock_emulator::Received| received.count("reply") > 0;
    assert!(server.wait_until(Duration::from_secs(600), sent));
    let took = begun.elapsed();
    assert_eq!(terminal.status()["users"], count);
    let peak = terminal.proc("status", "VmHWM");
    let alone = sqlite_alone(&terminal, count, &template);
    println!(
        "{count} users and {count} templates, {megabytes} MB in one answer: {took:.1?}, SQLite alone \
         {alone:.1?} ({:.2} times); VmHWM {peak} KiB, idle {idle} KiB ({} more)",
        took.as_secs_f64() / alone.as_secs_f64(),
        peak - idle
    );
    assert!(peak - idle < 1024, "{} KiB more than idle", peak - idle);
    let all = |received: &iclock_emulator::Received| received.replies().len() == 2 * count as usize;
    assert!(server.wait_until(Duration::from_secs(900), all));
    server.received(|received| assert!(received.replies().iter().all(|reply| reply.ret == 0)));
    let log = terminal.log();
    assert!(!log.contains("warning"), "{log}");
    server.assert_strict();
}

/// The same rows in the same tables, with the same settings, and nothing else: a transaction
/// for each sixteenth of a megabyte, as they come.
fn sqlite_alone(terminal: &Terminal, count: u32, template: &str) -> Duration {
    let path = terminal.path("alone.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA cache_size = -256;
         CREATE TABLE user (pin TEXT PRIMARY KEY, name TEXT, privilege INT, password TEXT, card TEXT,
            grp INT, time_zones TEXT, verify INT, vice_card TEXT, changed INT, local INT) WITHOUT ROWID;
         CREATE INDEX user_changed ON user (changed);
         CREATE INDEX user_card ON user (card) WHERE card <> '';
         CREATE TABLE template (id INTEGER PRIMARY KEY, pin TEXT, kind INT, type INT, number INT,
            idx INT, valid INT, duress INT, major INT, minor INT, format INT, data BLOB, changed INT,
            local INT, UNIQUE (pin, kind, type, number, idx));
         CREATE INDEX template_changed ON template (kind, changed);
         CREATE INDEX template_type ON template (type);",
    )
    .unwrap();
    let data =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, template).unwrap();
    let begun = Instant::now();
    let (mut bytes, mut nth) = (0, 0);
    db.execute_batch("BEGIN").unwrap();
    let mut commit = |more: usize| {
        bytes += more;
        if bytes > 64 << 10 {
            bytes = 0;
            db.execute_batch("COMMIT; BEGIN").unwrap();
        }
    };
    for pin in (1..=count).map(|nth| nth.to_string()) {
        nth += 1;
        db.prepare_cached("INSERT INTO user VALUES (?1, ?2, 0, '', ?1, 1, '', 0, '', ?3, 0)")
            .unwrap()
            .execute(params![pin, format!("User {pin}"), nth])
            .unwrap();
        commit(70);
    }
    for pin in (1..=count).map(|nth| nth.to_string()) {
        nth += 1;
        db.prepare_cached(
            "INSERT INTO template VALUES (NULL, ?1, 0, 1, 1, 0, 1, 0, 10, 0, 0, ?2, ?3, 0)",
        )
        .unwrap()
        .execute(params![pin, data, nth])
        .unwrap();
        commit(1570);
    }
    db.execute_batch("COMMIT").unwrap();
    let took = begun.elapsed();
    drop(db);
    fs::remove_file(path).unwrap();
    took
}
