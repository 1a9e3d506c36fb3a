//! Programs that run while the loop goes on: the server's SHELL command (§12.11.1), the
//! owner's hooks.
//!
//! Each gets nothing of punchd's but its umask: an environment, a directory, a process group
//! and an output of its own. It ends by itself, by its time or by its output, and with it
//! ends all that it started, also what went into the background or left its group. No zombie
//! stays, and while nothing runs nothing here wakes the thread.
//!
//! Nothing more is asked of the kernel than 3.4 can do: SIGCHLD tells of an end, not a pidfd.

mod orphans;
mod proc;
mod running;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level::{pipe, unregister};

use crate::reactor::{self, Served};
use running::Running;

/// A program to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The program, by its path or by its name in a fixed `PATH`, and its arguments.
    pub argv: Vec<OsString>,
    /// What is in its environment besides `PATH`.
    pub env: Vec<(String, String)>,
    /// Most bytes that it may put out.
    pub most_output: usize,
    /// How long it may run.
    pub time: Duration,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal, which was not ours unless [`Processes::kill_all`] was called.
    Killed(i32),
    /// Its time was over, and it was killed.
    TimedOut,
    /// It put out more than it may, and was killed.
    TooMuch,
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it wrote to stdout and stderr, together, as far as it may.
    pub output: Vec<u8>,
}

/// Keeps from every program what whoever started punchd left open to it. To be called before
/// anything is opened; what punchd opens itself is never passed on.
pub fn keep_descriptors() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|number: &i32| *number > 2).collect::<Vec<_>>() {
        // SAFETY: it is only used for this call; if it was closed since it was listed (as that
        // of the list itself), the call fails and nothing happens.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
    }
}

/// The programs that run, and the outcomes that nobody has taken yet.
pub struct Processes {
    /// Rings when a child ended.
    bell: UnixStream,
    ringer: SigId,
    running: Vec<Running>,
    outcomes: Vec<(i64, Outcome)>,
}

impl Processes {
    /// Ready to run programs. Orphans of what they start become children of punchd; what a
    /// punchd that was killed left running is ended.
    ///
    /// # Errors
    /// SIGCHLD cannot be taken.
    pub fn new() -> io::Result<Self> {
        let (bell, ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let ringer = pipe::register(SIGCHLD, ring)?;
        orphans::adopt_orphans();
        orphans::sweep();
        Ok(Self { bell, ringer, running: Vec::new(), outcomes: Vec::new() })
    }

    /// Starts a program, known from now on by `key`.
    ///
    /// # Errors
    /// A message that names the program, and why it does not run.
    pub fn start(&mut self, key: i64, order: &Order) -> Result<(), String> {
        let Some((program, arguments)) = order.argv.split_first() else {
            return Err("no program is named".into());
        };
        let name = program.to_string_lossy();
        if self.is_running(key) || self.outcomes.iter().any(|(other, _)| *other == key) {
            return Err(format!("cannot run {name}: number {key} is in use"));
        }
        let mut command = Command::new(program);
        command.args(arguments);
        let running = Running::start(key, command, order)
            .map_err(|error| format!("cannot run {name}: {error}"))?;
        self.running.push(running);
        Ok(())
    }

    /// Whether the program has not come to its end.
    pub fn is_running(&self, key: i64) -> bool {
        self.running.iter().any(|running| running.key() == key)
    }

    /// What became of a program that has ended.
    pub fn outcome(&self, key: i64) -> Option<&Outcome> {
        self.outcomes.iter().find(|(other, _)| *other == key).map(|(_, outcome)| outcome)
    }

    /// What became of a program that has ended. It is told once.
    pub fn take(&mut self, key: i64) -> Option<Outcome> {
        let nth = self.outcomes.iter().position(|(other, _)| *other == key)?;
        Some(self.outcomes.swap_remove(nth).1)
    }

    /// Kills all that runs, and waits a moment until it is gone. The daemon calls this when
    /// it ends: what a thread-local holds is not dropped on every system.
    pub fn kill_all(&mut self) {
        for running in &mut self.running {
            running.kill();
        }
        while !self.running.is_empty() {
            self.turn();
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Looks after each program once. Whether one came to its end.
    fn turn(&mut self) -> bool {
        let now = Instant::now();
        let before = self.outcomes.len();
        let outcomes = &mut self.outcomes;
        self.running.retain_mut(|running| match running.turn(now) {
            Some(outcome) => {
                outcomes.push((running.key(), outcome));
                false
            }
            None => true,
        });
        outcomes.len() > before
    }
}

impl Served for Processes {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.push(PollFd::new(&self.bell, PollFlags::IN));
        let pipes = self.running.iter().filter_map(Running::pipe);
        fds.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    }

    /// All is nonblocking and few, so that what is ready need not be told apart.
    fn serve(&mut self, _: &[PollFlags]) {
        let rang = matches!((&self.bell).read(&mut [0; 64]), Ok(1..));
        if self.turn() {
            reactor::wake_loop();
        }
        if rang {
            orphans::reap();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.running.iter().filter_map(Running::deadline).min()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill_all();
        unregister(self.ringer);
    }
}
