//! The terminal of a day: it runs, dies, is started again, and is looked at after every step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::super::terminal::settings;
use super::super::world::{Asked, Program, VirtualDevice};
use super::clock::DayClock;
use super::plan::{DAY, Event, HOUR, Plan, SECOND};
use super::story::{Crash, violated};
use super::uplink::DayUplink;
use super::world::World;
use crate::client::{Client, Next, Settings, Shared};
use crate::clock::{Clock, ServerZone};
use crate::files::Spool;
use crate::protocol::stream::Stream;
use crate::status::Status;
use crate::store::on_statement;
use crate::store::options::ZONE;
use crate::store::{Limits, Store};

/// Steps that may pass without any time.
const MOST_STEPS: u32 = 2_000;

pub(super) struct DayTerminal {
    pub(super) world: Rc<World>,
    settings: Settings,
    pub(super) running: Option<(Client, Rc<Store>, Rc<Status>)>,
    programs: Rc<RefCell<BTreeMap<i64, Program>>>,
    requests: Rc<RefCell<BTreeMap<i64, Asked>>>,
    pub(super) steps: u64,
    /// Steps since time passed last.
    in_moment: u32,
    moment: Duration,
}

impl DayTerminal {
    pub(super) fn new(plan: Plan) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        // Of one length: how long a program runs depends on its line, and a day is the same in each run.
        let name = format!("punchd-day-{:07}-{:05}", std::process::id(), plan.seed);
        let directory = base.join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("files")).unwrap();
        let mut terminal = Self {
            settings: settings(&directory, "MADE0001", 0),
            world: Rc::new(World::new(plan, directory)),
            running: None,
            programs: Rc::default(),
            requests: Rc::default(),
            steps: 0,
            in_moment: 0,
            moment: Duration::ZERO,
        };
        terminal.start();
        terminal
    }

    /// The whole day, and what is left of it afterwards.
    pub(super) fn live(&mut self) {
        while self.world.now() < DAY || !self.world.is_over() {
            self.step();
        }
        self.world.tell(|| "the day is over, and nothing fails any more".into());
        self.world.heal();
        let end = self.world.now() + HOUR * 26;
        loop {
            let is_settled = self.world.commands.borrow().is_settled();
            let (_, aside) = self.store().quarantine().count(Stream::Punches).unwrap();
            let pending = self.world.punches.borrow().pending() as u64;
            let others = self.count_others();
            if is_settled && pending <= aside && others == 0 {
                break;
            }
            if self.world.now() > end {
                violated(format!(
                    "a day later {pending} punches, {others} other rows and the command {:?} wait",
                    self.world.commands.borrow().waiting()
                ));
            }
            self.step();
        }
        self.compare();
        let aside = self.refused(Stream::Punches);
        let world = &self.world;
        world.require(world.punches.borrow().settle(&aside));
        world.require(world.operations.borrow().settle(&self.refused(Stream::Operations)));
        let are_people_refused =
            [Stream::Users, Stream::NewUsers].into_iter().any(|it| !self.refused(it).is_empty());
        let refused_photos = self.refused(Stream::Photos).len();
        let commands = world.commands.borrow();
        let found = commands.uploads.settle(
            world.photos(),
            refused_photos,
            are_people_refused,
            self.store(),
        );
        drop(commands);
        world.require(found);
        let found = world.commands.borrow_mut().settle(self.store());
        world.require(found);
    }

    pub(super) fn store(&self) -> &Rc<Store> {
        &self.running.as_ref().unwrap().1
    }

    /// Rows that wait beside new punches.
    fn count_others(&self) -> u64 {
        let backlog = |stream| {
            let backlog = self.store().outbox().backlog(stream).unwrap();
            backlog.resend + if stream == Stream::Punches { 0 } else { backlog.new }
        };
        Stream::ALL.into_iter().map(backlog).sum()
    }

    fn start(&mut self) {
        let world = &self.world;
        let mut limits = Limits::default();
        limits.punches = world.plan.most_punches().unwrap_or(limits.punches);
        let store = Rc::new(Store::open(&world.path_of_store(), limits).unwrap());
        let zone = ServerZone::from_kept(store.options().get(ZONE).unwrap().as_deref());
        let day_clock = Rc::new(DayClock::new(world, zone));
        let clock = Rc::clone(&day_clock) as Rc<dyn Clock>;
        let status = Rc::new(Status::new("MADE0001", Rc::clone(&clock)));
        let spool = Spool::open(world.directory.join("spool")).unwrap();
        spool.sweep(&store.jobs().command_rows().unwrap()).unwrap();
        let shared = Shared {
            status: Rc::clone(&status),
            clock: Rc::clone(&clock),
            store: Rc::clone(&store),
            spool: Rc::new(spool),
            server_queries: Rc::default(),
        };
        let device = VirtualDevice {
            clock,
            programs: Rc::clone(&self.programs),
            requests: Rc::clone(&self.requests),
            acts: Rc::clone(&world.acts),
            started: Rc::clone(&world.started),
            store: world.path_of_store(),
            images: Rc::default(),
        };
        let uplink = DayUplink(Rc::clone(world));
        let client = Client::new(uplink, Box::new(device), shared, self.settings.clone());
        *world.store.borrow_mut() = Some(Rc::clone(&store));
        world.fill_disk();
        let looks = Rc::downgrade(world);
        on_statement::set(Some(Rc::new(move || {
            if let Some(world) = looks.upgrade() {
                world.look();
            }
        })));
        *world.clock.borrow_mut() = Some(day_clock);
        world.attempts.borrow_mut().start(world.now());
        self.running = Some((client, store, status));
    }

    /// The program ends, and with it the programs that it started.
    fn stop(&mut self) {
        on_statement::set(None);
        self.world.store.borrow_mut().take();
        self.world.clock.borrow_mut().take();
        self.running = None;
        self.programs.borrow_mut().clear();
        self.requests.borrow_mut().clear();
    }

    /// It is started again with the store as it was left.
    fn go_on(&mut self) {
        self.journals().for_each(|(_, journal)| journal.borrow_mut().cut_off());
        self.start();
        self.world.observe_people();
        self.compare();
    }

    /// The machine is off for a time, and starts again.
    fn lose_power(&mut self, off: Duration, is_unset: bool) {
        let world = Rc::clone(&self.world);
        world.copy_store();
        self.stop();
        world.tell(|| format!("no power for {off:?}"));
        world.pass(off);
        world.failed_at.set(world.now());
        world.boots.set(world.boots.get() + 1);
        world.booted.set(world.now());
        if is_unset {
            world.wall.set(-world.true_time());
        }
        self.go_on();
    }

    /// One step of the loop, what must be so after it, and the rest.
    fn step(&mut self) {
        let world = Rc::clone(&self.world);
        self.do_as_asked();
        self.count_steps();
        let reboots = world.acts.borrow().len();
        world.acts_before.set(reboots);
        world.step_began.set(world.now());
        world.is_stepping.set(true);
        let (client, ..) = self.running.as_mut().unwrap();
        let stepped = catch_unwind(AssertUnwindSafe(|| client.step()));
        world.is_stepping.set(false);
        self.note_acts(reboots);
        let next = match stepped {
            Ok(next) => next,
            Err(payload) if payload.is::<Crash>() => {
                let asks_again = world.server.borrow_mut().cut_off();
                world.commands.borrow_mut().cut_off();
                self.journals().for_each(|(_, journal)| journal.borrow_mut().cut_off());
                if let Some(again) = asks_again {
                    world.punches.borrow_mut().ask_again(again);
                }
                self.stop();
                world.pass(SECOND * 2);
                return self.go_on();
            }
            Err(payload) => resume_unwind(payload),
        };
        self.after_step();
        if world.acts.borrow()[reboots..].iter().any(|act| act.what == "reboot") {
            return self.lose_power(SECOND * 30, false);
        }
        if let Next::RestUntil(at) = next {
            self.check_reasons();
            self.rest(at + world.booted.get());
        }
    }

    /// What the device did in the step.
    fn note_acts(&self, before: usize) {
        let acts = self.world.acts.borrow();
        let mut commands = self.world.commands.borrow_mut();
        for act in &acts[before..] {
            self.world.tell(|| format!("    {}", act.what));
            self.world.require(commands.acts.add(act));
        }
        for line in self.world.started.borrow_mut().drain(..) {
            self.world.tell(|| format!("    runs {line:?}"));
            self.world.require(commands.acts.start(line));
        }
    }

    fn count_steps(&mut self) {
        let now = self.world.now();
        self.in_moment = if now == self.moment { self.in_moment + 1 } else { 0 };
        self.moment = now;
        self.steps += 1;
        if self.in_moment > MOST_STEPS {
            violated(format!("{MOST_STEPS} steps without a pause"));
        }
    }

    fn do_as_asked(&mut self) {
        let asked = std::mem::take(&mut *self.world.asked.borrow_mut());
        for event in asked {
            match event {
                Event::Crash(_) => {
                    self.world.tell(|| "the program is killed".into());
                    self.world.copy_store();
                    self.stop();
                    self.go_on();
                }
                Event::Restart => {
                    self.world.tell(|| "the program is started again".into());
                    self.stop();
                    self.go_on();
                }
                Event::PowerCut(off, is_unset) => self.lose_power(off, is_unset),
                Event::Link => self.running.as_mut().unwrap().0.link_came(),
                _ => {}
            }
        }
    }

    /// Rests until this time of the world, or until something comes.
    fn rest(&mut self, until: Duration) {
        let world = &self.world;
        let (now, booted) = (world.now(), world.booted.get());
        let programs: Vec<_> = self.programs.borrow().values().map(|it| it.ends).collect();
        let requests: Vec<_> = self.requests.borrow().values().map(|it| it.ends).collect();
        let ends = programs.into_iter().chain(requests).map(|ends| ends + booted);
        let until = ends.filter(|ends| *ends > now).fold(until, Duration::min);
        let until = world.next_event().map_or(until, |at| at.min(until));
        let until = until.clamp(now + SECOND / 1000, now + HOUR);
        world.pass_until(until);
        let found = world.attempts.borrow().check_silence(&world.plan.server, world.now());
        world.require(found);
    }
}

impl Drop for DayTerminal {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.world.directory);
    }
}
