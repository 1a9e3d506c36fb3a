//! A terminal whose system calls can fail (`tracer.c`), and whose clock can show another time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::Terminal;

/// Fields of `struct control`, in bytes from its begin.
mod at {
    pub const CALL: u64 = 0;
    pub const NTH: u64 = 8;
    pub const ERROR: u64 = 16;
    pub const HITS: u64 = 24;
    pub const SHIFT: u64 = 32;
    pub const BEGUN: u64 = 40;
    pub const COUNTS: u64 = 48;
    pub const FILE: u64 = COUNTS + 8 * super::CALLS as u64;
}
/// As many numbers of system calls are counted.
pub const CALLS: usize = 512;
const PATH: usize = 256;

/// One system call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Injection {
    /// Its number, on x86-64.
    pub call: usize,
    /// Which of them, from 1.
    pub nth: u64,
    /// Its error; `None`: it writes half of what it was asked to.
    pub error: Option<i32>,
}

/// What the tracer of a terminal reads and writes.
pub struct Tracer(File);

impl Tracer {
    /// For the next start of a terminal. `None` where no program can be traced: another architecture, or
    /// no compiler.
    pub fn of(terminal: &Terminal) -> Option<Self> {
        program()?;
        let path = terminal.path("calls");
        let mut file = File::options();
        file.read(true).write(true).create(true).truncate(true);
        let tracer = Self(file.open(path).unwrap());
        tracer.0.set_len(at::FILE + PATH as u64).unwrap();
        tracer.disarm();
        Some(tracer)
    }

    /// The program of this terminal is run under the tracer.
    pub fn command(terminal: &Terminal) -> Command {
        let run = terminal.command(&["run"]);
        let mut command = Command::new(program().unwrap());
        command.arg(terminal.path("calls")).arg(run.get_program()).args(run.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Calls of the next start count from the one on that opens the configuration.
    pub fn restart(&self) {
        self.set(at::BEGUN, 0);
    }

    /// From now on this call fails, once.
    pub fn arm(&self, injection: Injection) {
        self.set(at::HITS, 0);
        self.0.write_all_at(&[0; PATH], at::FILE).unwrap();
        self.set(at::ERROR, injection.error.map_or(0, i64::from));
        self.set(at::NTH, injection.nth as i64);
        self.set(at::CALL, injection.call as i64);
    }

    /// No call fails any more.
    pub fn disarm(&self) {
        self.set(at::CALL, -1);
    }

    /// Whether the call failed, and its file.
    pub fn hit(&self) -> Option<String> {
        let mut file = [0; PATH];
        self.0.read_exact_at(&mut file, at::FILE).unwrap();
        let end = file.iter().position(|byte| *byte == 0).unwrap_or(PATH);
        (self.get(at::HITS) > 0).then(|| String::from_utf8_lossy(&file[..end]).into_owned())
    }

    /// How often each system call was made so far.
    pub fn counts(&self) -> Vec<u64> {
        (0..CALLS).map(|call| self.get(at::COUNTS + 8 * call as u64) as u64).collect()
    }

    /// The wall clock is so many seconds ahead at the next start.
    pub fn shift_clock(&self, seconds: i64) {
        self.set(at::SHIFT, seconds);
    }

    fn set(&self, at: u64, value: i64) {
        self.0.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }

    fn get(&self, at: u64) -> i64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, at).unwrap();
        i64::from_ne_bytes(bytes)
    }
}

/// The tracer, built once.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: the tracer is for x86-64 only");
        return None;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = place.join(format!("tracer-{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal/harness/tracer.c");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&program).arg(source);
    let Ok(output) = cc.output() else {
        eprintln!("skipped: no C compiler (cc) is installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Other processes of this test may build it at the same time.
    let built = place.join("tracer");
    std::fs::rename(&program, &built).unwrap();
    Some(built)
}
