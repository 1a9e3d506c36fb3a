//! One row that a server cannot take, each against a raw server that knows only the rule: the row
//! is passed over, the rest goes, and only after three occasions over ten minutes is it set aside.
//! The server's `Date` moves the time.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{
    Driver, RawAnswer, RawRequest, RawServer, Terminal, dated, options, polls_of, says, second,
    until,
};

/// When the story begins: 2026-11-26.
const BEGIN: i64 = 1_795_651_200;

/// A server with a clock of its own, and a terminal that follows it.
struct Story {
    server: RawServer,
    terminal: Terminal,
    driver: Driver,
    clock: Arc<AtomicI64>,
    /// When the row came, by the server's clock.
    offers: Arc<Mutex<Vec<i64>>>,
    punches: u32,
    taken: Arc<AtomicUsize>,
}

/// The punch that the server does not take.
const POISON: &str = "666";

impl Story {
    /// `poison` answers requests with the row; `None`: it is taken like the others.
    fn begin(mut poison: impl FnMut() -> Option<RawAnswer> + Send + 'static) -> Self {
        let (clock, offers) = (Arc::new(AtomicI64::new(BEGIN)), Arc::new(Mutex::new(Vec::new())));
        let taken = Arc::new(AtomicUsize::new(0));
        let (time, seen, count) = (Arc::clone(&clock), Arc::clone(&offers), Arc::clone(&taken));
        let server = RawServer::start(move |request| {
            let now = time.load(Ordering::Relaxed);
            let date = |answer| dated(answer, now);
            if request.is_handshake() {
                return date(options(""));
            }
            if !request.is_upload("ATTLOG") {
                return date(says(200, "OK"));
            }
            if request.lines().iter().any(|line| line.starts_with("666\t")) {
                seen.lock().unwrap().push(now);
                if let Some(answer) = poison() {
                    return date(answer);
                }
            }
            count.fetch_add(request.lines().len(), Ordering::Relaxed);
            date(says(200, format!("OK:{}", request.lines().len())))
        });
        let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 1\nanswer = 1\n");
        terminal.run();
        let driver = terminal.driver();
        Self { server, terminal, driver, clock, offers, punches: 0, taken }
    }

    /// Time goes by, and a punch that is taken shows that the server takes others.
    fn after(&mut self, seconds: i64) -> usize {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
        polls_of(&self.server, 2);
        let before = self.taken.load(Ordering::Relaxed);
        self.punches += 1;
        self.driver.punch("1", &second(self.punches));
        let taken = || self.taken.load(Ordering::Relaxed) > before;
        until("taken", taken, || self.terminal.log());
        // The occasion comes to its end: after a 403 a handshake goes before each offer.
        loop {
            let offers = self.offers();
            polls_of(&self.server, 2);
            if self.offers() == offers {
                return offers;
            }
        }
    }

    fn offers(&self) -> usize {
        self.offers.lock().unwrap().len()
    }

    /// How many rows of the punches are pending, suspect and set aside.
    fn rows(&self) -> (u64, u64, u64) {
        let streams = &self.terminal.status()["streams"]["punches"];
        let count = |key: &str| streams[key].as_u64().unwrap();
        (count("pending"), count("suspect"), count("quarantined"))
    }

    fn wait_for_rows(&self, wanted: (u64, u64, u64)) {
        until(
            "so many rows",
            || self.rows() == wanted,
            || format!("{:?} {}", self.rows(), self.terminal.log()),
        );
    }
}

/// The whole life of a row that a server does not take.
fn set_aside_and_offered_until_taken(answer: RawAnswer) {
    let is_cured = Arc::new(AtomicUsize::new(0));
    let cured = Arc::clone(&is_cured);
    let mut story =
        Story::begin(move || (cured.load(Ordering::Relaxed) == 0).then(|| answer.clone()));
    story.driver.punch(POISON, &second(80_000));
    // The next one is taken, whatever becomes of the row.
    story.driver.punch("1", &second(80_001));
    story.wait_for_rows((1, 1, 0));
    let first = story.offers();
    let second = story.after(5);
    assert!(second > first, "offered after ErrorDelay");
    assert_eq!(story.rows(), (1, 1, 0));
    let third = story.after(320);
    assert!(third > second, "offered after five minutes");
    assert_eq!(story.rows(), (1, 1, 0), "less than ten minutes");
    assert!(story.after(660) > third, "offered after ten minutes");
    story.wait_for_rows((0, 0, 1));
    let aside = story.offers();
    assert_eq!(story.after(3000), aside, "not within the hour");
    let hour = story.after(800);
    assert!(hour > aside, "offered after an hour");
    assert_eq!(story.after(80_000), hour, "not within the day");
    let day = story.after(7000);
    assert!(day > hour, "offered after a day");
    assert_eq!(story.rows(), (0, 0, 1));
    is_cured.store(1, Ordering::Relaxed);
    story.after(86_500);
    story.wait_for_rows((0, 0, 0));
    assert_eq!(story.terminal.status()["quarantine"], json!([]));
    assert!(story.terminal.log().contains("was taken after all"));
}

