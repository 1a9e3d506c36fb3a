//! `punchd run`: wires the parts and turns the loop.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::{Client, Next, Settings, Shared};
use crate::clock::{Clock, ClockOffset, SystemClock};
use crate::commands::DeviceProfile;
use crate::config::{Config, Permission};
use crate::driver_requests::DriverRequests;
use crate::driver_socket::{self, Access, DriverSocket, Methods};
use crate::files::Spool;
use crate::machine::{self, Machine};
use crate::policy::Policy;
use crate::processes::{self, Processes};
use crate::protocol::codes::operation::{POWER_OFF, POWER_ON};
use crate::protocol::record::Operand;
use crate::reactor::{self, Served, Stopping};
use crate::server_queries::{Rules, ServerQueries};
use crate::status::Status;
use crate::store::options::ZONE;
use crate::store::{Limits, NewOperation, Store, StoreError};
use crate::uplink::{self, Server};

/// Why the daemon could not start or go on, by what is to be done about it.
#[derive(Debug)]
pub enum Stop {
    /// The configuration cannot work.
    Config(String),
    /// The store is damaged or foreign.
    Damaged(StoreError),
    /// The store cannot be opened or written.
    Store(StoreError),
    /// The system refuses something.
    System(String),
}

/// Runs until TERM or INT.
///
/// # Errors
/// What kept it from starting. A damaged store is left as it is, unless `set_aside`.
pub fn run(path: &Path, set_aside: bool) -> Result<(), Stop> {
    processes::keep_descriptors();
    let config = Config::load(path).map_err(|error| Stop::Config(error.to_string()))?;
    let clock_offset = ClockOffset::default();
    let uplink_settings = settings(&config, clock_offset.clone());
    if let Err(message) = Server::check(&uplink_settings) {
        log::error!("no server can be reached yet: {message}");
    }
    let server = Server::new(&uplink_settings);
    reactor::take_signals()
        .map_err(|error| Stop::System(format!("cannot take signals: {error}")))?;
    let store = Rc::new(open_store(&config, set_aside)?);
    let programs = Processes::new()
        .map_err(|error| Stop::System(format!("cannot look after programs: {error}")))?;
    let programs = Rc::new(RefCell::new(programs));
    reactor::serve(Rc::clone(&programs) as Rc<RefCell<dyn Served>>);
    let clock = Rc::new(clock(&config, &store, clock_offset)?);
    let status = Rc::new(Status::new(&config.serial, Rc::clone(&clock) as Rc<dyn Clock>));
    let server_queries = Rc::new(ServerQueries::default());
    let driver_requests = Rc::new(DriverRequests::default());
    let methods = Methods {
        serial: config.serial.clone(),
        language: config.language,
        most_users: config.limits.users,
        store: Rc::clone(&store),
        clock: Rc::clone(&clock) as Rc<dyn Clock>,
        status: Rc::clone(&status),
        server_queries: Rc::clone(&server_queries),
        requests: Rc::clone(&driver_requests),
        shared: config.drivers.shared.clone(),
    };
    let access = Access { mode: config.drivers.mode, group: config.drivers.group.clone() };
    let drivers = DriverSocket::open(&config.run_dir, &access, methods).map_err(Stop::System)?;
    reactor::serve(Rc::new(RefCell::new(drivers)));
    let spool = Rc::new(open_spool(&config, &store)?);
    let mut daemon = Daemon {
        path,
        config,
        store,
        clock,
        status,
        server_queries,
        driver_requests,
        spool,
        programs,
        reload: Rc::default(),
        restart: Rc::default(),
    };
    daemon.store.fill_log();
    daemon.note_power(POWER_ON);
    log::info!("punchd {} runs as {}", env!("CARGO_PKG_VERSION"), daemon.config.serial);
    let done = daemon.run_loop(server);
    daemon.note_power(POWER_OFF);
    daemon.programs.borrow_mut().kill_all();
    log::info!("stopped");
    done
}

struct Daemon<'a> {
    path: &'a Path,
    config: Config,
    store: Rc<Store>,
    clock: Rc<SystemClock>,
    status: Rc<Status>,
    server_queries: Rc<ServerQueries>,
    driver_requests: Rc<DriverRequests>,
    spool: Rc<Spool>,
    programs: Rc<RefCell<Processes>>,
    reload: Rc<Cell<bool>>,
    restart: Rc<Cell<bool>>,
}

