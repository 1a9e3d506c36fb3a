//! How many rows wait, kept as they come and go: counting them would take seconds, and `status`
//! is asked for all the time.
//!
//! The counts of journals are in a temporary table, which SQLite keeps in memory, so that a punch
//! writes no byte more to the flash. Triggers keep them with every change of the rows and the
//! cursors, whoever makes it, in the transaction of the change. After a start, and when a server
//! wants rows again, they are counted in short steps ([`Backlog::count_for`]), between which
//! drivers are served. Rows that change in place are counted when somebody asks.
//!
//! A count is of the rows after one number up to another. It is complete once `counted` has
//! reached the second one: up to there triggers keep it, and beyond it rows are still to be counted.

use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension, params};

use super::cursors::Cursors;
use super::db::Db;
use super::error::Result;
use super::rows::{Pass, Seq};
use super::source::Source;
use crate::protocol::stream::Stream;

/// Numbers that are looked through in one step.
pub(super) const STEP: Seq = 2000;
/// What is counted when the store is opened: nearly always that is all.
const AT_START: Duration = Duration::from_millis(10);
/// The code of the count of all punches, beside those of the streams.
const KEPT: &str = "kept punches";

/// The counts.
#[derive(Clone, Copy)]
pub(super) struct Backlog<'a> {
    db: &'a Db,
}

