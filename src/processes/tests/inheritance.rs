//! What a program inherits: nothing.

use super::*;

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
fn a_program_inherits_no_descriptor() {
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
    // Descriptors that the test program itself inherited stay open.
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
