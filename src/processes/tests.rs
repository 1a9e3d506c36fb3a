//! Real programs; each test has the reactor of its own thread.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, getpid, test_kill_process};

use super::proc::{Process, mark_of, numbers};
use super::*;
use crate::reactor::Woken;
use crate::store::{Limits, Store};

const LONG: Duration = Duration::from_secs(60);

/// One test at a time: what has no mark is spared while another's program may own it.
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

#[test]
fn a_program_ends_with_its_status_and_what_it_wrote() {
    for (script, end, output) in [
        ("echo out; echo err >&2; exit 7", End::Exited(7), "out\nerr\n"),
        ("true", End::Exited(0), ""),
        ("cat; pwd", End::Exited(0), "/\n"),
        ("kill -TERM $$; sleep 9", End::Killed(15), ""),
        ("kill -KILL $$; sleep 9", End::Killed(9), ""),
        ("exec >&- 2>&-; sleep 0.2; exit 3", End::Exited(3), ""),
    ] {
        assert_eq!(sh(script), (end, output.into()), "{script}");
    }
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let bench = Bench::new();
    let mut processes = bench.processes.borrow_mut();
    let order = |argv: &[&str]| Order {
        argv: argv.iter().map(Into::into).collect(),
        env: vec![],
        most_output: 10,
        time: LONG,
    };
    for (argv, message) in [
        (&["/no/such/program", "-x"][..], "cannot run /no/such/program: No such file"),
        (&["no-such-program"], "cannot run no-such-program: No such file"),
        (&["/etc"], "cannot run /etc: Permission denied"),
        (&["a\0b"], "cannot run a\0b: "),
        (&[], "no program is named"),
    ] {
        let error = processes.start(1, &order(argv)).unwrap_err();
        assert!(error.starts_with(message), "{error}");
    }
    processes.start(1, &order(&["sleep", "9"])).unwrap();
    assert!(processes.start(1, &order(&["true"])).unwrap_err().contains("in use"));
    drop(processes);
}

#[test]
fn at_its_time_a_program_ends_with_all_in_its_background() {
    let begun = Instant::now();
    let script = "sleep 1000 & echo $!; (sleep 1000 & echo $!); trap '' TERM; echo $$; \
                  while :; do sleep 1; done";
    let (end, output) = sh_for(script, Duration::from_millis(500));
    assert_eq!(end, End::TimedOut);
    assert_gone(&output, 3);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn who_left_the_group_is_killed_too() {
    for escape in [
        "setsid sleep 1000 & echo $!; sleep 0.2",
        "setsid sh -c 'sleep 1000 & echo $!; sleep 1000 & echo $!; wait' & echo $!; sleep 0.2",
        "(setsid sh -c 'setsid sleep 1000 & echo $!' &); sleep 0.2",
        "env -i setsid sleep 1000 & echo $!; sleep 0.2",
        "(env -i setsid sh -c 'setsid sleep 1000 & echo $!; exec sleep 1000' &); sleep 0.2",
    ] {
        let (end, output) = sh(escape);
        assert_eq!(end, End::Exited(0), "{escape}");
        assert_gone(&output, output.lines().count().max(1));
    }
}

#[test]
fn who_runs_away_by_forking_is_caught() {
    // Each lives for a millisecond and starts the next in a session of its own.
    let script = r#"export HOP='setsid sh -c "$HOP" &'; setsid sh -c "$HOP"; sleep 0.2"#;
    let bench = Bench::new();
    bench.start(1, &["sh", "-c", script], LONG);
    assert_eq!(bench.outcome(1), (End::Exited(0), String::new()));
    let ours = format!("{}.", getpid().as_raw_pid());
    let is_ours = |pid: &Pid| mark_of(*pid, "PUNCHD_ORDER").is_some_and(|m| m.starts_with(&ours));
    let left = || numbers().into_iter().find(is_ours);
    assert_eq!((left(), left(), left()), (None, None, None));
}

#[test]
fn a_swarm_is_killed_to_the_last() {
    let script = "i=0; while [ $((i += 1)) -le 60 ]; do
        setsid sh -c 'sleep 1000 & echo $!; exec sleep 1000' & echo $!
    done; wait";
    let (end, output) = sh_for(script, Duration::from_secs(2));
    assert_eq!(end, End::TimedOut);
    assert_gone(&output, 120);
}

#[test]
fn who_writes_too_much_is_stopped() {
    for script in ["yes", "head -c 10001 /dev/zero | tr '\\0' y", "(setsid yes &); sleep 1000"] {
        let (end, output) = sh(script);
        assert_eq!((end, output.len()), (End::TooMuch, 10_000), "{script}");
    }
    let (end, output) = sh("head -c 10000 /dev/zero | tr '\\0' y");
    assert_eq!((end, output.len()), (End::Exited(0), 10_000));
}

#[test]
fn a_child_that_holds_the_pipe_does_not_delay_the_end() {
    let begun = Instant::now();
    let (end, output) = sh("sleep 1000 & echo $!; exit 4");
    assert_eq!(end, End::Exited(4));
    assert_gone(&output, 1);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_environment_is_clean() {
    let bench = Bench::new();
    let order = Order {
        argv: vec!["env".into()],
        env: vec![("PUNCHD_FILE".into(), "/tmp/a b".into())],
        most_output: 10_000,
        time: LONG,
    };
    bench.processes.borrow_mut().start(1, &order).unwrap();
    let (_, output) = bench.outcome(1);
    let mut names: Vec<_> = output.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["PATH", "PUNCHD_FILE", "PUNCHD_ORDER"]);
    assert!(output.contains("PUNCHD_FILE=/tmp/a b\n"));
}

#[test]
fn no_descriptor_is_passed_on() {
    // What punchd has open: the store, sockets that listen and are connected, bells, pipes.
    let path = std::env::temp_dir().join(format!("punchd-processes-{}", std::process::id()));
    let store = Store::open(&path.with_extension("db"), Limits::default()).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(path.with_extension("sock")).unwrap();
    let caller = UnixStream::connect(path.with_extension("sock")).unwrap();
    let accepted = listener.accept().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let clone = caller.try_clone().unwrap();
    let bench = Bench::new();
    bench.start(2, &["sleep", "1000"], LONG);
    bench.start(1, &["/bin/sh", "-c", "ls /proc/$$/fd"], LONG);
    let (end, output) = bench.outcome(1);
    drop((store, accepted, tcp, clone));
    for suffix in ["db", "db-wal", "sock"] {
        let _ = fs::remove_file(path.with_extension(suffix));
    }
    // Those that the tests themselves were started with are not ours to close.
    let parent = rustix::process::getppid().unwrap().as_raw_pid();
    let target = |pid: i32, fd: &str| fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
    let me = getpid().as_raw_pid();
    let mut fds: Vec<_> = output.lines().collect();
    fds.retain(|fd| fd.len() == 1 && *fd <= "2" || target(me, fd) != target(parent, fd));
    fds.sort_unstable();
    assert_eq!((end, fds), (End::Exited(0), vec!["0", "1", "2"]));
}

#[test]
fn signals_are_as_the_system_gives_them() {
    let bench = Bench::new();
    bench.start(1, &["cat", "/proc/self/status"], LONG);
    let (_, status) = bench.outcome(1);
    let mine = fs::read_to_string("/proc/self/status").unwrap();
    let mask = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_string();
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
    };
    const PIPE: u64 = 1 << 12;
    assert_eq!(mask(&status, "SigBlk"), 0);
    assert_eq!(mask(&status, "SigCgt"), 0);
    // punchd ignores SIGPIPE. What else is ignored came from who started the tests.
    assert_eq!(mask(&status, "SigIgn"), mask(&mine, "SigIgn") & !PIPE);
}

