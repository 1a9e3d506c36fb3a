//! The loads that are recorded: what a store goes through in its life.

use super::rows;
use super::session::{Session, TestDir};
use crate::client::simulation::random::Random;
use crate::protocol::codes::ReturnCode;
use crate::protocol::file::SyncTable;
use crate::protocol::stream::{Stream, Table};
use crate::protocol::touches::Touches;
use crate::store::clear::{Cleared, Clearing};
use crate::store::lane::Stage;
use crate::store::recorded_disk::Image;
use crate::store::{Lane, Origin, Replacement, Result, Store, StoreError, wal};

/// Something that a store goes through.
pub(super) struct Load {
    pub(super) name: &'static str,
    /// How many of a hundred images are of it.
    pub(super) share: u64,
    /// How often it is recorded, each time with other rows.
    pub(super) recordings: u64,
    /// The files that it begins with.
    pub(super) files: fn(u64) -> Option<Image>,
    pub(super) run: fn(&mut Session),
}

pub(super) const LOADS: [Load; 9] = [
    Load { name: "first start", share: 12, recordings: 2, files: nothing, run: first_start },
    Load { name: "single punches", share: 12, recordings: 2, files: nothing, run: single_punches },
    Load { name: "log goes round", share: 20, recordings: 3, files: nothing, run: rounds },
    Load { name: "commands", share: 10, recordings: 2, files: nothing, run: commands },
    Load { name: "migration", share: 14, recordings: 14, files: earlier_store, run: first_start },
    Load { name: "SyncData", share: 10, recordings: 2, files: nothing, run: sync_data },
    Load { name: "CLEAR, retention", share: 8, recordings: 2, files: nothing, run: clear },
    Load { name: "restarts", share: 6, recordings: 2, files: nothing, run: restarts },
    Load { name: "start after a cut", share: 8, recordings: 8, files: cut_off, run: first_start },
];

fn nothing(_: u64) -> Option<Image> {
    None
}

/// A start, some punches, an upload, an orderly end.
fn first_start(session: &mut Session) {
    session.open();
    for _ in 0..4 {
        session.step(|store, random| store.journal().add_punch(&rows::punch(random)));
    }
    session.upload(Table::Attlog, 3);
    session.close();
}

/// Punches one by one, until the log begins again at its start.
fn single_punches(session: &mut Session) {
    session.open();
    for nth in 1..=1100 {
        session.step(|store, random| store.journal().add_punch(&rows::punch(random)));
        if nth % 60 == 0 {
            session.upload(Table::Attlog, 100);
        }
    }
}

/// Punches, photos and operations of drivers in bursts, uploads and uploads from the start: the log goes
/// round some times.
fn rounds(session: &mut Session) {
    session.open();
    for _ in 0..400 {
        let (what, nth) = (session.random.below(12), session.random.below(4));
        match (what, nth) {
            (0..5, _) => session.step(burst),
            (5..7, _) => session
                .step(|store, random| store.journal().add_photo(&rows::photo(random)).map(|_| ())),
            (7, _) => session.step(|store, random| {
                store.journal().add_operation(&rows::operation(random)).map(|_| ())
            }),
            (8..10, _) => _ = session.upload(Table::Attlog, 100),
            (10, _) => _ = session.upload(Table::Attphoto, 1),
            (_, 0) => session.step(|store, _| store.outbox().resend(Stream::Punches, 5)),
            _ => _ = session.upload(Table::Operlog, 50),
        }
    }
}

/// What drivers sent in one round.
fn burst(store: &Store, random: &mut Random) -> Result<()> {
    store.atomically(|| {
        for _ in 0..=random.below(30) {
            store.journal().add_punch(&rows::punch(random))?;
        }
        Ok(())
    })
}

/// Commands as the server sends them: begun, done and answered, some as jobs.
fn commands(session: &mut Session) {
    session.open();
    for nth in 0..80 {
        let (digest, id) = ([nth as u8; 16], nth.to_string());
        let row = session.step(|store, _| {
            store.atomically(|| {
                let mut askings = store.command_log().askings()?;
                let list = askings.begin_list();
                store.command_log().set_askings(&askings)?;
                store.command_log().begin(&digest, &id, "DATA", (list, 7), None)
            })
        });
        if nth % 5 == 4 {
            job(session, row);
        } else {
            session.step(|store, random| {
                store.atomically(|| {
                    effect(store, random)?;
                    store.command_log().finish(row, ReturnCode::DONE, b"")
                })
            });
        }
        if nth % 8 == 7 {
            let due = session.step(|store, _| store.command_log().replies_due(6));
            let due: Vec<i64> = due.iter().map(|due| due.row).collect();
            session.step(|store, _| store.command_log().replies_taken(&due));
        }
        if nth % 4 == 3 {
            session.upload(Table::Operlog, 20);
        }
    }
}

fn effect(store: &Store, random: &mut Random) -> Result<()> {
    let (nth, what) = (random.below(40), random.below(6));
    match what {
        0..3 => _ = store.people().put(&rows::user(nth, random), Origin::Server)?,
        3 => {
            store.biometrics().put_template(&rows::fingerprint(nth, random), Origin::Terminal)?;
        }
        4 => store.options().set("VOLUME", &random.below(100).to_string())?,
        _ => _ = store.people().delete(&rows::pin(nth))?,
    }
    Ok(())
}

