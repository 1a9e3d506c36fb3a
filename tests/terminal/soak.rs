//! A soak: everything flows while a server has one bad minute. When it is well again, everything
//! is there, nothing is set aside, and nothing was sent twice that the server had acknowledged.
//!
//! The server is raw: it knows only the protocol, and it answers a mixture that a seed decides.
//! `PUNCHD_SOAK_SEEDS=4,5,6` runs other seeds. It fails with a search that sets a row aside at its
//! first refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Driver, RawAnswer, RawRequest, RawServer, Terminal, base64, jpeg, options, says, second,
};

/// How many punches, and how many commands the server has.
const PUNCHES: u32 = 2000;
const COMMANDS: u64 = 200;
/// `ErrorDelay` in seconds.
const ERROR_DELAY: u64 = 2;
const OPTIONS: &str = "ErrorDelay=2\nDelay=1\n";

/// Numbers that look random and are the same for the same seed (xorshift).
struct Random(u64);

impl Random {
    /// From 0 to 99.
    fn percent(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % 100
    }
}

/// A row that came in a request, and whether the answer said that the server has it.
struct Receipt {
    bytes: Vec<u8>,
    acknowledged: bool,
}

/// What a server keeps.
struct Server {
    random: Random,
    is_well: Arc<AtomicBool>,
    /// It forgets the terminal from time to time, until the next handshake.
    knows_terminal: bool,
    /// By table and what identifies a row: each request that carried it.
    received: BTreeMap<String, Vec<Receipt>>,
    stored: BTreeSet<String>,
    /// Commands without a result, and the results of the others.
    commands: BTreeSet<u64>,
    results: BTreeMap<u64, Vec<String>>,
    answers: BTreeMap<&'static str, u32>,
}

impl Server {
    fn answer(&mut self, request: &RawRequest) -> RawAnswer {
        let is_well = self.is_well.load(Ordering::Relaxed);
        let draw = if is_well { 99 } else { self.random.percent() };
        if request.is_handshake() {
            return match draw {
                0..=5 => says(502, ""),
                6..=8 => RawAnswer::Resets,
                _ => {
                    self.knows_terminal = true;
                    options(OPTIONS)
                }
            };
        }
        if !self.knows_terminal {
            *self.answers.entry("forgotten").or_default() += 1;
            return says(200, "UNKNOWN DEVICE");
        }
        match draw {
            0..=4 => self.fails("502", says(502, "")),
            5..=8 => self.fails("503", RawAnswer::Says(503, "Retry-After: 1\r\n", String::new())),
            9 | 10 => self.fails("401", says(401, "")),
            11..=13 => {
                self.knows_terminal = false;
                self.fails("forgets", says(200, "UNKNOWN DEVICE"))
            }
            // What it keeps although no answer comes, it gets again.
            14 => {
                self.store(request, usize::MAX, false);
                self.fails("time-out", RawAnswer::Hangs)
            }
            15 | 16 => {
                self.store(request, usize::MAX, false);
                self.fails("reset", RawAnswer::Resets)
            }
            17 | 18 => self.fails("closed", RawAnswer::Closes),
            _ => self.works(request, draw),
        }
    }

    fn fails(&mut self, what: &'static str, answer: RawAnswer) -> RawAnswer {
        *self.answers.entry(what).or_default() += 1;
        answer
    }