#[test]
fn of_two_programs_each_keeps_its_own() {
    let bench = Bench::new();
    // What the first leaves has no mark, and is younger than the second: either may own it.
    let stays = "sleep 0.2; (setsid sleep 1000 & echo $!); (env -i setsid sleep 1000 & echo $!)
        sleep 1000";
    bench.start(1, &["sh", "-c", stays], LONG);
    bench.start(2, &["sh", "-c", "setsid sleep 1000 & echo $!; sleep 1; exit 2"], LONG);
    let kept = bench.wait_for_output(1, 2);
    let (end, gone) = bench.outcome(2);
    assert_eq!(end, End::Exited(2));
    assert_gone(&gone, 1);
    assert!(bench.processes.borrow().is_running(1));
    for pid in pids(&kept) {
        assert!(test_kill_process(pid).is_ok(), "{pid:?} belongs to the other");
    }
    bench.processes.borrow_mut().kill_all();
    assert_eq!(bench.outcome(1), (End::Killed(9), kept.clone()));
    assert_gone(&kept, 2);
}

#[test]
fn nothing_wakes_the_thread_while_nothing_runs_and_no_zombie_stays() {
    let bench = Bench::new();
    bench.start(1, &["sh", "-c", "for i in 1 2 3; do (setsid true &); done; sleep 0.2"], LONG);
    assert_eq!(bench.outcome(1).0, End::Exited(0));
    // Started past us and forgotten, as the program that reboots.
    drop(Command::new("true").spawn().unwrap());
    let late = Instant::now() + Duration::from_millis(300);
    while reactor::rest(Some(late)).unwrap() != Woken::TimedOut {}
    assert_eq!(bench.processes.borrow().deadline(), None);
    assert_eq!(bench.processes.borrow().running.len(), 0);
    let is_ours = |process: &Process| process.parent == getpid().as_raw_pid() && process.is_dead;
    let zombies: Vec<_> = numbers().into_iter().filter_map(Process::read).collect();
    assert_eq!(zombies.iter().filter(|process| is_ours(process)).count(), 0);
}

#[test]
fn who_drops_processes_drops_what_runs() {
    let _alone = alone();
    // When the thread ends, its reactor goes, and with it the last that holds them.
    let thread = thread::spawn(|| {
        let bench = Bench::with(None);
        let script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; echo $$; sleep 1000";
        bench.start(1, &["sh", "-c", script], LONG);
        let output = bench.wait_for_output(1, 3);
        for pid in pids(&output) {
            assert!(mark_of(pid, "PUNCHD_ORDER").is_some());
        }
        (output, Instant::now())
    });
    let (output, begun) = thread.join().unwrap();
    assert_gone(&output, 3);
    assert!(begun.elapsed() < Duration::from_millis(900));
}