/// A command that goes on after its list.
fn job(session: &mut Session, row: i64) {
    session.step(|store, _| {
        store.atomically(|| {
            store.command_log().set_in_background(row)?;
            store.jobs().begin(row, b"SHELL ls", Lane::Work, &Touches::default(), None)
        })
    });
    let job = session.step(|store, _| store.jobs().get(row)).unwrap();
    session.step(|store, _| store.jobs().set_stage(&job, Stage::HandedOver));
    session.step(|store, _| {
        store.atomically(|| store.jobs().finish(row, ReturnCode::DONE, b"a list of files"))
    });
}

/// A table of users is replaced while punches come.
fn sync_data(session: &mut Session) {
    session.open();
    for first in [0, 40, 80] {
        session.step(|store, random| {
            store.atomically(|| {
                for nth in first..first + 40 {
                    store.people().put(&rows::user(nth, random), Origin::Server)?;
                    store
                        .biometrics()
                        .put_template(&rows::fingerprint(nth, random), Origin::Server)?;
                }
                Ok::<_, StoreError>(())
            })
        });
    }
    let row = session.step(|store, _| {
        store.atomically(|| {
            let row = store.command_log().begin(&[1; 16], "1", "PutFile", (1, 7), None)?;
            store.command_log().set_in_background(row)?;
            store.jobs().begin(row, b"PutFile a\tb", Lane::Work, &Touches::default(), None)?;
            Ok::<_, StoreError>(row)
        })
    });
    let job = session.step(|store, _| store.jobs().get(row)).unwrap();
    let mut replacement = Replacement::begin(session.store().people(), row, job.high_water_mark);
    for done in [32, 64, 96] {
        session.step(|store, random| {
            store.atomically(|| {
                for nth in done - 32..done {
                    store.people().put_unlimited(&rows::user(nth * 2, random), Origin::Server)?;
                }
                replacement.record(store.people(), done)
            })
        });
        session.step(|store, random| store.journal().add_punch(&rows::punch(random)));
    }
    let mut is_over = false;
    while !is_over {
        is_over = session.step(|store, _| {
            store.atomically(|| replacement.delete_old(store.people(), SyncTable::Users))
        });
    }
    session.step(|store, _| store.atomically(|| store.jobs().finish(row, ReturnCode::DONE, b"")));
}

/// Punches beyond the limit, then `CLEAR LOG` and `CLEAR DATA`, and the file becomes smaller.
fn clear(session: &mut Session) {
    session.limits.punches = 250;
    session.open();
    for nth in 0..60 {
        session.step(burst);
        session.upload(Table::Attlog, 100);
        if nth % 6 == 0 {
            session.step(|store, random| store.journal().add_photo(&rows::photo(random)));
            session.upload(Table::Attphoto, 1);
            session
                .step(|store, random| store.people().put(&rows::user(nth, random), Origin::Server));
        }
    }
    for what in [Cleared::Log, Cleared::Data] {
        let mut clearing = Clearing::new(what, session.store().high_water_mark());
        let mut is_over = false;
        while !is_over {
            is_over =
                session.step(|store, _| store.atomically(|| clearing.step(store.retention())));
        }
        while session.step(|store, _| store.retention().give_back(0)) {}
        session.step(|store, _| Ok(wal::checkpoint(store.db.connection())?));
        session.step(burst);
    }
}

/// Runs one after the other, each with an orderly end.
fn restarts(session: &mut Session) {
    for _ in 0..4 {
        session.open();
        for _ in 0..6 {
            session.step(burst);
        }
        session.upload(Table::Attlog, 70);
        session.close();
    }
}

/// A store of an earlier version, as it was left: closed, or by a power cut.
fn earlier_store(seed: u64) -> Option<Image> {
    let dir = TestDir::new(&format!("earlier-{seed}"));
    let (path, version) = (dir.store(), 1 + seed as i64 % 7);
    if version == 7 {
        // Of this version's schema 3, and with more in it.
        let packed: &[u8] = include_bytes!("../../../tests/terminal/stores/0.1.0.db.gz");
        let mut bytes = Vec::new();
        let mut packed = flate2::read::GzDecoder::new(packed);
        std::io::Read::read_to_end(&mut packed, &mut bytes).unwrap();
        std::fs::write(path, bytes).unwrap();
        return Some(Image::read(&dir.0));
    }
    let db = rusqlite::Connection::open(&path).unwrap();
    crate::store::schema::create_earlier(&db, version).unwrap();
    let mut random = Random::new(seed);
    for seq in 1..=300 {
        let (pin, code) = (random.below(5000) + 1, random.below(1_000_000));
        db.execute(
            "INSERT INTO punch (seq, pin, time, status, verify, workcode) VALUES (?1, ?2, ?3, 0, 1, ?4)",
            rusqlite::params![seq, pin.to_string(), 1_793_577_600 + seq, code.to_string()],
        )
        .unwrap();
    }
    let punches = if version < 4 { "punches" } else { "punch" };
    let sent = "INSERT INTO cursor (stream, sent, again, again_end) VALUES (?1, 200, 20, 90)";
    db.execute(sent, [punches]).unwrap();
    if seed.is_multiple_of(2) {
        drop(db);
        return Some(Image::read(&dir.0));
    }
    // While it is open, its log is there.
    Some(Image::read(&dir.0))
}

/// What a power cut left of a store with a log.
fn cut_off(seed: u64) -> Option<Image> {
    let mut session = Session::begin(&format!("cut-{seed}"), None, seed);
    session.open();
    for _ in 0..session.random.below(60) {
        session.step(burst);
        session.upload(Table::Attlog, 70);
    }
    Some(session.power_cut())
}
