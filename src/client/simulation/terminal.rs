//! A terminal in virtual time: it runs until nothing is left to do, and is killed now and then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::random::Random;
use super::world::{
    Act, Asked, Images, Program, Server, VirtualClock, VirtualDevice, VirtualUplink, copy_store,
};
use crate::client::{Client, Next, Settings, Shared};
use crate::clock::Clock;
use crate::config::Config;
use crate::files::Spool;
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::status::Status;
use crate::store::options::REBOOT;
use crate::store::{Limits, Moment, NewOperation, NewPunch, Store};

/// Steps after which something waits for ever.
const MOST_STEPS: u32 = 20_000;

pub(super) struct Terminal {
    pub(super) server: Rc<RefCell<Server>>,
    directory: PathBuf,
    settings: Settings,
    limits: Limits,
    clock: Rc<VirtualClock>,
    programs: Rc<RefCell<BTreeMap<i64, Program>>>,
    requests: Rc<RefCell<BTreeMap<i64, Asked>>>,
    pub(super) acts: Rc<RefCell<Vec<Act>>>,
    pub(super) images: Images,
    running: Option<(Client, Rc<Store>)>,
    /// Commands that were given.
    given: usize,
    /// How often the loop had nothing to do.
    pub(super) rests: u32,
}

impl Terminal {
    pub(super) fn new(seed: u64) -> Self {
        Self::of_fleet(seed, "MADE0001", 0)
    }

    /// A terminal with this serial and `start_spread`.
    pub(super) fn of_fleet(seed: u64, serial: &str, start_spread: u32) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let directory = base.join(format!("punchd-simulation-{}-{seed}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("files")).unwrap();
        let server = Server { random: Some(Random::new(seed ^ 7)), ..Server::default() };
        let mut terminal = Self {
            server: Rc::new(RefCell::new(server)),
            settings: settings(&directory, serial, start_spread),
            limits: Limits::default(),
            directory,
            clock: Rc::default(),
            programs: Rc::default(),
            requests: Rc::default(),
            acts: Rc::default(),
            images: Rc::default(),
            running: None,
            given: 0,
            rests: 0,
        };
        terminal.start();
        terminal
    }

    /// A file among those of the owner.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join("files").join(name)
    }

    /// The lines of the file that a command fetches, for whoever reads of a failure.
    pub(super) fn file_of(&self, command: &str) -> String {
        let name = command.strip_prefix("PutFile ").and_then(|rest| rest.split('\t').next());
        let server = self.server.borrow();
        let content = name.and_then(|name| server.files.get(name)).map_or(&[][..], Vec::as_slice);
        String::from_utf8_lossy(content).lines().map(|line| format!("    {line}\n")).collect()
    }

    pub(super) fn store(&self) -> &Store {
        &self.running.as_ref().unwrap().1
    }

    /// Keeps so many punches, from now on.
    pub(super) fn keep_punches(&mut self, most: u64) {
        self.limits.punches = most;
        self.restart();
    }

    /// Bytes of the store and its log.
    pub(super) fn store_bytes(&self) -> u64 {
        let files = ["punchd.db", "punchd.db-wal"].map(|name| self.directory.join(name));
        files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
    }

