//! What is around one terminal: the time, what of the plan comes when, drivers, and its server. Drivers
//! and everything else go on while the terminal waits for an answer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::super::random::Random;
use super::super::world::Act;
use super::attempts::Attempts;
use super::clock::DayClock;
use super::commands::Commands;
use super::journal::Journal;
use super::plan::{Event, Kind, Mishap, Plan};
use super::server::Server;
use super::story::{Crash, Story, violated};
use crate::clock::BUILD_TIME;
use crate::protocol::stream::Stream;
use crate::store::Store;

/// The true time at the beginning, in seconds since 1970.
pub(super) const MORNING: i64 = BUILD_TIME + 30 * 86_400;

pub(super) struct World {
    pub(super) plan: Plan,
    coming: RefCell<VecDeque<(Duration, Event)>>,
    now: Cell<Duration>,
    /// When the machine was started last, and how often it was.
    pub(super) booted: Cell<Duration>,
    pub(super) boots: Cell<u32>,
    /// The wall clock minus the true time.
    pub(super) wall: Cell<i64>,
    pub(super) random: RefCell<Random>,
    pub(super) story: Story,
    pub(super) server: RefCell<Server>,
    pub(super) punches: RefCell<Journal>,
    pub(super) operations: RefCell<Journal>,
    pub(super) photos: Cell<u32>,
    pub(super) commands: RefCell<Commands>,
    pub(super) attempts: RefCell<Attempts>,
    /// The store and the clock of the program, while it runs.
    pub(super) store: RefCell<Option<Rc<Store>>>,
    pub(super) clock: RefCell<Option<Rc<DayClock>>>,
    /// When the step began that is under way.
    pub(super) step_began: Cell<Duration>,
    /// The program is in a step.
    pub(super) is_stepping: Cell<bool>,
    /// It dies at this look at the clock, or statement.
    pub(super) looks: Cell<Option<u32>>,
    pub(super) crash_at_act: Cell<Option<(&'static str, u32)>>,
    /// What the device did, and the programs that it started; and how many there were before the step.
    pub(super) acts: Rc<RefCell<Vec<Act>>>,
    pub(super) started: Rc<RefCell<Vec<String>>>,
    pub(super) acts_before: Cell<usize>,
    pub(super) directory: PathBuf,
    /// The store has so many copies: the program goes on with the last.
    pub(super) copies: Cell<u32>,
    /// What is asked of the program from outside, between two steps.
    pub(super) asked: RefCell<Vec<Event>>,
    pub(super) mishaps: RefCell<VecDeque<(Option<Kind>, Mishap)>>,
    pub(super) outage: Cell<Option<(Mishap, Duration)>>,
    /// The next punch is one that the server refuses so, until then.
    pub(super) poison_next: Cell<Option<(Mishap, Duration)>>,
    pub(super) poison: RefCell<Vec<(usize, Mishap, Duration)>>,
    /// A poll is held until then; and until then nothing goes beside one, since the server did not answer.
    pub(super) held_until: Cell<Duration>,
    pub(super) alone_until: Cell<Duration>,
    /// The last upload of punches was counted short.
    pub(super) was_short: Cell<bool>,
    /// When something failed last.
    pub(super) failed_at: Cell<Duration>,
    pub(super) faults: Cell<u64>,
    /// Until when the disk is full, and whether it ever was.
    pub(super) full_until: Cell<Option<Duration>>,
    pub(super) was_full: Cell<bool>,
    pub(super) edits: Cell<u32>,
}

impl World {
    pub(super) fn new(plan: Plan, directory: PathBuf) -> Self {
        Self {
            coming: RefCell::new(plan.events.iter().cloned().collect()),
            now: Cell::default(),
            booted: Cell::default(),
            boots: Cell::new(1),
            wall: Cell::default(),
            random: RefCell::new(Random::new(plan.seed)),
            story: Story::default(),
            server: RefCell::new(Server::new(&plan.server)),
            punches: RefCell::new(Journal::new(Stream::Punches)),
            operations: RefCell::new(Journal::new(Stream::Operations)),
            photos: Cell::default(),
            commands: RefCell::new(Commands::new(&plan.server, plan.most_punches().is_some())),
            attempts: RefCell::default(),
            store: RefCell::default(),
            clock: RefCell::default(),
            step_began: Cell::default(),
            is_stepping: Cell::default(),
            looks: Cell::default(),
            crash_at_act: Cell::default(),
            acts: Rc::default(),
            started: Rc::default(),
            acts_before: Cell::default(),
            directory,
            copies: Cell::default(),
            asked: RefCell::default(),
            mishaps: RefCell::default(),
            outage: Cell::default(),
            poison_next: Cell::default(),
            poison: RefCell::default(),
            held_until: Cell::default(),
            alone_until: Cell::default(),
            was_short: Cell::default(),
            failed_at: Cell::default(),
            faults: Cell::default(),
            full_until: Cell::default(),
            was_full: Cell::default(),
            edits: Cell::default(),
            plan,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.now.get()
    }

    pub(super) fn true_time(&self) -> i64 {
        MORNING + self.now().as_secs() as i64
    }

    pub(super) fn wall_clock(&self) -> i64 {
        self.true_time() + self.wall.get()
    }

    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        self.story.tell(self.now(), line);
    }

