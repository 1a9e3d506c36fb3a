//! How programs end, and what they put out.

use super::*;

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
fn a_program_whose_time_is_over_is_killed_with_its_background() {
    let begun = Instant::now();
    let script = "sleep 1000 & echo $!; (sleep 1000 & echo $!); trap '' TERM; echo $$; \
                  while :; do sleep 1; done";
    let (end, output) = sh_for(script, Duration::from_millis(500));
    assert_eq!(end, End::TimedOut);
    assert_gone(&output, 3);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_program_that_writes_too_much_is_killed() {
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
fn without_a_program_nothing_wakes_the_thread_and_no_zombie_stays() {
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
    let zombies: Vec<_> = all_pids().into_iter().filter_map(Process::read).collect();
    assert_eq!(zombies.iter().filter(|process| is_ours(process)).count(), 0);
}

#[test]
fn programs_end_when_their_thread_ends() {
    let _alone = alone();
    // When the thread ends, its reactor goes, and with it the last that holds them.
    let thread = thread::spawn(|| {
        let bench = Bench::with(None);
        let script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; echo $$; sleep 1000";
        bench.start(1, &["sh", "-c", script], LONG);
        let output = bench.wait_for_output(1, 3);
        for pid in pids(&output) {
            assert!(tag_of(pid, "PUNCHD_ORDER").is_some());
        }
        (output, Instant::now())
    });
    let (output, begun) = thread.join().unwrap();
    assert_gone(&output, 3);
    assert!(begun.elapsed() < Duration::from_millis(900));
}
