//! Each fault of a link or a server, at each kind of request, on a first and on a kept connection: what is
//! pending afterwards, what was executed, how often rows came, that `status` says something while it lasts,
//! and that all is well soon after the server is. `table.rs` says what is expected, `faults.rs` what a
//! server does. The words for each fault are in `link_faults`.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Driver, Terminal, jpeg, second};

mod faults;
mod server;
mod table;

use faults::{Fault, RETRY_AFTER};
use server::{FaultServer, Kind, On, PICTURE, Seen};
use table::{Expected, expected};

/// Terminals that run at once: nearly always each of them waits.
const AT_ONCE: usize = 32;
/// Longest wait for anything: `ErrorDelay` and all time-outs are a few seconds.
const LONGEST: Duration = Duration::from_secs(40);
/// Most memory of a terminal in KiB, whatever the server sends.
const MEMORY: u64 = 26 << 10;

/// A fault at a kind of request on a kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    fault: Fault,
    kind: Kind,
    on: On,
    expected: Expected,
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for fault in Fault::ALL {
        for kind in Kind::ALL {
            for on in [On::First, On::Kept, On::OnlyKept, On::KeptAndNext] {
                cells.push(Cell { fault, kind, on, expected: expected(fault, kind, on) });
            }
        }
    }
    cells.retain(|cell| cell.expected != Expected::Nothing);
    cells
}

#[test]
fn a_fault_of_each_sort_at_each_kind_of_request() {
    let of_sample = [
        (Fault::ClosedInBody, Kind::Upload, On::Kept),
        (Fault::ClosedInBody, Kind::Poll, On::First),
        (Fault::PageWithCommand, Kind::Poll, On::Kept),
        (Fault::Page, Kind::Upload, On::First),
        (Fault::Status(500), Kind::Reply, On::Kept),
        (Fault::StatusLater(503), Kind::Download, On::First),
        (Fault::Refused, Kind::Handshake, On::First),
        (Fault::ResetAfterRequest, Kind::Upload, On::OnlyKept),
        (Fault::ClosedAfterRequest, Kind::Upload, On::KeptAndNext),
        (Fault::ResetInBody, Kind::Download, On::First),
        (Fault::TwoAnswers, Kind::Query, On::Kept),
        (Fault::Chunked, Kind::Handshake, On::Kept),
    ];
    let mut sample = cells();
    sample.retain(|cell| of_sample.contains(&(cell.fault, cell.kind, cell.on)));
    assert_eq!(sample.len(), of_sample.len());
    run(&sample);
}

#[test]
#[ignore = "slow: some seven hundred cells"]
fn each_fault_at_each_kind_of_request_on_each_connection() {
    let mut all = cells();
    // To look at some of them: `PUNCHD_CELLS='Chunked Poll'`.
    if let Ok(words) = std::env::var("PUNCHD_CELLS") {
        let fits = |cell: &Cell| words.split(' ').all(|word| cell.name().contains(word));
        all.retain(fits);
        assert!(!all.is_empty(), "no cell has all the words of PUNCHD_CELLS={words:?} in its name");
    }
    run(&all);
}

