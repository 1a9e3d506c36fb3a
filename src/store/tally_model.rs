//! A model of the counts of what is pending (`tally`): after any changes they are what counting
//! would give, and the table is what counting each chunk would give.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::clear::{Cleared, Clearing};
use super::db::CHUNK;
use super::error::Result;
use super::rows::{Pass, Seq};
use super::source::Source;
use super::tally::{self, FAN, LEVELS, Tally};
use crate::protocol::record::{
    Algorithm, ErrorCode, ErrorLog, IdNumber, Pin, Template, TemplateData, TemplateKind,
    TemplateSlot, User,
};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::time::LocalTime;
use crate::store::{Limits, Moment, NewPunch, Origin, Stamp, Store, StoreError, WithCard};

/// What can change a count.
#[derive(Clone, Debug)]
enum Step {
    Punch(bool),
    Person(u8, bool),
    Template(u8, bool),
    Error,
    Guest(u8),
    Delete(u8),
    Acknowledge(usize, usize),
    Resend(usize, Seq),
    ClearUploaded,
    ClearData,
    /// Numbers that no journal has: of people, say.
    Skip(Seq),
    RolledBack(Box<Step>),
    CatchUp,
    /// A new start. Numbers may be given again.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        4 => any::<bool>().prop_map(Step::Punch),
        3 => (0..5u8, any::<bool>()).prop_map(|(pin, here)| Step::Person(pin, here)),
        2 => (0..5u8, any::<bool>()).prop_map(|(pin, here)| Step::Template(pin, here)),
        1 => Just(Step::Error),
        1 => (0..5u8).prop_map(Step::Guest),
        1 => (0..5u8).prop_map(Step::Delete),
        4 => (0..3usize, 1..4usize).prop_map(|(table, most)| Step::Acknowledge(table, most)),
        2 => (0..Stream::ALL.len(), prop_oneof![0..30i64, 0..5 * CHUNK * FAN]).prop_map(|(stream, from)| Step::Resend(stream, from)),
        1 => Just(Step::ClearUploaded),
        1 => Just(Step::ClearData),
        4 => prop_oneof![1..CHUNK, 1..3 * CHUNK * FAN, 1..2 * CHUNK * FAN * FAN].prop_map(Step::Skip),
        1 => Just(Step::CatchUp),
        1 => Just(Step::Reopen),
    ];
    leaf.clone().boxed().prop_union(leaf.prop_map(|step| Step::RolledBack(Box::new(step))).boxed())
}

fn pin(number: u8) -> Pin {
    Pin::new(&number.to_string()).unwrap()
}

fn origin(here: bool) -> Origin {
    if here { Origin::Terminal } else { Origin::Server }
}

fn take(store: &Store, step: &Step) {
    match step {
        Step::Punch(with_card) => {
            let number = IdNumber::new("idnum", "11010519491231002X").unwrap();
            let card = with_card.then_some(WithCard { number, verification: false });
            let time = LocalTime::parse("2026-11-02 08:00:00").unwrap();
            let punch = NewPunch { card, ..NewPunch::of("1", Moment::At(time)) };
            store.journal().add_punch(&punch).unwrap();
        }
        Step::Person(number, here) => {
            store.people().put(&User::new(pin(*number)), origin(*here)).unwrap();
        }
        Step::Template(number, here) => {
            let template = Template {
                pin: pin(*number),
                slot: TemplateSlot::new(TemplateKind::Fingerprint, 1, 0).unwrap(),
                valid: true,
                duress: false,
                algorithm: Algorithm::new(0, 0, 0).unwrap(),
                data: TemplateData::new("data", vec![1, 2, 3]).unwrap(),
            };
            store.biometrics().put_template(&template, origin(*here)).unwrap();
        }
        Step::Error => {
            let code = ErrorCode::new("D01E0001").unwrap();
            let error = ErrorLog::new(code, "dark", None, serde_json::Value::Null).unwrap();
            store.error_log().add(&error).unwrap();
        }
        Step::Guest(number) => {
            let _ = store.guests().put(&pin(*number), Some(1), Duration::from_secs(1));
        }
        Step::Delete(number) => {
            store.people().delete(&pin(*number)).unwrap();
        }
        Step::Acknowledge(table, most) => {
            let table = [Table::Attlog, Table::Operlog, Table::Errorlog][*table];
            let streams: Vec<_> = table.streams().map(Into::into).collect();
            if let Some(batch) = store.outbox().next_batch(&streams, *most).unwrap() {
                store.outbox().acknowledge_within(table, batch.pass, &batch.rows).unwrap();
            }
        }
        Step::Resend(stream, from) => {
            store.outbox().resend(Stream::ALL[*stream], *from).unwrap();
        }
        Step::ClearUploaded => {
            Clearing::new(Cleared::Log, Seq::MAX).run(store.retention()).unwrap();
        }
        Step::ClearData => Clearing::new(Cleared::Data, Seq::MAX).run(store.retention()).unwrap(),
        Step::RolledBack(step) => {
            let failed: Result<()> = store.atomically(|| {
                take(store, step);
                Err(StoreError::Full)
            });
            assert!(failed.is_err());
        }
        Step::Skip(numbers) => (0..*numbers).for_each(|_| _ = store.db.next_seq("gone")),
        Step::Reopen => {}
        Step::CatchUp => while !Tally::new(&store.db).catch_up_for(Duration::MAX) {},
    }
}

