//! SIGKILL at random moments in the middle of what goes over many rows (`CLEAR LOG`, `CLEAR DATA`,
//! `SyncData`), while a driver punches. After the restarts the command is carried out to its end and
//! answered with one result, no punch is lost that was recorded after it, what `status` counts is what is
//! in the store, and nothing is left behind.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use iclock_emulator::{Emulator, Kind, Received};
use rusqlite::Connection;
use serde_json::json;

use crate::harness::{Driver, Terminal, answer, answer_text, second, server, store, until};

/// Punches that are in the store.
const PUNCHES: i64 = 60_000;
/// People, each with a fingerprint.
const ROWS: i64 = 4_000;
/// Records of a file.
const RECORDS: i64 = 3_000;

/// A command, and what it leaves.
struct Work {
    text: String,
    file: String,
    returns: i64,
    users: i64,
    /// Fingerprints with the number 1, which were there before, and 2, which come.
    fingers: [i64; 2],
    /// Whether the punches go that the server had.
    clears_log: bool,
}

impl Work {
    fn clear(what: &str, users: i64) -> Self {
        let (text, file) = (format!("CLEAR {what}"), String::new());
        Self { text, file, returns: 0, users, fingers: [users, 0], clears_log: true }
    }

    fn sync(table: &str, line: fn(i64) -> String, users: i64, fingers: [i64; 2]) -> Self {
        let text =
            format!("PutFile new\t\tAction=SyncData\tTableName={table}\tRecordCount={RECORDS}");
        let file = (1..=RECORDS).map(line).collect();
        Self { text, file, returns: RECORDS, users, fingers, clears_log: false }
    }
}

fn clear_log() -> Work {
    Work::clear("LOG", ROWS)
}

fn clear_data() -> Work {
    Work::clear("DATA", 0)
}

fn sync_fingerprints() -> Work {
    let line = |pin| format!("DATA UPDATE FINGERTMP PIN={pin}\tFID=2\tSize=4\tValid=1\tTMP=QUJD\n");
    Work::sync("FINGERTMP", line, ROWS, [0, RECORDS])
}

/// Half of the file's people are new.
fn sync_people() -> Work {
    let line = |nth| format!("DATA UPDATE USERINFO PIN={}\tName=New\n", nth + ROWS - RECORDS / 2);
    Work::sync("USERINFO", line, RECORDS, [RECORDS / 2, 0])
}

#[test]
#[ignore = "slow: twenty kills"]
fn twenty_kills_while_the_log_is_cleared() {
    kills(20, clear_log);
}

#[test]
#[ignore = "slow: twenty kills"]
fn twenty_kills_while_all_data_is_cleared() {
    kills(20, clear_data);
}

#[test]
#[ignore = "slow: twenty kills"]
fn twenty_kills_while_the_fingerprints_are_replaced() {
    kills(20, sync_fingerprints);
}

#[test]
#[ignore = "slow: twenty kills"]
fn twenty_kills_while_the_people_are_replaced() {
    kills(20, sync_people);
}

#[test]
fn kills_in_the_middle_of_long_work() {
    thread::scope(|scope| {
        for work in [clear_log, clear_data, sync_fingerprints, sync_people] {
            scope.spawn(move || kills(2, work));
        }
    });
}

/// As many kills, over as many commands as that takes.
fn kills(count: u32, work: fn() -> Work) {
    let (mut killed, mut seed) = (0, 1);
    while killed < count {
        killed += one_command(&work(), count - killed, seed);
        seed += 1;
    }
    println!("{killed} kills, {} commands: {}", seed - 1, work().text);
}

/// Gives out the command once, and kills the terminal as often until it is answered. How often.
fn one_command(work: &Work, most: u32, seed: u64) -> u32 {
    let server = server();
    server.allow(Kind::CutShort); // A kill in the middle of a request is the point.
    server.serve_file("new", work.file.clone());
    let mut terminal = Terminal::prepare(&server.url(), "[commands]\nclear_data = \"allow\"");
    terminal.run();
    terminal.stop();
    fill(&store(&terminal));
    terminal.run();
    let sensor = Sensor::start(terminal.path("run/driver.sock"));
    let id = server.queue(&work.text);
    let is_over = || server.received(|received: &Received| received.reply(&id).is_some());
    let is_begun = || terminal.status()["jobs"].as_array().is_some_and(|jobs| !jobs.is_empty());
    until("begun", || is_begun() || is_over(), || terminal.log());
    // The punch after the last that was answered may be on its way, and older than the command.
    let first = sensor.answered.lock().unwrap().last().copied().unwrap_or(0) + 2;
    let (mut killed, mut moment) = (0, seed);
    while killed < most && !is_over() {
        moment =
            moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Each third time long enough for some of the work: what never gets on is given up.
        let least = if killed % 3 == 2 { 2000 } else { 0 };
        thread::sleep(Duration::from_millis(least + (moment >> 33) % 700));
        killed += u32::from(!is_over());
        terminal.kill();
        terminal.run();
    }
    assert_eq!(answer(&server, &id).0, work.returns);
    let punches = sensor.end();
    check(work, &server, &mut terminal, &punches, first);
    let replies = server.replies();
    let others: Vec<_> =
        replies.iter().filter(|reply| reply.id == id && reply.ret != work.returns).collect();
    assert!(others.is_empty(), "{others:?}");
    killed
}

