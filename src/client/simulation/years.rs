//! Years in the life of one terminal: what it keeps, and what it costs, does not grow.
//!
//! `PUNCHD_YEARS=10` runs so many years, 0.75 or more; without it one year.

use std::collections::BTreeSet;
use std::time::Duration;

use super::terminal::Terminal;
use super::world::Outage;
use crate::protocol::stream::Stream;

const HOUR: Duration = Duration::from_secs(3600);
const DAYS_OF_A_MONTH: u32 = 30;
const PUNCHES_A_DAY: u32 = 20;
/// As many come as go: after four months the terminal knows as many commands, and as many people who went, as
/// it remembers.
const PEOPLE_A_DAY: u32 = 50;
/// `Delay` is ten minutes.
const POLLS_A_DAY: u32 = 144;
/// Punches that the terminal keeps: those of two months.
const KEPT: u32 = 1_200;
/// Requests beside those: a day has its results, its punches, and what was changed.
const OTHERS_A_DAY: u32 = PUNCHES_A_DAY + 12;
/// The server is away for two days of a month: the handshake and the poll go again after each `ErrorDelay`.
const MOST_IN_OUTAGE: u32 = 2 * 48 * 60;
/// The first round in which what is kept is full: nothing grows from then on.
const FULL: std::ops::Range<usize> = 6..9;

/// What one month cost.
#[derive(Debug)]
struct Month {
    requests: u32,
    /// Bytes of the store and its log.
    bytes: u64,
    punches: u64,
}

/// In the last of three months the server is away.
fn is_away(month: u32) -> bool {
    month % 3 == 2
}

struct Life {
    terminal: Terminal,
    /// The day that begins next, and the commands that were given.
    day: u32,
    commands: u32,
    /// The punches of this month, as the server has to have them.
    expected: BTreeSet<String>,
}

impl Life {
    fn new() -> Self {
        let mut terminal = Terminal::new(u64::MAX - 300);
        terminal.keep_punches(KEPT.into());
        terminal.server.borrow_mut().options = "ErrorDelay=60\nDelay=600\n";
        Self { terminal, day: 0, commands: 0, expected: BTreeSet::new() }
    }

    /// Once a week the terminal starts anew.
    fn live_a_day(&mut self) {
        let begun = HOUR * 24 * self.day;
        for nth in 0..PUNCHES_A_DAY {
            self.terminal.run_to(begun + HOUR * 7 + HOUR / 2 * nth);
            // The PIN tells the punches of a month from each other.
            let pin = format!("{}{nth:02}", 1 + self.day % DAYS_OF_A_MONTH);
            self.terminal.punch_now(&pin);
            self.expected.insert(pin);
        }
        let list = self.list_of_day();
        self.terminal.give(list);
        self.day += 1;
        self.terminal.run_to(HOUR * 24 * self.day);
        if self.day.is_multiple_of(7) {
            self.terminal.restart();
        }
    }

    /// Fifty people come, those of ten days ago go, and something else.
    fn list_of_day(&mut self) -> String {
        let mut list = String::new();
        let mut add = |command: String| {
            self.commands += 1;
            list += &format!("C:{}:{command}\n", self.commands);
        };
        let first = |day: u32| 1_000_000 + day * PEOPLE_A_DAY;
        for nth in 0..PEOPLE_A_DAY {
            add(format!("DATA UPDATE USERINFO PIN={}\tName=Person {nth}", first(self.day) + nth));
            if let Some(day) = self.day.checked_sub(10) {
                add(format!("DATA DELETE USERINFO PIN={}", first(day) + nth));
            }
        }
        add(["INFO", "CHECK", "LOG"][self.day as usize % 3].to_owned());
        list
    }

    /// In each third month the server is away for two days.
    fn live_a_month(&mut self) -> Month {
        if is_away(self.day / DAYS_OF_A_MONTH) {
            let from = HOUR * 24 * (self.day + 10);
            let outage = Some((from, from + HOUR * 48, Outage::Refused));
            self.terminal.server.borrow_mut().outage = outage;
        }
        for _ in 0..DAYS_OF_A_MONTH {
            self.live_a_day();
        }
        let last = self.commands.to_string();
        self.terminal.run_until("answered", |terminal| terminal.code(&last).is_some());
        self.terminal.run_until("uploaded", |terminal| {
            terminal.store().outbox().backlog(Stream::Punches).unwrap().new == 0
        });
        self.end_month()
    }

    /// What the server heard in this month has each punch once. It is forgotten.
    fn end_month(&mut self) -> Month {
        let store = self.terminal.store();
        let punches = store.journal().count_punches().unwrap();
        let bytes = self.terminal.store_bytes();
        let mut server = self.terminal.server.borrow_mut();
        let heard = std::mem::take(&mut server.heard).into_iter();
        let exchanges = std::mem::take(&mut server.exchanges);
        server.polls.clear();
        server.answers.clear();
        let answered = heard.zip(&exchanges).filter(|(_, (_, answered))| *answered);
        let mut came = BTreeSet::new();
        for (heard, _) in answered.filter(|(heard, _)| heard.target.contains("table=ATTLOG")) {
            for line in heard.body.lines() {
                let pin = line.split('\t').next().unwrap();
                assert!(came.insert(pin.to_owned()), "day {}: {pin} came twice", self.day);
            }
        }
        assert_eq!(came, std::mem::take(&mut self.expected), "day {}", self.day);
        Month { requests: exchanges.len() as u32, bytes, punches }
    }
}

#[test]
fn nothing_grows_in_the_years_of_a_terminal() {
    let years = std::env::var("PUNCHD_YEARS").map_or(1.0, |years| years.parse().unwrap());
    let months = (years * 12.0) as usize;
    assert!(months >= FULL.end, "PUNCHD_YEARS is 0.75 or more: what is kept is full after so long");
    let mut life = Life::new();
    let lived: Vec<Month> = (0..months).map(|_| life.live_a_month()).collect();
    let most_bytes = lived[FULL].iter().map(|month| month.bytes).max().unwrap();
    for (nth, month) in lived.iter().enumerate() {
        let told = format!("month {nth}: {month:?}, the store had {most_bytes} bytes before");
        let away = if is_away(nth as u32) { MOST_IN_OUTAGE } else { 0 };
        assert!(month.requests <= (POLLS_A_DAY + OTHERS_A_DAY) * DAYS_OF_A_MONTH + away, "{told}");
        assert!(month.punches <= u64::from(KEPT + PUNCHES_A_DAY), "{told}");
        assert!(nth < FULL.end || month.bytes <= most_bytes * 11 / 10, "{told}");
    }
    let of = |what: &str, value: fn(&Month) -> u64| {
        let values = || lived[FULL.start..].iter().map(value);
        format!("{} to {} {what}", values().min().unwrap(), values().max().unwrap())
    };
    println!(
        "{} days, {} requests; when what is kept is full, a month has {}, and at its end there are {} and {}",
        life.day,
        lived.iter().map(|month| month.requests).sum::<u32>(),
        of("requests", |month| month.requests.into()),
        of("bytes of the store", |month| month.bytes),
        of("punches", |month| month.punches),
    );
}