    fn works(&mut self, request: &RawRequest, draw: u64) -> RawAnswer {
        if request.is_poll() {
            let commands = self.commands(20);
            return says(200, if commands.is_empty() { "OK".into() } else { commands });
        }
        if request.target.contains("/devicecmd") {
            for line in request.lines() {
                let field = |key: &str| {
                    let found = line.split('&').find_map(|part| part.strip_prefix(key));
                    found.unwrap_or_default().to_owned()
                };
                let id = field("ID=").parse().unwrap();
                self.commands.remove(&id);
                self.results.entry(id).or_default().push(field("Return="));
            }
            return says(200, "OK");
        }
        let rows = rows(request);
        match draw {
            19..=23 if !rows.is_empty() => {
                let commands = self.commands(3);
                if !commands.is_empty() {
                    return self.fails("commands", says(200, commands));
                }
            }
            // It keeps the first third of rows that are new to it, and says so.
            24..=28 if rows.len() > 2 && rows.iter().all(|(key, _)| !self.stored.contains(key)) => {
                let part = rows.len() / 3;
                self.store(request, part, false);
                return self.fails("short count", says(200, format!("OK:{part}")));
            }
            29..=36 => {
                self.store(request, usize::MAX, true);
                return self.fails("201", says(201, "OK"));
            }
            _ => {}
        }
        let new = rows.iter().filter(|(key, _)| !self.stored.contains(key)).count();
        // It counts the rows that are new to it.
        self.store(request, usize::MAX, new == rows.len());
        says(200, format!("OK:{new}"))
    }

    /// Keeps the first `most` rows of a request.
    fn store(&mut self, request: &RawRequest, most: usize, acknowledged: bool) {
        for (nth, (key, bytes)) in rows(request).into_iter().enumerate() {
            if nth < most {
                self.stored.insert(key.clone());
            }
            self.received.entry(key).or_default().push(Receipt { bytes, acknowledged });
        }
    }

    /// Commands that have no result yet.
    fn commands(&self, most: usize) -> String {
        let first = self.commands.iter().take(most);
        first.map(|id| format!("C:{id}:DATA UPDATE USERINFO PIN=9{id}\tName=N{id}\n")).collect()
    }
}

/// The rows of an upload, with what identifies each: its table, and the row without what a
/// dialect may add. A photo is a request of its own.
fn rows(request: &RawRequest) -> Vec<(String, Vec<u8>)> {
    let Some(table) = request.target.split("table=").nth(1) else { return Vec::new() };
    let table = table.split('&').next().unwrap();
    match table {
        "options" => Vec::new(),
        "ATTPHOTO" => {
            let name = request.body.split(|byte| *byte == b'\n').next().unwrap();
            let name = String::from_utf8_lossy(name).into_owned();
            vec![(format!("{table} {name}"), request.body.clone())]
        }
        _ => request
            .lines()
            .into_iter()
            .map(|line| {
                let key: Vec<&str> = line.split('\t').take(2).collect();
                (format!("{table} {}", key.join(" ")), line.into_bytes())
            })
            .collect(),
    }
}

/// What a driver records: punches, and between them photos, people, operations and errors.
fn records(driver: &mut Driver, nth: u32) -> Vec<String> {
    let (pin, time) = ((1000 + nth % 50).to_string(), second(nth));
    let mut call = |method, params: Value| drop(driver.call(method, params).unwrap());
    call("punch", json!({"pin": pin, "time": time, "verify": 1}));
    let mut keys = vec![format!("ATTLOG {pin} {time}")];
    if nth.is_multiple_of(40) {
        let data = base64(jpeg(2000 + nth as usize));
        call("photo", json!({"pin": pin, "time": time, "data": data}));
        let digits: String = time.chars().filter(char::is_ascii_digit).collect();
        keys.push(format!("ATTPHOTO PIN={digits}-{pin}.jpg"));
    }
    if nth.is_multiple_of(20) {
        let person = 5000 + nth;
        call("user.put", json!({"pin": person.to_string(), "name": format!("Person {nth}")}));
        keys.push(format!("OPERLOG USER PIN={person} Name=Person {nth}"));
    }
    if nth.is_multiple_of(25) {
        call("operation", json!({"op": 4, "operator": person_of(nth), "time": time}));
        keys.push(format!("OPERLOG OPLOG 4 {}", person_of(nth)));
    }
    if nth.is_multiple_of(100) {
        call("error", json!({"code": "D01E0001", "message": format!("no face {nth}")}));
        keys.push(format!("ERRORLOG ERRORLOG ErrCode=D01E0001 ErrMsg=no face {nth}"));
    }
    keys
}

