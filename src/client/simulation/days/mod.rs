//! Days in the life of one terminal, each from one seed: its server, its drivers, faults, restarts and
//! crashes. The promises of docs/promises.md are checked after every step.
//!
//! `PUNCHD_DAYS=500` runs so many days, `PUNCHD_DAY=17` the day of one seed, with its story.

mod acts;
mod asking;
mod attempts;
mod checks;
mod clock;
mod commands;
mod drivers;
mod faults;
mod journal;
mod plan;
mod server;
mod shrink;
mod stamps;
mod story;
mod terminal;
mod uplink;
mod uploads;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use plan::Plan;
use terminal::DayTerminal;

/// Lines of a story that are shown.
const MOST_LINES: usize = 3_000;
/// Days that failed once.
const FAILED_ONCE: [u64; 4] = [129, 707, 800, 1205];

/// What a day had in it.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    days: u64,
    exchanges: u64,
    punches: u64,
    commands: u64,
    faults: u64,
    resent: u64,
}

impl Counts {
    fn all(self) -> [u64; 6] {
        [self.days, self.exchanges, self.punches, self.commands, self.faults, self.resent]
    }

    fn of(all: [u64; 6]) -> Self {
        let [days, exchanges, punches, commands, faults, resent] = all;
        Self { days, exchanges, punches, commands, faults, resent }
    }

    fn with(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let (one, other) = (self.all(), other.all());
        Self::of(std::array::from_fn(|nth| with(one[nth], other[nth])))
    }
}

/// How a day went, and its story if that is wanted.
fn live(plan: &Plan, is_told: bool) -> (Result<Counts, String>, String) {
    let mut terminal = DayTerminal::new(plan.clone());
    if is_told {
        terminal.world.story.begin();
    }
    let done = catch_unwind(AssertUnwindSafe(|| terminal.live()));
    let world = &terminal.world;
    let counts = Counts {
        days: 1,
        exchanges: world.attempts.borrow().all,
        punches: world.punches.borrow().rows.len() as u64,
        commands: world.commands.borrow().asked() as u64,
        faults: world.faults.get(),
        resent: world.punches.borrow().sent_again,
    };
    (done.map(|()| counts).map_err(story::message), world.story.text(MOST_LINES))
}

/// One day; where it fails, the shortest one that does, and its story.
fn day(seed: u64) -> Counts {
    let plan = Plan::of(seed);
    let failure = match live(&plan, false).0 {
        Ok(counts) => return counts,
        Err(failure) => failure,
    };
    let kind =
        |what: &str| what.chars().filter(|it| !it.is_ascii_digit()).take(12).collect::<String>();
    let short = shrink::shrink(&plan, |plan| {
        live(plan, false).0.is_err_and(|other| kind(&other) == kind(&failure))
    });
    let (done, story) = live(&short, true);
    let last = done.err().unwrap_or_default();
    panic!(
        "day {seed}: {failure}\n\nshortened to {} events of {}: {last}\n{:?}\n{story}\n",
        short.events.len(),
        plan.events.len(),
        short.server
    );
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_promise_is_kept_at_every_step_of_a_day() {
    if let Some(seed) = number("PUNCHD_DAY") {
        let (done, story) = live(&Plan::of(seed), true);
        println!("{story}\n{done:?}");
        day(seed);
        return;
    }
    for seed in FAILED_ONCE {
        day(seed);
    }
    let days = number("PUNCHD_DAYS").unwrap_or(6);
    assert!(days > 0, "PUNCHD_DAYS is 1 or more");
    let run = |first: u64| {
        let mut counts = (Counts::default(), Counts::of([u64::MAX; 6]));
        for seed in (first..days).step_by(2) {
            let found = day(seed);
            counts = (counts.0.with(found, |a, b| a + b), counts.1.with(found, u64::min));
        }
        counts
    };
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(|| run(0)), scope.spawn(|| run(1)));
        (one.join(), other.join())
    });
    let [one, other] =
        [one, other].map(|run| run.unwrap_or_else(|failed| std::panic::resume_unwind(failed)));
    let (all, least) = (one.0.with(other.0, |a, b| a + b), one.1.with(other.1, u64::min));
    println!("in all {all:?}\nin the least of the days {least:?}");
    assert!(least.exchanges >= 1000 && least.punches >= 300 && least.commands >= 50, "{least:?}");
    assert!(least.faults >= 10, "{least:?}");
}
