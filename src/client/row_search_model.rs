//! The search against a model of a server, over many rows: servers that fail by themselves, and
//! rows that make them fail. Exactly these rows are set aside, whatever the server does.

use std::collections::{BTreeMap, BTreeSet};

use super::row_search::{Comparison, Failure, Next, Offer, RowSearch, Verdict, compare};
use super::suspects::Occasions;

/// How many rows there are.
const ROWS: usize = 40_000;
/// So many wait at first; of the others one comes every two seconds.
const WAITING: usize = 1000;
/// Most rows in a request.
const MOST: usize = 62;
/// `ErrorDelay` in seconds.
const DELAY: i64 = 30;

/// How a server fails by itself.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Never,
    EverySecond,
    Percent(u64),
}

/// How the server fails at a row that it never takes.
#[derive(Clone, Copy, Debug)]
enum Poison {
    Status500,
    Status400,
    /// Nothing comes until the time-out.
    NoAnswer,
}

/// The time-out of an answer in seconds.
const TIME_OUT: i64 = 30;

/// A server that knows nothing of how the terminal searches.
struct Server {
    failing: Failing,
    random: u64,
    requests: u64,
    /// The rows that it never takes, and how it fails at them.
    refused: BTreeSet<usize>,
    poison: Poison,
    /// Seconds that passed while the terminal waited for an answer.
    waited: i64,
}

impl Server {
    /// Whether a request fails that no row is at fault for (splitmix64).
    fn fails(&mut self) -> bool {
        self.requests += 1;
        match self.failing {
            Failing::Never => false,
            Failing::EverySecond => self.requests.is_multiple_of(2),
            Failing::Percent(percent) => {
                self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = self.random;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                (z ^ (z >> 31)) % 100 < percent
            }
        }
    }

    fn take(&mut self, rows: std::ops::Range<usize>) -> Result<(), Failure> {
        if self.fails() {
            return Err(Failure::Trouble);
        }
        if self.refused.range(rows).next().is_none() {
            return Ok(());
        }
        Err(match self.poison {
            Poison::Status400 => Failure::Refused,
            Poison::Status500 => Failure::Trouble,
            Poison::NoAnswer => {
                self.waited += TIME_OUT;
                Failure::Trouble
            }
        })
    }

    fn offer(&mut self, row: usize) -> Offer {
        let before = self.waited;
        match self.take(row..row + 1) {
            Ok(()) => Offer::Taken,
            Err(_) if self.waited > before => Offer::Silent,
            Err(_) => Offer::Refused,
        }
    }
}

/// A suspect, and when it is offered next.
#[derive(Clone, Copy)]
struct Suspect {
    known: Occasions,
    at: i64,
    /// Nothing showed whether the last refusal was its fault.
    is_unclear: bool,
}

/// The rows of one terminal and what became of them.
struct Model {
    server: Server,
    search: RowSearch,
    /// The first row that was neither taken nor passed over.
    next: usize,
    now: i64,
    delivered: usize,
    /// When a request failed last that was no upload.
    failed_at: Option<i64>,
    /// The last request took rows.
    took_others: bool,
    aside: BTreeSet<usize>,
    suspects: BTreeMap<usize, Suspect>,
    ever_suspect: BTreeSet<usize>,
}

impl Model {
    fn new(failing: Failing, refused: &[usize], poison: Poison, seed: u64) -> Self {
        let refused = refused.iter().copied().collect();
        Self {
            server: Server { failing, random: seed, requests: 0, refused, poison, waited: 0 },
            search: RowSearch::default(),
            next: 0,
            now: 0,
            delivered: 0,
            failed_at: None,
            took_others: false,
            aside: BTreeSet::new(),
            suspects: BTreeMap::new(),
            ever_suspect: BTreeSet::new(),
        }
    }

    /// How many rows have come so far.
    fn come(&self) -> usize {
        ROWS.min(WAITING + (self.now / 2) as usize)
    }

    /// Runs until every row is delivered or set aside.
    fn run(&mut self) {
        while self.delivered + self.aside.len() < ROWS {
            self.now += std::mem::take(&mut self.server.waited);
            assert!(self.server.requests < 2_000_000, "it comes to no end at row {}", self.next);
            let took_others = std::mem::take(&mut self.took_others);
            let is_turn = took_others || self.next == self.come();
            let is_due = |(_, suspect): &(&usize, &Suspect)| {
                is_turn && (suspect.at <= self.now || (took_others && suspect.is_unclear))
            };
            let due = self.suspects.iter().find(is_due).map(|(row, suspect)| (*row, *suspect));
            match due {
                Some((row, suspect)) => self.offer_suspect(row, suspect, took_others),
                None if self.next < self.come() => self.upload(),
                None => {
                    self.now += 1;
                    if self.now % 30 == 0 {
                        self.another_request();
                    }
                }
            }
        }
    }

    fn another_request(&mut self) {
        if self.server.fails() {
            self.failed_at = Some(self.now);
        } else {
            self.search.other_request_answered();
        }
    }

