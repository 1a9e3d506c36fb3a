//! The tables, and how a store of an earlier version becomes one of this.
//!
//! Rows that go up carry a number from one sequence for the whole store (see
//! `Db::next_seq`), so that a stamp means the same place in every table. The
//! journals have no index but that number (and one of the few rows that await the clock): every
//! further index would be written with every punch.

use rusqlite::{Connection, OptionalExtension};

/// Marks the file as a store of punchd ("pnch").
pub const APPLICATION_ID: i64 = 0x706e_6368;

/// The steps from one schema version to the next. A step that has been released is never
/// changed again.
const STEPS: [&str; 7 + cfg!(later_schema) as usize] = [
    "
    CREATE TABLE punch (
        seq      INTEGER PRIMARY KEY,
        pin      TEXT    NOT NULL,
        time     INTEGER NOT NULL, -- wall clock; monotonic seconds while held
        status   INTEGER NOT NULL,
        verify   INTEGER NOT NULL,
        workcode TEXT    NOT NULL,
        held     TEXT              -- the boot whose monotonic clock `time` is of
    ) STRICT;
    CREATE INDEX punch_held ON punch (held) WHERE held IS NOT NULL;
    CREATE TABLE operation (
        seq      INTEGER PRIMARY KEY,
        code     INTEGER NOT NULL,
        operator TEXT    NOT NULL,
        time     INTEGER NOT NULL,
        who      TEXT    NOT NULL,
        v1       TEXT    NOT NULL,
        v2       TEXT    NOT NULL,
        v3       TEXT    NOT NULL,
        held     TEXT
    ) STRICT;
    CREATE INDEX operation_held ON operation (held) WHERE held IS NOT NULL;
    CREATE TABLE user (
        pin        TEXT    PRIMARY KEY,
        name       TEXT    NOT NULL,
        privilege  INTEGER NOT NULL,
        password   TEXT    NOT NULL,
        card       TEXT    NOT NULL,
        grp        INTEGER NOT NULL,
        time_zones TEXT    NOT NULL,
        verify     INTEGER NOT NULL,
        vice_card  TEXT    NOT NULL,
        changed    INTEGER NOT NULL, -- number of the last change
        local      INTEGER NOT NULL  -- number of the last change made on the terminal, or 0
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX user_changed ON user (changed);
    CREATE INDEX user_local ON user (local) WHERE local > 0;
    CREATE INDEX user_card ON user (card) WHERE card <> '';
    CREATE INDEX user_vice_card ON user (vice_card) WHERE vice_card <> '';
    CREATE TABLE cursor (
        stream     TEXT    PRIMARY KEY,
        sent       INTEGER NOT NULL, -- everything up to here was acknowledged
        again      INTEGER,          -- what goes up again: sent up to here …
        again_end  INTEGER           -- … and until here
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE stamp (
        name    TEXT    PRIMARY KEY,
        nonzero INTEGER NOT NULL, -- this server has sent a stamp other than 0
        proof   INTEGER NOT NULL, -- a stamp that came back as it was sent
        proven  INTEGER NOT NULL, -- a second one did
        again   INTEGER NOT NULL  -- the last stamp that went up, if by a row sent again
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE option (
        key   TEXT PRIMARY KEY COLLATE NOCASE,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE command (
        row      INTEGER PRIMARY KEY,
        digest   BLOB    NOT NULL, -- of id and text
        id       TEXT    NOT NULL,
        name     TEXT    NOT NULL,
        attempts INTEGER NOT NULL,
        goes_on  INTEGER NOT NULL DEFAULT 0, -- in the background, beyond its command list
        code     INTEGER,          -- the result, once there is one
        rest     BLOB,
        due      INTEGER NOT NULL  -- 0, or 1 + how often the server refused the reply
    ) STRICT;
    CREATE UNIQUE INDEX command_digest ON command (digest);
    CREATE INDEX command_due ON command (due, row) WHERE due > 0;
    CREATE TABLE query (
        command INTEGER PRIMARY KEY, -- the row of the command that asked
        pin     TEXT,                -- NULL for every user
        after   INTEGER NOT NULL,    -- rows up to this number have gone
        until   INTEGER NOT NULL,
        packs   INTEGER NOT NULL,
        pack    INTEGER NOT NULL,
        count   INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE quarantine (
        stream TEXT    NOT NULL,
        seq    INTEGER NOT NULL,
        words  TEXT    NOT NULL, -- the server's
        at     INTEGER NOT NULL, -- seconds since 1970
        retry  INTEGER NOT NULL, -- it goes up once more
        PRIMARY KEY (stream, seq)
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE query ADD COLUMN stream TEXT NOT NULL DEFAULT 'users';
    ALTER TABLE query ADD COLUMN number INTEGER; -- of a finger
    ALTER TABLE query ADD COLUMN begins INTEGER; -- wall clock
    ALTER TABLE query ADD COLUMN ends   INTEGER;
    ALTER TABLE punch ADD COLUMN id_num TEXT;          -- of an identity card
    ALTER TABLE punch ADD COLUMN verification INTEGER; -- of card and person, not attendance
    CREATE INDEX punch_card ON punch (seq) WHERE id_num IS NOT NULL;
    CREATE TABLE template (
        id      INTEGER PRIMARY KEY,
        pin     TEXT    NOT NULL,
        kind    INTEGER NOT NULL, -- 0 FP, 1 FACE, 2 FVEIN, 3 BIODATA
        type    INTEGER NOT NULL, -- what it is of (§11.12)
        number  INTEGER NOT NULL,
        idx     INTEGER NOT NULL,
        valid   INTEGER NOT NULL,
        duress  INTEGER NOT NULL,
        major   INTEGER NOT NULL,
        minor   INTEGER NOT NULL,
        format  INTEGER NOT NULL,
        data    BLOB    NOT NULL,
        changed INTEGER NOT NULL,
        local   INTEGER NOT NULL,
        UNIQUE (pin, kind, type, number, idx)
    ) STRICT;
    CREATE INDEX template_changed ON template (kind, changed);
    CREATE INDEX template_local ON template (kind, local) WHERE local > 0;
    CREATE INDEX template_type ON template (type);
    CREATE TABLE picture (
        id      INTEGER PRIMARY KEY,
        pin     TEXT    NOT NULL,
        kind    INTEGER NOT NULL, -- 0 USERPIC, 1 BIOPHOTO
        type    INTEGER NOT NULL,
        data    BLOB    NOT NULL,
        changed INTEGER NOT NULL,
        local   INTEGER NOT NULL,
        UNIQUE (pin, kind, type)
    ) STRICT;
    CREATE INDEX picture_changed ON picture (kind, changed);
    CREATE INDEX picture_local ON picture (kind, local) WHERE local > 0;
    CREATE TABLE card (
        id      INTEGER PRIMARY KEY,
        id_num  TEXT    NOT NULL UNIQUE,
        pin     TEXT,
        record  BLOB    NOT NULL, -- as it travels
        changed INTEGER NOT NULL,
        local   INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX card_changed ON card (changed);
    CREATE INDEX card_local ON card (local) WHERE local > 0;
    CREATE TABLE entry (
        name    TEXT    NOT NULL, -- of the table (§12.2.9 to §12.2.18)
        id      TEXT    NOT NULL,
        record  TEXT    NOT NULL, -- JSON
        changed INTEGER NOT NULL,
        PRIMARY KEY (name, id)
    ) STRICT;
    CREATE INDEX entry_changed ON entry (changed);
    CREATE TABLE photo (
        seq    INTEGER PRIMARY KEY,
        pin    TEXT    NOT NULL,
        time   INTEGER NOT NULL,
        kind   INTEGER,          -- with an identity card (§11.8)
        id_num TEXT,
        data   BLOB    NOT NULL,
        held   TEXT
    ) STRICT;
    CREATE INDEX photo_card ON photo (seq) WHERE id_num IS NOT NULL;
    CREATE INDEX photo_held ON photo (held) WHERE held IS NOT NULL;
    CREATE TABLE error (
        seq        INTEGER PRIMARY KEY,
        code       TEXT NOT NULL,
        message    TEXT NOT NULL,
        command    TEXT,
        additional TEXT -- JSON
    ) STRICT;
",
    "
    ALTER TABLE command ADD COLUMN file TEXT; -- whose content goes up with the reply
    -- Servers count their ids upwards: so a long list writes the end of the index only.
    DROP INDEX command_digest;
    CREATE UNIQUE INDEX command_known ON command (id, digest);
    CREATE TABLE job (
        command  INTEGER PRIMARY KEY, -- the row of the command that goes on
        text     BLOB    NOT NULL,    -- of the command
        lane     INTEGER NOT NULL,    -- 0 files and programs, 1 enrolments, 2 doors
        stage    INTEGER NOT NULL,
        attempts INTEGER NOT NULL,    -- at this stage
        fetched  INTEGER NOT NULL,    -- bytes of its download that came …
        kept     INTEGER NOT NULL,    -- … and what they are on disk
        total    INTEGER,             -- bytes of the download, as the server says
        etag     TEXT,
        mark     INTEGER NOT NULL     -- the last number given when it began
    ) STRICT;
    CREATE TABLE audit (
        seq    INTEGER PRIMARY KEY,
        at     INTEGER,          -- seconds since 1970, if the clock was set
        server TEXT    NOT NULL,
        id     TEXT    NOT NULL, -- of the command
        what   TEXT    NOT NULL,
        result INTEGER           -- NULL while it goes on
    ) STRICT;
    CREATE TABLE guest (
        pin   TEXT    PRIMARY KEY, -- here for remote attendance (§14)
        until INTEGER NOT NULL     -- seconds since 1970
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE gone (
        what    TEXT    PRIMARY KEY, -- JSON, as drivers are told; '': deletions up to here are forgotten
        changed INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX gone_changed ON gone (changed);
",
    "
    -- Streams had their words for people as keys; a code stays when the words change.
    CREATE TABLE code (name TEXT PRIMARY KEY, code TEXT NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO code VALUES
        ('punches', 'punch'),
        ('card punches', 'id-punch'),
        ('operations', 'operation'),
        ('users', 'user'),
        ('fingerprints', 'fingerprint'),
        ('faces', 'face'),
        ('finger veins', 'finger-vein'),
        ('templates', 'unified'),
        ('user pictures', 'user-pic'),
        ('comparison photos', 'bio-photo'),
        ('identity cards', 'id-card'),
        ('errors', 'error'),
        ('photos', 'photo'),
        ('card photos', 'id-photo');
    UPDATE cursor SET stream = (SELECT code FROM code WHERE name = stream)
        WHERE stream IN (SELECT name FROM code);
    UPDATE quarantine SET stream = (SELECT code FROM code WHERE name = stream)
        WHERE stream IN (SELECT name FROM code);
    UPDATE query SET stream = (SELECT code FROM code WHERE name = stream)
        WHERE stream IN (SELECT name FROM code);
    DROP TABLE code;
",
    "
    -- Suspects are passed over and stay pending; what was set aside before is offered daily.
    ALTER TABLE quarantine ADD COLUMN aside INTEGER NOT NULL DEFAULT 1;   -- 0: a suspect
    ALTER TABLE quarantine ADD COLUMN refusals INTEGER NOT NULL DEFAULT 3; -- occasions
    ALTER TABLE quarantine ADD COLUMN offer_at INTEGER NOT NULL DEFAULT 0; -- seconds since 1970
    CREATE INDEX quarantine_offer ON quarantine (stream, offer_at);
",
    "
    -- Uploads as servers in use need them.
    -- Rows of a stream that were deleted for want of room and that the server does not have.
    CREATE TABLE dropped (stream TEXT PRIMARY KEY, rows INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    -- What the terminal saw at a punch, where it has a camera for that; NULL: not known.
    ALTER TABLE punch ADD COLUMN mask INTEGER;        -- 1 the person wore one
    ALTER TABLE punch ADD COLUMN temperature INTEGER; -- tenths of a degree Celsius
    -- The validity of a user, as the server wrote it; NULL: nobody gave one.
    ALTER TABLE user ADD COLUMN valid_from TEXT;
    ALTER TABLE user ADD COLUMN valid_until TEXT;
    ALTER TABLE user ADD COLUMN expires INTEGER;
    -- Earlier versions accepted photos for PINs with a dash, and passed over them: they are offered.
    INSERT OR IGNORE INTO quarantine (stream, seq, words, at, retry, aside, refusals, offer_at)
        SELECT cursor.stream, photo.seq, 'an earlier version of punchd could not send it', photo.time,
            1, 0, 0, 0
        FROM photo JOIN cursor ON cursor.stream = iif(id_num IS NULL, 'photo', 'id-photo')
        WHERE instr(pin, '-') > 0 AND held IS NULL AND seq <= sent;
    -- Why a row was refused.
    ALTER TABLE quarantine ADD COLUMN cause INTEGER NOT NULL DEFAULT 0;   -- 1: not counted, 2: too large
    ALTER TABLE quarantine ADD COLUMN unclear INTEGER NOT NULL DEFAULT 0; -- 1: nothing shows whose fault it was
    -- `held` of punch, operation and photo may also be 'utc': `time` is then in UTC, and the row
    -- waits for the time zone. No column changes.
    -- New and changed have flags of their own in TransFlag: a stream each, with a cursor each. What
    -- waits in an old store counts as new.
    ALTER TABLE user ADD COLUMN is_new INTEGER NOT NULL DEFAULT 0; -- the server did not know it
    UPDATE user SET is_new = 1
        WHERE local > coalesce((SELECT sent FROM cursor WHERE stream = 'user'), 0);
    DROP INDEX user_local;
    CREATE INDEX user_local ON user (is_new, local) WHERE local > 0;
    ALTER TABLE template ADD COLUMN is_new INTEGER NOT NULL DEFAULT 0;
    UPDATE template SET is_new = 1 WHERE kind = 0
        AND local > coalesce((SELECT sent FROM cursor WHERE stream = 'fingerprint'), 0);
    UPDATE template SET is_new = 1 WHERE kind = 3 AND type = 1
        AND local > coalesce((SELECT sent FROM cursor WHERE stream = 'unified'), 0);
    DROP INDEX template_local;
    CREATE INDEX template_local ON template (kind, is_new, local) WHERE local > 0;
    -- New rows up to here go up, although TransFlag does not name them: the server asked for them.
    ALTER TABLE cursor ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
    -- Streams that were part of another one begin where that is. Ranges that go up again stay there.
    INSERT INTO cursor (stream, sent) SELECT 'unified-fingerprint', sent FROM cursor WHERE stream = 'unified';
    INSERT INTO cursor (stream, sent) SELECT 'unified-face', sent FROM cursor WHERE stream = 'unified';
    UPDATE quarantine SET stream = 'unified-fingerprint' WHERE stream = 'unified'
        AND seq IN (SELECT changed FROM template WHERE kind = 3 AND type = 1);
    UPDATE quarantine SET stream = 'unified-face' WHERE stream = 'unified'
        AND seq IN (SELECT changed FROM template WHERE kind = 3 AND type IN (2, 9));
    -- A verification is no attendance: it waits for a server that knows it, a punch does not.
    INSERT INTO cursor (stream, sent, again, again_end)
        SELECT 'id-verification', sent, again, again_end FROM cursor WHERE stream = 'id-punch';
    UPDATE quarantine SET stream = 'id-verification' WHERE stream = 'id-punch'
        AND seq IN (SELECT seq FROM punch WHERE verification = 1);
    ALTER TABLE punch ADD COLUMN plain INTEGER; -- 1: it has an identity card, and went up without it
    -- Commands in order: a job waits for those before it that touch the same.
    ALTER TABLE job ADD COLUMN turn   INTEGER NOT NULL DEFAULT 0; -- the order in which they came
    ALTER TABLE job ADD COLUMN reads  INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE job ADD COLUMN writes INTEGER NOT NULL DEFAULT 510; -- everything
    ALTER TABLE job ADD COLUMN pin    TEXT;    -- the one person that it touches
    ALTER TABLE job ADD COLUMN also   INTEGER NOT NULL DEFAULT 0; -- what it waits for besides
    ALTER TABLE job ADD COLUMN after  INTEGER; -- the command that it waits for; 0: to be looked at
    UPDATE job SET turn = command;
    INSERT INTO job (command, text, lane, stage, attempts, fetched, kept, mark, turn, reads, writes)
        SELECT command, x'', 3, 5, 0, 0, 0, 0, command, 510, 0 FROM query;
    CREATE INDEX job_turn ON job (turn);
    CREATE INDEX job_lane ON job (lane, turn);
    CREATE INDEX job_pin ON job (pin, turn) WHERE pin IS NOT NULL;
    CREATE INDEX job_also ON job (also) WHERE also > 0;
    CREATE INDEX job_after ON job (after, turn) WHERE after IS NOT NULL;
    -- A query for one person sends the rows as they were when it came.
    ALTER TABLE query ADD COLUMN copied INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE query ADD COLUMN type INTEGER; -- of a template or a picture
    CREATE TABLE query_row (
        command INTEGER NOT NULL,
        seq     INTEGER NOT NULL,
        c0 ANY, c1 ANY, c2 ANY, c3 ANY, c4 ANY, c5 ANY, c6 ANY, c7 ANY, c8 ANY, c9 ANY, c10 ANY,
        c11 ANY, c12 ANY, c13 ANY, c14 ANY, c15 ANY, c16 ANY, c17 ANY, c18 ANY, c19 ANY, c20 ANY,
        c21 ANY, c22 ANY, c23 ANY,
        PRIMARY KEY (command, seq)
    ) STRICT, WITHOUT ROWID;
    -- Options that the server or a driver set are numbered as other changes that drivers load.
    ALTER TABLE option ADD COLUMN changed INTEGER; -- NULL: state of punchd itself
    CREATE UNIQUE INDEX option_changed ON option (changed) WHERE changed IS NOT NULL;
    -- Once for each asking: a command is known again by id and text, and may be asked for anew.
    DROP INDEX command_known;
    CREATE INDEX command_known ON command (id, digest);
    ALTER TABLE command ADD COLUMN list INTEGER NOT NULL DEFAULT 0;     -- in which it came last, or that was the last when its reply was taken
    ALTER TABLE command ADD COLUMN begun_at INTEGER NOT NULL DEFAULT 0; -- seconds of askings.at
    ALTER TABLE command ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE command ADD COLUMN partly INTEGER NOT NULL DEFAULT 0;   -- 1: some of its records were done, not all
    CREATE TABLE askings (
        one                   INTEGER PRIMARY KEY CHECK (one = 1),
        list                  INTEGER NOT NULL, -- number of the last answer with commands
        -- A complete answer of the kind came without the commands up to this number …
        poll_without_it       INTEGER NOT NULL,
        handshake_without_it  INTEGER NOT NULL,
        upload_without_it     INTEGER NOT NULL,
        -- … and without any command.
        poll_without_any      INTEGER NOT NULL,
        handshake_without_any INTEGER NOT NULL,
        upload_without_any    INTEGER NOT NULL,
        forgotten             INTEGER NOT NULL, -- the server began its ids anew after this number
        highest               TEXT,             -- id since they were seen to rise; up to 39 digits
        before                TEXT,             -- the highest before they fell
        risen                 INTEGER NOT NULL, -- how many rose, at most 5
        mixed                 INTEGER NOT NULL, -- 1: not all are numbers that rise
        host                  TEXT    NOT NULL, -- of the server
        at                    INTEGER NOT NULL, -- seconds of the command log's own time, when …
        boot                  TEXT    NOT NULL,
        monotonic             INTEGER NOT NULL, -- … the clocks showed these seconds
        utc                   INTEGER           -- NULL: the clock was not set
    ) STRICT;
    -- A person who is deleted takes their identity card along.
    CREATE INDEX card_pin ON card (pin) WHERE pin IS NOT NULL;
    -- A user who loses a card to another is changed for drivers, and is not written.
    ALTER TABLE user ADD COLUMN written INTEGER; -- number of the last writing; NULL: that is `changed`
    -- 1: it came with a guest, and goes when they are fetched again; others live as long as the guest.
    ALTER TABLE template ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0;
",
    "
    -- How many rows each chunk of 256 numbers has, once the sequence has left it (src/store/tally.rs).
    CREATE TABLE tally (
        level INTEGER NOT NULL, -- 0: a chunk; 1: the sum of 8 chunks; 2: of 64; 3: of 512
        chunk INTEGER NOT NULL, -- which of its level; those without rows have no row
        -- Rows of the streams, by their codes and in the order of Stream::ALL:
        punch             INTEGER NOT NULL,
        \"id-punch\"        INTEGER NOT NULL,
        \"id-verification\" INTEGER NOT NULL,
        operation         INTEGER NOT NULL,
        error             INTEGER NOT NULL,
        photo             INTEGER NOT NULL,
        \"id-photo\"        INTEGER NOT NULL,
        PRIMARY KEY (level, chunk)
    ) STRICT, WITHOUT ROWID;
",
    // For tests: what a later version may do.
    #[cfg(later_schema)]
    "
    ALTER TABLE punch ADD COLUMN later TEXT;
    ALTER TABLE job ADD COLUMN later INTEGER NOT NULL DEFAULT 7;
    CREATE TABLE later (one INTEGER PRIMARY KEY, text TEXT) STRICT;
    CREATE INDEX punch_later ON punch (later) WHERE later IS NOT NULL;
",
];

/// The version of the schema that this program writes.
pub const VERSION: i64 = STEPS.len() as i64;

/// The oldest version whose program can go on with a store of [`VERSION`]: an upgrade that is taken back
/// leaves the store as the later program made it. So a step that is added here adds columns with a
/// default, tables and indexes, and changes nothing that an earlier program reads; only if that
/// cannot be, this number rises to the step, and the release before it has to be installed first.
pub const READABLE_FROM: i64 = 7;

/// Where a store says from which version on a program can go on with it, among its options.
const OLDEST: &str = "punchd.readable-from";

/// Brings a store of version `from` up to [`VERSION`], in one transaction.
pub fn migrate(db: &Connection, from: i64) -> rusqlite::Result<()> {
    let steps: String = STEPS[from as usize..].concat();
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION_ID}; \
         PRAGMA user_version = {VERSION}; \
         INSERT OR REPLACE INTO option (key, value) VALUES ('{OLDEST}', '{READABLE_FROM}'); COMMIT;"
    ))
}

/// Whether this program can go on with a store of a later version. That stays as it is.
pub fn is_readable(db: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT CAST(value AS INTEGER) <= ?2 FROM option WHERE key = ?1";
    let found = db.query_row(sql, (OLDEST, VERSION), |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(false))
}

/// Makes a store of an earlier version in an empty file.
#[cfg(test)]
pub(super) fn create_earlier(db: &Connection, version: i64) -> rusqlite::Result<()> {
    let steps: String = STEPS[..version as usize].concat();
    db.execute_batch(&format!(
        "PRAGMA page_size = 1024; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
         BEGIN; {steps} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; COMMIT;"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::stream::Stream;
    use crate::store::{Limits, Store};

    /// A store that has taken a step does not take it again. So one that differs is a mistake, unless no
    /// version with it was released: then its new digest belongs here.
    #[test]
    fn a_step_that_was_released_is_as_it_was() {
        use md5::{Digest, Md5};
        let digests = STEPS.map(|step| {
            let digest: [u8; 16] = Md5::digest(step).into();
            u128::from_be_bytes(digest)
        });
        let expected = [
            "70b711c6416a0dcd893f013508e31f86",
            "2f53370c6aa2979f37f60f4102f7911c",
            "7a370efa0a0e8f4d65101233f1a34be8",
            "ea25434322ebf532e61d496b751e0e86",
            "6feb9412e1375913d37feb55810c5389",
            "4f0103964cecabe446b61aee3e76c6ea",
            "a77e097eac56c62a4072866383a7828b",
        ];
        assert_eq!(digests.map(|digest| format!("{digest:032x}")), expected);
    }

    #[test]
    fn a_store_with_a_version_that_none_had_is_damaged() {
        let path = std::env::temp_dir().join(format!("punchd-below-{}.db", std::process::id()));
        let _ = std::fs::remove_file(&path);
        drop(Store::open(&path, Limits::default()).unwrap());
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA user_version = -553713664;").unwrap();
        drop(db);
        let error = Store::open(&path, Limits::default()).map(drop).unwrap_err();
        assert!(matches!(error, crate::store::StoreError::Damaged { .. }), "{error}");
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn a_store_of_a_later_version_is_used_only_if_it_says_so() {
        let path = std::env::temp_dir().join(format!("punchd-later-{}.db", std::process::id()));
        for (says, is_used) in [
            (None, false),
            (Some(VERSION + 1), false),
            (Some(VERSION), true),
            (Some(VERSION - 1), true),
        ] {
            let _ = std::fs::remove_file(&path);
            drop(Store::open(&path, Limits::default()).unwrap());
            let db = Connection::open(&path).unwrap();
            let later = VERSION + 1;
            db.execute_batch(&format!("PRAGMA user_version = {later};")).unwrap();
            db.execute("UPDATE option SET value = ?2 WHERE key = ?1", (OLDEST, says.unwrap_or(0)))
                .unwrap();
            if says.is_none() {
                db.execute("DELETE FROM option WHERE key = ?1", [OLDEST]).unwrap();
            }
            drop(db);
            let opened = Store::open(&path, Limits::default());
            assert_eq!(opened.is_ok(), is_used, "readable from {says:?}");
            drop(opened);
            let db = Connection::open(&path).unwrap();
            let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
            assert_eq!(version, later, "readable from {says:?}");
        }
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn photos_that_an_earlier_version_passed_over_are_offered() {
        let path = std::env::temp_dir().join(format!("punchd-photos-{}.db", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let db = Connection::open(&path).unwrap();
        db.execute_batch(&STEPS[..5].concat()).unwrap();
        db.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 5;
             INSERT INTO cursor VALUES ('photo', 9, NULL, NULL), ('id-photo', 9, NULL, NULL);
             INSERT INTO photo (seq, pin, time, kind, id_num, data) VALUES
                (2, '7', 1793577600, NULL, NULL, x'FFD8FFD9'),
                (3, 'a-1', 1793577600, NULL, NULL, x'FFD8FFFFD9'),
                (4, 'b-2', 1793577600, 0, '110105194912310', x'FFD8FFFFD9'),
                (9, 'd-4', 1793577600, NULL, NULL, x'FFD8FFFFD9'),
                (10, 'c-3', 1793577600, NULL, NULL, x'FFD8FFFFD9');
             INSERT INTO photo (seq, pin, time, held, data) VALUES (5, 'e-5', 7, 'boot', x'FFD8FFD9');"
        ))
        .unwrap();
        drop(db);
        let store = Store::open(&path, Limits::default()).unwrap();
        // Neither what waits still, nor what it could not have passed over.
        let offered = [(Stream::Photos, 3), (Stream::Photos, 9), (Stream::IdPhotos, 4)];
        for (stream, seq) in offered {
            let (known, row) = store.quarantine().due(&[stream.into()], 0, false).unwrap().unwrap();
            assert_eq!((row.seq, row.content.is_some()), (seq, true));
            // As a person who wants it sent would have it; it was never refused.
            assert!(known.retry && !known.is_aside, "{known:?}");
            assert_eq!((known.refusals, known.offer_at, known.first), (0, 0, 1_793_577_600));
            store.quarantine().release(stream, seq).unwrap();
        }
        for is_aside in [false, true] {
            assert_eq!(store.quarantine().list(is_aside, 9).unwrap(), []);
        }
        drop(store);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }

    #[test]
    fn rows_and_cursors_of_an_earlier_version_belong_to_the_streams_of_this() {
        let db = Connection::open_in_memory().unwrap();
        create_earlier(&db, 5).unwrap();
        db.execute_batch(
            "INSERT INTO cursor (stream, sent, again, again_end) VALUES ('user', 20, NULL, NULL),
                ('fingerprint', 30, NULL, NULL), ('unified', 40, 1, 2), ('id-punch', 9, 2, 5);
             INSERT INTO user (pin, name, privilege, password, card, grp, time_zones, verify,
                vice_card, changed, local) SELECT n.column1, '', 0, '', '', 1, '', 0, '', n.column1, n.column1
                FROM (VALUES (20), (21)) AS n;
             INSERT INTO template (pin, kind, type, number, idx, valid, duress, major, minor, format,
                data, changed, local) SELECT column1, column2, column3, 0, 0, 1, 0, 0, 0, 0, x'01', column1,
                column1 FROM (VALUES (30, 0, 1), (31, 0, 1), (40, 3, 1), (41, 3, 1), (42, 3, 2), (43, 3, 8),
                (44, 3, 9), (45, 1, 2));
             INSERT INTO punch (seq, pin, time, status, verify, workcode, id_num, verification)
                SELECT column1, '7', 1, 0, 1, '', '110105194912310', column2
                FROM (VALUES (3, 1), (4, 0), (6, NULL));
             INSERT INTO quarantine (stream, seq, words, at, retry) SELECT column1, column2, '', 1, 0
                FROM (VALUES ('unified', 41), ('unified', 42), ('unified', 43), ('unified', 44),
                ('id-punch', 3), ('id-punch', 4), ('id-punch', 6));
             INSERT INTO job VALUES (8, x'', 1, 1, 0, 0, 0, NULL, NULL, 0);
             INSERT INTO query (command, after, until, packs, pack, count, stream)
                VALUES (9, 1, 2, 3, 4, 5, 'user');",
        )
        .unwrap();
        migrate(&db, 5).unwrap();
        for (sql, expected) in [
            ("SELECT pin FROM user WHERE is_new = 1", "21"),
            ("SELECT pin FROM template WHERE is_new = 1", "31 41"),
            (
                "SELECT concat_ws('-', stream, sent, again, again_end) FROM cursor ORDER BY 1",
                "fingerprint-30 id-punch-9-2-5 id-verification-9-2-5 unified-40-1-2 unified-face-40 \
                 unified-fingerprint-40 user-20",
            ),
            (
                "SELECT concat_ws('-', stream, seq) FROM quarantine ORDER BY seq",
                "id-verification-3 id-punch-4 id-punch-6 unified-fingerprint-41 unified-face-42 \
                 unified-43 unified-face-44",
            ),
            (
                "SELECT concat_ws('-', command, lane, stage, turn, reads, writes) FROM job ORDER BY 1",
                "8-1-1-8-0-510 9-3-5-9-510-0",
            ),
        ] {
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            let rows: Vec<String> = rows.map(Result::unwrap).collect();
            assert_eq!(rows.join(" "), expected, "{sql}");
        }
    }

    #[test]
    fn a_store_of_every_earlier_version_becomes_one_of_this() {
        let path = std::env::temp_dir().join(format!("punchd-schema-{}.db", std::process::id()));
        for version in 1..=VERSION {
            let _ = std::fs::remove_file(&path);
            let db = Connection::open(&path).unwrap();
            db.execute_batch(&STEPS[..version as usize].concat()).unwrap();
            db.execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};
                 INSERT INTO punch (seq, pin, time, status, verify, workcode)
                 VALUES (7, '1001', 1793577600, 0, 1, '0');"
            ))
            .unwrap();
            let old_names = version < 4;
            let key = |old, new| if old_names { old } else { new };
            db.execute_batch(&format!(
                "INSERT INTO cursor (stream, sent, again, again_end) VALUES ('{}', 6, 2, 5);",
                key("punches", "punch")
            ))
            .unwrap();
            let users = key("users", "user");
            db.execute_batch(&format!(
                "INSERT INTO cursor (stream, sent) VALUES ('{users}', 20);
                 INSERT INTO user (pin, name, privilege, password, card, grp, time_zones, verify,
                     vice_card, changed, local)
                 VALUES ('1', '', 0, '', '', 1, '', 0, '', 10, 10), ('2', '', 0, '', '', 1, '', 0, '', 30, 30);"
            ))
            .unwrap();
            if version >= 2 {
                db.execute_batch(&format!(
                    "INSERT INTO quarantine (stream, seq, words, at, retry)
                     VALUES ('{}', 3, 'bad row', 1793577600, 1);
                     INSERT INTO command (row, digest, id, name, attempts, due)
                     VALUES (1, x'00', '9', 'DATA', 1, 0);
                     INSERT INTO query (command, after, until, packs, pack, count, stream)
                     VALUES (1, 4, 9, 2, 1, 70, '{}');",
                    key("card photos", "id-photo"),
                    key("finger veins", "finger-vein")
                ))
                .unwrap();
            }
            drop(db);
            let store = Store::open(&path, Limits::default()).unwrap();
            let batch = store.outbox().next_batch(&[Stream::Punches.into()], 10).unwrap().unwrap();
            assert_eq!((batch.rows.len(), batch.rows[0].seq), (1, 7), "from version {version}");
            assert!(store.outbox().backlog(Stream::Faces).unwrap().new == 0);
            assert_eq!(store.outbox().backlog(Stream::Punches).unwrap().sent, 6);
            // What was sent stays sent; what waits goes as new.
            let users = [Stream::Users, Stream::NewUsers]
                .map(|stream| store.outbox().backlog(stream).unwrap().new);
            assert_eq!(users, if version < 6 { [0, 1] } else { [1, 0] }, "from version {version}");
            if version >= 2 {
                let aside = store.quarantine().list(true, 9).unwrap();
                assert_eq!((aside[0].refusals, aside[0].offer_at), (3, 0));
                assert_eq!((aside[0].stream, aside[0].seq), (Stream::IdPhotos, 3));
                let query = store.queries().next().unwrap().unwrap();
                assert_eq!((query.asked.stream, query.after), (Stream::FingerVeins, 4));
            }
        }
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
