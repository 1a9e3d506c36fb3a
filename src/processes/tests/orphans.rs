//! Processes that a program left are killed, and only those.

use super::*;

#[test]
fn a_process_that_left_the_group_is_killed() {
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
fn a_process_that_forks_and_exits_again_and_again_is_killed() {
    // Each lives for a millisecond and starts the next in a session of its own.
    let script = r#"export HOP='setsid sh -c "$HOP" &'; setsid sh -c "$HOP"; sleep 0.2"#;
    let bench = Bench::new();
    bench.start(1, &["sh", "-c", script], LONG);
    assert_eq!(bench.outcome(1), (End::Exited(0), String::new()));
    let ours = format!("{}.", getpid().as_raw_pid());
    let is_ours = |pid: &Pid| tag_of(*pid, "PUNCHD_ORDER").is_some_and(|m| m.starts_with(&ours));
    let left = || all_pids().into_iter().find(is_ours);
    assert_eq!((left(), left(), left()), (None, None, None));
}

#[test]
fn many_processes_are_all_killed() {
    let script = "i=0; while [ $((i += 1)) -le 60 ]; do
        setsid sh -c 'sleep 1000 & echo $!; exec sleep 1000' & echo $!
    done; wait";
    let (end, output) = sh_for(script, Duration::from_secs(2));
    assert_eq!(end, End::TimedOut);
    assert_gone(&output, 120);
}

#[test]
fn the_end_of_one_program_spares_the_processes_of_another() {
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
