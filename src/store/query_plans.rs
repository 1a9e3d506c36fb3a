//! By which index each call of the store finds its rows in the large tables. The plans are the same in a
//! store without statistics and in one with them, whose rows tempt SQLite to another index: a plan that
//! depends on what is in the store is one that was not tested.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;

use super::cursors::Cursors;
use super::plan_check::of_large;
use super::retention::{PUNCHES, RECORDS};
use super::rows::Pass;
use super::tally::Tally;
use super::tombstones::Tombstones;
use crate::protocol::file::SyncTable;
use crate::protocol::record::{EntryTable, IdNumber, PictureKind, Pin, TemplateForm, User};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::tables::BioType;
use crate::protocol::time::LocalTime;
use crate::protocol::touches::{Things, Touches};
use crate::store::{
    Asked, Cleared, Clearing, Known, Lane, Limits, Origin, Replacement, Store, TemplateKey,
};

/// Rows of every table. Nearly all punches have no identity card and are not held, nearly all templates
/// are fingerprints of one person, nothing was changed on the terminal, and all replies were taken.
const ROWS: &str = "
    CREATE TEMP TABLE n AS WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
        SELECT n FROM n;
    INSERT INTO punch (seq, pin, time, status, verify, workcode, held, id_num, verification)
        SELECT n, n % 7, 1793577600 + n, 0, 1, '', iif(n = 2999, 'utc', NULL),
            iif(n % 1000 = 7, '110105194912310', NULL), iif(n = 7, 1, NULL) FROM n;
    INSERT INTO operation SELECT 3000 + n, 4, '0', 1793577600 + n, '', '', '', '', NULL FROM n WHERE n <= 500;
    INSERT INTO error SELECT 4000 + n, 'D01E1001', 'text', NULL, NULL FROM n WHERE n <= 300;
    INSERT INTO photo SELECT 5000 + n, n % 7, 1793577600 + n, NULL, NULL, x'FFD8FFD9', NULL FROM n WHERE n <= 300;
    INSERT INTO user (pin, name, privilege, password, card, grp, time_zones, verify, vice_card, changed, local)
        SELECT n, '', 0, '', iif(n = 9, '555', ''), 1, '', 0, '', 10000 + n, 0 FROM n WHERE n <= 1000;
    INSERT INTO template (pin, kind, type, number, idx, valid, duress, major, minor, format, data, changed, local)
        SELECT iif(n <= 2500, 1, n), iif(n % 500 = 0, n / 500 % 4, 0), iif(n % 500 = 0, 2, 1), n % 200, n / 200,
            1, 0, 0, 0, 0, x'01', 20000 + n, 0 FROM n;
    INSERT INTO picture (pin, kind, type, data, changed, local)
        SELECT n, n = 1, 0, x'FFD8FFD9', 30000 + n, 0 FROM n WHERE n <= 500;
    INSERT INTO card (id_num, pin, record, changed, local)
        SELECT 100000000000000 + n, iif(n = 1, '1', NULL), x'', 40000 + n, 0 FROM n WHERE n <= 500;
    INSERT INTO entry SELECT iif(n = 1, 'SMS', 'USER_SMS'), n, '{}', 50000 + n FROM n WHERE n <= 500;
    INSERT INTO gone SELECT '{\"pin\":\"x' || n || '\"}', 60000 + n FROM n WHERE n <= 500;
    INSERT INTO guest SELECT n, 1800000000 FROM n WHERE n <= 3;
    INSERT INTO command (row, digest, id, name, attempts, code, due)
        SELECT n, x'00', n, 'DATA', 1, 0, iif(n > 2990, 1 + n % 3, 0) FROM n;
    INSERT INTO job (command, text, lane, stage, attempts, fetched, kept, mark, turn, pin, also, after)
        SELECT n, x'', iif(n < 9, 0, 4), 0, 0, 0, 0, 0, n, iif(n = 1, '1', NULL), 0, NULL FROM n WHERE n <= 500;
    INSERT INTO quarantine (stream, seq, words, at, retry) SELECT 'punch', n, '', 0, 0 FROM n WHERE n <= 300;
    DROP TABLE n;
