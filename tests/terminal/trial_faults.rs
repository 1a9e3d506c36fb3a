//! The trial of a new program that misbehaves, and of one that is disturbed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use iclock_emulator::{Emulator, Kind, Received};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{TIMEOUT, Terminal, answer, second, server, until};
use crate::signed_upgrade::{
    Owner, another, assert_as_before, has_program, install_signed, offer, script, terminal,
    try_punch,
};

/// A server, a terminal, and the command that brings it this new program. `RUNS` in the script is a file in the
/// terminal's directory, to which each start adds a line.
fn given(lines: &str) -> (Emulator, Terminal, Vec<u8>, String) {
    let server = server();
    server.allow(Kind::CutShort);
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    let runs = terminal.path("runs").display().to_string();
    let program = script(&format!("echo $$ >>{runs}; RUNS={runs}\n{lines}"));
    let file = owner.signed(&program);
    let id = offer(&server, &file);
    (server, terminal, program, id)
}

/// The process ids of the starts of the new program.
fn runs(terminal: &Terminal) -> Vec<i32> {
    let text = fs::read_to_string(terminal.path("runs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn until_runs(terminal: &Terminal, count: usize) {
    until("the new program runs", || runs(terminal).len() >= count, || terminal.log());
}

fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn db(terminal: &Terminal) -> rusqlite::Connection {
    rusqlite::Connection::open(terminal.path("punchd.db")).unwrap()
}

#[test]
fn a_program_that_connects_and_hangs_has_its_time_once() {
    let (server, terminal, _, id) = given("exec $REAL \"$@\"");
    let reached = || terminal.log().contains("has reached the server");
    until("the trial", reached, || terminal.log());
    send(runs(&terminal)[0], Signal::STOP);
    assert_eq!(answer(&server, &id).0, -3);
    assert_as_before(&terminal, "then hung");
    assert_eq!(runs(&terminal).len(), 1, "{}", terminal.log());
}

#[test]
fn what_a_new_program_leaves_running_ends_with_it() {
    let (server, terminal, _, id) = given(&format!("{DAEMON} sleep 0.6; exit 1"));
    assert_eq!(answer(&server, &id).0, -3);
    assert_as_before(&terminal, "it ended with status 1, the 3rd time");
    assert!(try_punch(&terminal, "1", &second(1)));
    assert_eq!(daemons(&terminal), 3);
    // The same where the old program is killed, and where it is stopped.
    for is_killed in [true, false] {
        let daemon = "setsid $REAL \"$@\" & echo $! >>$RUNS.left; exec sleep 1000";
        let (_server, mut terminal, _, _) = given(daemon);
        let runs = |terminal: &Terminal, times| {
            let count = || terminal.log().matches("runs as").count();
            until("it runs", || count() >= times, || terminal.log());
        };
        runs(&terminal, 2);
        if is_killed {
            terminal.kill();
            terminal.run();
            runs(&terminal, 3);
        }
        terminal.stop();
        assert_eq!(daemons(&terminal), 1);
    }
}

/// Starts a daemon, which has the store open and is no child of the old program.
const DAEMON: &str =
    "setsid sh -c 'echo $$ >>$0.left; PUNCHD_GUARD=$$ \"$@\" & wait' $RUNS $REAL \"$@\" &";

/// How many daemons there were. None is left.
fn daemons(terminal: &Terminal) -> usize {
    let left = fs::read_to_string(terminal.path("runs.left")).unwrap();
    let is_there =
        |pid: &str| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| !env.is_empty());
    for pid in left.lines() {
        until("the daemon ends", || !is_there(pid), || terminal.log());
    }
    left.lines().count()
}

#[test]
fn a_write_that_fails_once_at_the_end_of_a_trial_is_repeated() {
    let (server, terminal, program, id) =
        given("until [ -e $RUNS.go ]; do sleep 0.02; done; exec $REAL \"$@\"");
    until_runs(&terminal, 1);
    db(&terminal)
        .execute_batch(
            "CREATE TABLE failed (x);
             CREATE TRIGGER fails BEFORE UPDATE OF value ON option
                WHEN NEW.key = 'punchd.trial' AND NEW.value LIKE '% good %'
                    AND NOT EXISTS (SELECT 1 FROM failed)
                BEGIN INSERT INTO failed VALUES (1); SELECT RAISE(FAIL, 'no room'); END;",
        )
        .unwrap();
    fs::write(terminal.path("runs.go"), "").unwrap();
    assert_eq!(answer(&server, &id).0, 0);
    assert!(has_program(&terminal, &program));
    assert!(terminal.log().contains("no room"), "{}", terminal.log());
    assert_eq!(runs(&terminal).len(), 2, "{}", terminal.log());
}

#[test]
fn a_new_program_that_changes_what_is_known_of_its_trial_is_taken_back() {
    let trial = "UPDATE option SET value = ? WHERE key = 'punchd.trial'";
    for (what, sql, why) in [
        ("it is gone", "DELETE FROM option WHERE key = 'punchd.trial'".into(), "nothing is known"),
        ("nobody can read it", trial.replace('?', "'x'"), "it ended with status 1"),
        ("it is of no command", trial.replace('?', "'9 begun 1 2 - x'"), "status 1, the 3rd time"),
        ("so many starts", trial.replace('?', "'1 begun 999 0 - x'"), "it was started 10 times"),
    ] {
        let (server, terminal, _, id) = given("until [ -e $RUNS.go ]; do sleep 0.02; done; exit 1");
        until_runs(&terminal, 1);
        db(&terminal).execute_batch(&sql).unwrap();
        fs::write(terminal.path("runs.go"), "").unwrap();
        assert_eq!(answer(&server, &id).0, -3, "{what}");
        assert_as_before(&terminal, why);
    }
}

#[test]
fn an_upgrade_is_taken_back_whatever_came_before_it() {
    let (server, terminal, _, id) = given("until [ -e $RUNS.go ]; do sleep 0.02; done; exit 1");
    until_runs(&terminal, 1);
    // Downloads that failed once, and have got something since.
    db(&terminal)
        .execute_batch(
            "UPDATE job SET turn = 100;
             CREATE TEMP TABLE n AS SELECT column1 AS n FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9));
             INSERT INTO command (row, digest, id, name, attempts, goes_on, due)
                SELECT 100 + n, randomblob(16), 'put' || n, 'PutFile', 0, 1, 0 FROM n;
             INSERT INTO job (command, text, lane, stage, attempts, fetched, kept, mark, turn, reads,
                    writes, also)
                SELECT 100 + n, CAST('PutFile a' || char(9) || 'b' AS BLOB), lane, 0, 0, 0, 0, 0, n, 0, 0, 0
                FROM n, (SELECT lane FROM job);",
        )
        .unwrap();
    fs::write(terminal.path("runs.go"), "").unwrap();
    assert_eq!(answer(&server, &id).0, -3);
}