#[test]
fn a_row_that_makes_a_server_fail_is_offered_until_it_is_taken() {
    let answers =
        [says(500, "boom"), says(400, "bad"), says(200, ""), says(403, ""), says(406, "")];
    std::thread::scope(|scope| {
        for answer in answers {
            scope.spawn(|| set_aside_and_offered_until_taken(answer));
        }
    });
}

#[test]
fn a_row_without_an_answer_is_offered_until_it_is_taken() {
    std::thread::scope(|scope| {
        for answer in [RawAnswer::Hangs, RawAnswer::Closes] {
            scope.spawn(|| set_aside_and_offered_until_taken(answer));
        }
    });
}

#[test]
fn a_row_that_the_server_does_not_count_is_never_taken_for_delivered() {
    set_aside_and_offered_until_taken_by_count(1, None);
    // The last of a batch has no neighbour after it.
    set_aside_and_offered_until_taken_by_count(19, None);
    // A higher count the second time: the two are not those of a server that counts what is new to it.
    set_aside_and_offered_until_taken_by_count(7, Some(says(200, "OK:3")));
    // The server may have the rows of a request that failed, but it counts those beside this one.
    set_aside_and_offered_until_taken_by_count(1, Some(says(500, "boom")));
}

/// The server counts all rows of a batch of twenty but one. `first`: what it says the first time.
fn set_aside_and_offered_until_taken_by_count(place: u32, first: Option<RawAnswer>) {
    let first = Mutex::new(first);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_upload("ATTLOG") => {
            let rows = request.lines();
            let counted = rows.iter().filter(|row| !row.starts_with("666\t")).count();
            let first = first.lock().unwrap().take();
            first.unwrap_or_else(|| says(200, format!("OK:{counted}")))
        }
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..20 {
        let pin = if nth == place { POISON.into() } else { nth.to_string() };
        driver.punch(&pin, &second(nth));
    }
    drop(driver);
    terminal.stop();
    terminal.configure(&server.url(), "");
    terminal.run();
    let one_left = |status: &Value| status["streams"]["punches"]["pending"] == 1;
    terminal.wait_for("only one left", one_left);
    let with_row = || {
        let requests = server.requests();
        requests.iter().filter(|request| request.text().contains("666\t")).count()
    };
    // It is offered again after `ErrorDelay`, and not counted again.
    let before = with_row();
    until("offered again", || with_row() > before, || terminal.log());
    polls_of(&server, 2);
    let status = terminal.status();
    assert!(one_left(&status), "{status:#}");
    assert_eq!(status["streams"]["punches"]["suspect"], 1, "{status:#}");
    assert_eq!(status["not_counted"], 0, "{status:#}");
}

#[test]
fn a_person_with_many_rows_that_the_server_refuses_stops_nobody() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options(""),
        request if request.text().contains("666\t") && request.is_upload("ATTLOG") => {
            says(500, "no such employee")
        }
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 0..10 {
        driver.punch(POISON, &second(nth));
    }
    for nth in 10..40 {
        driver.punch("1", &second(nth));
    }
    drop(driver);
    terminal.stop();
    terminal.configure(&server.url(), "");
    terminal.run();
    terminal.wait_for("passed over", |status| status["streams"]["punches"]["suspect"] == 10);
    let status =
        terminal.wait_for("the rest gone", |status| status["streams"]["punches"]["pending"] == 10);
    assert_eq!(status["quarantine"], json!([]), "{status:#}");
}

/// A server that gives no answer to the error log, and a terminal with so many errors.
fn hanging_at_errors(errors: u32) -> (RawServer, Terminal, Driver) {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_upload("ERRORLOG") => RawAnswer::Hangs,
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 1\nanswer = 1\n");
    terminal.run();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    for nth in 0..errors {
        let error = json!({"code": "D01E0001", "message": format!("no face {nth}")});
        driver.call("error", error).unwrap();
    }
    (server, terminal, driver)
}

fn count(server: &RawServer, wanted: impl Fn(&RawRequest) -> bool) -> usize {
    server.requests().iter().filter(|request| wanted(request)).count()
}

#[test]
fn an_error_row_without_an_answer_is_passed_over_and_breaks_no_session() {
    let (server, terminal, mut driver) = hanging_at_errors(1);
    let status =
        terminal.wait_for("passed over", |status| status["streams"]["errors"]["suspect"] == 1);
    assert_eq!(status["streams"]["errors"]["quarantined"], 0);
    for nth in 0..20 {
        driver.punch("1", &second(nth));
    }
    terminal.wait_for("punches gone", |status| status["streams"]["punches"]["pending"] == 0);
    // No punch waited for another handshake.
    assert_eq!(count(&server, RawRequest::is_handshake), 1);
}

#[test]
fn a_table_without_answers_is_tried_less_and_less_often() {
    let (server, terminal, mut driver) = hanging_at_errors(3);
    polls_of(&server, 9);
    driver.punch("1", &second(1));
    terminal.wait_for("punch gone", |status| status["streams"]["punches"]["pending"] == 0);
    assert_eq!(count(&server, RawRequest::is_handshake), 1);
    let errors = |server: &RawServer| count(server, |request| request.is_upload("ERRORLOG"));
    let before = errors(&server);
    polls_of(&server, 6);
    assert!(errors(&server) <= before + 2, "{} after {before}", errors(&server));
}
