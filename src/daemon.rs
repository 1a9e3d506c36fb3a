//! `punchd run`: makes the parts and turns the loop.

mod guard;
mod stop;
mod store_start;
#[cfg(debug_assertions)]
mod work_budget;

pub use stop::Stop;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::{Client, Next, Shared};
use crate::clock::{Clock, ClockOffset, ServerZone, SystemClock};
use crate::config::Config;
use crate::driver_requests::DriverRequests;
use crate::driver_socket::{DriverSocket, MethodContext, RegistrationLog};
use crate::files::Spool;
use crate::link_watch::{self, LinkWatch};
use crate::machine::{self, Machine};
use crate::processes::{self, Processes};
use crate::protocol::codes::operation::{POWER_OFF, POWER_ON};
use crate::protocol::record::Operand;
use crate::reactor::{self, Served, Stopping};
use crate::server_queries::ServerQueries;
use crate::signature;
use crate::status::Status;
use crate::store::options::ZONE;
use crate::store::{Moment, NewOperation, Store, StoreError};
use crate::uplink::Server;

/// Runs until TERM or INT.
///
/// # Errors
/// What kept it from starting or going on. A damaged store is left as it is, unless `set_aside`.
pub fn run(path: &Path, set_aside: bool) -> Result<(), Stop> {
    processes::keep_descriptors();
    let config = Config::load(path).map_err(|error| Stop::Config(error.to_string()))?;
    let clock_offset = ClockOffset::default();
    let server = {
        let settings = config.uplink_settings(clock_offset.clone());
        if let Err(message) = Server::check(&settings) {
            log::error!("no server can be reached yet: {message}");
        }
        Server::new(&settings)
    };
    log_faults(path, &config);
    reactor::take_signals()
        .map_err(|error| Stop::System(format!("cannot take signals: {error}")))?;
    if signature::IS_BUILT_IN {
        // What a program on trial has left running, when the one that guarded it was killed, may have the store
        // open.
        processes::kill_leftovers();
    }
    let store = store_start::open(&config, set_aside)?;
    let is_on_trial = signature::IS_BUILT_IN && guard::is_guarded();
    let store = match is_on_trial || !signature::IS_BUILT_IN {
        true => store,
        false => match guard::watch(store, &config)? {
            Some(store) => store,
            None => return Ok(()),
        },
    };
    let mut daemon = Daemon::start(path, config, store, clock_offset, is_on_trial)?;
    daemon.store.fill_log();
    daemon.record_power(POWER_ON);
    log::info!("punchd {} runs as {}", env!("CARGO_PKG_VERSION"), daemon.config.serial);
    let done = daemon.run_loop(server);
    daemon.record_power(POWER_OFF);
    daemon.programs.borrow_mut().kill_all();
    log::info!("stopped");
    done
}

/// The parts that live as long as the process. The client is made again with each
/// configuration.
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
    pending: Rc<machine::Pending>,
    /// None where the kernel does not tell of links.
    links: Option<Rc<RefCell<LinkWatch>>>,
    /// This is the new program of an upgrade, and is not trusted yet.
    is_on_trial: bool,
}

impl<'a> Daemon<'a> {
    fn start(
        path: &'a Path,
        config: Config,
        store: Store,
        clock_offset: ClockOffset,
        is_on_trial: bool,
    ) -> Result<Self, Stop> {
        let store = Rc::new(store);
        let programs = Processes::new()
            .map_err(|error| Stop::System(format!("cannot look after programs: {error}")))?;
        let clock = Rc::new(clock(&config, &store, clock_offset)?);
        let status = Rc::new(Status::new(&config.serial, Rc::clone(&clock) as Rc<dyn Clock>));
        let daemon = Self {
            spool: Rc::new(open_spool(&config, &store)?),
            programs: Rc::new(RefCell::new(programs)),
            server_queries: Rc::default(),
            driver_requests: Rc::default(),
            pending: Rc::default(),
            links: watch_links(),
            path,
            config,
            store,
            clock,
            status,
            is_on_trial,
        };
        #[cfg(debug_assertions)]
        reactor::serve(Rc::new(RefCell::new(work_budget::WorkBudget(Rc::clone(&daemon.store)))));
        reactor::serve(Rc::clone(&daemon.programs) as Rc<RefCell<dyn Served>>);
        reactor::serve(Rc::new(RefCell::new(daemon.open_driver_socket()?)));
        if let Some(links) = &daemon.links {
            reactor::serve(Rc::clone(links) as Rc<RefCell<dyn Served>>);
        }
        Ok(daemon)
    }

    fn open_driver_socket(&self) -> Result<DriverSocket, Stop> {
        let config = &self.config;
        let context = MethodContext {
            serial: config.serial.clone(),
            language: config.language,
            store: Rc::clone(&self.store),
            clock: Rc::clone(&self.clock) as Rc<dyn Clock>,
            status: Rc::clone(&self.status),
            server_queries: Rc::clone(&self.server_queries),
            driver_requests: Rc::clone(&self.driver_requests),
            registrations: RegistrationLog::default(),
            shared_dir: config.drivers.shared.clone(),
        };
        DriverSocket::open(&config.run_dir, &config.driver_access(), context).map_err(Stop::System)
    }