";

/// A store with these rows, closed and opened once more.
fn store(path: &Path, has_statistics: bool) -> Store {
    remove(path);
    let open = || Store::open(path, Limits::default()).unwrap();
    let store = open();
    let more = if has_statistics { "ANALYZE;" } else { "" };
    store.db.connection().execute_batch(&format!("BEGIN; {ROWS} COMMIT; {more}")).unwrap();
    drop(store);
    let store = open();
    store.db.connection().execute_batch("PRAGMA synchronous = OFF;").unwrap();
    store
}

fn remove(path: &Path) {
    for suffix in ["", "-wal"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

/// The plans of the statements that `call` asks for, as far as they are about large tables; each once.
fn plans(store: &Store, call: impl FnOnce(&Store)) -> String {
    store.db.plans.kept.replace(Some(Vec::new()));
    call(store);
    let lines = store.db.plans.kept.take().unwrap_or_default();
    let mut text = String::new();
    for line in lines.iter().filter(|line| of_large(line) || line.contains("TEMP B-TREE")) {
        let line = format!("    {}\n", line.replace("SEARCH ", "").replace("USING ", ""));
        if !text.contains(&line) {
            text += &line;
        }
    }
    text
}

fn pin() -> Pin {
    Pin::new("1").unwrap()
}

/// What is looked for in a stream by its cursor for new rows, or by the one for what is sent again.
fn of_stream(store: &Store, stream: Stream, pass: Pass) {
    let (cursors, all) = (Cursors::new(&store.db), (1, 99_999));
    let look_anew = || store.db.looked.borrow_mut().clear();
    look_anew();
    cursors.has_row_to_send(stream, pass, all.0, all.1).unwrap();
    look_anew();
    cursors.rows(stream, pass, all.0, all.1, 10).unwrap();
    cursors.count(stream, pass, all, 100).unwrap();
    match pass {
        Pass::New => drop(cursors.last_new(stream, 0).unwrap()),
        _ => drop(cursors.has_row(stream, 5).unwrap()),
    }
}

fn query(store: &Store, asked: &Asked) {
    let queries = store.queries();
    store
        .db
        .connection()
        .execute("INSERT OR IGNORE INTO query VALUES (1, NULL, 0, 9, 0, 0, 0, 'user', NULL, NULL, NULL, 0, NULL)", [])
        .unwrap();
    if queries.begin(1, asked, 50).unwrap() {
        let query = queries.next().unwrap().unwrap();
        queries.rows(&query, 0, 90_000, 50).unwrap();
    }
    queries.count_rows(asked, 0, 90_000).unwrap();
    queries.end(1).unwrap();
}

type Call = (&'static str, fn(&Store));

/// What is found for each call, once for each plan; `SEARCH` and `USING` are left out. `SCAN` reads a whole
/// index or table: `MEANT` in `plan_check.rs` says why it may. After a change of a statement:
/// `PLANS=src/store/query_plans.txt cargo test --lib query_plans` writes it anew; look at what changed.
const PLANS: &str = include_str!("query_plans.txt");

/// The streams that the server can ask for.
const ASKED_FOR: [Stream; 10] = [
    Stream::Punches,
    Stream::Photos,
    Stream::Users,
    Stream::IdCards,
    Stream::Fingerprints,
    Stream::Faces,
    Stream::FingerVeins,
    Stream::Unified,
    Stream::UserPics,
    Stream::BioPhotos,
];

/// The calls, in the order in which they are made.
const CALLS: &[Call] = &[
    ("the tally of a store of an earlier version", |store| {
        store.db.connection().execute("DELETE FROM tally", []).unwrap();
        store.db.counts.forget();
        while !Tally::new(&store.db).catch_up_for(Duration::MAX) {}
    }),
    ("counts of status", |store| {
        Stream::ALL.into_iter().for_each(|stream| _ = store.outbox().backlog(stream).unwrap());
        store.journal().count_punches().unwrap();
        store.command_log().count_replies().unwrap();
        store.command_log().count_refused_replies().unwrap();
    }),
    ("counts of people", |store| {
        store.people().count().unwrap();
        store.people().count_changed_after(10_000).unwrap();
        store.biometrics().count_fingerprints().unwrap();
        store.biometrics().count_faces().unwrap();
        store.biometrics().count_templates(&pin(), &fingerprints()).unwrap();
    }),
    ("a page of export", |store| drop(store.journal().punches_after(300, 500).unwrap())),
    ("a person by PIN", |store| drop(store.people().get(&pin()).unwrap())),
    ("a person by card", |store| drop(store.people().by_card("555").unwrap())),
    ("templates of a person", |store| {
        store.biometrics().has_template(&pin(), BioType::FINGERPRINT, Some(1)).unwrap();
    }),
    ("a page of changes", |store| _ = store.changes().after(10_000, 9999, |_| true).unwrap()),
    ("messages", |store| drop(store.changes().messages_after(1, 10).unwrap())),
    ("entries", |store| {
        let table = EntryTable::named("USER_SMS").unwrap();
        store.tables().get(table, "7").unwrap();
        store.tables().all(table).unwrap();
        store.tables().count(table).unwrap();
        store.tables().delete(table, "7").unwrap();
    }),
    ("a command that came before", |store| {
        store.command_log().find(&[0; 16], "7").unwrap();
        store.command_log().has_other_text(&[0; 16], "7").unwrap();
    }),
    ("replies", |store| {
        let log = store.command_log();
        log.has_replies().unwrap();
        log.has_refused_replies().unwrap();
        log.has_file_replies().unwrap();
        log.replies_due(100).unwrap();
        log.refused_reply().unwrap();
        log.replies_taken(&[2991]).unwrap();
    }),
    ("jobs", |store| {
        let jobs = store.jobs();
        jobs.count().unwrap();
        jobs.in_lane(Lane::Work, 10).unwrap();
        jobs.list(10).unwrap();
        jobs.bytes_fetched().unwrap();
        let job = jobs.get(7).unwrap().unwrap();
        jobs.waiting_for(&job).unwrap();
        jobs.blocker(
            &Touches { pin: Some("1".into()), writes: Things::PERSON, ..Touches::default() },
            None,
        )
        .unwrap();
        jobs.remove(7).unwrap();
    }),
    ("refused rows", |store| {
        let (quarantine, streams) = (store.quarantine(), [Stream::Punches.into()]);
        quarantine.next_offer(&streams, 5, true).unwrap();
        quarantine.due(&streams, 5, true).unwrap();
        quarantine.first(Stream::Punches, true).unwrap();
        quarantine.count(Stream::Punches).unwrap();
        quarantine.release(Stream::Punches, 5).unwrap();
    }),
    ("rows that wait for the clock", |store| {
        let undated = store.undated();
        undated.count().unwrap();
        Stream::ALL.into_iter().for_each(|stream| _ = undated.of_stream(stream).unwrap());
        let now = LocalTime::from_seconds(1_793_600_000).unwrap();
        undated.date_this_boot(Known { boot: "this", monotonic: 9, utc: 1_793_600_000 }).unwrap();
        undated.estimate_earlier_boots("this", now, now).unwrap();
        undated.date_by_zone(|_| 0).unwrap();
    }),
    ("a stamp of another table", |store| {
        Table::ALL
            .into_iter()
            .for_each(|table| _ = store.outbox().is_of_another_table(table, 5).unwrap());
    }),
    ("VERIFY SUM and a query by time", |store| {
        for stream in [Stream::Punches, Stream::Photos] {
            let time = LocalTime::from_seconds(1_793_577_700);
            query(store, &Asked { from: time, to: time, ..Asked::all(stream) });
        }
    }),
    ("a change of a user", |store| {
        let user = User { card: "555".into(), ..User::new(Pin::new("10").unwrap()) };
        store.people().put(&user, Origin::Terminal).unwrap();
        store.people().may_be_another_since(&pin(), 5).unwrap();
        store.people().last_change(&pin()).unwrap();
    }),
    ("a deletion of templates", |store| {
        store.biometrics().delete_templates(&pin(), &fingerprints()).unwrap();
        store.biometrics().delete_individual(&pin(), BioType::FINGERPRINT, 1).unwrap();
        store.biometrics().mark_fetched(&pin(), 5).unwrap();
        store.guests().delete_fetched(&pin()).unwrap();
    }),
    ("a deletion of pictures", |store| {
        store.biometrics().delete_picture(&pin(), PictureKind::Comparison, None).unwrap();
    }),
    ("a deletion of cards", |store| {
        let number = IdNumber::new("number", "100000000000007").unwrap();
        store.id_cards().delete(Some(&pin()), None).unwrap();
        store.id_cards().delete(None, Some(&number)).unwrap();
    }),
    ("a deletion of a user", |store| _ = store.people().delete(&pin()).unwrap()),
    ("the horizon", |store| {
        Tombstones::new(&store.db).horizon().unwrap();
        Tombstones::new(&store.db).forget_all().unwrap();
    }),
    ("SyncData", |store| {
        for table in [SyncTable::Users, SyncTable::Fingerprints, SyncTable::Faces] {
            let mut replacement = Replacement::begin(store.people(), 1, 20_100);
            while !replacement.delete_old(store.people(), table).unwrap() {}
        }
    }),
    ("retention", |store| {
        let retention = store.retention();
        retention.set_withheld(&RECORDS);
        retention.drop_withheld().unwrap();
        for stream in RECORDS.into_iter().chain(PUNCHES) {
            retention.drop_uploaded(&[stream]).unwrap();
            retention.drop_pending(stream).unwrap();
        }
    }),
    ("CLEAR LOG", |store| clear(store, Cleared::Log)),
    ("CLEAR PHOTO", |store| clear(store, Cleared::Photos)),
    ("CLEAR DATA", |store| clear(store, Cleared::Data)),
];

fn fingerprints() -> TemplateKey {
    TemplateKey { form: TemplateForm::Fingerprint, bio_type: None, number: None, index: None }
}

fn clear(store: &Store, what: Cleared) {
    let sent =
        "INSERT OR REPLACE INTO cursor (stream, sent) VALUES ('punch', 900), ('photo', 5100)";
    store.db.connection().execute(sent, []).unwrap();
    store.db.cursors.take();
    Clearing::new(what, 99_999).run(store.retention()).unwrap();
}

fn all_plans(store: &Store) -> String {
    let mut text = String::new();
    for stream in Stream::ALL {
        for pass in [Pass::New, Pass::Resend] {
            text += &format!("{} {pass:?}\n", stream.code());
            text += &plans(store, |store| of_stream(store, stream, pass));
        }
    }
    for stream in ASKED_FOR {
        text += &format!("query {}\n", stream.code());
        text += &plans(store, |store| query(store, &Asked::all(stream)));
        if !matches!(stream, Stream::Punches | Stream::Photos) {
            let asked = Asked { pin: Some("1".to_owned()), ..Asked::all(stream) };
            text += &format!("query {} of a person\n", stream.code());
            text += &plans(store, |store| query(store, &asked));
        }
    }
    for (name, call) in CALLS {
        text += &format!("{name}\n");
        text += &plans(store, call);
    }
    text
}

#[test]
fn rows_are_found_by_the_index_that_is_meant_with_statistics_and_without() {
    for has_statistics in [false, true] {
        let name = format!("punchd-plans-{has_statistics}-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let store = store(&path, has_statistics);
        let is_qpsg_on = store.db.connection().db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG);
        let found = all_plans(&store);
        if let Ok(file) = std::env::var("PLANS") {
            std::fs::write(file, &found).unwrap();
            continue;
        }
        drop(store);
        remove(&path);
        assert!(is_qpsg_on.unwrap(), "plans may depend on the values of parameters");
        let mut call = "";
        for (nth, (found, meant)) in
            found.lines().zip(PLANS.lines().chain(["(the end)"])).enumerate()
        {
            call = if found.starts_with(' ') { call } else { found };
            let line = nth + 1;
            assert_eq!(found, meant, "{call}, line {line}, with statistics: {has_statistics}");
        }
        assert_eq!(found.lines().count(), PLANS.lines().count());
    }
}