fn person_of(nth: u32) -> String {
    (100_000 + nth).to_string()
}

#[test]
#[ignore = "slow: a bad half minute of a server for each seed"]
fn after_a_bad_time_of_the_server_everything_is_there_and_nothing_came_twice() {
    let seeds = std::env::var("PUNCHD_SOAK_SEEDS").unwrap_or_else(|_| "1,2".into());
    for seed in seeds.split(',') {
        soak(seed.trim().parse().unwrap());
    }
}

fn soak(seed: u64) {
    println!("seed {seed}");
    let is_well = Arc::new(AtomicBool::new(false));
    let commands = Arc::new(AtomicU64::new(0));
    let server = Arc::new(Mutex::new(Server {
        random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        is_well: Arc::clone(&is_well),
        knows_terminal: false,
        received: BTreeMap::new(),
        stored: BTreeSet::new(),
        commands: BTreeSet::new(),
        results: BTreeMap::new(),
        answers: BTreeMap::new(),
    }));
    let answering = Arc::clone(&server);
    let raw = RawServer::start(move |request| answering.lock().unwrap().answer(request));
    let mut terminal = Terminal::prepare(&raw.url(), "[timeouts]\nretry = 2\nanswer = 2\n");
    terminal.run();
    let mut driver = terminal.driver();
    let mut expected = Vec::new();
    let begun = Instant::now();
    for nth in 0..PUNCHES {
        expected.extend(records(&mut driver, nth));
        if nth.is_multiple_of(PUNCHES / COMMANDS as u32) {
            let id = commands.fetch_add(1, Ordering::Relaxed);
            server.lock().unwrap().commands.insert(id);
        }
        // Everything flows for a while, whatever this machine does.
        let at = Duration::from_millis(u64::from(nth) * 12);
        std::thread::sleep(at.saturating_sub(begun.elapsed()));
    }
    is_well.store(true, Ordering::Relaxed);
    let well_since = Instant::now();
    let missing = || -> Vec<String> {
        let server = server.lock().unwrap();
        let rows = expected.iter().filter(|key| !server.stored.contains(*key)).cloned();
        rows.chain(server.commands.iter().map(|id| format!("result of {id}"))).collect()
    };
    let limit = Duration::from_secs(3 * ERROR_DELAY);
    while !missing().is_empty() {
        assert!(
            well_since.elapsed() < limit,
            "seed {seed}: {:?} after {limit:?}: {:#}",
            missing(),
            terminal.status()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("everything was there {:?} after the server was well", well_since.elapsed());
    let status = terminal.wait_for("nothing pending", |status| {
        let streams = status["streams"].as_object().unwrap();
        streams.values().all(|stream| stream["pending"] == 0)
    });
    assert_eq!(status["quarantine"], json!([]), "seed {seed}: {status:#}");
    assert_eq!(status["suspects"], json!([]), "seed {seed}: {status:#}");
    assert!(!terminal.log().contains("is set aside"), "seed {seed}");
    let server = server.lock().unwrap();
    println!("{:?}", server.answers);
    for (key, receipts) in &server.received {
        let (last, before) = receipts.split_last().unwrap();
        for receipt in before {
            assert!(!receipt.acknowledged, "seed {seed}: {key} came again");
            assert_eq!(receipt.bytes, last.bytes, "seed {seed}: {key} came with other bytes");
        }
    }
    for (id, results) in &server.results {
        assert!(results.iter().all(|result| result == "0"), "seed {seed}: {id}: {results:?}");
    }
    assert_eq!(server.results.len() as u64, COMMANDS);
    assert_eq!(status["users"], COMMANDS + u64::from(PUNCHES / 20), "{status:#}");
}
