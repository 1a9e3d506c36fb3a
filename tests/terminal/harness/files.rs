//! Files of a terminal: those that the server may put and get, programs, the store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
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
