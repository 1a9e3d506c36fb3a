//! What `scripts/fuzz` calls with any bytes as the store, or with changes to a valid one (built only with
//! `--cfg fuzzing`): it is opened as at start, read and written. Damage ends in an error, never in a panic
//! or an endless search, and a file that is refused is left as it is.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::command::Command;
use crate::protocol::record::{
    BioPhotoUpdate, ErrorCode, ErrorLog, IdCard, Operation, Pin, Screening, Template, TemplateForm,
    User, UserPic, WorkCode,
};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::time::LocalTime;

const LIMITS: Limits = Limits { users: 100, punches: 1000, bytes: 16 << 20, free: 0 };
const JPEG: &str = "/9j/AAAA/9k=";
/// Bytes of one change: three of a place, what is done there, and with what.
const CHANGE: usize = 5;
/// Bytes of a page of the store.
const PAGE: usize = 1024;

/// A store: by the first byte the others are the file, its log, or changes to those of a valid store that
/// was closed, or that a power cut left.
pub fn file(bytes: &[u8]) {
    thread_local! {
        static VALID: OnceCell<Valid> = const { OnceCell::new() };
    }
    let Some((kind, bytes)) = bytes.split_first() else { return };
    VALID.with(|valid| {
        let valid = valid.get_or_init(Valid::new);
        let (store, log) = match kind % 5 {
            0 => (bytes.to_vec(), None),
            1 => (valid.cut.0.clone(), Some(bytes.to_vec())),
            2 => (changed(&valid.cut.0, bytes), Some(valid.cut.1.clone())),
            3 => (valid.cut.0.clone(), Some(changed(&valid.cut.1, bytes))),
            _ => (changed(&valid.closed, bytes), None),
        };
        let path = valid.directory.join("punchd.db");
        valid.clear();
        write(&path, &store);
        if let Some(log) = &log {
            write(&beside(&path), log);
        }
        start(&path, &store, log.as_deref());
    });
}

