//! The machine that punchd runs on: reload, reboot, programs, drivers, its address.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::device::Device;
use crate::driver_requests::{Answer, DriverRequest, DriverRequests, Unasked};
use crate::processes::{Order, Outcome, Processes};

/// The machine that punchd runs on.
pub struct Machine {
    config: PathBuf,
    reload: Rc<Cell<bool>>,
    /// The program that reboots, and its arguments; empty if the owner names none.
    reboot: Vec<String>,
    programs: Rc<RefCell<Processes>>,
    driver_requests: Rc<DriverRequests>,
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
        driver_requests: Rc<DriverRequests>,
    ) -> Self {
        let reboot = config.device.reboot.clone();
        let enrolment = Duration::from_secs(config.device.enroll_seconds.into());
        Self { config: path, reload, reboot, programs, driver_requests, enrolment, restart }
    }
}

impl Device for Machine {
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
        self.programs.borrow().is_running(key) || self.driver_requests.is_open(key)
    }

    fn ran(&self, key: i64) -> Option<Outcome> {
        self.programs.borrow().outcome(key).cloned()
    }

    fn ask(&mut self, key: i64, request: DriverRequest) -> Result<(), Unasked> {
        let limit = match request {
            DriverRequest::Enroll { .. } => self.enrolment,
            DriverRequest::Unlock | DriverRequest::Unalarm => DOOR,
        };
        self.driver_requests.ask(key, request, limit)
    }

    fn answered(&self, key: i64) -> Option<Answer> {
        self.driver_requests.answer(key)
    }

    fn forget(&mut self, key: i64) {
        self.programs.borrow_mut().take(key);
        self.driver_requests.forget(key);
    }

    fn restart(&mut self) {
        self.restart.set(true);
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
/// if that fails, with a message for a person.
pub fn exec_new_program() -> String {
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
    const TIMEOUT: Duration = Duration::from_secs(10);
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
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
