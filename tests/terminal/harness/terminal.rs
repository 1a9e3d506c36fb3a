//! A terminal to test: the real program, in a directory that goes away with it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use iclock_emulator::Emulator;
use serde_json::Value;

use super::{Driver, SERIAL, TIMEOUT};

/// Begin the lines about a piece of work that is more than its budget (`src/store/work.rs`), and about a
/// statement that reads a whole table (`src/store/plan_check.rs`).
const OVER_BUDGET: [&str; 2] =
    ["error: drivers waited for", "error: a statement reads a whole table"];

/// A terminal's directory, and its program while it runs.
pub struct Terminal {
    directory: PathBuf,
    child: Option<Child>,
}

impl Terminal {
    /// A terminal of this server that runs, with further lines of configuration.
    pub fn start(server: &Emulator, more: &str) -> Self {
        let mut terminal = Self::prepare(&server.url(), more);
        terminal.run();
        terminal
    }

    /// A terminal that does not run yet. Lines of `more` up to the first table belong to the
    /// top level.
    pub fn prepare(url: &str, more: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("punchd-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let terminal = Self { directory, child: None };
        terminal.configure(url, more);
        terminal
    }

    /// Writes the configuration.
    pub fn configure(&self, url: &str, more: &str) {
        let directory = self.directory.display();
        let limits = if more.contains("[limits]") { "" } else { "[limits]\nstart_spread = 0\n" };
        let timeouts = if more.contains("[timeouts]") { "" } else { "[timeouts]\nretry = 1\n" };
        let clock = if more.contains("clock =") { "" } else { "clock = \"own\"\n" };
        let text = format!(
            "server = \"{url}\"\nserial = \"{SERIAL}\"\nstore = \"{directory}/punchd.db\"\n\
             run_dir = \"{directory}/run\"\n{clock}{more}\n{limits}{timeouts}"
        );
        fs::write(self.path("punchd.toml"), text).unwrap();
    }

    /// A file in the terminal's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts the program and waits until its driver socket is there.
    pub fn run(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        self.run_telling(log.into());
    }

    /// The same, with a variable in its environment.
    pub fn run_with(&mut self, variable: &str, value: &Path) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command(&["run"]);
        command.env(variable, value);
        self.run_as(command, log.into());
    }

    /// The same, with the log elsewhere; the end of a pipe, if it is one.
    pub fn run_telling(&mut self, log: Stdio) -> Option<ChildStderr> {
        self.run_as(self.command(&["run"]), log)
    }

    /// The same, with the lines for developers, of which there is no limit.
    pub fn run_telling_all(&mut self, log: Stdio) -> Option<ChildStderr> {
        self.run_as(self.command(&["-v", "run"]), log)
    }

