//! A model of the counts of what is pending (`backlog`): after any changes they are what counting
//! would give.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::backlog::STEP;
use super::clear::{Cleared, Clearing};
use super::error::Result;
use super::rows::{Pass, Seq};
use super::source::Source;
use crate::protocol::record::{
    Algorithm, ErrorCode, ErrorLog, IdNumber, Pin, Template, TemplateData, TemplateKind,
    TemplateSlot, User,
};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::time::LocalTime;
use crate::store::{Limits, Moment, NewPunch, Origin, Store, WithCard};

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
    RolledBack(Box<Step>),
    Count,
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
        2 => (0..Stream::ALL.len(), 0..30i64).prop_map(|(stream, from)| Step::Resend(stream, from)),
        1 => Just(Step::ClearUploaded),
        1 => Just(Step::ClearData),
        1 => Just(Step::Count),
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
                Err(crate::store::StoreError::Full)
            });
            assert!(failed.is_err());
        }
        Step::Count => {
            store.outbox().count_backlog(Duration::ZERO).unwrap();
        }
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
    let sql = "SELECT count(*) FROM punch";
    let punches: u64 = store.db.connection().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(store.journal().count_punches().unwrap(), punches);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn the_counts_are_right_after_every_kind_of_change(
        steps in proptest::collection::vec((step(), any::<bool>()), 1..60),
    ) {
        let store = Store::open(Path::new(":memory:"), Limits::default()).unwrap();
        for (step, looks) in &steps {
            take(&store, step);
            if *looks {
                check(&store);
            }
        }
        check(&store);
    }
}

#[test]
fn a_large_store_is_counted_in_steps_and_rightly_while_rows_come_and_go() {
    let path = std::env::temp_dir().join(format!("punchd-backlog-{}.db", std::process::id()));
    let rows = 3 * STEP as usize + 17;
    {
        let store = Store::open(&path, Limits::default()).unwrap();
        let punch = |nth: usize| take(&store, &Step::Punch(nth.is_multiple_of(7)));
        store
            .atomically(|| {
                (0..rows).for_each(punch);
                Ok::<_, crate::store::StoreError>(())
            })
            .unwrap();
        check(&store);
    }
    // As after a crash: nothing of the counts was written.
    let store = Store::open(&path, Limits::default()).unwrap();
    store
        .db
        .connection()
        .execute_batch(
            "UPDATE backlog SET counted = after, waiting = 0 WHERE pass = 0 AND stream <> 'x'",
        )
        .unwrap();
    let mut steps = 0;
    while !store.outbox().count_backlog(Duration::ZERO).unwrap() {
        steps += 1;
        take(&store, &Step::Punch(steps % 2 == 1));
        take(&store, &Step::Acknowledge(0, 400));
        take(&store, &Step::ClearUploaded);
    }
    assert!(steps > 6, "{steps}");
    check(&store);
    drop(store);
    for suffix in ["", "-wal"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}
