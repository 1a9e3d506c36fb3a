//! The search against a model of a server, over many rows: servers that fail by themselves, and
//! rows that make them fail. Exactly these rows are set aside, whatever the server does.

use std::collections::{BTreeMap, BTreeSet};

use super::row_search::{Comparison, Failure, Next, Offer, REPEATS, RowSearch, compare};
use super::suspects::Occasions;

/// How many rows there are.
const ROWS: usize = 40_000;
/// So many wait at first; of the others one comes every two seconds.
const WAITING: usize = 1000;
/// Most rows in a request.
const MOST: usize = 62;
/// Rows that a refused one is compared with.
const OTHERS: usize = 4;
/// `ErrorDelay` in seconds.
const DELAY: i64 = 30;

/// How a server fails by itself.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Never,
    EverySecond,
    Percent(u64),
}

struct Server {
    failing: Failing,
    random: u64,
    requests: u64,
    /// The rows that it never takes, and how it fails at them.
    refused: BTreeSet<usize>,
    failure: Failure,
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
        if self.refused.range(rows).next().is_some() { Err(self.failure) } else { Ok(()) }
    }

    fn offer(&mut self, row: usize) -> Offer {
        if self.take(row..row + 1).is_ok() { Offer::Taken } else { Offer::Refused }
    }
}

/// The rows of one terminal and what became of them.
struct Model {
    server: Server,
    search: RowSearch,
    /// The first row that was neither taken nor passed over.
    next: usize,
    now: i64,
    delivered: usize,
    aside: BTreeSet<usize>,
    suspects: BTreeMap<usize, (Occasions, i64)>,
    ever_suspect: BTreeSet<usize>,
}

impl Model {
    fn new(failing: Failing, refused: &[usize], failure: Failure, seed: u64) -> Self {
        let refused = refused.iter().copied().collect();
        Self {
            server: Server { failing, random: seed, requests: 0, refused, failure },
            search: RowSearch::default(),
            next: 0,
            now: 0,
            delivered: 0,
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
            assert!(self.server.requests < 2_000_000, "it comes to no end at row {}", self.next);
            let is_due = |(_, (_, at)): &(&usize, &(Occasions, i64))| *at <= self.now;
            let due = self.suspects.iter().find(is_due).map(|(row, (known, _))| (*row, *known));
            match due {
                Some((row, known)) => self.offer_suspect(row, known),
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
        if !self.server.fails() {
            self.search.other_request_answered();
        }
    }

    fn upload(&mut self) {
        let count = self.search.most_rows(MOST).min(self.come() - self.next);
        let failure = match self.server.take(self.next..self.next + count) {
            Ok(()) => {
                self.delivered += count;
                self.next += count;
                return self.search.passed(count);
            }
            Err(failure) => failure,
        };
        match self.search.failed(count, failure) {
            Next::SameAfterPause => {
                self.now += DELAY;
                self.another_request();
            }
            Next::HalfAtOnce => {}
            Next::Compare => {
                let last = self.come().min(self.next + 1 + OTHERS);
                let rows: Vec<usize> = (self.next..last).collect();
                match self.compare(&rows, REPEATS) {
                    Some(found) => self.settle(&rows, &found, None),
                    None => {
                        self.search.servers_trouble();
                        self.now += DELAY;
                    }
                }
            }
        }
    }

    fn offer_suspect(&mut self, row: usize, known: Occasions) {
        if self.server.offer(row) == Offer::Taken {
            self.suspects.remove(&row);
            self.delivered += 1;
            return;
        }
        let others = self.next..self.come().min(self.next + OTHERS);
        let rows: Vec<usize> = std::iter::once(row).chain(others).collect();
        match self.compare(&rows, known.repeats(self.now)) {
            Some(found) => self.settle(&rows, &found, Some(known)),
            None => {
                self.suspects.insert(row, (known, self.now + DELAY));
            }
        }
    }

    fn compare(&mut self, rows: &[usize], repeats: u32) -> Option<Comparison> {
        let server = &mut self.server;
        compare(rows.len(), repeats, false, |nth| Ok::<_, ()>(server.offer(rows[nth]))).unwrap()
    }

    /// `known`: the first row was a suspect before; otherwise it is the next, as the others are.
    fn settle(&mut self, rows: &[usize], found: &Comparison, known: Option<Occasions>) {
        for (nth, row) in rows[..found.settled].iter().enumerate() {
            let earlier = known.filter(|_| nth == 0);
            self.suspects.remove(row);
            if earlier.is_none() {
                self.next += 1;
                self.search.passed(1);
            }
            if !found.suspects.contains(&nth) {
                self.delivered += 1;
                continue;
            }
            self.ever_suspect.insert(*row);
            let occasions = Occasions::refused(earlier, self.now);
            if occasions.is_enough(self.now) {
                self.aside.insert(*row);
            } else {
                let at = self.now + occasions.pause(self.now, DELAY);
                self.suspects.insert(*row, (occasions, at));
            }
        }
    }
}

#[test]
fn exactly_the_rows_that_the_server_refuses_are_set_aside() {
    let refused: [(&[usize], Failure); 4] = [
        (&[], Failure::Trouble),
        (&[500, 20_000], Failure::Trouble),
        (&[500, 501], Failure::Refused),
        (&[0, 12_345], Failure::Refused),
    ];
    let all = [Failing::Never, Failing::EverySecond, Failing::Percent(30), Failing::Percent(50)];
    for failing in all {
        for (rows, failure) in refused {
            for seed in 1..=3 {
                let mut model = Model::new(failing, rows, failure, seed);
                model.run();
                let aside: Vec<usize> = model.aside.iter().copied().collect();
                assert_eq!(aside, rows, "{failing:?} {failure:?} seed {seed}");
                if seed == 1 {
                    println!(
                        "the server fails {failing:?}, refuses {rows:?} by {failure:?}: {} requests, \
                         {} s, {} rows ever suspect",
                        model.server.requests,
                        model.now,
                        model.ever_suspect.len()
                    );
                }
            }
        }
    }
}