impl Daemon<'_> {
    fn run_loop(&mut self, server: Server) -> Result<(), Stop> {
        let mut client = self.client(server);
        loop {
            let next = client.step();
            if self.restart.take() {
                self.note_power(POWER_OFF);
                // Comes back only if the new program cannot run; then the old one goes on.
                let message = machine::exec_new_program();
                if let Err(error) = client.restart_failed(&message) {
                    log::error!("the failure of an upgrade was not written down: {error}");
                }
            }
            let deadline = match next {
                Next::Immediately => Instant::now(),
                Next::RestUntil(at) => self.instant(at),
            };
            match reactor::rest(Some(deadline)) {
                Ok(_) => {}
                Err(error) if Stopping::is_in(&error) => return Ok(()),
                Err(error) => return Err(Stop::System(format!("cannot wait: {error}"))),
            }
            if reactor::take_reload() | self.reload.take()
                && let Some(server) = self.read_again()
            {
                client = self.client(server);
            }
        }
    }

    /// A moment of the client's clock, in the reactor's.
    fn instant(&self, at: Duration) -> Instant {
        const A_DAY: Duration = Duration::from_secs(86_400);
        Instant::now() + at.saturating_sub(self.clock.monotonic()).min(A_DAY)
    }

    fn client(&self, server: Server) -> Client<Server> {
        let config = &self.config;
        self.status.update(|connection| {
            connection.server.clone_from(&config.server);
            connection.online = false;
        });
        self.server_queries.set_rules(rules(config));
        let settings = Settings {
            profile: DeviceProfile {
                serial: config.serial.clone(),
                name: config.device.name.clone(),
                firmware: config.device.firmware.clone(),
                most_users: config.limits.users,
                fp_version: config.device.fp_version,
                face_version: config.device.face_version,
                faces_needed: config.device.faces_needed,
                functions: config.device.functions(),
            },
            language: config.language,
            comm_key: config.device.comm_key.clone(),
            dialect: config.dialect.clone(),
            policy: policy(config),
            server: config.server.clone(),
            attlog_key: config.encryption.attlog_key.clone(),
            post_bytes: config.limits.post_bytes,
            command_bytes: config.limits.command_bytes,
            error_delay: config.timeouts.retry,
            start_spread: config.limits.start_spread,
        };
        let machine = Machine::new(
            self.path.into(),
            config,
            Rc::clone(&self.reload),
            Rc::clone(&self.restart),
            Rc::clone(&self.programs),
            Rc::clone(&self.driver_requests),
        );
        let shared = Shared {
            clock: Rc::clone(&self.clock) as Rc<dyn Clock>,
            store: Rc::clone(&self.store),
            status: Rc::clone(&self.status),
            spool: Rc::clone(&self.spool),
            server_queries: Rc::clone(&self.server_queries),
        };
        Client::new(server, Box::new(machine), shared, settings)
    }

    /// Reads the configuration again. One that is wrong changes nothing.
    fn read_again(&mut self) -> Option<Server> {
        let config = match Config::load(self.path) {
            Ok(config) => config,
            Err(error) => {
                log::error!("the configuration stays as it was: {error}");
                return None;
            }
        };
        let fixed = fixed_that_differ(&self.config, &config);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            log::error!("the configuration stays as it was: a change of {keys} needs a restart");
            return None;
        }
        let uplink_settings = settings(&config, self.clock.clock_offset());
        if let Err(message) = Server::check(&uplink_settings) {
            log::error!("the configuration stays as it was: {message}");
            return None;
        }
        log::info!("configuration read again");
        self.config = config;
        Some(Server::new(&uplink_settings))
    }

    /// Writes the start or the stop of the terminal into the operation log (App. 3).
    fn note_power(&self, code: u16) {
        let operation = NewOperation {
            code,
            moment: driver_socket::moment(&*self.clock),
            operator: Operand::default(),
            who: Operand::default(),
            values: Default::default(),
        };
        if let Err(error) = self.store.journal().add_operation(&operation) {
            log::error!("the operation log was not written: {error}");
        }
    }
}