/// Opens it as at start, uses it, and once more.
fn start(path: &Path, store: &[u8], log: Option<&[u8]>) {
    for nth in 0..2 {
        match Store::open_marked(path, LIMITS) {
            Ok((store, _)) => {
                let failures = use_all(&store);
                assert!(failures.iter().all(is_told), "{failures:?}");
            }
            Err(
                error @ (StoreError::Damaged { .. }
                | StoreError::Foreign { .. }
                | StoreError::Newer { .. }),
            ) => {
                assert!(!error.to_string().is_empty());
                if nth == 0 {
                    assert!(fs::read(path).is_ok_and(|now| now == store), "touched: {error}");
                    let now = fs::read(beside(path)).ok();
                    assert!(log.is_none() || now.as_deref() == log, "its log was touched: {error}");
                }
            }
            Err(StoreError::Open { .. } | StoreError::Sql(_) | StoreError::Disk { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Whether a failure in use is one that a person is told: damage is kept in mind for `status` and the next
/// start.
fn is_told(error: &StoreError) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error {
        StoreError::Sql(sql) => match sql.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => error::damage_seen(),
            _ => !error.to_string().is_empty(),
        },
        _ => true,
    }
}

/// Reads and writes what a terminal does, and goes on after each failure.
fn use_all(store: &Store) -> Vec<StoreError> {
    let mut failures = Vec::new();
    let pin = Pin::new("1").expect("a PIN");
    let mut note_all = |done: Vec<Result<()>>| {
        failures.extend(done.into_iter().filter_map(Result::err));
    };
    note_all(vec![
        store.journal().add_punch(&punch("9", 9)).map(drop),
        store.journal().count_punches().map(drop),
        store.journal().punches_after(0, 100).map(drop),
        store.undated().count().map(drop),
        store.undated().date_this_boot(Known { boot: "b", monotonic: 9, utc: 1 << 30 }).map(drop),
        store.undated().date_by_zone(|_| 3600).map(drop),
        store.retention().make_room().map(drop),
        store.retention().capacity().map(drop),
        store.people().get(&pin).map(drop),
        store.people().put(&User::new(pin.clone()), Origin::Server).map(drop),
        store.people().count().map(drop),
        store.biometrics().count_faces().map(drop),
        store.biometrics().count_fingerprints().map(drop),
        store.guests().remove_expired(1 << 40, Duration::from_secs(60)).map(drop),
        store.changes().after(0, 1000, |_| true).map(drop),
        store.changes().messages_after(0, 100).map(drop),
        store.options().all().map(drop),
        store.options().put("Volume", "7").map(drop),
        store.command_log().askings().map(drop),
        store.command_log().find(&[7; 16], "1").map(drop),
        store.command_log().replies_due(100).map(drop),
        store.command_log().count_replies().map(drop),
        store.jobs().list(100).map(drop),
        store.jobs().released(10).map(drop),
        store.jobs().count().map(drop),
        store.quarantine().list(true, 100).map(drop),
        store.quarantine().list(false, 100).map(drop),
        store.quarantine().retry(None).map(drop),
        store.audit_log().latest(10).map(drop),
        store.people().delete(&pin).map(drop),
    ]);
    for stream in Stream::ALL {
        note_all(vec![
            store.outbox().backlog(stream).map(drop),
            store.undated().of_stream(stream).map(drop),
            store.outbox().resend(stream, 0),
        ]);
    }
    for table in Table::ALL {
        note_all(vec![store.stamps().get(table).map(drop)]);
        let streams: Vec<Outgoing> = table.streams().map(Outgoing::from).collect();
        for _ in 0..20 {
            let batch = store.outbox().next_batch(&streams, 50);
            let Ok(Some(Batch { pass, rows })) = batch else {
                note_all(vec![batch.map(drop)]);
                break;
            };
            let mut body = Vec::new();
            for content in rows.iter().filter_map(|row| row.content.as_ref()) {
                match content {
                    Content::Record(record) => record.write(&mut body, Language::ENGLISH),
                    Content::Photo(photo) => photo.write(&mut body, "S", false),
                }
            }
            note_all(vec![store.outbox().acknowledge(table, pass, &rows)]);
        }
    }
    while let Ok(Some(query)) = store.queries().next() {
        note_all(vec![
            store.queries().count_on(&query, 10).map(drop),
            store.queries().rows(&query, 0, Seq::MAX, 10).map(drop),
            store.queries().end(query.command),
        ]);
    }
    failures
}

fn punch(pin: &str, second: i64) -> NewPunch {
    NewPunch {
        pin: Pin::new(pin).expect("a PIN"),
        moment: match second % 4 {
            3 => Moment::AwaitingClock { boot: "b".into(), seconds: second },
            2 => Moment::AwaitingZone { utc: 1_700_000_000 + second },
            _ => Moment::At(LocalTime::from_seconds(1_700_000_000 + second).expect("a time")),
        },
        status: 0,
        verify: 1,
        workcode: WorkCode::new("").expect("none"),
        screening: Screening::default(),
        card: None,
    }
}

/// The change at a place: a byte is set or turned, bytes are erased, a page is there twice.
fn changed(valid: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut file = valid.to_vec();
    let length = file.len();
    for change in changes.chunks_exact(CHANGE) {
        let [high, middle, low, what, value] = *change else { continue };
        let at = u32::from_be_bytes([0, high, middle, low]) as usize % length;
        match what % 5 {
            0 => file[at] = value,
            1 => file[at] ^= value | 1,
            2 => file[at..length.min(at + usize::from(value))].fill(0),
            3 => file.truncate(at),
            _ => {
                let page = usize::from(value) * PAGE % length;
                let (from, to) = (page - page % PAGE, at - at % PAGE);
                let most = PAGE.min(length - from).min(length - to);
                file.copy_within(from..from + most, to);
            }
        }
        if file.len() < length {
            break;
        }
    }
    file
}

/// A small store with a row of every kind.
struct Valid {
    directory: PathBuf,
    closed: Vec<u8>,
    /// The file and its log, as a power cut leaves them.
    cut: (Vec<u8>, Vec<u8>),
}

impl Valid {
    fn new() -> Self {
        let directory = PathBuf::from(format!("/dev/shm/punchd-store-{}", std::process::id()));
        let valid = Self { directory, closed: Vec::new(), cut: Default::default() };
        valid.clear();
        let path = valid.directory.join("punchd.db");
        let (store, _) = Store::open_marked(&path, LIMITS).expect("it can be made");
        fill(&store).expect("there is room");
        drop(store);
        let closed = fs::read(&path).expect("it was made");
        let (store, _) = Store::open_marked(&path, LIMITS).expect("it is whole");
        (0..20).for_each(|nth| drop(store.journal().add_punch(&punch("2", nth))));
        let read = |path: &Path| fs::read(path).expect("it is there");
        let cut = (read(&path), read(&beside(&path)));
        Self { closed, cut, ..valid }
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(&self.directory);
        fs::create_dir_all(&self.directory).expect("there is room in memory");
    }
}

fn fill(store: &Store) -> Result<()> {
    let pin = Pin::new("1").expect("a PIN");
    (0..8).try_for_each(|nth| store.journal().add_punch(&punch("1", nth)).map(drop))?;
    let time = LocalTime::from_seconds(1_700_000_000).expect("a time");
    let Operation { code, time, operator, who, values } = Operation::plain(4, time);
    let moment = Moment::At(time);
    store.journal().add_operation(&NewOperation { code, moment, operator, who, values })?;
    store.people().put(&User::new(pin.clone()), Origin::Terminal)?;
    let fields = b"PIN=1\tFID=1\tSize=4\tValid=1\tTMP=AAAA";
    let template = Template::parse(TemplateForm::Fingerprint, fields, Language::ENGLISH);
    store.biometrics().put_template(&template.expect("a template"), Origin::Terminal)?;
    let fields = format!("PIN=1\tSize=12\tContent={JPEG}\tType=9");
    if let Ok(BioPhotoUpdate::Here(picture)) =
        BioPhotoUpdate::parse(fields.as_bytes(), Language::ENGLISH)
    {
        store.biometrics().put_bio_photo(&picture, Origin::Server)?;
    }
    let fields = format!("PIN=1\tSize=12\tContent={JPEG}");
    let picture = UserPic::parse(fields.as_bytes(), Language::ENGLISH).expect("a picture");
    store.biometrics().put_user_pic(&picture, Origin::Terminal)?;
    let card = IdCard::parse(b"PIN=1\tIDNum=210218199105072345\tGender=1\tNation=1");
    store.id_cards().put(&card.expect("a card"), Origin::Terminal)?;
    let code = ErrorCode::new("D01E0001").expect("a code");
    store
        .error_log()
        .add(&ErrorLog::new(code, "dark", None, serde_json::Value::Null).expect("text"))?;
    store.options().set("Volume", "7")?;
    store.guests().put(&pin, Some(1_700_000_000), Duration::from_secs(60))?;
    let log = store.command_log();
    let done = log.begin(&[7; 16], "1", "CHECK", (1, 1), None)?;
    log.finish(done, ReturnCode::DONE, b"")?;
    let asked = log.begin(&[8; 16], "2", "DATA", (1, 1), None)?;
    store.queries().begin(asked, &Asked::all(Stream::Punches), 10)?;
    let row = log.begin(&[9; 16], "3", "GetFile", (1, 1), None)?;
    let text = b"GetFile /a";
    let touches = Command::parse(text).expect("a command").touches();
    store.jobs().begin(row, text, Lane::Waiting, &touches, None)?;
    let refused = RefusedRow {
        stream: Stream::Punches,
        seq: 1,
        message: "no".into(),
        first: 1,
        refusals: 1,
        offer_at: 1,
        is_aside: true,
        retry: false,
        cause: Cause::Answer,
        is_unclear: false,
    };
    store.quarantine().put(Pass::New, &refused)
}

fn beside(path: &Path) -> PathBuf {
    files::beside(path, "-wal")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("there is room in memory");
}
