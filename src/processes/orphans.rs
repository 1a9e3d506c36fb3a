//! Whose a process is: what a program started, and left behind when it ended.
//!
//! A process that leaves its group (`setsid`) and its parent (by a double fork) is still
//! found, in two ways:
//! - by its mark: an entry of the environment, [`MARK`] with a number that no other program
//!   has, which every descendant inherits. This tells at once whose it is, also when two
//!   programs run, and when the kernel knows no subreaper.
//! - by its parent: punchd is a subreaper, so that every orphan becomes its child. One that
//!   has no mark (`env -i`) belongs to a program that ended if it is not older than that,
//!   and if no program still runs that is as old as it or older: that might be its owner, and
//!   will account for it when it ends.
//!
//! What has no mark and is of punchd's own group was started by punchd otherwise (the
//! program that reboots), and is left alone. A process below an orphan becomes an orphan
//! when that is killed, so that there are no trees to walk.
//!
//! Children belong to a process, not to one value of a type; hence the one list for all.

use std::io;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpgrp, getpid, kill_process,
    set_child_subreaper, waitid, waitpid,
};

use super::proc::{Process, mark_of, numbers};

/// The entry of the environment that says whose a process is.
const MARK: &str = "PUNCHD_ORDER";
/// Most looks at all processes in one go, while each finds something new.
const MOST_ROUNDS: usize = 4;

/// The programs of this process.
static PROGRAMS: Mutex<Programs> = Mutex::new(Programs { next: 0, all: Vec::new() });

struct Programs {
    next: u64,
    all: Vec<Program>,
}

/// A program that was started and not waited for.
struct Program {
    main: Pid,
    number: u64,
    /// In ticks, as the kernel tells it.
    started: u64,
    /// Whether it has ended, so that what is left of it must end too.
    outlawed: bool,
}

/// What punchd is among the processes.
struct Me {
    pid: Pid,
    group: i32,
    started: u64,
}

/// Makes orphans children of punchd. A kernel that cannot do that leaves us the mark.
pub(super) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        log::debug!("orphans are found by their mark alone: {error}");
    }
}

/// Kills what the programs of a punchd left behind that is no more: it was killed, or it is
/// this one before it began anew.
pub(super) fn sweep() {
    let me = Me::now();
    let is_orphaned = |pid: &Pid| {
        *pid != me.pid && mark_of(*pid, MARK).is_some_and(|mark| !is_of_another(&mark, &me))
    };
    for _ in 0..2 * MOST_ROUNDS {
        let orphans: Vec<Pid> = numbers().into_iter().filter(is_orphaned).collect();
        // Stopped before they are killed: who forks away stands still first.
        for signal in [Signal::STOP, Signal::KILL] {
            for orphan in &orphans {
                let _ = kill_process(*orphan, signal);
            }
        }
        if orphans.is_empty() {
            return;
        }
    }
}

/// Whether a mark is of another punchd, and that runs.
fn is_of_another(mark: &str, me: &Me) -> bool {
    let mut parts = mark.split('.');
    let owner = parts.next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    let started: Option<u64> = parts.next().and_then(|started| started.parse().ok());
    owner
        .filter(|owner| *owner != me.pid)
        .and_then(Process::read)
        .is_some_and(|process| !process.is_dead && Some(process.started) == started)
}

/// Starts a program with a mark of its own.
pub(super) fn spawn(mut command: Command) -> io::Result<Pid> {
    // Held until it is in the list: no other may take it for a orphan.
    let mut programs = programs();
    let number = programs.next;
    programs.next += 1;
    command.env(MARK, format!("{}{number}", Me::now().mark()));
    let main = Pid::from_child(&command.spawn()?);
    let started = Process::read(main).map_or(0, |process| process.started);
    programs.all.push(Program { main, number, started, outlawed: false });
    Ok(main)
}

/// The program has ended: what is left of it is a orphan from now on.
pub(super) fn outlaw(main: Pid) {
    for program in programs().all.iter_mut().filter(|program| program.main == main) {
        program.outlawed = true;
    }
}