/// The keys that differ and hold from a start to the next.
fn fixed_that_differ(old: &Config, new: &Config) -> Vec<&'static str> {
    let (was, is) = (&old.limits, &new.limits);
    let keys = [
        ("serial", old.serial != new.serial),
        ("language", old.language != new.language),
        ("store", old.store != new.store),
        ("run_dir", old.run_dir != new.run_dir),
        ("clock", old.clock != new.clock),
        ("timezone", old.timezone != new.timezone),
        ("[drivers]", old.drivers != new.drivers),
        ("[limits] users", was.users != is.users),
        ("[limits] punches", was.punches != is.punches),
        ("[limits] store_mib", was.store_mib != is.store_mib),
        ("[limits] free_mib", was.free_mib != is.free_mib),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// What the owner allows, from the configuration.
fn policy(config: &Config) -> Policy {
    let commands = &config.commands;
    Policy {
        denied: commands.denied(),
        put_dirs: commands.put_dirs.clone(),
        get_dirs: commands.get_dirs.clone(),
        urls: commands.urls.clone(),
        file_bytes: config.limits.file_mib.saturating_mul(1 << 20),
        free_bytes: config.limits.free_mib.saturating_mul(1 << 20),
        shell_time: Duration::from_secs(commands.shell_seconds.into()),
        shell_bytes: commands.shell_bytes,
        upgrade: config.upgrade.command.clone(),
        upgrade_time: Duration::from_secs(config.upgrade.seconds.into()),
    }
}

/// The directory of downloads, beside the store. What belongs to no job any more goes.
fn open_spool(config: &Config, store: &Store) -> Result<Spool, Stop> {
    let mut dir = config.store.clone().into_os_string();
    dir.push(".files");
    let failed = |error| Stop::System(format!("downloads cannot be kept: {error}"));
    let spool = Spool::open(dir.into()).map_err(failed)?;
    spool.sweep(&store.jobs().command_rows().map_err(Stop::Store)?).map_err(failed)?;
    Ok(spool)
}

fn rules(config: &Config) -> Rules {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Rules {
        verification: seconds(config.verification.seconds),
        fallback: config.verification.fallback == Permission::Allow,
        remote: seconds(config.remote.seconds),
        stay: Duration::from_secs(u64::from(config.remote.keep_minutes) * 60),
    }
}

/// How the server is reached, from the configuration.
pub fn settings(config: &Config, clock_offset: ClockOffset) -> uplink::Settings {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    uplink::Settings {
        url: config.server.clone(),
        connect: seconds(config.timeouts.connect),
        answer: seconds(config.timeouts.answer),
        body: seconds(config.timeouts.body),
        https_elsewhere: config.commands.urls.iter().any(|url| url.starts_with("https:")),
        ca: config.tls.ca.clone(),
        clock_offset,
    }
}

fn open_store(config: &Config, set_aside: bool) -> Result<Store, Stop> {
    let path = &config.store;
    let limits = Limits {
        users: config.limits.users,
        punches: config.limits.punches,
        bytes: config.limits.store_mib.saturating_mul(1 << 20),
        free: config.limits.free_mib.saturating_mul(1 << 20),
    };
    match Store::open(path, limits) {
        Ok(store) => Ok(store),
        Err(error @ StoreError::Damaged { .. }) if set_aside => {
            let damaged = Store::set_aside(path).map_err(|io| {
                Stop::System(format!("{} cannot be renamed: {io}", path.display()))
            })?;
            log::warn!("{error}");
            log::warn!(
                "as asked, it was set aside as {}, and an empty store begun",
                damaged.display()
            );
            Store::open(path, limits).map_err(Stop::Store)
        }
        Err(error @ StoreError::Damaged { .. }) => Err(Stop::Damaged(error)),
        Err(error) => Err(Stop::Store(error)),
    }
}

fn clock(config: &Config, store: &Store, clock_offset: ClockOffset) -> Result<SystemClock, Stop> {
    let zone = store.options().get(ZONE).map_err(Stop::Store)?;
    let offset = zone.and_then(|seconds| seconds.parse().ok());
    Ok(SystemClock::new(config.clock, config.timezone.clone(), offset, clock_offset))
}