/// Runs the cells, and tells of all that do otherwise than expected.
fn run(cells: &[Cell]) {
    let (next, wrong) = (Mutex::new(cells.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cells.len()) {
            scope.spawn(|| {
                while let Some(cell) = { next.lock().unwrap().next() } {
                    let panicked = |_| Err("it panicked, see above".to_owned());
                    let done = std::panic::catch_unwind(|| cell.run()).unwrap_or_else(panicked);
                    if let Err(why) = done {
                        wrong.lock().unwrap().push(format!("{}: {why}", cell.name()));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let (count, all) = (wrong.len(), cells.len());
    assert!(wrong.is_empty(), "{count} of {all} cells:\n{}", wrong.join("\n"));
}

impl Cell {
    fn name(&self) -> String {
        format!("{:?} at {:?} on {:?}", self.fault, self.kind, self.on)
    }

    /// One time-out at most can end the fault in time: another would hide that it is not kept.
    fn settings(&self) -> String {
        let limit = self.fault.time_out(self.kind);
        let times = [("connect", 1), ("answer", 2), ("poll", 2), ("body", 3)];
        let times = times.map(|(name, seconds)| {
            format!("{name} = {}\n", if limit == Some(name) { seconds } else { 3600 })
        });
        let times = times.concat();
        format!("[commands]\nshell = \"allow\"\n[timeouts]\nretry = 1\n{times}")
    }

    fn run(&self) -> Result<(), String> {
        let Self { fault, kind, on, expected } = *self;
        let server = FaultServer::start(kind, fault, on, expected == Expected::Counts, jpeg(3000));
        let mut terminal = Terminal::prepare(&server.url(), &self.settings());
        server.set_bait(format!("C:66:{}", mark(&terminal, "bait")));
        if kind == Kind::Handshake && on == On::First {
            server.arm();
        }
        terminal.run();
        let mut link = Link { driver: terminal.driver(), terminal, server };
        link.given(self)?;
        if !(kind == Kind::Handshake && on == On::First) {
            link.server.arm();
        }
        link.when(kind, on);
        match expected {
            Expected::Fails => {
                link.wait("met and shown", |link| link.is_met(self) && link.is_in_trouble())?;
                if kind == Kind::Handshake && on != On::First {
                    link.driver.punch("1", &second(1));
                }
                link.nothing_is_done(self)?;
                if matches!(fault, Fault::StatusLater(_)) {
                    link.waits_as_asked(kind)?;
                }
                link.server.heal();
            }
            Expected::SaysNothing => {
                let polled = |link: &mut Link| {
                    link.server.seen_of(Kind::Poll).iter().filter(|poll| !poll.is_taken).count() > 2
                };
                link.wait("polled on", polled)?;
                link.nothing_is_done(self)?;
                link.server.heal();
            }
            Expected::Counts | Expected::FileRefused | Expected::Replaced => {
                if kind == Kind::Handshake && on != On::First {
                    link.wait("a second handshake", |link| link.taken(kind) > 1)?;
                    link.driver.punch("1", &second(1));
                }
            }
            Expected::Nothing => return Ok(()),
        }
        link.wait("done", |link| link.is_done(kind, expected))?;
        link.server.heal();
        link.then(self)
    }
}

/// A command that leaves a line in a file of this name each time it is carried out.
fn mark(terminal: &Terminal, name: &str) -> String {
    format!("SHELL echo x >> {}", terminal.path(name).display())
}

/// A terminal and its server.
struct Link {
    driver: Driver,
    terminal: Terminal,
    server: FaultServer,
}

impl Link {
    /// What has to be there before the fault begins.
    fn given(&mut self, cell: &Cell) -> Result<(), String> {
        if cell.kind == Kind::Handshake && cell.on == On::First {
            return Ok(());
        }
        self.wait("polled twice", |link| link.taken(Kind::Poll) >= 2)?;
        match cell.kind {
            Kind::Download => {
                let user = json!({"pin": "1", "name": "N"});
                self.driver.call("user.put", user).map_err(|error| error.to_string())?;
                self.wait("everything went up", |link| link.pending() == 0)
            }
            Kind::Query => {
                self.driver.punch("1", &second(1));
                self.wait("the punch went up", |link| link.pending() == 0)
            }
            _ => Ok(()),
        }
    }

    /// Something is to be done by a request of the kind.
    fn when(&mut self, kind: Kind, on: On) {
        let first = ("1", mark(&self.terminal, "first"));
        match kind {
            Kind::Handshake if on == On::First => drop(self.driver.punch("1", &second(1))),
            Kind::Handshake => self.server.forget(),
            Kind::Upload => drop(self.driver.punch("1", &second(1))),
            Kind::Poll => {
                let second = ("2", mark(&self.terminal, "half-of-it"));
                self.server.give(&[first, second]);
            }
            Kind::Reply => self.server.give(&[first]),
            Kind::Download => {
                let by_url = format!("DATA UPDATE BIOPHOTO PIN=1\tType=9\tFormat=1\tUrl={PICTURE}");
                self.server.give(&[("1", by_url)]);
            }
            Kind::Query => {
                let all =
                    "DATA QUERY ATTLOG StartTime=2026-01-01 00:00:00\tEndTime=2026-12-31 00:00:00";
                self.server.give(&[("1", all.into())]);
            }
            Kind::Other => {}
        }
    }

    /// While the fault lasts: nothing that was not answered counts, and nothing is carried out that is no
    /// command.
    fn nothing_is_done(&mut self, cell: &Cell) -> Result<(), String> {
        match cell.kind {
            Kind::Handshake | Kind::Upload if self.pending() == 0 => {
                return Err("the punch is not pending".into());
            }
            // Without a session the command is not begun.
            Kind::Reply if !cell.fault.is_of_connections() => {
                self.wait("pending", |link| link.status()["replies_pending"] != 0)?;
            }
            Kind::Query | Kind::Download if self.taken(Kind::Reply) > 0 => {
                return Err(format!("answered: {}", self.replies()));
            }
            _ => {}
        }
        self.no_bait()
    }

    /// The next attempt comes no sooner than the server asked.
    fn waits_as_asked(&mut self, kind: Kind) -> Result<(), String> {
        let met = |link: &Self| -> Vec<Instant> {
            let seen = link.server.seen_of(kind).into_iter();
            seen.filter(|seen| !seen.is_taken).map(|seen| seen.at).collect()
        };
        self.wait("met again", |link| met(link).len() > 1)?;
        let met = met(self);
        match met[1] - met[0] {
            early if early < RETRY_AFTER => Err(format!("asked again after {early:?}")),
            _ => Ok(()),
        }
    }

    fn no_bait(&self) -> Result<(), String> {
        match ["bait", "half"].iter().find(|name| self.terminal.path(name).exists()) {
            Some(name) => Err(format!("{name:?} was carried out")),
            None => Ok(()),
        }
    }

    /// Whether the server has what was to be done.
    fn is_done(&mut self, kind: Kind, expected: Expected) -> bool {
        match kind {
            Kind::Handshake | Kind::Upload => self.taken(Kind::Upload) > 0,
            Kind::Poll => self.replies().contains("ID=1\n") && self.replies().contains("ID=2\n"),
            Kind::Download if expected == Expected::FileRefused => {
                self.replies().contains("Return=-")
            }
            _ => self.taken(Kind::Reply) > 0,
        }
    }

    /// When it is done: nothing is left, nothing was done twice, and nothing is done again.
    fn then(&mut self, cell: &Cell) -> Result<(), String> {
        let polls = self.taken(Kind::Poll);
        self.wait("two more polls", |link| link.taken(Kind::Poll) >= polls + 2)?;
        self.wait("well again", |link| {
            let status = link.status();
            status["online"] == true
                && status["trouble"].is_null()
                && status["replies_pending"] == 0
        })?;
        if self.pending() > 0 {
            return Err(format!("{} rows are pending", self.pending()));
        }
        self.no_bait()?;
        self.each_once("first", matches!(cell.kind, Kind::Poll | Kind::Reply))?;
        self.each_once("half-of-it", cell.kind == Kind::Poll)?;
        let (uploads, queries) =
            (self.server.seen_of(Kind::Upload), self.server.seen_of(Kind::Query));
        // A reset can overtake the answer before it: then the acknowledgement is lost.
        let may_be_lost = cell.fault == Fault::ResetAfterAnswer;
        let has_punch = matches!(cell.kind, Kind::Handshake | Kind::Upload | Kind::Query);
        same_and_taken_once(&uploads, has_punch, may_be_lost)?;
        same_and_taken_once(&queries, cell.kind == Kind::Query, may_be_lost)?;
        let own = self.server.seen_of(cell.kind);
        let once = cell.expected == Expected::Counts
            && !may_be_lost
            && !matches!(cell.kind, Kind::Poll | Kind::Handshake);
        if once && own.len() != 1 {
            return Err(format!("{} requests for one", own.len()));
        }
        if cell.expected == Expected::Replaced {
            self.was_replaced_at_once(cell, &own)?;
        }
        let is_good =
            self.replies().contains("Return=-") == (cell.expected == Expected::FileRefused);
        if !is_good {
            return Err(format!("answered: {}", self.replies()));
        }
        if cell.kind == Kind::Download {
            let has_it = self.has_picture()?;
            if has_it != (cell.expected != Expected::FileRefused) {
                return Err(format!("has the picture: {has_it}"));
            }
        }
        match self.terminal.proc("status", "VmHWM") {
            peak if peak > MEMORY => Err(format!("{peak} KiB of memory")),
            _ => Ok(()),
        }
    }

    /// The fault was met as often as it was there, and nothing failed: no attempt came after a pause.
    fn was_replaced_at_once(&self, cell: &Cell, own: &[Seen]) -> Result<(), String> {
        let met = own.iter().filter(|seen| !seen.is_taken).count();
        let is_as_often = match cell.on {
            _ if cell.fault.is_of_connections() => true,
            On::KeptAndNext => met == 2,
            _ => met > 0,
        };
        if !is_as_often {
            return Err(format!("the fault was met {met} times"));
        }
        // A connection that only went stale says nothing of the session.
        let handshakes = self.server.seen_of(Kind::Handshake).len();
        if handshakes != 1 {
            return Err(format!("{handshakes} handshakes"));
        }
        match self.terminal.log().lines().find(|line| line.contains("next attempt in")) {
            Some(line) => Err(format!("a failure: {line}")),
            None => Ok(()),
        }
    }

    fn each_once(&self, name: &str, is_expected: bool) -> Result<(), String> {
        let lines =
            fs::read_to_string(self.terminal.path(name)).unwrap_or_default().lines().count();
        match lines == usize::from(is_expected) {
            true => Ok(()),
            false => Err(format!("{name:?} was carried out {lines} times")),
        }
    }

    fn has_picture(&mut self) -> Result<bool, String> {
        let changes = self.driver.call("changes", json!({"after": 0, "limit": 100}));
        let changes = changes.map_err(|error| error.to_string())?.to_string();
        Ok(changes.contains("comparison"))
    }

    /// Whether a request of the kind met the fault; of a fault of connections the server sees none.
    fn is_met(&self, cell: &Cell) -> bool {
        let seen = self.server.seen_of(cell.kind);
        cell.fault.is_of_connections() || seen.iter().any(|seen| !seen.is_taken)
    }

    fn is_in_trouble(&mut self) -> bool {
        let status = self.status();
        let job = status["jobs"]
            .as_array()
            .is_some_and(|jobs| jobs.iter().any(|job| job["trouble"] != 0));
        status["trouble"].is_string() || job
    }

    fn status(&mut self) -> Value {
        self.driver.call("status", json!({})).unwrap()
    }

    /// How many rows are pending.
    fn pending(&mut self) -> u64 {
        let status = self.status();
        let streams = status["streams"].as_object().unwrap();
        streams.values().filter_map(|stream| stream["pending"].as_u64()).sum()
    }

    /// How many requests of a kind were answered well.
    fn taken(&self, kind: Kind) -> usize {
        self.server.seen_of(kind).iter().filter(|seen| seen.is_taken).count()
    }

    /// The replies that were taken.
    fn replies(&self) -> String {
        let taken = self.server.seen_of(Kind::Reply).into_iter().filter(|seen| seen.is_taken);
        taken.map(|seen| String::from_utf8_lossy(&seen.body).into_owned() + "\n").collect()
    }

    fn wait(&mut self, what: &str, is_so: impl Fn(&mut Self) -> bool) -> Result<(), String> {
        let until = Instant::now() + LONGEST;
        while !is_so(self) {
            if Instant::now() > until {
                let seen: Vec<String> =
                    self.server.seen().iter().rev().take(6).map(brief).collect();
                let (trouble, log) = (self.status()["trouble"].clone(), self.terminal.log());
                let log: Vec<&str> = log.lines().rev().take(4).collect();
                return Err(format!(
                    "never {what}; trouble: {trouble}; last requests {seen:?}; log {log:#?}"
                ));
            }
            std::thread::sleep(Duration::from_millis(40));
        }
        Ok(())
    }
}

fn brief(seen: &Seen) -> String {
    let body: String = String::from_utf8_lossy(&seen.body).chars().take(60).collect();
    format!("{:?} {} {body:?}", seen.kind, if seen.is_taken { "taken" } else { "met" })
}

/// Rows are sent again with the same bytes, and after they were taken not at all.
fn same_and_taken_once(seen: &[Seen], is_expected: bool, may_be_lost: bool) -> Result<(), String> {
    let whole: Vec<&Seen> =
        seen.iter().filter(|seen| seen.body.iter().any(|byte| *byte != 0)).collect();
    let taken = whole.iter().filter(|seen| seen.is_taken).count();
    if (taken > 1 && !may_be_lost) || (taken == 0 && is_expected) {
        return Err(format!(
            "taken {taken} times: {:?}",
            seen.iter().map(brief).collect::<Vec<_>>()
        ));
    }
    match whole.windows(2).all(|pair| pair[0].body == pair[1].body) {
        true => Ok(()),
        false => {
            Err(format!("not the same bytes: {:?}", seen.iter().map(brief).collect::<Vec<_>>()))
        }
    }
}
