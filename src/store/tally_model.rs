//! A model of the counts of what is pending (`tally`): after any changes they are what counting
//! would give, and the table is what counting each chunk would give.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::db::CHUNK;
use super::error::Result;
use super::rows::{Pass, Seq};
use super::source::Source;
use super::tally::{self, BLOCK};
use crate::protocol::record::{
    Algorithm, ErrorCode, ErrorLog, IdNumber, Pin, Template, TemplateData, TemplateKind,
    TemplateSlot, User,
};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::time::LocalTime;
use crate::store::{Limits, Moment, NewPunch, Origin, Store, StoreError, WithCard};

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
    Settle,
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
        2 => (0..Stream::ALL.len(), prop_oneof![0..30i64, 0..5 * CHUNK * BLOCK]).prop_map(|(stream, from)| Step::Resend(stream, from)),
        1 => Just(Step::ClearUploaded),
        1 => Just(Step::ClearData),
        4 => prop_oneof![1..CHUNK, 1..3 * CHUNK * BLOCK].prop_map(Step::Skip),
        1 => Just(Step::Settle),
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
            store.retention().clear_uploaded(&[Stream::Punches, Stream::Errors]).unwrap();
        }
        Step::ClearData => store.retention().clear_data().unwrap(),
        Step::RolledBack(step) => {
            let failed: Result<()> = store.atomically(|| {
                take(store, step);
                Err(StoreError::Full)
            });
            assert!(failed.is_err());
        }
        Step::Skip(numbers) => (0..*numbers).for_each(|_| drop(store.db.next_seq())),
        Step::Settle => drop(store.outbox().count_backlog(Duration::MAX)),
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

fn check(store: &Store) {
    for stream in Stream::ALL {
        let kept = store.outbox().backlog(stream).unwrap();
        assert_eq!((kept.new, kept.resend), counted(store, stream), "{}", stream.name());
    }
    let count = |sql: &str| -> u64 {
        store.db.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(store.journal().count_punches().unwrap(), count("SELECT count(*) FROM punch"));
    // No row of the table is wrong, also those that were not used just now.
    for stream in Stream::ALL.into_iter().filter(|stream| tally::is_tallied(*stream)) {
        let Source { table, filter, .. } = Source::of(stream);
        for (level, numbers) in [(0, CHUNK), (1, CHUNK * BLOCK)] {
            let wrong = format!(
                "SELECT count(*) FROM tally WHERE level = {level} AND \"{}\" <> (
                     SELECT count(*) FROM {table} WHERE {filter}
                     AND seq >= chunk * {numbers} AND seq < (chunk + 1) * {numbers})",
                stream.code()
            );
            assert_eq!(count(&wrong), 0, "{} at level {level}", stream.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn the_counts_are_right_after_every_kind_of_change(
        steps in proptest::collection::vec((step(), any::<bool>(), any::<bool>()), 1..60),
    ) {
        let store = Store::open(Path::new(":memory:"), Limits::default()).unwrap();
        for (step, looks, is_together) in &steps {
            match step {
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
