//! What is asked for all the time costs the same in a small store and in a large one, counted in steps
//! of SQLite's virtual machine and in pages.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::ffi;

use super::db::{self, CHUNK};
use super::db_status;
use super::rows::Pass;
use super::tally::{FAN, Tally};
use crate::protocol::record::{Pin, User};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::time::LocalTime;
use crate::store::{Asked, Limits, Moment, NewPunch, Origin, Store};

/// Rows of the small store, and how many times as many people the large one has.
const ROWS: i64 = 1000;
const PEOPLE: i64 = 200;
const TIMES: i64 = 100;
/// The same place in a chunk, so that as many rows are at the end of the last one.
const MORE_ROWS: i64 = ROWS + CHUNK * (FAN * FAN * FAN + 4 * FAN * FAN + 5 * FAN + 6);

struct Filled(PathBuf, Store);

impl Filled {
    /// A store that has punches that wait, and people with ten templates each.
    fn new(name: &str, punches: i64, people: i64) -> Self {
        let name = format!("punchd-flat-{name}-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        Self::remove(&path);
        let open = || Store::open(&path, Limits::default()).unwrap();
        let store = open();
        let people_end = 10_000_000 + people;
        store
            .db
            .connection()
            .execute_batch(&format!(
                "PRAGMA synchronous = OFF; BEGIN;
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {punches})
                 INSERT INTO punch (seq, pin, time, status, verify, workcode)
                     SELECT n, '1', 1793577600, 0, 1, '' FROM n;
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {people})
                 INSERT INTO user (pin, name, privilege, password, card, grp, time_zones, verify,
                     vice_card, changed, local)
                     SELECT n, '', 0, '', '', 1, '', 0, '', 10000000 + n, 0 FROM n;
                 WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {people} * 10 - 1)
                 INSERT INTO template (pin, kind, type, number, idx, valid, duress, major, minor,
                     format, data, changed, local)
                     SELECT n / 10 + 1, 0, 1, n % 10, 0, 1, 0, 0, 0, 0, x'010203', {people_end} + n, 0 FROM n;
                 INSERT INTO template (pin, kind, type, number, idx, valid, duress, major, minor,
                     format, data, changed, local)
                     SELECT pin, 1, 2, 0, 0, 1, 0, 0, 0, 0, x'010203', {people_end} * 2 + changed, 0 FROM user;
                 COMMIT;"
            ))
            .unwrap();
        drop(store);
        // As after a start of a store in use.
        let store = open();
        while !Tally::new(&store.db).catch_up_for(Duration::MAX) {}
        store.db.connection().set_prepared_statement_cache_capacity(500);
        Self(path, store)
    }

    fn remove(path: &std::path::Path) {
        for suffix in ["", "-wal"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }

    /// Steps of SQLite that `work` takes the second time.
    fn steps(&self, work: impl Fn(&Store)) -> u64 {
        work(&self.1);
        self.1.db.work.take_steps();
        work(&self.1);
        let steps = self.1.db.work.take_steps();
        assert!(steps > 0, "the steps are not counted");
        steps
    }

    /// Pages that `work` looks at.
    fn pages(&self, work: impl Fn(&Store)) -> u32 {
        let kinds = [ffi::SQLITE_DBSTATUS_CACHE_HIT, ffi::SQLITE_DBSTATUS_CACHE_MISS];
        self.count_pages(&kinds, work)
    }

    /// Pages that `work` writes into the log.
    fn written(&self, work: impl Fn(&Store)) -> u32 {
        self.count_pages(&[ffi::SQLITE_DBSTATUS_CACHE_WRITE], work)
    }

    fn count_pages(&self, kinds: &[i32], work: impl Fn(&Store)) -> u32 {
        let connection = self.1.db.connection();
        let take = || kinds.iter().map(|&kind| db_status::take(connection, kind)).sum();
        let _: u32 = take();
        work(&self.1);
        take()
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        Self::remove(&self.0);
    }
}

fn pin(nth: i64) -> Pin {
    Pin::new(&nth.to_string()).unwrap()
}

/// What `status` asks of each stream, and how many punches are kept.
fn counts(store: &Store) {
    Stream::ALL.into_iter().for_each(|stream| _ = store.outbox().backlog(stream).unwrap());
    store.journal().count_punches().unwrap();
}

fn punch(store: &Store) {
    let time = LocalTime::parse("2026-11-02 08:00:00").unwrap();
    store.atomically(|| store.journal().add_punch(&NewPunch::of("1", Moment::At(time)))).unwrap();
}