#[test]
fn a_way_back_that_cannot_be_written_down_is_taken_later() {
    let (server, terminal, _, id) =
        given("until [ -e $RUNS.go ]; do sleep 0.02; done; exec sleep 1000");
    until_runs(&terminal, 1);
    // There is no room until there is one more punch.
    db(&terminal)
        .execute_batch(
            "CREATE TRIGGER fails BEFORE DELETE ON option
                WHEN OLD.key = 'punchd.trial' AND NOT EXISTS (SELECT 1 FROM punch)
                BEGIN SELECT RAISE(FAIL, 'no room'); END;",
        )
        .unwrap();
    fs::write(terminal.path("runs.go"), "").unwrap();
    let failed = || terminal.log().contains("no room");
    until("the write fails", failed, || terminal.log());
    assert!(try_punch(&terminal, "1", &second(1)));
    assert_eq!(answer(&server, &id).0, -3);
    assert_as_before(&terminal, "the program before it has at once");
}

/// It stood its trial, and something happens to its file before it takes the place of the old one. That its name is
/// gone is no sign that the program that starts is the new one, and what stands there is not what was tried.
#[test]
fn a_new_program_that_is_lost_or_changed_after_its_trial_is_not_installed() {
    type Harm = fn(&Path) -> std::io::Result<()>;
    let cases: [(Harm, &str); 4] = [
        (|new| fs::remove_file(new), "punchd.new is gone"),
        (|new| fs::write(new, ""), "punchd.new was changed during its trial"),
        (|new| fs::write(new, another("swapped")), "punchd.new was changed during its trial"),
        (|new| fs::set_permissions(new, Permissions::from_mode(0o644)), "is not executable"),
    ];
    for (harm, why) in cases {
        let (server, mut terminal, _, id) = given("exec sleep 1000");
        until_runs(&terminal, 1);
        terminal.kill();
        let is_good = "UPDATE option SET value = replace(value, ' begun ', ' good ')";
        db(&terminal).execute(is_good, []).unwrap();
        harm(&terminal.path("punchd.new")).unwrap();
        terminal.run();
        assert_eq!(answer(&server, &id).0, -3, "{why}");
        assert_as_before(&terminal, why);
    }
}

/// The power is cut between the rename and the start of the new program; on some file systems in the middle of the
/// rename, so that both names are there.
#[test]
fn a_new_program_that_stands_in_its_place_goes_on_after_a_power_cut() {
    type Rename = fn(&Path, &Path) -> std::io::Result<()>;
    let cases: [Rename; 2] = [
        |new, own| fs::rename(new, own),
        |new, own| {
            fs::remove_file(own)?;
            fs::hard_link(new, own)
        },
    ];
    for rename in cases {
        let server = server();
        let owner = Owner::new();
        let mut terminal = terminal(&server, &owner, "");
        let new = another("new");
        let id = offer(&server, &owner.signed(&new));
        let runs = || terminal.log().contains("start 1 of it");
        until("the trial", runs, || terminal.log());
        terminal.kill();
        let is_good = "UPDATE option SET value =
            replace(replace(value, ' begun ', ' good '), ' connected ', ' good ')
            WHERE key = 'punchd.trial'";
        assert_eq!(db(&terminal).execute(is_good, []).unwrap(), 1);
        rename(&terminal.path("punchd.new"), &terminal.path("punchd")).unwrap();
        terminal.run();
        assert_eq!(answer(&server, &id).0, 0);
        assert!(has_program(&terminal, &new) && !terminal.path("punchd.new").exists());
    }
}