/// The counts, by counting.
fn counted(store: &Store, stream: Stream) -> (u64, u64) {
    let source = Source::of(stream);
    let cursor = crate::store::cursors::Cursors::new(&store.db).get(stream).unwrap();
    let count = |pass, after: Seq, until: Seq| -> u64 {
        let (table, range) = (source.table, source.range(pass));
        let sql = format!("SELECT count(*) FROM {table} WHERE {range}");
        store.db.connection().query_row(&sql, [after, until], |row| row.get(0)).unwrap()
    };
    let resend = cursor.resend.map_or(0, |(from, to)| count(Pass::Resend, from, to));
    (count(Pass::New, cursor.sent, Seq::MAX), resend)
}

/// The counts are what counting would give.
fn check(store: &Store) {
    for stream in Stream::ALL {
        let kept = store.outbox().backlog(stream).unwrap();
        assert_eq!((kept.new, kept.resend), counted(store, stream), "{}", stream.name());
    }
    check_tally(store);
}

/// The table is what counting each chunk would give.
pub(super) fn check_tally(store: &Store) {
    let count =
        |sql: &str| -> u64 { store.db.connection().query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(store.journal().count_punches().unwrap(), count("SELECT count(*) FROM punch"));
    // No row of the table is wrong, also those that were not used just now.
    for stream in Stream::ALL.into_iter().filter(|stream| tally::is_tallied(*stream)) {
        let Source { table, filter, .. } = Source::of(stream);
        for level in 0..LEVELS {
            let numbers = CHUNK * FAN.pow(level as u32);
            // A row of a higher level is used once the chunks in it were all left.
            let wrong = format!(
                "SELECT count(*) FROM tally WHERE level = {level} AND \"{}\" <> (
                     SELECT count(*) FROM {table} WHERE {filter}
                     AND seq >= chunk * {numbers} AND seq < (chunk + 1) * {numbers})
                 AND (chunk + 1) * {numbers} <=
                     (SELECT (max(chunk) + 1) * {CHUNK} FROM tally WHERE level = 0)",
                stream.code()
            );
            assert_eq!(count(&wrong), 0, "{} at level {level}", stream.name());
        }
    }
}

