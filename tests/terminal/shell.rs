//! `SHELL` (X4), where the owner allows it: its output and status, its limits, once.

use std::fs;
use std::process::Command;

use iclock_emulator::{Emulator, Kind, Repeat};

use crate::harness::{TIMEOUT, Terminal, answer, returns, second, server, until};

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
    let end = terminal.path("end");
    let id = server.queue(&format!("SHELL until [ -e {} ]; do sleep 0.1; done", end.display()));
    terminal.wait_for("running", |status| status["jobs"][0]["stage"] == "handed over");
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    assert!(server.received(|received| received.reply(&id).is_none()));
    fs::write(end, "").unwrap();
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
    until("running", || fs::read(&pid).is_ok_and(|text| text.ends_with(b"\n")), || terminal.log());
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

/// Processes whose command line holds a text.
fn running(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
        .filter(|line| line.contains(text))
        .count()
}

#[test]
fn no_line_of_shell_outlives_its_time() {
    let server = server();
    let terminal = Terminal::start(
        &server,
        "[commands]\nshell = \"allow\"\nshell_seconds = 1\nshell_bytes = 4096",
    );
    let mark = format!("mark-{}", terminal.pid());
    for line in [
        format!("(sleep 600; : {mark}) & exit 0"),
        format!("setsid sh -c 'sleep 600; : {mark}' >/dev/null 2>&1 < /dev/null & exit 0"),
        format!("nohup sh -c 'trap \"\" TERM HUP INT; sleep 600; : {mark}' & sleep 10"),
        "yes".into(),
        "cat /dev/zero".into(),
        "exec 1>&- 2>&-; sleep 10".into(),
        "kill -STOP $$".into(),
    ] {
        returns(&server, &format!("SHELL {line}"));
        until("ended", || running(&mark) == 0, || line.clone());
    }
    let pid = terminal.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children, "");
    server.assert_strict();
}

#[test]
fn a_line_of_shell_gets_neither_descriptors_nor_environment_nor_anything_to_read() {
    let server = server();
    let _terminal = Terminal::start(&server, ALLOWED);
    let id = server.queue("SHELL ls /proc/self/fd | wc -l; cat; env | grep -v PUNCHD_ORDER | sort");
    let (code, output) = answer(&server, &id);
    assert_eq!(code, 0);
    let output = String::from_utf8(output).unwrap();
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("4"), "{output}");
    assert!(
        lines.all(|line| ["PATH=", "PWD=", "_=", "SHLVL=", "OLDPWD="]
            .iter()
            .any(|known| line.starts_with(known))),
        "{output}"
    );
    server.assert_strict();
}

/// Whoever starts punchd may have left descriptors open, from 3 on.
#[test]
fn a_line_of_shell_gets_no_descriptor_that_punchd_was_given() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), ALLOWED);
    let command = terminal.command(&["run"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 3</dev/null 4</dev/null 9</dev/null; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args());
    terminal.try_run_as(shell).unwrap();
    let id = server.queue("SHELL ls /proc/self/fd");
    let (code, output) = answer(&server, &id);
    // The directory that is listed is one of them.
    let output = String::from_utf8(output).unwrap();
    assert_eq!((code, output.lines().collect::<Vec<_>>()), (0, vec!["0", "1", "2", "3"]));
    let is_open = |nth: u32| fs::read_link(format!("/proc/{}/fd/{nth}", terminal.pid())).is_ok();
    assert!([3, 4, 9].into_iter().all(is_open), "punchd was given none");
}
