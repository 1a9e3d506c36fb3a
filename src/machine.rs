//! The real [`Device`]: configuration, reboot, programs, drivers, network address.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::device::Device;
use crate::driver_requests::{Answer, DriverRequest, DriverRequests, Unasked};
use crate::processes::{self, Order, Outcome, Processes};

/// How long a driver may take for a door.
const DOOR: Duration = Duration::from_secs(10);
/// How long a new program may take to tell its version, or to check the configuration.
const CHECK: Duration = Duration::from_secs(10);
/// Most bytes of what it says.
const CHECK_BYTES: usize = 4 << 10;

/// Says to a new program which version of the schema the program before it knows.
pub const KNOWN_SCHEMA: &str = "PUNCHD_KNOWN_SCHEMA";
const NOT_BUILT_IN: &str = "this punchd was built without the feature `hardened`";

/// What the owner says about the device.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program that reboots, and its arguments. Empty if there is none.
    pub reboot: Vec<String>,
    /// How long an enrolment may take.
    pub enrolment: Duration,
}

/// What the daemon is to do as soon as the current exchange is over.
#[derive(Debug, Default)]
pub struct Pending {
    reload: Cell<bool>,
    restart: Cell<bool>,
}

impl Pending {
    /// Whether the configuration is to be read again. Told once.
    pub fn take_reload(&self) -> bool {
        self.reload.take()
    }

    /// Whether the new program is to replace this one. Told once.
    pub fn take_restart(&self) -> bool {
        self.restart.take()
    }
}

/// The machine that punchd runs on.
pub struct Machine {
    settings: Settings,
    config: PathBuf,
    check_config: Box<dyn Fn() -> Result<(), String>>,
    pending: Rc<Pending>,
    programs: Rc<RefCell<Processes>>,
    driver_requests: Rc<DriverRequests>,
}

impl Machine {
    /// The machine. `check_config` says why the configuration file, `config`, cannot be used, if so; what
    /// is left to the daemon is noted in `pending`.
    pub fn new(
        settings: Settings,
        config: PathBuf,
        check_config: Box<dyn Fn() -> Result<(), String>>,
        pending: Rc<Pending>,
        programs: Rc<RefCell<Processes>>,
        driver_requests: Rc<DriverRequests>,
    ) -> Self {
        Self { settings, config, check_config, pending, programs, driver_requests }
    }
}

impl Device for Machine {
    fn reload(&mut self) -> Result<(), String> {
        (self.check_config)()?;
        self.pending.reload.set(true);
        Ok(())
    }

    fn can_reboot(&self) -> bool {
        !self.settings.reboot.is_empty()
    }

    /// Runs the owner's program and does not wait for it: it will stop punchd.
    fn reboot(&mut self) -> Result<(), String> {
        let Some((program, arguments)) = self.settings.reboot.split_first() else {
            return Err("no program is set for it ([device] reboot)".into());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        if cfg!(feature = "hardened") {
            processes::untag(&mut command);
        }
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
            DriverRequest::Enroll { .. } => self.settings.enrolment,
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

    fn start_version_check(&mut self, key: i64) -> Result<(), String> {
        self.start(key, &check(vec![absolute(own_program()), "--version".into()]))
    }

    fn candidate(&self) -> Result<PathBuf, String> {
        if cfg!(not(feature = "hardened")) {
            return Err(NOT_BUILT_IN.into());
        }
        own_path().map(|own| candidate_of(&own))
    }

    fn start_candidate_check(&mut self, key: i64, schema: i64) -> Result<(), String> {
        if cfg!(not(feature = "hardened")) {
            return Err(NOT_BUILT_IN.into());
        }
        let config = std::path::absolute(&self.config).unwrap_or_else(|_| self.config.clone());
        let argv = vec![self.candidate()?.into(), "check".into(), "-c".into(), config.into()];
        let mut order = check(argv);
        order.env.push((KNOWN_SCHEMA.into(), schema.to_string()));
        self.start(key, &order)
    }

    fn restart(&mut self) {
        self.pending.restart.set(true);
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

/// A short task of a new program, with the environment of punchd.
fn check(argv: Vec<OsString>) -> Order {
    let variables = std::env::vars_os();
    let env = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Order { argv, env: env.collect(), most_output: CHECK_BYTES, time: CHECK }
}

/// The file of this program, behind all links.
///
/// # Errors
/// It cannot be found, with a message for a person.
pub fn own_path() -> Result<PathBuf, String> {
    let program = own_program();
    let path = match Path::new(&program).components().count() {
        ..=1 => std::fs::read_link("/proc/self/exe"),
        _ => Path::new(&program).canonicalize(),
    };
    path.map_err(|error| format!("the file of {} cannot be found: {error}", program.display()))
}

/// Where a program stands that is to replace the one at `own`.
pub fn candidate_of(own: &Path) -> PathBuf {
    beside(own, ".new")
}

/// Where the program at `own` is kept when another replaces it.
pub fn previous_of(own: &Path) -> PathBuf {
    beside(own, ".old")
}

fn beside(own: &Path, suffix: &str) -> PathBuf {
    let mut name = own.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Says to the new program of an upgrade that it stands in the place of the old one, by its digest.
pub const INSTALLED: &str = "PUNCHD_INSTALLED";

/// The program that now stands in the place of this one, with the same arguments.
pub fn new_program() -> Command {
    let mut command = Command::new(own_program());
    command.args(std::env::args_os().skip(1));
    if cfg!(feature = "hardened") {
        command.env_remove(INSTALLED);
    }
    command
}

/// Replaces this process by [`new_program`] (exec). Returns only if that fails, with a message for a person.
pub fn exec_new_program(mut program: Command) -> String {
    let error = program.exec();
    format!("{} cannot be started: {error}", own_program().display())
}

/// The program as which punchd was started: a path, or a name in `PATH`.
fn own_program() -> OsString {
    std::env::args_os().next().unwrap_or_default()
}

/// A program's path as it is known in every directory. A name in `PATH` stays as it is.
fn absolute(program: OsString) -> OsString {
    match Path::new(&program).components().count() {
        ..=1 => program,
        _ => std::path::absolute(&program).map_or(program, Into::into),
    }
}