impl<'a> Backlog<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Begins to count. Called once for a connection.
    pub(super) fn begin(&self) -> Result<()> {
        let mut sql = String::from(
            "PRAGMA recursive_triggers = ON; -- a row that is replaced counts as deleted
             CREATE TEMP TABLE backlog (
                 stream  TEXT    NOT NULL,
                 pass    INTEGER NOT NULL, -- 0 new rows, 1 rows that are resent
                 after   INTEGER NOT NULL,
                 until   INTEGER NOT NULL,
                 counted INTEGER NOT NULL, -- rows beyond are still to be counted
                 waiting INTEGER NOT NULL, -- the count
                 PRIMARY KEY (stream, pass)
             ) STRICT, WITHOUT ROWID;",
        );
        for stream in Stream::ALL.into_iter().filter(|stream| !is_counted_when_asked(*stream)) {
            sql += &of_stream(stream);
        }
        sql += &of_kept_punches();
        self.db.connection().execute_batch(&sql)?;
        self.count_for(AT_START).map(drop)
    }

    /// Goes on to count, for about so long. Whether all counts are complete.
    pub(super) fn count_for(&self, time: Duration) -> Result<bool> {
        let begun = Instant::now();
        let sql = "SELECT stream, pass, counted, until FROM backlog WHERE counted < until LIMIT 1";
        let mut next = self.db.prepare_cached(sql)?;
        loop {
            let incomplete = next.query_row([], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            });
            let Some((code, pass, counted, until)) = incomplete.optional()? else {
                return Ok(true);
            };
            self.step(&code, pass, counted, until)?;
            if begun.elapsed() >= time {
                return Ok(false);
            }
        }
    }

    /// How many rows of a stream wait, by the cursor of a pass.
    pub(super) fn waiting(&self, stream: Stream, pass: Pass) -> Result<u64> {
        if is_counted_when_asked(stream) {
            return self.count(stream, pass);
        }
        self.count_for(Duration::MAX)?;
        self.get(stream.code(), number(pass)).map(|(waiting, _)| waiting)
    }

    /// Counts the rows of a stream by their index.
    fn count(&self, stream: Stream, pass: Pass) -> Result<u64> {
        let cursors = Cursors::new(self.db);
        let cursor = cursors.get(stream)?;
        match pass {
            Pass::New | Pass::Retry => cursors.count(stream, pass, (cursor.sent, Seq::MAX), None),
            // Rows of some streams are resent by another.
            Pass::Resend => match cursor.resend.filter(|_| stream.resent_as() == stream) {
                Some(range) => cursors.count(stream, pass, range, None),
                None => Ok(0),
            },
        }
    }

    /// How many punches are kept.
    pub(super) fn kept_punches(&self) -> Result<u64> {
        self.count_for(Duration::MAX)?;
        self.get(KEPT, 0).map(|(kept, _)| kept)
    }

    /// The same, or fewer as long as they are not all counted.
    pub(super) fn kept_punches_at_least(&self) -> Result<u64> {
        self.get(KEPT, 0).map(|(kept, _)| kept)
    }

    fn get(&self, code: &str, pass: u8) -> Result<(u64, Seq)> {
        let sql = "SELECT waiting, counted FROM backlog WHERE stream = ?1 AND pass = ?2";
        let mut statement = self.db.prepare_cached(sql)?;
        Ok(statement.query_row(params![code, pass], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Counts the rows of the next numbers.
    fn step(&self, code: &str, pass: u8, counted: Seq, until: Seq) -> Result<()> {
        let source = match Stream::from_code(code) {
            Some(stream) => Source::of(stream),
            None => Source { filter: "TRUE", ..Source::of(Stream::Punches) },
        };
        let table = source.table;
        let pass_of = if pass == 0 { Pass::New } else { Pass::Resend };
        let (column, filter) = (source.column(pass_of), source.filter_of(pass_of));
        // The next row may be of another stream: then it is passed over with its step.
        let sql = format!("SELECT min({column}) FROM {table} WHERE {column} > ?1");
        let first: Option<Seq> =
            self.db.prepare_cached(&sql)?.query_row([counted], |row| row.get(0))?;
        let upto = first.map_or(until, |first| until.min(first.saturating_add(STEP)));
        let sql = format!(
            "UPDATE backlog SET counted = ?1, waiting = waiting + (
                 SELECT count(*) FROM {table}
                 WHERE {filter} AND {column} > ?2 AND {column} <= ?1)
             WHERE stream = ?3 AND pass = ?4"
        );
        self.db.prepare_cached(&sql)?.execute(params![upto, counted, code, pass])?;
        Ok(())
    }
}

/// Whether the rows of a stream are counted when somebody asks: those that change in place. Few of
/// them wait, in an index of their own; triggers for all their streams took a megabyte.
fn is_counted_when_asked(stream: Stream) -> bool {
    Source::of(stream).changes_in_place()
}

fn number(pass: Pass) -> u8 {
    match pass {
        Pass::New | Pass::Retry => 0,
        Pass::Resend => 1,
    }
}

/// The counts of a stream, and the triggers that keep them.
fn of_stream(stream: Stream) -> String {
    let (source, code) = (Source::of(stream), stream.code());
    let mut sql = format!(
        "INSERT INTO backlog
         SELECT '{code}', 0, sent, {max}, sent, 0 FROM
             (SELECT coalesce((SELECT sent FROM cursor WHERE stream = '{code}'), 0) AS sent);
         INSERT INTO backlog
         SELECT '{code}', 1, coalesce(again, 0), coalesce(again_end, 0), coalesce(again, 0), 0 FROM
             (SELECT (SELECT again FROM cursor WHERE stream = '{code}') AS again,
                     (SELECT again_end FROM cursor WHERE stream = '{code}') AS again_end);",
        max = Seq::MAX
    );
    sql += &on_rows(code, &source);
    sql += &on_cursor(code, &source);
    sql
}

/// A row counts while it is there, under its numbers.
fn on_rows(code: &str, source: &Source) -> String {
    let table = source.table;
    let change = |row: &str, sign: char| {
        let change = |pass| {
            let (column, filter) = (source.column(pass), source.filter_of(pass));
            format!(
                "UPDATE backlog SET waiting = waiting {sign} 1
                 WHERE stream = '{code}' AND pass = {}
                 AND {row}.{column} > after AND {row}.{column} <= min(until, counted)
                 AND EXISTS (SELECT 1 FROM {table} WHERE seq = {row}.seq AND {filter});",
                number(pass)
            )
        };
        [Pass::New, Pass::Resend].map(change).concat()
    };
    let (gone, come) = (change("OLD", '-'), change("NEW", '+'));
    format!(
        "CREATE TEMP TRIGGER \"backlog {code} insert\" AFTER INSERT ON main.{table}
             BEGIN {come} END;
         CREATE TEMP TRIGGER \"backlog {code} delete\" BEFORE DELETE ON main.{table}
             BEGIN {gone} END;
         CREATE TEMP TRIGGER \"backlog {code} change\" BEFORE UPDATE ON main.{table}
             BEGIN {gone} END;
         CREATE TEMP TRIGGER \"backlog {code} changed\" AFTER UPDATE ON main.{table}
             BEGIN {come} END;"
    )
}

/// The rows that a cursor passes over do not wait any longer. What it newly asks for is counted
/// later: that may be everything.
fn on_cursor(code: &str, source: &Source) -> String {
    let table = source.table;
    let passed = |pass: Pass, upto: &str| {
        let (column, filter) = (source.column(pass), source.filter_of(pass));
        format!(
            "waiting = waiting - (
                 SELECT count(*) FROM {table} WHERE {filter}
                 AND {column} > backlog.after AND {column} <= min(NEW.{upto}, backlog.counted)),
             after = NEW.{upto}, counted = max(counted, NEW.{upto})"
        )
    };
    let (sent, resent) = (passed(Pass::New, "sent"), passed(Pass::Resend, "again"));
    let body = format!(
        "UPDATE backlog SET {sent}
             WHERE stream = '{code}' AND pass = 0 AND NEW.sent > after;
         UPDATE backlog SET waiting = 0, after = NEW.sent, counted = NEW.sent
             WHERE stream = '{code}' AND pass = 0 AND NEW.sent < after;
         UPDATE backlog SET {resent}
             WHERE stream = '{code}' AND pass = 1 AND NEW.again > after AND NEW.again_end = until;
         UPDATE backlog SET waiting = 0, after = coalesce(NEW.again, 0),
                 until = coalesce(NEW.again_end, 0), counted = coalesce(NEW.again, 0)
             WHERE stream = '{code}' AND pass = 1
             AND (after <> coalesce(NEW.again, 0) OR until <> coalesce(NEW.again_end, 0));"
    );
    format!(
        "CREATE TEMP TRIGGER \"backlog {code} cursor\" AFTER INSERT ON main.cursor
             WHEN NEW.stream = '{code}' BEGIN {body} END;
         CREATE TEMP TRIGGER \"backlog {code} cursor changed\" AFTER UPDATE ON main.cursor
             WHEN NEW.stream = '{code}' BEGIN {body} END;"
    )
}

/// How many punches are kept, whatever stream they are of.
fn of_kept_punches() -> String {
    let change = |row: &str, sign: char| {
        format!(
            "UPDATE backlog SET waiting = waiting {sign} 1
             WHERE stream = '{KEPT}' AND pass = 0 AND {row}.seq <= counted;"
        )
    };
    format!(
        "INSERT INTO backlog VALUES ('{KEPT}', 0, 0, {max}, 0, 0);
         CREATE TEMP TRIGGER \"backlog kept insert\" AFTER INSERT ON main.punch BEGIN {come} END;
         CREATE TEMP TRIGGER \"backlog kept delete\" AFTER DELETE ON main.punch BEGIN {gone} END;",
        max = Seq::MAX,
        come = change("NEW", '+'),
        gone = change("OLD", '-')
    )
}
