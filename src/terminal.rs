//! What the device itself can do.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};

use crate::config::Config;
use crate::processes::{Order, Outcome, Processes};
use crate::requests::{Answer, Request, Requests, Unasked};

/// The device, as commands and the loop know it.
pub trait Terminal {
    /// Reads the configuration again. The words say why it cannot.
    fn reload(&mut self) -> Result<(), String>;
    /// Whether the device can be started anew.
    fn can_reboot(&self) -> bool;
    /// Starts the device anew. The words say why it cannot be.
    fn reboot(&mut self) -> Result<(), String>;
    /// Starts a program in the background, known by `key` from now on. The words say why it
    /// does not start.
    fn start(&mut self, key: i64, order: &Order) -> Result<(), String>;
    /// Whether a program runs, or a driver has not answered.
    fn is_running(&self, key: i64) -> bool;
    /// What became of a program that ended; told until it is forgotten.
    fn ran(&self, key: i64) -> Option<Outcome>;
    /// Asks the driver that provides it, known by `key` from now on. It goes out with the next
    /// wait: until then it can be forgotten without a trace.
    fn ask(&mut self, key: i64, request: Request) -> Result<(), Unasked>;
    /// What a driver answered; told until it is forgotten.
    fn answered(&self, key: i64) -> Option<Answer>;
    /// Forgets a program that ended, or a request.
    fn forget(&mut self, key: i64);
    /// Begins punchd anew, with the program that now stands in its place.
    fn restart(&mut self);
    /// What runs: another after an upgrade.
    fn identity(&self) -> String;
    /// The address by which the terminal reaches the world.
    fn address(&self) -> IpAddr;
}

/// The machine that punchd runs on.
pub struct Machine {
    config: PathBuf,
    reload: Rc<Cell<bool>>,
    /// The program that reboots, and its arguments; empty if the owner names none.
    reboot: Vec<String>,
    firmware: String,
    programs: Rc<RefCell<Processes>>,
    requests: Rc<Requests>,
    enrolment: Duration,
    restart: Rc<Cell<bool>>,
}

/// How long a driver may take for a door.
const DOOR: Duration = Duration::from_secs(10);

impl Machine {
    /// The machine, configured by the file `path`. `reload` is raised when that is to be read
    /// again, `restart` when punchd is to begin anew.
    pub fn new(
        path: PathBuf,
        config: &Config,
        reload: Rc<Cell<bool>>,
        restart: Rc<Cell<bool>>,
        programs: Rc<RefCell<Processes>>,
        requests: Rc<Requests>,
    ) -> Self {
        let (reboot, firmware) = (config.device.reboot.clone(), config.device.firmware.clone());
        let enrolment = Duration::from_secs(config.device.enroll_seconds.into());
        Self { config: path, reload, reboot, firmware, programs, requests, enrolment, restart }
    }
}

impl Terminal for Machine {
    fn reload(&mut self) -> Result<(), String> {
        Config::load(&self.config).map_err(|error| error.to_string())?;
        self.reload.set(true);
        Ok(())
    }

    fn can_reboot(&self) -> bool {
        !self.reboot.is_empty()
    }

    /// Runs the owner's program and does not wait for it: it will stop punchd.
    fn reboot(&mut self) -> Result<(), String> {
        let Some((program, arguments)) = self.reboot.split_first() else {
            return Err("no program is set for it ([device] reboot)".into());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map(drop).map_err(|error| format!("{program}: {error}"))
    }

    fn start(&mut self, key: i64, order: &Order) -> Result<(), String> {
        self.programs.borrow_mut().start(key, order)
    }

    fn is_running(&self, key: i64) -> bool {
        self.programs.borrow().is_running(key) || self.requests.is_open(key)
    }

    fn ran(&self, key: i64) -> Option<Outcome> {
        self.programs.borrow().outcome(key).cloned()
    }

    fn ask(&mut self, key: i64, request: Request) -> Result<(), Unasked> {
        let limit = match request {
            Request::Enroll { .. } => self.enrolment,
            Request::Unlock | Request::Unalarm => DOOR,
        };
        self.requests.ask(key, request, limit)
    }

    fn answered(&self, key: i64) -> Option<Answer> {
        self.requests.answer(key)
    }

    fn forget(&mut self, key: i64) {
        self.programs.borrow_mut().take(key);
        self.requests.forget(key);
    }

    fn restart(&mut self) {
        self.restart.set(true);
    }

    /// The firmware's version, and the MD5 of the program that runs.
    fn identity(&self) -> String {
        let program = std::fs::read("/proc/self/exe").unwrap_or_default();
        format!("{} {:x?}", self.firmware, Md5::digest(program))
    }

    /// Asks the system for its route; nothing is sent.
    fn address(&self) -> IpAddr {
        let route = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
            // An address of the documentation range: every default route leads there.
            socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
            Some(socket.local_addr().ok()?.ip())
        };
        route().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// Puts the program that now stands in the place of this one into its process. Returns only
/// if that fails, with words for a person.
pub fn begin_anew() -> String {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let error = match can_run(&program) {
        Ok(()) => Command::new(&program).args(arguments).exec().to_string(),
        Err(why) => why,
    };
    format!("{} cannot be started: {error}", program.display())
}

/// Whether a program can run here at all: it tells its version. There is no way back once it
/// is in the place of this one.
fn can_run(program: &OsStr) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("--version ended with {status}")),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("--version did not end".into())
}
