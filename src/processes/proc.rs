//! Processes as `/proc` shows them (proc(5)).

use std::fs::{self, File};
use std::io::Read;

use rustix::process::Pid;

/// Most bytes of an environment that are looked at.
const LONGEST_ENVIRONMENT: u64 = 256 << 10;

/// A process at the moment when it was read.
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// When it started: ticks since the system started.
    pub(super) started: u64,
    /// Whether it has ended and is not reaped.
    pub(super) is_dead: bool,
}

/// All processes, in the order of their numbers.
pub(super) fn all_pids() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |name: &str| name.parse().ok().and_then(Pid::from_raw);
    entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect()
}

/// The value of `name` in the environment with which the process was started.
pub(super) fn tag_of(pid: Pid, name: &str) -> Option<String> {
    let file = File::open(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
    let mut environment = Vec::new();
    file.take(LONGEST_ENVIRONMENT).read_to_end(&mut environment).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

impl Process {
    pub(super) fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        Self::parse(pid, &String::from_utf8_lossy(&stat))
    }

    /// The name of the program is in brackets, and may contain brackets itself.
    fn parse(pid: Pid, stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            is_dead: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}