    /// The server gives this list to the next poll.
    pub(super) fn give(&mut self, list: String) {
        self.given += list.lines().filter(|line| line.starts_with("C:")).count();
        self.server.borrow_mut().lists.push_back(list);
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The kernel says that a link has come.
    pub(super) fn link_came(&mut self) {
        self.running.as_mut().unwrap().0.link_came();
    }

    fn start(&mut self) {
        let limits = self.limits;
        let store = Store::open(&self.directory.join("punchd.db"), limits).unwrap();
        let store = Rc::new(store);
        let clock = Rc::clone(&self.clock) as Rc<dyn Clock>;
        let shared = Shared {
            status: Rc::new(Status::new("MADE0001", Rc::clone(&clock))),
            clock,
            store: Rc::clone(&store),
            spool: Rc::new(Spool::open(self.directory.join("spool")).unwrap()),
            server_queries: Rc::default(),
        };
        let uplink =
            VirtualUplink { server: Rc::clone(&self.server), clock: Rc::clone(&self.clock) };
        let device = VirtualDevice {
            clock: Rc::clone(&self.clock) as Rc<dyn Clock>,
            programs: Rc::clone(&self.programs),
            requests: Rc::clone(&self.requests),
            acts: Rc::clone(&self.acts),
            store: self.directory.join("punchd.db"),
            images: Rc::clone(&self.images),
            started: Rc::default(),
        };
        let client = Client::new(uplink, Box::new(device), shared, self.settings.clone());
        self.running = Some((client, store));
    }

    /// One step of the loop, and the rest after it. A reboot ends everything that runs.
    fn step(&mut self) {
        self.step_until(Duration::MAX);
    }

    /// The same; something ends the rest at this time.
    pub(super) fn step_until(&mut self, woken_at: Duration) {
        let (client, _) = self.running.as_mut().unwrap();
        let reboots = self.acts.borrow().len();
        let next = client.step();
        if self.acts.borrow()[reboots..].iter().any(|act| act.what == "reboot") {
            self.restart();
        } else if let Next::RestUntil(at) = next {
            self.rests += 1;
            let now = self.clock.monotonic();
            let next = self.ends().filter(|ends| *ends > now).min().map_or(at, |ends| ends.min(at));
            let next = next.min(now + Duration::from_secs(3600)).min(woken_at);
            self.clock.0.set(next.max(now + Duration::from_millis(1)));
        }
    }

    /// Runs to this time.
    pub(super) fn run_to(&mut self, at: Duration) {
        while self.now() < at {
            self.step_until(at);
        }
    }

    /// When what programs and drivers do now will be done.
    fn ends(&self) -> impl Iterator<Item = Duration> {
        let programs =
            self.programs.borrow().values().map(|program| program.ends).collect::<Vec<_>>();
        let requests = self.requests.borrow().values().map(|asked| asked.ends).collect::<Vec<_>>();
        programs.into_iter().chain(requests)
    }

    pub(super) fn restart(&mut self) {
        self.running = None;
        self.programs.borrow_mut().clear();
        self.requests.borrow_mut().clear();
        self.start();
    }

    /// The power fails, and comes back with this image of the store.
    pub(super) fn crash_to(&mut self, image: &Path) {
        self.running = None;
        copy_store(image, &self.directory.join("punchd.db"));
        self.start();
    }

    /// The power fails, and comes back after a time with a wall clock that nobody has set.
    pub(super) fn boot_without_clock(&mut self, boot: &'static str) {
        self.running = None;
        self.clock.0.set(Duration::ZERO);
        self.clock.1.boot.set(boot);
        self.clock.1.utc_at_boot.set(0);
        self.start();
    }

    /// Sets the offset of the zone, in seconds.
    pub(super) fn set_zone(&mut self, offset: i32) {
        self.clock.1.offset.set(offset);
    }

    /// Lets so much time pass before the loop has its next turn.
    pub(super) fn pass(&mut self, time: Duration) {
        self.clock.0.set(self.clock.monotonic() + time);
    }

    /// A punch as a driver reports it when it happens: without a time.
    pub(super) fn punch_now(&mut self, pin: &str) {
        self.store().journal().add_punch(&NewPunch::of(pin, self.moment())).unwrap();
    }

    /// An operation, in the same way.
    pub(super) fn operation_now(&mut self) {
        let (operator, who, values) = Default::default();
        let operation = NewOperation { code: 4, moment: self.moment(), operator, who, values };
        self.store().journal().add_operation(&operation).unwrap();
    }

    /// Now, for a row without a time of its own.
    fn moment(&self) -> Moment {
        let clock = &self.clock;
        Moment::of(clock.local(), clock.utc_if_set(), clock.boot(), clock.monotonic())
    }

    /// When requests came with this part in their target.
    pub(super) fn heard_at(&self, part: &str) -> Vec<Duration> {
        let server = self.server.borrow();
        let heard = server.heard.iter().filter(|heard| heard.target.contains(part));
        heard.map(|heard| heard.at).collect()
    }

    /// A punch that the server has before anything else comes: its time.
    pub(super) fn record_punch(&mut self, nth: usize) -> String {
        let time = format!("2026-11-02 08:00:{nth:02}");
        let moment = Moment::At(LocalTime::parse(&time).unwrap());
        self.store().journal().add_punch(&NewPunch::of("7", moment)).unwrap();
        self.run_until("uploaded", |terminal| {
            terminal.store().outbox().backlog(Stream::Punches).unwrap().new == 0
        });
        time
    }

    /// Runs until this is so, and returns how long that took.
    pub(super) fn run_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.clock.monotonic();
        for _ in 0..MOST_STEPS {
            if is_so(self) {
                return self.clock.monotonic() - begun;
            }
            self.step();
        }
        panic!("never {what}: {:?}", self.store().jobs().list(9).unwrap());
    }

    /// The code that a command was answered.
    pub(super) fn code(&self, id: &str) -> Option<String> {
        self.server.borrow().answers.get(id).map(|(code, _)| code.clone())
    }

    /// Runs until all commands are answered. A terminal is killed between two steps; what a program or
    /// a driver does then would not be done again, so it is not killed meanwhile.
    pub(super) fn run(&mut self, random: &mut Random, is_smooth: bool, seed: u64, said: &str) {
        let unreliable = if is_smooth { 0 } else { [0, 30, 8][random.below(3) as usize] };
        self.server.borrow_mut().unreliable = unreliable;
        let kills = [0, 1000, 200][random.below(3) as usize];
        for _ in 0..MOST_STEPS {
            {
                let server = self.server.borrow();
                if server.lists.is_empty() && server.answers.len() == self.given {
                    return;
                }
            }
            self.step();
            if kills > 0 && random.below(kills) == 0 && self.ends().next().is_none() {
                self.restart();
            }
        }
        let server = self.server.borrow();
        panic!(
            "seed {seed}: {} of {} commands were answered:\n{said}\n{:?}",
            server.answers.len(),
            self.given,
            self.store().jobs().list(9).unwrap(),
        );
    }

    /// Goes on until no reboot is due any more; that takes a few steps.
    pub(super) fn run_until_rebooted(&mut self) {
        for _ in 0..100 {
            if self.store().options().get(REBOOT).unwrap().is_none() {
                return;
            }
            self.step();
        }
        panic!("a reboot is still due");
    }
}

/// The settings of a terminal whose owner allows everything among the files of a directory.
pub(super) fn settings(directory: &Path, serial: &str, start_spread: u32) -> Settings {
    let files = directory.join("files");
    let text = format!(
        "server = \"http://server\"\nserial = \"{serial}\"\n[limits]\nstart_spread = {start_spread}\n\
         [commands]\nput_dirs = [{files:?}]\nget_dirs = [{files:?}]\nshell = \"allow\"\n\
         get_file = \"allow\"\nclear_data = \"allow\"\nreboot = \"allow\"\n[device]\nreboot = [\"true\"]\n"
    );
    let path = directory.join("punchd.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path).unwrap().client_settings()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.running = None;
        let _ = fs::remove_dir_all(&self.directory);
    }
}