#[test]
fn a_program_whose_store_the_old_one_could_not_read_is_not_tried() {
    let server = server();
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    terminal.driver().punch("1", &second(1));
    // It is told what the old one knows, and takes it for far too little.
    let real = env!("CARGO_BIN_EXE_punchd");
    let check = format!("PUNCHD_KNOWN_SCHEMA=${{PUNCHD_KNOWN_SCHEMA:+0}} exec {real} \"$@\"");
    let program = format!("#!/bin/sh\ncase $1 in check) {check} ;; esac\nexit 1\n");
    assert_eq!(install_signed(&server, &owner, program.as_bytes()), -3);
    assert_as_before(&terminal, "there is no way back from this version");
    assert!(!terminal.log().contains("is on trial"), "{}", terminal.log());
}

#[test]
fn a_kill_at_any_moment_of_a_way_back_leaves_the_old_program_and_one_answer() {
    let (ends, unconnected) = ("exit 3", "exec sleep 1000");
    let cases = [
        (ends, "the new program on trial: it ended"),
        (ends, "start 2 of it"),
        (ends, "is given up"),
        (ends, "is not installed"),
        (unconnected, "is on trial: start"),
        (unconnected, "no exchange with the server"),
        (unconnected, "is not installed"),
    ];
    thread::scope(|scope| {
        for (lines, after) in cases {
            scope.spawn(move || kill_in_a_way_back(lines, after));
        }
    });
}

/// Kills the terminal when it has said this. Punches go on.
fn kill_in_a_way_back(lines: &str, after: &str) {
    let (server, mut terminal, _, id) = given(lines);
    until(after, || terminal.log().contains(after), || terminal.log());
    terminal.kill();
    terminal.run();
    let mut pins = Vec::new();
    while !server.received(|received| received.reply(&id).is_some()) {
        let nth = pins.len() as u32 + 1;
        if try_punch(&terminal, &nth.to_string(), &second(nth)) {
            pins.push(nth.to_string());
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(answer(&server, &id).0, -3, "killed when it said {after:?}");
    assert_as_before(&terminal, "taken back");
    let replies = server.replies().into_iter().filter(|reply| reply.id == id);
    assert_eq!(replies.count(), 1, "{after}");
    let has_all = |received: &Received| {
        pins.iter().all(|pin| received.attlog().iter().any(|row| row.record.pin == *pin))
    };
    assert!(server.wait_until(TIMEOUT, has_all), "{after}: punches are lost");
    server.assert_strict();
}

/// It has the store open. The kernel sees to it: without its tag, no other punchd that starts on this machine clears
/// it away.
#[test]
fn a_new_program_ends_with_the_old_one_that_guards_it() {
    let (_server, mut terminal, _, _) = given("exec env -u PUNCHD_ORDER sleep 100");
    until_runs(&terminal, 1);
    let environment = format!("/proc/{}/environ", runs(&terminal)[0]);
    let is_there = || fs::read(&environment).is_ok_and(|env| !env.is_empty());
    assert!(is_there());
    terminal.kill();
    until("the new program ends", || !is_there(), || terminal.log());
}

#[test]
fn power_that_is_cut_again_and_again_ends_a_trial() {
    let (server, mut terminal, _, id) = given("exec sleep 1000");
    for start in 1..=10 {
        until_runs(&terminal, start);
        terminal.kill();
        terminal.begin();
    }
    terminal.wait_until_socket();
    assert_eq!(answer(&server, &id).0, -3);
    assert_as_before(&terminal, "it was started 10 times and did not stand its trial");
    assert_eq!(runs(&terminal).len(), 10);
}

#[test]
fn a_second_punchd_beside_a_trial_is_refused_and_status_says_what_goes_on() {
    let server = server();
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    let asked = terminal.path("asked");
    // It hangs before it opens the store: nobody is at the socket.
    let file = owner.signed(&script(&format!("touch {}; sleep 100", asked.display())));
    let id = offer(&server, &file);
    until("the new program runs", || asked.exists(), || terminal.log());
    let second = terminal.punchd(&["run"]);
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(71), "{message}");
    assert!(message.contains("another punchd looks after it"), "{message}");
    for command in ["status", "doctor"] {
        let output = terminal.punchd(&[command]);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("Do not start punchd beside it"), "{command}: {text}");
    }
    // The trial took no harm: it is over when its time is.
    assert_eq!(answer(&server, &id).0, -3);
    assert_eq!(terminal.log().matches("is on trial: start").count(), 1, "{}", terminal.log());
}
