//! A driver that ships with punchd, as a process.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::Child;

use super::{Terminal, until};

/// A driver that ships, running; gone with the test.
pub struct Shipped {
    child: Child,
    log: PathBuf,
}

impl Shipped {
    /// Starts the program with these arguments.
    pub fn start(terminal: &Terminal, arguments: &[&str]) -> Self {
        let log = terminal.path(&format!("log-{}", arguments[0]));
        let file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = terminal.command(arguments).stderr(file).spawn().unwrap();
        Self { child, log }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it logged something.
    #[track_caller]
    pub fn says(&self, message: &str) {
        until(&format!("logged {message:?}"), || self.log().contains(message), || self.log());
    }

    /// TERM, and the exit code.
    pub fn stop(&mut self) -> i32 {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), Signal::TERM).unwrap();
        self.ends()
    }

    /// Waits for its end: the exit code.
    pub fn ends(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the driver ---\n{}", self.log());
        }
    }
}

/// A terminal that is only a directory with a configuration.
pub fn nowhere() -> Terminal {
    let terminal = Terminal::prepare("http://127.0.0.1:9", "");
    fs::create_dir_all(terminal.path("run")).unwrap();
    terminal
}
