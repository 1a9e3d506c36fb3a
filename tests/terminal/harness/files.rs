//! Files of a terminal: those that the server may put and get, programs, the store.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use iclock_emulator::Emulator;

use super::Terminal;

/// A terminal whose owner lets files be put and got in a directory `files` of its own.
pub fn terminal_with_files(server: &Emulator, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    fs::create_dir(&files).unwrap();
    let files = files.display();
    let commands = format!(
        "[commands]\nget_file = \"allow\"\nput_dirs = [\"{files}\"]\nget_dirs = [\"{files}\"]\n{more}"
    );
    terminal.configure(&server.url(), &commands);
    terminal.run();
    terminal
}

/// A program for `sh`.
pub fn script(path: &Path, text: &str) {
    program(path, &format!("#!/bin/sh\n{text}\n"));
}

/// A program with this text. It is not written by this process: a child that another test starts meanwhile would
/// have it open for writing, and what is open for writing cannot be started.
pub fn program(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"]).arg(path);
    let mut shell = shell.stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// A copy of punchd, likewise.
pub fn copy_punchd(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_punchd")).arg(to).status();
    assert!(copied.unwrap().success());
}

/// The store, of a terminal that does not run.
pub fn store(terminal: &Terminal) -> rusqlite::Connection {
    rusqlite::Connection::open(terminal.path("punchd.db")).unwrap()
}

/// No file of the terminal may be written at or beyond so many bytes.
pub fn limit_files(terminal: &Terminal, bytes: Option<u64>) {
    let pid = rustix::process::Pid::from_raw(terminal.pid() as i32);
    rustix::process::prlimit(
        pid,
        rustix::process::Resource::Fsize,
        rustix::process::Rlimit { current: bytes, maximum: None },
    )
    .unwrap();
}