    fn upload(&mut self) {
        let count = self.search.most_rows(MOST).min(self.come() - self.next);
        let failure = match self.server.take(self.next..self.next + count) {
            Ok(()) => {
                self.delivered += count;
                self.next += count;
                self.took_others = true;
                return self.search.passed(count);
            }
            Err(failure) => failure,
        };
        match self.search.failed(count, failure) {
            Next::SameAfterPause => {
                self.now += DELAY;
                self.another_request();
            }
            Next::HalfAtOnce => {
                let is_stall = self.server.waited > 0 && self.search.may_pass_together();
                let (after, come) = (self.next + count, self.come());
                let mut offer = || self.server.offer(after) == Offer::Taken;
                if is_stall && after < come && (offer() || offer()) {
                    let unclear = (0..count).collect();
                    self.settle(&Comparison { settled: count + 1, suspects: vec![], unclear });
                    self.search.found();
                    self.took_others = true;
                }
            }
            Next::Compare => {
                let server = &mut self.server;
                let took_others = self.search.took_others();
                let is_stall = server.waited > 0;
                let neighbours = self.search.neighbours(is_stall);
                let waiting = (ROWS.min(WAITING + (self.now / 2) as usize) - self.next).min(61);
                let next = self.next;
                let offer = |nth| Ok::<_, ()>(server.offer(next + nth));
                match compare(waiting, neighbours, took_others, is_stall, offer).unwrap() {
                    Verdict::Settled(found) => self.settle(&found),
                    Verdict::NoneTaken | Verdict::Unclear => {
                        self.search.servers_trouble();
                        self.now += DELAY;
                        self.another_request();
                    }
                }
            }
        }
    }

    fn offer_suspect(&mut self, row: usize, suspect: Suspect, took_others: bool) {
        let known = suspect.known;
        let repeats = if took_others { known.repeats(self.now, false) } else { 0 };
        if (0..=repeats).any(|_| self.server.offer(row) == Offer::Taken) {
            self.suspects.remove(&row);
            self.delivered += 1;
            self.took_others = self.next == self.come();
            return;
        }
        if took_others {
            self.refused(row, Some(known));
        } else {
            let at = self.now + DELAY;
            self.suspects.insert(row, Suspect { known, at, is_unclear: true });
        }
    }

    fn settle(&mut self, found: &Comparison) {
        for nth in 0..found.settled {
            if found.suspects.contains(&nth) {
                self.refused(self.next + nth, None);
            } else if found.unclear.contains(&nth) {
                self.ever_suspect.insert(self.next + nth);
                let known = Occasions { count: 0, first: self.now };
                let suspect = Suspect { known, at: self.now + DELAY, is_unclear: true };
                self.suspects.insert(self.next + nth, suspect);
            } else {
                self.delivered += 1;
            }
        }
        self.next += found.settled;
        self.search.passed(found.settled);
        if !found.suspects.is_empty() {
            self.search.found();
        }
    }

    fn refused(&mut self, row: usize, known: Option<Occasions>) {
        self.ever_suspect.insert(row);
        let occasions = Occasions::refused(known, self.now);
        if occasions.is_enough(self.now) {
            self.suspects.remove(&row);
            self.aside.insert(row);
        } else {
            let is_stall = self.server.waited > 0;
            let is_bad_time = !is_stall && occasions.is_bad_time(self.now, self.failed_at);
            let at = self.now + occasions.pause(DELAY, is_bad_time);
            self.suspects.insert(row, Suspect { known: occasions, at, is_unclear: false });
        }
    }
}

#[test]
fn exactly_the_rows_that_the_server_refuses_are_set_aside() {
    let poisons = [Poison::Status500, Poison::Status400, Poison::NoAnswer];
    // The first rows of all, neighbours, rows of which one waits at first and one comes later.
    let places: [&[usize]; 4] = [&[], &[0, 12_345], &[500, 501], &[500, 20_000]];
    let all = [Failing::Never, Failing::EverySecond, Failing::Percent(30), Failing::Percent(50)];
    for failing in all {
        let mut without = 0;
        for rows in places {
            for poison in &poisons[..if rows.is_empty() { 1 } else { poisons.len() }] {
                for seed in 1..=3 {
                    let mut model = Model::new(failing, rows, *poison, seed);
                    model.run();
                    let aside: Vec<usize> = model.aside.iter().copied().collect();
                    assert_eq!(aside, rows, "{failing:?} {poison:?} seed {seed}");
                    assert_eq!(model.delivered, ROWS - rows.len());
                    if seed > 1 {
                        continue;
                    }
                    let (requests, suspects) = (model.server.requests, model.ever_suspect.len());
                    if rows.is_empty() {
                        without = requests;
                        println!(
                            "{failing:?}, none refused: {requests} requests, {suspects} suspects"
                        );
                    } else {
                        println!(
                            "{failing:?}, {rows:?} refused by {poison:?}: {:+} requests, {suspects} suspects",
                            requests as i64 - without as i64
                        );
                    }
                }
            }
        }
    }
}
