//! System calls of x86-64, the errors with which they fail, and what a program says of them.

use crate::harness::Injection;

/// Errors, by their names.
pub const ERRORS: [(i32, &str); 6] =
    [(28, "ENOSPC"), (5, "EIO"), (24, "EMFILE"), (12, "ENOMEM"), (30, "EROFS"), (4, "EINTR")];

/// Those that the program may make, by their numbers.
#[rustfmt::skip]
const NAMES: &[(usize, &str)] = &[
    (0, "read"), (1, "write"), (2, "open"), (3, "close"), (4, "stat"), (5, "fstat"), (6, "lstat"),
    (7, "poll"), (8, "lseek"), (9, "mmap"), (10, "mprotect"), (11, "munmap"), (12, "brk"),
    (13, "rt_sigaction"), (14, "rt_sigprocmask"), (15, "rt_sigreturn"), (16, "ioctl"),
    (17, "pread64"), (18, "pwrite64"), (19, "readv"), (20, "writev"), (21, "access"), (22, "pipe"),
    (23, "select"), (24, "sched_yield"), (25, "mremap"), (28, "madvise"), (32, "dup"),
    (33, "dup2"), (39, "getpid"), (41, "socket"), (42, "connect"), (43, "accept"), (44, "sendto"),
    (45, "recvfrom"), (46, "sendmsg"), (47, "recvmsg"), (48, "shutdown"), (49, "bind"),
    (50, "listen"), (51, "getsockname"), (52, "getpeername"), (53, "socketpair"),
    (54, "setsockopt"), (55, "getsockopt"), (56, "clone"), (57, "fork"), (58, "vfork"),
    (59, "execve"), (60, "exit"), (61, "wait4"), (62, "kill"), (63, "uname"), (72, "fcntl"),
    (74, "fsync"), (75, "fdatasync"), (76, "truncate"), (77, "ftruncate"), (78, "getdents"),
    (79, "getcwd"), (80, "chdir"), (81, "fchdir"), (82, "rename"), (83, "mkdir"), (84, "rmdir"),
    (85, "creat"), (86, "link"), (87, "unlink"), (89, "readlink"), (90, "chmod"), (91, "fchmod"),
    (92, "chown"), (93, "fchown"), (95, "umask"), (96, "gettimeofday"), (97, "getrlimit"),
    (99, "sysinfo"), (102, "getuid"), (104, "getgid"), (105, "setuid"), (107, "geteuid"),
    (108, "getegid"), (110, "getppid"), (111, "getpgrp"), (112, "setsid"), (131, "sigaltstack"), (137, "statfs"),
    (138, "fstatfs"), (141, "setpriority"), (144, "sched_setscheduler"), (157, "prctl"),
    (158, "arch_prctl"), (186, "gettid"), (202, "futex"), (204, "sched_getaffinity"),
    (217, "getdents64"), (219, "restart_syscall"), (228, "clock_gettime"),
    (230, "clock_nanosleep"), (231, "exit_group"), (232, "epoll_wait"), (233, "epoll_ctl"),
    (234, "tgkill"), (247, "waitid"), (251, "ioprio_set"), (257, "openat"), (258, "mkdirat"),
    (262, "newfstatat"), (263, "unlinkat"), (264, "renameat"), (269, "faccessat"), (271, "ppoll"),
    (280, "utimensat"), (283, "timerfd_create"), (285, "fallocate"), (288, "accept4"),
    (290, "eventfd2"), (291, "epoll_create1"), (292, "dup3"), (293, "pipe2"), (295, "preadv"),
    (296, "pwritev"), (302, "prlimit64"), (306, "syncfs"), (316, "renameat2"), (318, "getrandom"),
    (319, "memfd_create"), (332, "statx"), (424, "pidfd_send_signal"), (434, "pidfd_open"),
    (435, "clone3"), (436, "close_range"), (437, "openat2"),
];

/// Calls that do not fail this way: only for a mistake of the program, or never (`getpid`), or without an error
/// (`brk`); `close` fails on network file systems only.
const NEVER_FAIL: [&str; 20] = [
    "brk",
    "close",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "restart_syscall",
    // A thread that could not set its mask again would take no signal any more.
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "setsid",
    "umask",
];

pub fn name(call: usize) -> String {
    let found = NAMES.iter().find(|(number, _)| *number == call);
    found.map_or_else(|| call.to_string(), |(_, name)| (*name).to_owned())
}

pub fn number(name: &str) -> usize {
    NAMES.iter().find(|(_, known)| *known == name).expect("a call of the table").0
}

pub fn error_name(error: Option<i32>) -> &'static str {
    let found = ERRORS.iter().find(|(number, _)| Some(*number) == error);
    found.map_or("short", |(_, name)| name)
}

/// Whether it is made to fail.
pub fn is_injected(call: usize) -> bool {
    !NEVER_FAIL.contains(&name(call).as_str())
}

/// Whether it can write less than it was asked to.
pub fn is_write(call: usize) -> bool {
    ["write", "pwrite64", "sendto"].contains(&name(call).as_str())
}

/// Whether nobody may notice it: a call on a socket that was interrupted, or wrote a part, goes on.
pub fn is_unnoticed(injection: Injection) -> bool {
    let is_of_sockets =
        ["accept4", "recvfrom", "sendto", "ppoll"].contains(&name(injection.call).as_str());
    is_of_sockets && ["EINTR", "short"].contains(&error_name(injection.error))
}

/// Whether the end of a program says why.
pub fn gives_reason(message: &str, injection: Injection) -> Result<(), String> {
    let reasons = [
        "No space left on device",
        "Input/output error",
        "Too many open files",
        "Cannot allocate memory",
        "Read-only file system",
        "Interrupted system call",
        "disk I/O error",
        "error code=",
        // A directory that was there, and could not be looked at.
        "File exists",
        // A lock that could not be had.
        "is in use",
        "unable to open database file",
        "disk is full",
        "out of memory",
        "readonly database",
    ];
    let by_itself =
        message.starts_with("exit status: 7") && reasons.iter().any(|it| message.contains(it));
    // Rust ends a program that gets no memory.
    let no_memory = injection.error == Some(12) && message.contains("memory allocation of");
    match by_itself || no_memory {
        true => Ok(()),
        false => Err(format!("no reason is given: {message}")),
    }
}

/// The message without what differs from run to run.
pub fn without_details(message: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for word in message.split(' ') {
        let is_time = word.starts_with("20") && word.contains('T');
        let path = word.find("/punchd-test-").map(|at| &word[at + 1..]);
        match path.and_then(|path| path.split_once('/')) {
            Some((_, rest)) => parts.push(format!("…/{rest}")),
            None if is_time => parts.push("…".into()),
            None => parts.push(word.to_owned()),
        }
    }
    parts.join(" ")
}