/// Nothing is left of the program; its number is free.
pub(super) fn forget(main: Pid) {
    programs().all.retain(|program| program.main != main);
}

/// What a hunt came to.
pub(super) struct Hunted {
    /// How many orphans were met, and are not seen to be gone yet.
    pub(super) left: usize,
    /// Whether the last look found nothing that leaves a doubt.
    pub(super) is_sure: bool,
}

/// Kills all orphans that can be found.
pub(super) fn hunt() -> Hunted {
    let programs = programs();
    let me = Me::now();
    let mut seen = Seen::default();
    let is_sure = (0..MOST_ROUNDS).any(|_| !programs.round(&me, &mut seen));
    Hunted { left: seen.killed.len(), is_sure }
}

/// What one hunt has met.
#[derive(Default)]
struct Seen {
    killed: Vec<Pid>,
    /// Whose mark could not be read, and whether because they had ended.
    blank: Vec<(Pid, bool)>,
}

/// Waits for every child that has ended and is no program of ours: orphans, and what punchd
/// started and forgot.
pub(super) fn reap() {
    let programs = programs();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, options), Ok(Some(_))) {
        return;
    }
    let me = Me::now();
    let dead = numbers().into_iter().filter_map(Process::read).filter(|process| process.is_dead);
    for child in dead.filter(|process| process.parent == me.pid.as_raw_pid()) {
        if !programs.has(child.pid) {
            let _ = waitpid(Some(child.pid), WaitOptions::NOHANG);
        }
    }
}

fn programs() -> MutexGuard<'static, Programs> {
    PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Me {
    fn now() -> Self {
        let pid = getpid();
        let started = Process::read(pid).map_or(0, |process| process.started);
        Self { pid, group: getpgrp().as_raw_pid(), started }
    }

    /// How every mark of this punchd begins; another that runs has another.
    fn mark(&self) -> String {
        format!("{}.{}.", self.pid.as_raw_pid(), self.started)
    }
}

impl Programs {
    /// Looks at all processes once, the newest first: one that runs away by forking and
    /// exiting is then seen soon after it was listed. Whether there was any news: whoever
    /// dies, is killed or starts another program while we look (it has no environment for
    /// a moment) may have had a child behind our back.
    fn round(&self, me: &Me, seen: &mut Seen) -> bool {
        let outlawed = self.all.iter().filter(|program| program.outlawed);
        let since = outlawed.map(|program| program.started).min().unwrap_or(u64::MAX);
        let mut is_news = false;
        for pid in numbers().into_iter().rev().filter(|pid| *pid != me.pid && !self.has(*pid)) {
            let Some(process) = Process::read(pid) else {
                is_news = true;
                continue;
            };
            // What is older is nobody's, and threads of the kernel have no group.
            if process.started < since || process.group == 0 {
                continue;
            }
            let mark = mark_of(pid, MARK);
            if mark.is_none() && !seen.blank.contains(&(pid, process.is_dead)) {
                seen.blank.push((pid, process.is_dead));
                is_news = true;
            }
            let is_ours = process.parent == me.pid.as_raw_pid();
            let reaped = || matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_)));
            if process.is_dead && is_ours && reaped() {
                seen.killed.retain(|other| *other != pid);
            } else if self.is_stray(&process, mark.as_deref(), me) && !seen.killed.contains(&pid) {
                let _ = kill_process(pid, Signal::KILL);
                seen.killed.push(pid);
                is_news = true;
            }
        }
        is_news
    }

    fn has(&self, pid: Pid) -> bool {
        self.all.iter().any(|program| program.main == pid)
    }

    fn is_stray(&self, process: &Process, mark: Option<&str>, me: &Me) -> bool {
        let free = || self.all.iter().filter(|program| !program.outlawed);
        if let Some(number) = mark.and_then(|mark| mark.strip_prefix(&me.mark())) {
            return !free().any(|program| program.number.to_string() == number);
        }
        process.parent == me.pid.as_raw_pid()
            && process.group != me.group
            && !free().any(|program| program.started <= process.started)
    }
}