    pub(super) fn require(&self, found: Result<(), String>) {
        if let Err(what) = found {
            violated(what);
        }
    }

    pub(super) fn below(&self, most: u64) -> u64 {
        self.random.borrow_mut().below(most)
    }

    /// Whether the device did this in the step under way.
    fn has_just_done(&self, what: &str) -> bool {
        match what {
            "program" => !self.started.borrow().is_empty(),
            _ => self.acts.borrow()[self.acts_before.get()..].iter().any(|act| act.what == what),
        }
    }

    /// The program looks at the clock: it may die there.
    pub(super) fn look(&self) {
        if let Some((_, looks)) = self.crash_at_act.get().filter(|(act, _)| self.has_just_done(act))
        {
            self.crash_at_act.set(None);
            self.looks.set(Some(looks));
        }
        let Some(left) = self.looks.get().filter(|_| self.is_stepping.get()) else { return };
        self.looks.set(left.checked_sub(1));
        if left == 0 {
            self.die();
        }
    }

    /// The program dies in the middle of a step. What it wrote is there.
    pub(super) fn die(&self) -> ! {
        self.looks.set(None);
        self.copy_store();
        self.tell(|| "the program dies".into());
        std::panic::resume_unwind(Box::new(Crash))
    }

    pub(super) fn path_of_store(&self) -> PathBuf {
        self.directory.join(format!("store{}.db", self.copies.get()))
    }

    /// Keeps the files of the store as they are now: with them the program starts again.
    pub(super) fn copy_store(&self) {
        let from = self.path_of_store();
        self.copies.set(self.copies.get() + 1);
        let to = self.path_of_store();
        for suffix in ["", "-wal"] {
            let file = |path: &PathBuf| format!("{}{suffix}", path.display());
            let _ = std::fs::copy(file(&from), file(&to));
        }
    }

    /// Something comes that is no part of the plan.
    pub(super) fn soon(&self, after: Duration, event: Event) {
        let (at, mut coming) = (self.now() + after, self.coming.borrow_mut());
        let place = coming.partition_point(|(other, _)| *other <= at);
        coming.insert(place, (at, event));
    }

    /// When something comes next.
    pub(super) fn next_event(&self) -> Option<Duration> {
        self.coming.borrow().front().map(|(at, _)| *at)
    }

    pub(super) fn is_over(&self) -> bool {
        self.coming.borrow().is_empty()
    }

    /// Time passes; what comes meanwhile happens.
    pub(super) fn pass(&self, time: Duration) {
        self.pass_until(self.now() + time);
    }

