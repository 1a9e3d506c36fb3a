//! Never deaf, as one test: a driver punches every 10 ms, whatever else goes on over a large store.
//!
//! The longest wait of the driver and the largest piece of work between two looks at the drivers are
//! printed. The budget of a piece, in steps of SQLite and in pages (`src/store/work.rs`), holds for
//! every test with a [`Terminal`], and fails it.

use std::fs::OpenOptions;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iclock_emulator::{Act, Emulator, Fault, On};
use md5::{Digest, Md5};
use rusqlite::params;
use serde_json::json;

use crate::earlier_store;
use crate::harness::{Driver, Terminal, noise, second, server, store, tgz, until_unanswered};

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(900);

/// How much is in the store, and how much comes.
struct Size {
    punches: u32,
    people: u32,
    commands: u32,
    file_bytes: usize,
    members: usize,
    /// The time of the first of the last few thousand punches.
    last_from: &'static str,
}

const QUICK: Size = Size {
    punches: 60_000,
    people: 4_000,
    commands: 3_000,
    file_bytes: 4 << 20,
    members: 300,
    last_from: "2023-11-15 14:00:00",
};
const FULL: Size = Size {
    punches: 500_000,
    people: 50_000,
    commands: 100_000,
    file_bytes: 100 << 20,
    // With their directories as many as may be.
    members: 9_950,
    last_from: "2023-11-20 14:20:00",
};

/// A terminal with a large store, and its server.
struct Bench {
    size: &'static Size,
    server: Emulator,
    terminal: Terminal,
}

impl Bench {
    fn start(size: &'static Size, limits: &str) -> Self {
        let server = server();
        let mut terminal = Terminal::prepare(&server.url(), "");
        let files = terminal.path("files");
        std::fs::create_dir(&files).unwrap();
        let files = files.display();
        let more = format!(
            "[commands]\nclear_data = \"allow\"\nput_dirs = [\"{files}\"]\n\
             [upgrade]\ncommand = [\"/bin/false\"]\n\
             [limits]\nstart_spread = 0\nfile_mib = 200\n{limits}"
        );
        terminal.configure(&server.url(), &more);
        terminal.run();
        terminal.stop();
        fill(&terminal, size);
        let log = OpenOptions::new().append(true).open(terminal.path("log")).unwrap();
        let begun = Instant::now();
        terminal.run_telling_all(log.into());
        println!("start: the driver socket is there after {:.1?}", begun.elapsed());
        terminal.wait_until_online();
        Self { size, server, terminal }
    }

    /// Lets a driver punch while something goes on. What it costs the driver is printed.
    fn during<T>(&self, what: &str, work: impl FnOnce(&Self) -> T) -> T {
        let is_over = AtomicBool::new(false);
        let before = self.terminal.log().len();
        let (done, (punches, longest)) = std::thread::scope(|scope| {
            let punching = scope.spawn(|| punch_until(self.terminal.driver(), &is_over));
            let done = work(self);
            is_over.store(true, Ordering::Relaxed);
            (done, punching.join().unwrap())
        });
        let log = self.terminal.log();
        let pieces = log[before..].lines().filter_map(piece);
        let (steps, pages) =
            pieces.fold((0, 0), |most, piece| (most.0.max(piece.0), most.1.max(piece.1)));
        println!(
            "{what}: {punches} punches, the longest wait {longest:.1?}, most steps {steps}, pages {pages}"
        );
        done
    }

    /// The answer to a command.
    fn returns(&self, text: &str) -> i64 {
        let id = self.server.queue(text);
        let came = self.server.wait_until(LONG, |received| received.reply(&id).is_some());
        assert!(came, "{text} was never answered: {}", self.terminal.log());
        self.server.received(|received| received.reply(&id).unwrap().ret)
    }
}

/// The steps and pages of a line about a piece of work.
fn piece(line: &str) -> Option<(u64, u64)> {
    let (_, piece) = line.split_once("drivers waited for ")?;
    let (steps, pages) = piece.split_once(" steps of SQLite and ")?;
    Some((steps.parse().ok()?, pages.split(' ').next()?.parse().ok()?))
}

/// Punches every 10 ms. How often, and the longest wait for an answer.
fn punch_until(mut driver: Driver, is_over: &AtomicBool) -> (u32, Duration) {
    let (mut nth, mut longest) = (0, Duration::ZERO);
    while nth == 0 || !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        driver.punch("1001", &second(nth));
        longest = longest.max(begun.elapsed());
        nth += 1;
        std::thread::sleep(Duration::from_millis(10).saturating_sub(begun.elapsed()));
    }
    (nth, longest)
}