/// The file of a store, which goes away with the test.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str) -> Self {
        let file =
            Self(std::env::temp_dir().join(format!("punchd-{name}-{}.db", std::process::id())));
        file.remove();
        file
    }

    fn open(&self) -> Store {
        Store::open(&self.0, Limits::default()).unwrap()
    }

    fn remove(&self) {
        for suffix in ["", "-wal"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        self.remove();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_counts_are_right_after_every_kind_of_change(
        steps in proptest::collection::vec((step(), any::<bool>(), any::<bool>()), 1..60),
    ) {
        let file = TestFile::new("model");
        let mut store = file.open();
        for (step, looks, is_together) in &steps {
            match step {
                Step::Reopen => {
                    drop(store);
                    store = file.open();
                }
                // As the calls of drivers in a round, or what a command does.
                step if *is_together && !matches!(step, Step::RolledBack(_)) => store
                    .atomically(|| {
                        take(&store, step);
                        Ok::<_, StoreError>(())
                    })
                    .unwrap(),
                step => take(&store, step),
            }
            if *looks {
                check(&store);
            }
        }
        check(&store);
    }
}

#[test]
fn a_store_of_an_earlier_version_is_tallied_in_steps_and_counted_rightly_meanwhile() {
    let file = TestFile::new("tallied");
    let store = file.open();
    let rows = 8 * CHUNK as usize + 17;
    let punch = |nth: usize| take(&store, &Step::Punch(nth.is_multiple_of(7)));
    let all = || {
        (0..rows).for_each(punch);
        Ok::<_, StoreError>(())
    };
    store.atomically(all).unwrap();
    store.db.connection().execute_batch("DELETE FROM tally").unwrap();
    store.db.counts.forget();
    store.db.is_tallied.set(false);
    let mut steps = 0;
    while !Tally::new(&store.db).catch_up_for(Duration::ZERO) {
        steps += 1;
        assert!(store.retention().capacity().is_ok());
        take(&store, &Step::Punch(steps % 2 == 1));
        take(&store, &Step::Acknowledge(0, 100));
        take(&store, &Step::ClearUploaded);
        check(&store);
    }
    assert!(steps >= 6, "{steps}");
    check(&store);
}

#[test]
fn a_write_of_the_tally_that_fails_changes_no_count_and_is_tried_again_in_the_next_chunk() {
    let file = TestFile::new("failed-tally");
    let store = file.open();
    let punch = || {
        take(&store, &Step::Punch(false));
        Ok::<_, StoreError>(())
    };
    // Given three chunks that were left, of which the first is tallied, and the third cannot be,
    store.atomically(|| (0..=3 * CHUNK).try_for_each(|_| punch())).unwrap();
    let fails =
        "CREATE TEMP TRIGGER fails BEFORE INSERT ON tally WHEN NEW.level = 0 AND NEW.chunk = 2
        BEGIN SELECT RAISE(ABORT, 'it cannot be written'); END";
    store.db.connection().execute_batch(fails).unwrap();
    let tallied = || -> Vec<Seq> {
        let sql = "SELECT chunk FROM tally WHERE level = 0";
        let mut statement = store.db.connection().prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(|chunk| chunk.unwrap()).collect()
    };
    assert_eq!(tallied(), [0]);
    let tries = || {
        let before = store.db.asked_for.get();
        Tally::new(&store.db).catch_up_for(Duration::MAX);
        store.db.asked_for.get() > before
    };
    // when both are to be tallied at once,
    assert!(tries());
    // then neither is, and no count is wrong;
    assert_eq!(tallied(), [0]);
    check(&store);
    // it is not tried with each punch, but in the next chunk.
    store.atomically(punch).unwrap();
    assert!(!tries());
    store.db.connection().execute_batch("DROP TRIGGER fails").unwrap();
    while store.db.last_seq() / CHUNK == 3 {
        store.atomically(punch).unwrap();
    }
    tries();
    assert_eq!(tallied(), [0, 1, 2, 3]);
    check(&store);
}

#[test]
fn a_number_of_a_chunk_that_is_tallied_is_not_given_again() {
    let file = TestFile::new("numbers");
    let store = file.open();
    let punch = || {
        take(&store, &Step::Punch(false));
        Ok::<_, StoreError>(())
    };
    store.atomically(punch).unwrap();
    (0..CHUNK).for_each(|_| _ = store.db.next_seq("gone"));
    // The number is in the next chunk, and the row is not kept.
    let failed: Result<()> = store.atomically(|| {
        take(&store, &Step::Punch(false));
        Err(StoreError::Full)
    });
    assert!(failed.is_err());
    // Something without a number is written.
    let stamp = Stamp { proof: 1, ..Stamp::default() };
    store.atomically(|| store.stamps().set(Table::Attlog, stamp)).unwrap();
    drop(store);
    let store = file.open();
    take(&store, &Step::Punch(false));
    check(&store);
    assert_eq!(store.outbox().backlog(Stream::Punches).unwrap().new, 2);
}