/// What is there in the end.
fn check(
    work: &Work,
    server: &Emulator,
    terminal: &mut Terminal,
    punches: &BTreeSet<u32>,
    first: u32,
) {
    let status = terminal.wait_for("all sent", |status| {
        status["streams"]["punches"]["pending"] == 0 && status["jobs"] == json!([])
    });
    let (_, info) = answer_text(server, &server.queue("INFO"));
    let received: BTreeSet<String> =
        server.attlog().iter().map(|row| row.record.pin.clone()).collect();
    let lost: Vec<_> = punches.iter().filter(|nth| !received.contains(&pin(**nth))).collect();
    assert!(lost.is_empty(), "never sent: {lost:?}");
    terminal.stop();
    let db = store(terminal);
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let kept = |nth: u32| count(&format!("SELECT count(*) FROM punch WHERE pin = '{}'", pin(nth)));
    let deleted: Vec<_> = punches.range(first..).filter(|nth| kept(**nth) != 1).collect();
    assert!(deleted.is_empty(), "not in the store, or twice: {deleted:?}");
    let old = count("SELECT count(*) FROM punch WHERE pin = '1' AND time < 1700100000");
    assert_eq!(old, if work.clears_log { 0 } else { PUNCHES });
    assert_eq!(status["punches"], count("SELECT count(*) FROM punch"));
    assert_eq!(
        (&status["users"], count("SELECT count(*) FROM user")),
        (&json!(work.users), work.users)
    );
    let fingers = [1, 2]
        .map(|number| count(&format!("SELECT count(*) FROM template WHERE number = {number}")));
    assert_eq!(fingers, work.fingers);
    let fingers: i64 = fingers.iter().sum();
    assert!(info.contains(&format!("FPCount={fingers}\n")), "{info}");
    assert_eq!(count("SELECT count(*) FROM option WHERE key = 'punchd.replacement'"), 0);
    assert_eq!(std::fs::read_dir(terminal.path("punchd.db.files")).unwrap().count(), 0);
}

/// Punches that the server has, and people with a fingerprint each that it has, too.
fn fill(db: &Connection) {
    let counting = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)";
    for (rows, insert) in [
        (
            PUNCHES,
            "INSERT INTO punch (seq, pin, time, status, verify, workcode)
             SELECT i + 1000, 1, 1700000000 + i, 0, 1, '0' FROM n",
        ),
        (
            ROWS,
            "INSERT INTO user (pin, name, privilege, password, card, grp, time_zones, verify, vice_card,
                 changed, local)
             SELECT i, 'User ' || i, 0, '', '', 1, '', 0, '', 100000 + i, 0 FROM n",
        ),
        (
            ROWS,
            "INSERT INTO template (pin, kind, type, number, idx, valid, duress, major, minor, format,
                 data, changed, local)
             SELECT i, 0, 1, 1, 0, 1, 0, 0, 0, 0, randomblob(600), 200000 + i, 0 FROM n",
        ),
    ] {
        db.execute(&format!("{counting} {insert}"), [rows]).unwrap();
    }
    db.execute(
        "INSERT OR REPLACE INTO cursor (stream, sent) VALUES ('punch', ?1), ('operation', ?1)",
        [1000 + PUNCHES],
    )
    .unwrap();
}

fn pin(nth: u32) -> String {
    format!("9{nth}")
}

/// A driver that punches, whatever terminal listens there. A punch without an answer is not repeated:
/// whether it was recorded is open.
struct Sensor {
    /// The numbers of the punches that were answered.
    answered: Arc<Mutex<BTreeSet<u32>>>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sensor {
    fn start(socket: PathBuf) -> Self {
        let (answered, is_over) =
            (Arc::<Mutex<BTreeSet<u32>>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (answered, is_over) = (Arc::clone(&answered), Arc::clone(&is_over));
            move || {
                let (mut nth, mut driver) = (0, None);
                while !is_over.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(5));
                    nth += 1;
                    driver = driver.or_else(|| Driver::try_connect(&socket));
                    let punch = json!({"pin": pin(nth), "time": second(nth)});
                    match driver.as_mut().and_then(|driver| driver.try_call("punch", &punch)) {
                        Some(done) => {
                            done.unwrap();
                            answered.lock().unwrap().insert(nth);
                        }
                        None => driver = None,
                    }
                }
            }
        });
        Self { answered, is_over, thread }
    }

    fn end(self) -> BTreeSet<u32> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.answered.lock().unwrap())
    }
}
