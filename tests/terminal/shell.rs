//! `SHELL` (X4), where the owner allows it: its output and status, its limits, once.

use std::fs;
use std::time::{Duration, Instant};

use iclock_emulator::{Emulator, Kind, Repeat};

use crate::files::answer;
use crate::harness::{TIMEOUT, Terminal, second, server};

const ALLOWED: &str = "[commands]\nshell = \"allow\"\n";

fn shell(server: &Emulator, line: &str) -> (i64, String) {
    let id = server.queue(&format!("SHELL {line}"));
    let (code, output) = answer(server, &id);
    (code, String::from_utf8(output).unwrap())
}

#[test]
fn output_and_status_are_answered() {
    let server = server();
    let _terminal = Terminal::start(&server, ALLOWED);
    assert_eq!(shell(&server, "echo one; echo two >&2; exit 3"), (3, "one\ntwo\n".into()));
    assert_eq!(shell(&server, "pwd"), (0, "/\n".into()));
    assert_eq!(shell(&server, "kill -9 $$").0, 128 + 9);
    assert_eq!(shell(&server, "printf 'ID=7&Return=0\\n'"), (0, "ID=7&Return=0\n".into()));
    assert_eq!(shell(&server, "no-such-program-here").0, 127);
    assert_eq!(shell(&server, "").0, -1);
    server.assert_strict();
}

#[test]
fn time_and_output_have_limits_and_nothing_runs_on() {
    let server = server();
    let limits = "shell_seconds = 1\nshell_bytes = 1000";
    let terminal = Terminal::start(&server, &format!("{ALLOWED}{limits}"));
    let mark = terminal.path("mark");
    let line = format!("echo begun; (setsid sleep 100; touch {}) & sleep 100", mark.display());
    assert_eq!(shell(&server, &line), (-1003, "begun\n".into()));
    let (code, output) = shell(&server, "yes");
    assert_eq!((code, output.len()), (-1006, 1000));
    // Neither the shell nor what it sent into the background is there any more.
    let children = |pid: u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    assert_eq!(children(terminal.pid()).unwrap(), "");
    server.assert_strict();
}

#[test]
fn punches_go_up_while_a_line_runs() {
    let server = server();
    let terminal = Terminal::start(&server, ALLOWED);
    let id = server.queue("SHELL sleep 3");
    terminal.wait_for("running", |status| status["jobs"][0]["stage"] == "handed over");
    let begun = Instant::now();
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(server.received(|received| received.reply(&id).is_none()));
    assert_eq!(answer(&server, &id).0, 0);
    server.assert_strict();
}

#[test]
fn a_line_that_was_cut_off_is_not_run_again() {
    let server = server();
    server.allow(Kind::CutShort);
    let mut terminal = Terminal::start(&server, ALLOWED);
    let (ran, pid) = (terminal.path("ran"), terminal.path("pid"));
    let line = format!("SHELL echo x >> {}; echo $$ > {}; sleep 300", ran.display(), pid.display());
    server.queue_repeated("s1", &line, Repeat::UntilAnswered);
    let until = Instant::now() + TIMEOUT;
    while !pid.exists() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    terminal.kill();
    terminal.run();
    // What it left running is ended.
    let pid = fs::read_to_string(pid).unwrap();
    let runs = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    assert!(runs.is_empty(), "{}", String::from_utf8_lossy(&runs));
    assert_eq!(answer(&server, "s1").0, -1003);
    server.queue_repeated("s1", &line, Repeat::Times(3));
    let last = server.queue("INFO");
    assert_eq!(answer(&server, &last).0, 0);
    assert_eq!(fs::read_to_string(ran).unwrap(), "x\n");
    server.assert_strict();
}
