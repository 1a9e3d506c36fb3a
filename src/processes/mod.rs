//! Programs that run while the loop goes on: the server's `SHELL` command (§12.11.1) and the
//! owner's hooks.
//!
//! A program inherits only the umask of punchd. It has an environment, a directory, a process
//! group and an output of its own. It ends when it exits, when its time is over, or when it
//! writes too much. Then all processes that it started are killed, including those in the
//! background and in other process groups. No zombie stays. While no program runs, this room
//! does not wake the thread.
//!
//! Linux 3.4 is enough: SIGCHLD reports that a child ended, not a pidfd.

mod orphans;
mod proc;
mod program;
mod running;
#[cfg(test)]
mod tests;

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
pub use program::{End, Order, Outcome, find as find_program};
use running::Running;

/// Marks every descriptor that punchd inherited, except 0 to 2, as close-on-exec, so that no
/// program inherits it. Call this before anything is opened. Descriptors that punchd opens are
/// close-on-exec from the start.
pub fn keep_descriptors() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|number: &i32| *number > 2).collect::<Vec<_>>() {
        // SAFETY: the descriptor is used for this one call only. If it was closed after it was
        // listed (as the descriptor of the listing itself), the call fails and changes nothing.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
    }
}

/// Marks a program as one of this punchd's, which [`kill_leftovers`] finds with all that it has started. It is
/// not looked after otherwise.
pub fn tag(command: &mut Command) {
    orphans::tag(command);
}

/// Marks a program as nobody's: it goes on when punchd and what it has started end.
pub fn untag(command: &mut Command) {
    orphans::untag(command);
}

/// Kills what is left of programs of this process, before it has started one itself, and of a punchd
/// that does not run any more.
pub fn kill_leftovers() {
    orphans::kill_leftovers();
}

/// The programs that run, and the outcomes that were not taken yet.
pub struct Processes {
    /// Readable after a child has ended.
    child_ended: UnixStream,
    signal_handler: SigId,
    running: Vec<Running>,
    outcomes: Vec<(i64, Outcome)>,
}

impl Processes {
    /// Makes punchd the parent of all orphans of its programs, and kills what the programs of
    /// an earlier punchd left running.
    ///
    /// # Errors
    /// The handler of SIGCHLD cannot be installed.
    pub fn new() -> io::Result<Self> {
        let (child_ended, signal_end) = UnixStream::pair()?;
        child_ended.set_nonblocking(true)?;
        let signal_handler = pipe::register(SIGCHLD, signal_end)?;
        orphans::adopt();
        orphans::kill_leftovers();
        Ok(Self { child_ended, signal_handler, running: Vec::new(), outcomes: Vec::new() })
    }

    /// Starts a program, which is known by `key` from then on.
    ///
    /// # Errors
    /// A message that names the program and says why it cannot run.
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

    pub fn is_running(&self, key: i64) -> bool {
        self.running.iter().any(|running| running.key() == key)
    }

    /// The outcome of a program that has ended.
    pub fn outcome(&self, key: i64) -> Option<&Outcome> {
        self.outcomes.iter().find(|(other, _)| *other == key).map(|(_, outcome)| outcome)
    }

    /// Takes the outcome of a program that has ended; its key is free again.
    pub fn take(&mut self, key: i64) -> Option<Outcome> {
        let nth = self.outcomes.iter().position(|(other, _)| *other == key)?;
        Some(self.outcomes.swap_remove(nth).1)
    }

    /// Kills all programs, and waits up to about a second until they are gone. The daemon calls
    /// this when it ends: not every system drops what a thread-local holds.
    pub fn kill_all(&mut self) {
        for running in &mut self.running {
            running.kill();
        }
        while !self.running.is_empty() {
            self.check_all();
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Checks each program once. Returns whether one has ended.
    fn check_all(&mut self) -> bool {
        let now = Instant::now();
        let before = self.outcomes.len();
        let outcomes = &mut self.outcomes;
        self.running.retain_mut(|running| match running.check(now) {
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
        fds.push(PollFd::new(&self.child_ended, PollFlags::IN));
        let pipes = self.running.iter().filter_map(Running::pipe);
        fds.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    }

    /// All programs are checked, ready or not: they are few, and no check blocks.
    fn serve(&mut self, _: &[PollFlags]) {
        let has_ended = matches!((&self.child_ended).read(&mut [0; 64]), Ok(1..));
        if self.check_all() {
            reactor::wake_loop();
        }
        if has_ended {
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
        unregister(self.signal_handler);
    }
}
