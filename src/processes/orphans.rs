//! Orphans: the processes that a program started and left when it ended.
//!
//! A process that left its group (`setsid`) and its parent (by a double fork) is found in two
//! ways:
//! - by its tag: an entry [`TAG`] of the environment with a number that is different for each
//!   program. Every descendant inherits it. The tag tells whose process it is, also when two
//!   programs run, and when the kernel has no subreaper.
//! - by its parent: punchd is a subreaper, so that every orphan becomes its child. An orphan
//!   without a tag (`env -i`) belongs to a program that has exited if the orphan is not older
//!   than that program, and if no program still runs that is as old as the orphan or older:
//!   such a program might own it, and kills it when it ends.
//!
//! A process without a tag in punchd's own group was started by punchd for another reason (the
//! program that reboots) and is left alone. A child of an orphan becomes an orphan when its
//! parent is killed, so that there are no trees to walk.
//!
//! Children belong to a process, not to a value of a type: hence one list for all.

use std::io;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpgrp, getpid, kill_process,
    set_child_subreaper, waitid, waitpid,
};

use super::proc::{Process, all_pids, tag_of};

/// The entry of the environment that says whose process it is.
const TAG: &str = "PUNCHD_ORDER";
/// Most rounds of one search, while each finds something new.
const MOST_ROUNDS: usize = 4;

/// The programs of this process.
static PROGRAMS: Mutex<Programs> = Mutex::new(Programs { next: 0, all: Vec::new() });

struct Programs {
    next: u64,
    all: Vec<Program>,
}

/// A program that was started and not reaped yet.
struct Program {
    main: Pid,
    number: u64,
    /// In ticks, as the kernel counts.
    started: u64,
    /// Whether it has ended, so that its processes that are left must be killed.
    exited: bool,
}

/// This process.
struct Me {
    pid: Pid,
    group: i32,
    started: u64,
}

/// Makes punchd the parent of orphans. On a kernel that cannot do that, only the tag is left.
pub(super) fn adopt() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        log::debug!("orphans are found by their tag only, not by their parent: {error}");
    }
}

/// Kills the orphans of a punchd that does not run any more: it was killed, or it was this
/// process before it executed itself again.
pub(super) fn kill_leftovers() {
    let me = Me::now();
    let is_orphaned = |pid: &Pid| {
        *pid != me.pid && tag_of(*pid, TAG).is_some_and(|tag| !is_of_another(&tag, &me))
    };
    for _ in 0..2 * MOST_ROUNDS {
        let orphans: Vec<Pid> = all_pids().into_iter().filter(is_orphaned).collect();
        // All are stopped first, so that none can fork while the others are killed.
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

/// Whether a tag is of another punchd that runs.
fn is_of_another(tag: &str, me: &Me) -> bool {
    let mut parts = tag.split('.');
    let owner = parts.next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    let started: Option<u64> = parts.next().and_then(|started| started.parse().ok());
    owner
        .filter(|owner| *owner != me.pid)
        .and_then(Process::read)
        .is_some_and(|process| !process.is_dead && Some(process.started) == started)
}

/// Starts a program with a tag of its own.
pub(super) fn spawn(mut command: Command) -> io::Result<Pid> {
    // Locked until it is in the list: no other thread may take it for an orphan.
    let mut programs = programs();
    let number = programs.next;
    programs.next += 1;
    command.env(TAG, format!("{}{number}", Me::now().tag_prefix()));
    let main = Pid::from_child(&command.spawn()?);
    let started = Process::read(main).map_or(0, |process| process.started);
    programs.all.push(Program { main, number, started, exited: false });
    Ok(main)
}

/// The program is one of this process's, and in no list.
pub(super) fn tag(command: &mut Command) {
    command.env(TAG, Me::now().tag_prefix());
}

/// The program is nobody's.
pub(super) fn untag(command: &mut Command) {
    command.env_remove(TAG);
}

/// The program has ended: from now on its processes that are left are orphans.
pub(super) fn mark_exited(main: Pid) {
    for program in programs().all.iter_mut().filter(|program| program.main == main) {
        program.exited = true;
    }
}

/// Removes a program of which no process is left.
pub(super) fn remove(main: Pid) {
    programs().all.retain(|program| program.main != main);
}

/// The result of a search for orphans.
pub(super) struct Search {
    /// How many orphans were killed and are not known to be gone.
    pub(super) left: usize,
    /// Whether the last round found nothing new, so that no orphan can have been missed.
    pub(super) is_certain: bool,
}

/// Searches for orphans and kills them.
pub(super) fn kill_all() -> Search {
    let programs = programs();
    let me = Me::now();
    let mut seen = Seen::default();
    let is_certain = (0..MOST_ROUNDS).any(|_| !programs.round(&me, &mut seen));
    Search { left: seen.killed.len(), is_certain }
}

/// What one search has found.
#[derive(Default)]
struct Seen {
    killed: Vec<Pid>,
    /// Processes whose tag could not be read, each with whether it was dead.
    untagged: Vec<(Pid, bool)>,
}

/// Reaps every child that has ended and is not in the list: orphans, and the programs that
/// punchd does not wait for.
pub(super) fn reap() {
    let programs = programs();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(retry_on_intr(|| waitid(WaitId::All, options)), Ok(Some(_))) {
        return;
    }
    let me = Me::now();
    let dead = all_pids().into_iter().filter_map(Process::read).filter(|process| process.is_dead);
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

    /// How every tag of this punchd begins; no other punchd that runs has the same.
    fn tag_prefix(&self) -> String {
        format!("{}.{}.", self.pid.as_raw_pid(), self.started)
    }
}

impl Programs {
    /// Looks at all processes once, the newest first, so that a process that forks and exits
    /// again and again is seen soon after it was listed. Returns whether there was news: a
    /// process that died, was killed, or was just executing another program (it has no
    /// environment for a moment) may have had a child that was not listed.
    fn round(&self, me: &Me, seen: &mut Seen) -> bool {
        let exited = self.all.iter().filter(|program| program.exited);
        let since = exited.map(|program| program.started).min().unwrap_or(u64::MAX);
        let mut is_news = false;
        for pid in all_pids().into_iter().rev().filter(|pid| *pid != me.pid && !self.has(*pid)) {
            let Some(process) = Process::read(pid) else {
                is_news = true;
                continue;
            };
            // An older process belongs to no program; kernel threads have no group.
            if process.started < since || process.group == 0 {
                continue;
            }
            let tag = tag_of(pid, TAG);
            if tag.is_none() && !seen.untagged.contains(&(pid, process.is_dead)) {
                seen.untagged.push((pid, process.is_dead));
                is_news = true;
            }
            let is_ours = process.parent == me.pid.as_raw_pid();
            let reaped = || matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_)));
            if process.is_dead && is_ours && reaped() {
                seen.killed.retain(|other| *other != pid);
            } else if self.is_orphan(&process, tag.as_deref(), me) && !seen.killed.contains(&pid) {
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

    fn is_orphan(&self, process: &Process, tag: Option<&str>, me: &Me) -> bool {
        let running = || self.all.iter().filter(|program| !program.exited);
        if let Some(number) = tag.and_then(|tag| tag.strip_prefix(&me.tag_prefix())) {
            return !running().any(|program| program.number.to_string() == number);
        }
        process.parent == me.pid.as_raw_pid()
            && process.group != me.group
            && !running().any(|program| program.started <= process.started)
    }
}