    fn run_loop(&mut self, server: Server) -> Result<(), Stop> {
        let mut client = self.client(server);
        client.begin_probation(self.is_on_trial).map_err(Stop::Store)?;
        loop {
            let next = client.step();
            if self.store.is_damaged() && self.config.sets_damaged_store_aside() {
                return Err(Stop::Damaged(StoreError::Damaged {
                    path: self.config.store.clone(),
                    why: "found while punchd ran; the next start checks all of it".into(),
                }));
            }
            if self.pending.take_restart() {
                if self.is_on_trial {
                    // The guard puts this program in the place of the old one.
                    return Ok(());
                }
                self.restart(&mut client);
            }
            let deadline = match next {
                Next::Immediately => Some(Instant::now()),
                Next::RestUntil(at) => self.instant(at),
            };
            match reactor::rest(deadline) {
                Ok(_) => {}
                Err(error) if Stopping::is_in(&error) => return Ok(()),
                Err(error) => return Err(Stop::System(format!("cannot wait: {error}"))),
            }
            if reactor::take_reload() | self.pending.take_reload()
                && let Some(server) = self.reload()
            {
                let mut earlier = std::mem::replace(&mut client, self.client(server));
                client.take_over(&mut earlier);
            }
            if self.links.as_ref().is_some_and(|links| links.borrow_mut().take_came()) {
                client.link_came();
            }
        }
    }

    fn client(&self, server: Server) -> Client {
        let config = &self.config;
        self.status.update(|connection| {
            connection.server.clone_from(&config.server.url);
            connection.online = false;
        });
        self.server_queries.set_rules(config.query_rules());
        let path = self.path.to_owned();
        let machine = Machine::new(
            config.machine_settings(),
            self.path.to_owned(),
            Box::new(move || Config::load(&path).map(drop).map_err(|error| error.to_string())),
            Rc::clone(&self.pending),
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
        Client::new(server, Box::new(machine), shared, config.client_settings())
    }

    /// Replaces this process by the new program, which has told its version. Returns only if
    /// that fails; then this program goes on.
    fn restart(&self, client: &mut Client) {
        self.record_power(POWER_OFF);
        let message = machine::exec_new_program(machine::new_program());
        self.record_power(POWER_ON);
        if let Err(error) = client.restart_failed(&message) {
            log::error!("the failure of an upgrade could not be recorded: {error}");
        }
    }

    /// Reads the configuration again. One that cannot be used changes nothing.
    fn reload(&mut self) -> Option<Server> {
        match self.new_config() {
            Ok((config, server)) => {
                log::info!("configuration read again");
                log_faults(self.path, &config);
                self.config = config;
                Some(server)
            }
            Err(why) => {
                log::error!("the configuration stays as it was: {why}");
                None
            }
        }
    }

    fn new_config(&self) -> Result<(Config, Server), String> {
        let config = Config::load(self.path).map_err(|error| error.to_string())?;
        let fixed = self.config.fixed_keys_that_differ(&config);
        if !fixed.is_empty() {
            return Err(format!("a change of {} needs a restart", fixed.join(", ")));
        }
        let settings = config.uplink_settings(self.clock.clock_offset());
        Server::check(&settings)?;
        Ok((config, Server::new(&settings)))
    }

    /// A moment of the client's clock, in the reactor's; none if it is too far for that.
    fn instant(&self, at: Duration) -> Option<Instant> {
        Instant::now().checked_add(at.saturating_sub(self.clock.monotonic()))
    }

    /// Writes the start or the stop of the terminal into the operation log (App. 3).
    fn record_power(&self, code: u16) {
        let clock = &self.clock;
        let operation = NewOperation {
            code,
            moment: Moment::of(clock.local(), clock.utc_if_set(), clock.boot(), clock.monotonic()),
            operator: Operand::default(),
            who: Operand::default(),
            values: Default::default(),
        };
        if let Err(error) = self.store.journal().add_operation(&operation) {
            log::error!("the operation log could not be written: {error}");
        }
    }
}

/// Writes into the log what the configuration names and the machine does not have.
fn log_faults(path: &Path, config: &Config) {
    let mut unseen = Vec::new();
    let mut faults = config.faults(&mut unseen);
    faults.append(&mut unseen);
    for fault in faults {
        log::error!("{}: {fault}", path.display());
    }
}

/// The directory of downloads, beside the store. Files of jobs that have ended are removed.
fn open_spool(config: &Config, store: &Store) -> Result<Spool, Stop> {
    let mut dir = config.store.clone().into_os_string();
    dir.push(".files");
    let failed = |error| Stop::System(format!("downloads cannot be kept: {error}"));
    let spool = Spool::open(dir.into()).map_err(failed)?;
    spool.sweep(&store.jobs().command_rows().map_err(Stop::Store)?).map_err(failed)?;
    Ok(spool)
}

/// What failed at the link is tried again when its pause is over, where the kernel tells of no links.
fn watch_links() -> Option<Rc<RefCell<LinkWatch>>> {
    let watch = LinkWatch::open().inspect_err(link_watch::warn).ok()?;
    Some(Rc::new(RefCell::new(watch)))
}

fn clock(config: &Config, store: &Store, clock_offset: ClockOffset) -> Result<SystemClock, Stop> {
    let zone = store.options().get(ZONE).map_err(Stop::Store)?;
    let server_zone = ServerZone::from_kept(zone.as_deref());
    Ok(SystemClock::new(config.clock, config.timezone.clone(), server_zone, clock_offset))
}