    /// The same, and a write for which there is a limit fails in place of ending the program.
    pub fn run_where_files_can_be_limited(&mut self) {
        let command = self.command(&["run"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
        shell.arg(command.get_program()).args(command.get_args());
        self.run_as(shell, Stdio::null());
    }

    /// The same on a disk of its own with these options of tmpfs, in the directory `disk`: the store is
    /// there. The mount is seen by the program alone (`/proc/PID/root`). False where it cannot be made.
    pub fn run_on_a_disk(&mut self, options: &str) -> bool {
        let Some(command) = self.command_on_a_disk(options) else { return false };
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        self.run_as(command, log.into());
        true
    }

    /// The program on such a disk, not yet started.
    pub fn command_on_a_disk(&mut self, options: &str) -> Option<Command> {
        let disk = self.path("disk");
        fs::create_dir_all(&disk).unwrap();
        let config = fs::read_to_string(self.path("punchd.toml")).unwrap();
        let store = format!("{}/punchd.db", self.directory.display());
        let config = config.replace(&store, &format!("{}/punchd.db", disk.display()));
        fs::write(self.path("punchd.toml"), config).unwrap();
        let mount = format!("mount -t tmpfs -o {options} tmpfs '{}'", disk.display());
        let in_namespace = |script: &str| {
            let mut unshare = Command::new("unshare");
            unshare.args(["-r", "-m", "sh", "-c", script]);
            unshare
        };
        if !in_namespace(&mount).output().is_ok_and(|output| output.status.success()) {
            return None;
        }
        let command = self.command(&["run"]);
        let mut unshare = in_namespace(&format!("{mount} && exec \"$0\" \"$@\""));
        unshare.arg(command.get_program()).args(command.get_args());
        Some(unshare)
    }

    /// The same on a network of its own, which has no link but the loopback. None where it cannot be
    /// made.
    pub fn run_on_a_network_of_its_own(&mut self) -> Option<Network> {
        let in_namespace = |program: &std::ffi::OsStr| {
            let mut unshare = Command::new("unshare");
            unshare.args(["-r", "-n"]).arg(program);
            unshare
        };
        // Whether links can be made there, too.
        let mut ip = in_namespace("ip".as_ref());
        ip.args(["link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
        if !ip.output().is_ok_and(|output| output.status.success()) {
            return None;
        }
        let command = self.command(&["run"]);
        let mut unshare = in_namespace(command.get_program());
        unshare.args(command.get_args());
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        self.run_as(unshare, log.into());
        Some(Network { pid: self.pid() })
    }

    /// Starts the program by this command, and waits until its driver socket is there. The program may end
    /// before.
    ///
    /// # Errors
    /// How it ended.
    pub fn try_run_as(&mut self, mut command: Command) -> Result<(), ExitStatus> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        self.child = Some(command.stderr(log).spawn().unwrap());
        self.wait_until_socket_or_end()
    }

    /// Starts the program, which may have no driver socket for a while.
    #[cfg(feature = "hardened")]
    pub fn begin(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        self.child = Some(self.command(&["run"]).stderr(log).spawn().unwrap());
    }

    fn run_as(&mut self, mut command: Command, log: Stdio) -> Option<ChildStderr> {
        let mut child = command.stderr(log).spawn().unwrap();
        let pipe = child.stderr.take();
        self.child = Some(child);
        self.wait_until_socket();
        pipe
    }

    /// Waits until the driver socket is there.
    pub fn wait_until_socket(&mut self) {
        if let Err(status) = self.wait_until_socket_or_end() {
            panic!("punchd ended with {status}: {}", self.log());
        }
    }

    fn wait_until_socket_or_end(&mut self) -> Result<(), ExitStatus> {
        let until = Instant::now() + TIMEOUT;
        while UnixStream::connect(self.path("run/driver.sock")).is_err() {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                return Err(status);
            }
            assert!(Instant::now() < until, "punchd does not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Gives the terminal a copy of the program to itself.
    #[cfg(feature = "hardened")]
    pub fn copy_program(&self) {
        super::copy_punchd(&self.path("punchd"));
    }

    /// The program with these arguments, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        // A test that upgrades the program has a copy of it to itself.
        let own = self.path("punchd");
        let program = if own.exists() { own } else { env!("CARGO_BIN_EXE_punchd").into() };
        let mut command = Command::new(program);
        command.arg("-c").arg(self.path("punchd.toml")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn punchd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
    }

    /// The process id of the running program.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL, as a power cut would have it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether the program ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some())
    }

    /// Waits for the end of a program that ends by itself.
    pub fn end(&mut self) -> Option<ExitStatus> {
        self.child.take()?.wait().ok()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = match name {
            "TERM" => Signal::TERM,
            "HUP" => Signal::HUP,
            other => panic!("{other}"),
        };
        let pid = Pid::from_raw(self.pid() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// TERM, and the exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal("TERM");
        self.child.take().unwrap().wait().unwrap().code().unwrap()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A driver on its socket.
    pub fn driver(&self) -> Driver {
        Driver::connect(&self.path("run/driver.sock"))
    }

    /// `punchd status --json`.
    pub fn status(&self) -> Value {
        let output = self.punchd(&["status", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until the status is as wanted.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + TIMEOUT;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "never {what}: {status:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the server has heard something from the terminal.
    #[track_caller]
    pub fn wait_until_online(&self) {
        self.wait_for("online", |status| status["online"] == true);
    }

    /// A figure of `/proc/PID/FILE`, such as `VmHWM` of `status`.
    pub fn proc(&self, file: &str, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line[key.len()..]
            .trim_start_matches([':', ' ', '\t'])
            .split(' ')
            .next()
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }
}

/// The network of a terminal that has one of its own.
pub struct Network {
    pid: u32,
}

impl Network {
    /// Runs `ip` with these arguments there.
    pub fn ip(&self, arguments: &str) {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--preserve-credentials", "-U", "-n", "-t", &self.pid.to_string(), "ip"]);
        let output = nsenter.args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.log();
        let _ = fs::remove_dir_all(&self.directory);
        if std::thread::panicking() {
            eprintln!("--- log of the terminal ---\n{log}");
        } else if let Some(at) = log.lines().position(is_over_budget) {
            let near: Vec<&str> = log.lines().skip(at.saturating_sub(8)).take(12).collect();
            panic!("too much work between two looks at the drivers:\n{}", near.join("\n"));
        }
    }
}

fn is_over_budget(line: &str) -> bool {
    OVER_BUDGET.iter().any(|beginning| line.contains(beginning))
}
