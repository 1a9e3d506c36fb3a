//! Tests with real programs; each test has the reactor of its own thread.

mod end;
mod inheritance;
mod orphans;

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, getpid, test_kill_process};

use super::proc::{Process, all_pids, tag_of};
use super::*;
use crate::reactor::Woken;
use crate::store::{Limits, Store};

const LONG: Duration = Duration::from_secs(60);

/// One test at a time: an orphan without a tag is spared while a program of another test may
/// own it.
static ALONE: Mutex<()> = Mutex::new(());

struct Bench {
    processes: Rc<RefCell<Processes>>,
    alone: Option<MutexGuard<'static, ()>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Some(alone()))
    }

    fn with(alone: Option<MutexGuard<'static, ()>>) -> Self {
        let processes = Rc::new(RefCell::new(Processes::new().unwrap()));
        reactor::serve(Rc::clone(&processes) as Rc<RefCell<dyn Served>>);
        Self { processes, alone }
    }

    fn start(&self, key: i64, argv: &[&str], time: Duration) {
        let argv = argv.iter().map(Into::into).collect();
        let order = Order { argv, env: vec![], most_output: 10_000, time };
        self.processes.borrow_mut().start(key, &order).unwrap();
    }

    /// The outcome, which must come within seconds.
    fn outcome(&self, key: i64) -> (End, String) {
        let latest = Some(Instant::now() + Duration::from_secs(20));
        loop {
            let outcome = self.processes.borrow_mut().take(key);
            if let Some(outcome) = outcome {
                assert!(!self.processes.borrow().is_running(key));
                return (outcome.end, String::from_utf8_lossy(&outcome.output).into());
            }
            assert_eq!(reactor::rest(latest).unwrap(), Woken::Ready, "program {key} has no end");
        }
    }

    /// Rests until the program has put this out.
    fn wait_for_output(&self, key: i64, lines: usize) -> String {
        let latest = Instant::now() + Duration::from_secs(20);
        loop {
            let processes = self.processes.borrow();
            let running = processes.running.iter().find(|running| running.key() == key);
            let running = running.expect("the program ended too soon");
            let output = String::from_utf8_lossy(&running.output).into_owned();
            drop(processes);
            if output.lines().count() >= lines && output.ends_with('\n') {
                return output;
            }
            assert!(Instant::now() < latest, "only {output:?} came");
            reactor::rest(Some(Instant::now() + Duration::from_millis(20))).unwrap();
        }
    }
}

impl Drop for Bench {
    /// The reactor of this thread holds it longer than the lock is held.
    fn drop(&mut self) {
        if self.alone.is_some() {
            self.processes.borrow_mut().kill_all();
        }
    }
}

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sh(script: &str) -> (End, String) {
    sh_for(script, LONG)
}

fn sh_for(script: &str, time: Duration) -> (End, String) {
    let bench = Bench::new();
    bench.start(1, &["/bin/sh", "-c", script], time);
    bench.outcome(1)
}

/// The numbers that a script printed, one a line.
fn pids(output: &str) -> Vec<Pid> {
    output.lines().map(|line| Pid::from_raw(line.trim().parse().unwrap()).unwrap()).collect()
}

fn assert_gone(output: &str, count: usize) {
    let pids = pids(output);
    assert_eq!(pids.len(), count, "{output:?}");
    for pid in pids {
        assert!(test_kill_process(pid).is_err(), "{pid:?} is still there");
    }
}