fn acknowledge(store: &Store) {
    let streams: Vec<_> = Table::Attlog.streams().map(Into::into).collect();
    let batch = store.outbox().next_batch(&streams, 100).unwrap().unwrap();
    store.outbox().acknowledge(Table::Attlog, Pass::New, &batch.rows).unwrap();
}

#[test]
fn counts_and_calls_cost_the_same_in_a_large_store() {
    let small = Filled::new("small", ROWS, PEOPLE);
    let large = Filled::new("large", MORE_ROWS, PEOPLE * TIMES);
    type Work = fn(&Store);
    let works: [(&str, u64, Work); 9] = [
        ("the counts of status", 2500, counts),
        ("a punch", 60, punch),
        ("the acknowledgement of 100 rows", 2500, acknowledge),
        ("a page of export", 12_000, |store| {
            drop(store.journal().punches_after(300, 500).unwrap())
        }),
        ("user.get", 40, |store| drop(store.people().get(&pin(7)).unwrap())),
        ("changes", 6000, |store| _ = store.changes().after(10_000_000, 100, |_| true).unwrap()),
        ("a change of a user", 250, |store| {
            store.people().put(&User::new(pin(7)), Origin::Terminal).unwrap();
        }),
        ("a query for the templates of a person", 1000, |store| {
            let asked = Asked { pin: Some("7".to_owned()), ..Asked::all(Stream::Fingerprints) };
            assert!(store.queries().begin(1, &asked, 50).unwrap());
            store.queries().end(1).unwrap();
        }),
        ("a look for faces to send", 100, |store| {
            store.db.looked.borrow_mut().clear();
            assert!(!store.outbox().has_rows(&[Stream::Faces.into()]).unwrap());
        }),
    ];
    for (name, most, work) in works {
        let [few, many] = [&small, &large].map(|filled| filled.steps(work));
        println!("{name}: {few} steps in the small store, {many} in the large one");
        assert!(many <= few + few / 10 + 10, "{name}: {few} steps, {many} in the large store");
        assert!(many <= most, "{name}: {many} steps, the budget is {most}");
    }
    // The server asks for everything again.
    for Filled(_, store) in [&small, &large] {
        Stream::ALL.into_iter().for_each(|stream| store.outbox().resend(stream, 0).unwrap());
        let users = store.outbox().backlog(Stream::Users).unwrap();
        assert!(users.is_at_least && users.resend < PEOPLE as u64, "{users:?}");
        assert!(!store.outbox().backlog(Stream::Punches).unwrap().is_at_least);
    }
    let [few, many] = [&small, &large].map(|filled| filled.steps(counts));
    println!("the counts while all is sent again: {few} steps, {many} in the large store");
    assert!(many <= few + few / 10 && many <= 7500, "{few} steps, {many} in the large store");
}

#[test]
fn a_start_looks_at_as_many_pages_of_a_large_store() {
    let small = Filled::new("few", ROWS, PEOPLE);
    let large = Filled::new("many", MORE_ROWS, PEOPLE * TIMES);
    let start = |store: &Store| {
        db::highest_seq(store.db.connection()).unwrap();
        store.db.counts.forget();
        assert!(Tally::new(&store.db).catch_up_for(Duration::ZERO));
        store.journal().count_punches().unwrap();
    };
    let [few, many] = [&small, &large].map(|filled| filled.pages(start));
    println!("{few} pages of the small store, {many} of the large one");
    assert!(many <= 2 * few, "{few} pages, {many} of the large store");
}

#[test]
fn counts_are_kept_while_punches_come_and_cost_two_pages_in_256() {
    let filled = Filled::new("coming", ROWS, 1);
    let many = 4 * CHUNK as u32;
    // Outside of a transaction of the store nothing is tallied.
    let time = LocalTime::parse("2026-11-02 08:00:00").unwrap();
    let alone = |store: &Store| {
        store.journal().add_punch(&NewPunch::of("1", Moment::At(time))).unwrap();
    };
    let least = filled.written(|store| (0..many).for_each(|_| alone(store)));
    while !Tally::new(&filled.1.db).catch_up_for(Duration::MAX) {}
    let written = filled.written(|store| (0..many).for_each(|_| punch(store)));
    println!("{many} punches write {written} pages, {least} of them without the counts");
    assert!(written > least && written - least <= 2 * 4, "{written} pages, {least} without");
    let steps = filled.steps(counts);
    assert!(steps <= 2500 + 5 * CHUNK as u64, "{steps} steps after many punches");
}