/// Punches that the server has, people with a fingerprint each that it has, too.
fn fill(terminal: &Terminal, size: &Size) {
    let db = store(terminal);
    let values = params![size.punches, size.people];
    let first: i64 = 1000;
    db.execute_batch("BEGIN").unwrap();
    db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO punch (seq, pin, time, status, verify, workcode)
         SELECT i + 1000, i % ?2 + 1, 1700000000 + i, 0, 1, '0' FROM n",
        values,
    )
    .unwrap();
    db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
         INSERT INTO user (pin, name, privilege, password, card, grp, time_zones, verify, vice_card,
             changed, local)
         SELECT i, 'User ' || i, 0, '', '', 1, '', 0, '', 1000 + ?1 + i, 0 FROM n",
        values,
    )
    .unwrap();
    db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
         INSERT INTO template (pin, kind, type, number, idx, valid, duress, major, minor, format, data,
             changed, local)
         SELECT i, 0, 1, 1, 0, 1, 0, 0, 0, 0, randomblob(600), 1000 + ?1 + ?2 + i, 0 FROM n",
        values,
    )
    .unwrap();
    db.execute(
        "INSERT OR REPLACE INTO cursor (stream, sent) VALUES ('punch', ?1), ('operation', ?1)",
        [first + i64::from(size.punches)],
    )
    .unwrap();
    db.execute_batch("COMMIT").unwrap();
}

/// A file of data commands: a fingerprint for each person.
fn fingers(people: u32) -> Vec<u8> {
    let template = crate::harness::base64(noise(600));
    let line = |pin| {
        format!(
            "DATA UPDATE FINGERTMP PIN={pin}\tFID=2\tSize={}\tValid=1\tTMP={template}\n",
            template.len()
        )
    };
    (1..=people).map(line).collect::<String>().into_bytes()
}

fn people(people: std::ops::RangeInclusive<u32>) -> String {
    people.map(|pin| format!("DATA UPDATE USERINFO PIN={pin}\tName=New {pin}\n")).collect()
}