    pub(super) fn pass_until(&self, until: Duration) {
        while self.next_event().is_some_and(|at| at <= until) {
            let next = self.coming.borrow_mut().pop_front();
            let Some((at, event)) = next else { break };
            self.now.set(at.max(self.now()));
            // Looks of the world at the clock are none of the program.
            let is_stepping = self.is_stepping.replace(false);
            self.happen(event);
            self.is_stepping.set(is_stepping);
            if is_stepping && self.looks.get() == Some(0) {
                self.die();
            }
        }
        self.now.set(until.max(self.now()));
    }

    fn happen(&self, event: Event) {
        self.fill_disk();
        match event {
            Event::Punches(count) => self.record_punches(count),
            Event::Photo => self.record_photo(),
            Event::Operation => self.record_operation(),
            Event::Edit(pin) => self.edit(pin),
            Event::Command(ask) => {
                self.attempts.borrow_mut().add_work(1);
                let text = self.commands.borrow_mut().ask(ask, &self.directory, self.now());
                self.tell(|| format!("the server wants {text:?}"));
            }
            Event::Redeliver => {
                if let Some(text) = self.commands.borrow_mut().ask_again(self.now()) {
                    self.attempts.borrow_mut().add_work(1);
                    self.tell(|| format!("the server sends again {text:?}"));
                }
            }
            Event::IdsBegin => {
                self.tell(|| "the server will begin its command ids anew".into());
                self.commands.borrow_mut().begin_ids();
            }
            Event::Mishap(kind, mishap) => self.mishaps.borrow_mut().push_back((kind, mishap)),
            Event::Outage(mishap, length) => {
                self.tell(|| format!("outage for {length:?}: {mishap:?}"));
                let until = self.outage.get().map_or(Duration::ZERO, |(_, until)| until);
                self.outage.set(Some((mishap, until.max(self.now() + length))));
                self.fail();
            }
            Event::Poison(refusal, length) => {
                self.poison_next.set(Some((refusal, self.now() + length)));
            }
            Event::Crash(looks) => {
                self.fail();
                if looks == 0 && !self.is_stepping.get() {
                    self.asked.borrow_mut().push(event.clone());
                }
                self.looks.set(Some(looks));
            }
            Event::CrashAtAct(act, looks) => {
                self.fail();
                self.crash_at_act.set(Some((act, looks)));
            }
            Event::Clock(by) => {
                self.tell(|| format!("the wall clock is moved by {by} s"));
                self.wall.set(self.wall.get() + by);
                self.fail();
            }
            Event::Zone(by) => {
                self.server.borrow_mut().move_zone(by);
                self.fail();
            }
            Event::Forget => {
                self.tell(|| "the server forgets the terminal".into());
                self.server.borrow_mut().forget();
                self.fail();
            }
            Event::Lose => {
                self.tell(|| "the server loses all rows".into());
                self.server.borrow_mut().lose();
                let mut punches = self.punches.borrow_mut();
                punches.lose();
                self.attempts.borrow_mut().add_work(punches.rows.len() as u64 / 4);
                self.fail();
            }
            Event::Backup => {
                self.tell(|| "the server is copied".into());
                self.server.borrow_mut().back_up();
                self.punches.borrow_mut().back_up();
            }
            Event::Restore => {
                self.tell(|| "the server is set back to its copy".into());
                self.server.borrow_mut().restore();
                let mut punches = self.punches.borrow_mut();
                punches.restore();
                self.attempts.borrow_mut().add_work(punches.rows.len() as u64 / 4);
                self.fail();
            }
            Event::Restart | Event::PowerCut(..) => {
                self.fail();
                self.asked.borrow_mut().push(event);
            }
            Event::Full(length) => {
                self.tell(|| format!("the disk is full for {length:?}"));
                self.full_until.set(Some(self.now() + length));
                self.was_full.set(true);
                self.commands.borrow_mut().may_be_refused = true;
                self.fill_disk();
                self.fail();
            }
            Event::Link => self.asked.borrow_mut().push(event),
        }
    }
}