/// What goes on, and its name.
type Scene = (&'static str, fn(&Bench));

/// Scenes over a store that was filled before.
const SCENES: [Scene; 12] = [
    ("the server is silent", |bench| {
        bench.server.fault(Fault::new(On::any(), Act::Stall { ms: None }).always());
        until_unanswered(&bench.server);
        std::thread::sleep(Duration::from_millis(300));
        bench.server.clear_faults();
        bench.server.release_stalled();
    }),
    ("a flood of status", |bench| {
        let mut driver = bench.terminal.driver();
        for _ in 0..300 {
            driver.call("status", json!({})).unwrap();
        }
    }),
    ("export", |bench| {
        let output = bench.terminal.punchd(&["export"]);
        assert!(output.status.success());
    }),
    ("VERIFY SUM", |bench| {
        let times = "StartTime=2000-01-01 00:00:00\tEndTime=2099-01-01 00:00:00";
        assert_eq!(bench.returns(&format!("VERIFY SUM ATTLOG {times}")), 0);
    }),
    ("INFO", |bench| assert_eq!(bench.returns("INFO"), 0)),
    ("DATA QUERY USERINFO", |bench| assert_eq!(bench.returns("DATA QUERY USERINFO"), 0)),
    ("DATA QUERY FINGERTMP", |bench| assert_eq!(bench.returns("DATA QUERY FINGERTMP"), 0)),
    ("DATA QUERY ATTLOG", |bench| {
        // All are counted, and the last of them go up.
        let (from, to) = (bench.size.last_from, "2099-01-01 00:00:00");
        let query = format!("DATA QUERY ATTLOG StartTime={from}\tEndTime={to}");
        assert_eq!(bench.returns(&query), 0);
    }),
    ("SyncData of fingerprints", |bench| {
        let people = bench.size.people;
        bench.server.serve_file("fingers", fingers(people));
        let text = format!(
            "PutFile fingers\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount={people}"
        );
        assert_eq!(bench.returns(&text), i64::from(people));
    }),
    ("SyncData of people", |bench| {
        let half = bench.size.people / 2;
        bench.server.serve_file("people", people(half..=half * 2 + half / 2));
        let text = format!(
            "PutFile people\t\tAction=SyncData\tTableName=USERINFO\tRecordCount={}",
            half + half / 2 + 1
        );
        assert_eq!(bench.returns(&text), i64::from(half + half / 2 + 1));
    }),
    ("CLEAR LOG", |bench| assert_eq!(bench.returns("CLEAR LOG"), 0)),
    ("CLEAR DATA", |bench| assert_eq!(bench.returns("CLEAR DATA"), 0)),
];

fn each_scene(size: &'static Size) {
    let bench = Bench::start(size, "");
    for (what, scene) in SCENES {
        bench.during(what, scene);
    }
    assert_eq!(bench.terminal.status()["users"], 0);
    commands_and_files(&bench);
}

/// What comes from the server in great numbers.
fn commands_and_files(bench: &Bench) {
    let &Size { commands, file_bytes, members, .. } = bench.size;
    bench.during("a long list of commands", |bench| {
        let line =
            |nth: u32| format!("C:u{nth}:DATA UPDATE USERINFO PIN={}\tName=N\n", nth % 50_000);
        bench.server.next_poll_body((1..=commands).map(line).collect::<String>());
        let last = format!("u{commands}");
        assert!(bench.server.wait_until(LONG, |received| received.reply(&last).is_some()));
    });
    bench.during("PutFile of a large file", |bench| {
        bench.server.serve_file("large", noise(file_bytes));
        assert_eq!(bench.returns("PutFile large\tlarge"), file_bytes as i64);
    });
    bench.during("the check of an upgrade", |bench| {
        let program = noise(file_bytes / 2);
        let sum: String = Md5::digest(&program).iter().map(|byte| format!("{byte:02x}")).collect();
        let size = program.len();
        bench.server.serve_file("program", program);
        let text = format!("UPGRADE type=1,checksum={sum},size={size},url=program");
        // The program of the owner refuses it, after the check.
        assert!(bench.returns(&text) < 0);
    });
    bench.during("an archive of many members", |bench| {
        let names: Vec<String> = (0..members).map(|nth| format!("{}/{nth}", nth % 50)).collect();
        let members: Vec<(&str, &[u8])> =
            names.iter().map(|name| (name.as_str(), &b"content"[..])).collect();
        let archive = tgz(&members);
        let size = archive.len();
        bench.server.serve_file("many.tgz", archive);
        assert_eq!(bench.returns("PutFile many.tgz\tmany"), size as i64);
    });
}

#[test]
fn a_driver_is_served_whatever_goes_on() {
    each_scene(&QUICK);
}

#[test]
#[ignore = "slow: half a million punches, fifty thousand people"]
fn a_driver_is_served_whatever_goes_on_in_a_full_store() {
    each_scene(&FULL);
}

/// A name server that nothing comes back from, or that knows no such name.
fn without_the_server(size: &'static Size) {
    let mut bench = Bench::start(size, "");
    bench.terminal.stop();
    bench.terminal.configure("http://server.invalid", "[limits]\nstart_spread = 0\n");
    let log = OpenOptions::new().append(true).open(bench.terminal.path("log")).unwrap();
    bench.terminal.run_telling_all(log.into());
    bench.during("the server's name is unresolved", |bench| {
        bench.terminal.wait_for("a failed look-up", |status| {
            status["trouble"].as_str().is_some_and(|trouble| trouble.contains("cannot be resolved"))
        });
    });
}

#[test]
fn a_driver_is_served_while_the_name_of_the_server_is_not_resolved() {
    without_the_server(&QUICK);
}

/// A store of an earlier version is brought to this one. Drivers cannot connect meanwhile: a driver that
/// tries again and again has its first punch answered when that is over.
fn while_it_migrates(punches: u32) {
    let mut terminal = earlier_store::given("http://127.0.0.1:9");
    let db = store(&terminal);
    db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO punch (seq, pin, time, status, verify, workcode)
         SELECT i + 1000, i % 1000 + 1, 1700000000 + i, 0, 1, '0' FROM n",
        [punches],
    )
    .unwrap();
    drop(db);
    let socket = terminal.path("run/driver.sock");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let punching = scope.spawn(|| {
            loop {
                if let Some(mut driver) = Driver::try_connect(&socket) {
                    driver.punch("1001", &second(1));
                    return begun.elapsed();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        terminal.run();
        let waited = punching.join().unwrap();
        println!("a migration of {punches} punches: the first is answered after {waited:.1?}");
    });
    assert!(terminal.status()["punches"].as_u64().unwrap() > u64::from(punches));
}

#[test]
fn a_driver_is_served_after_a_migration() {
    while_it_migrates(60_000);
}

#[test]
#[ignore = "slow: half a million punches"]
fn a_driver_is_served_after_a_migration_of_a_full_store() {
    while_it_migrates(500_000);
}

/// Punches over the limit are deleted while drivers punch.
fn at_the_limit(size: &'static Size) {
    let bench = Bench::start(size, &format!("punches = {}", size.punches / 2));
    let kept = |terminal: &Terminal| terminal.status()["punches"].as_u64().unwrap_or(0);
    bench.during("housekeeping at the limit", |bench| {
        let until = Instant::now() + LONG;
        while kept(&bench.terminal) > u64::from(bench.size.punches / 2) {
            assert!(Instant::now() < until, "{}", bench.terminal.status());
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn a_driver_is_served_while_punches_are_deleted_at_the_limit() {
    at_the_limit(&QUICK);
}

#[test]
#[ignore = "slow: half a million punches"]
fn a_driver_is_served_while_punches_are_deleted_at_the_limit_of_a_full_store() {
    at_the_limit(&FULL);
}
