//! Queries of the server that are being answered row by row (§12.4). They survive a restart.

use rusqlite::{OptionalExtension, params};

use super::db::Db;
use super::error::Result;
use super::rows::{PendingRow, Seq};
use super::source::{RESIDENTS, Source};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::time::LocalTime;

/// What a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whose rows.
    pub stream: Stream,
    /// Of this person only.
    pub pin: Option<String>,
    /// Of this finger only.
    pub number: Option<u8>,
    /// Templates or pictures of this type only.
    pub bio_type: Option<u8>,
    /// From this time on only.
    pub from: Option<LocalTime>,
    /// Until this time only, which is included.
    pub to: Option<LocalTime>,
}

/// A query under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The row of the command that asked.
    pub command: i64,
    /// The server's id of it.
    pub id: String,
    /// What it asks for.
    pub asked: Asked,
    /// Rows up to this number have gone.
    pub after: Seq,
    /// Rows after this number came later, and are not asked for.
    pub until: Seq,
    /// How many rows there are in all.
    pub count: u64,
    /// How many requests they take.
    pub packs: u64,
    /// How many requests have gone.
    pub pack: u64,
    /// Its rows were copied when it began.
    is_copied: bool,
    /// Its rows are still to be counted: how far that is.
    counted: Option<Counted>,
}

/// How far the rows of a query are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Up to this number.
    upto: Seq,
    rows: u64,
    /// Requests that they take, and the rows of the last one if it has room for more.
    packs: u64,
    in_pack: u64,
}

/// More than the rows of any request.
const PACK: i64 = 256;

impl Counted {
    /// As it stands in `query.packs`: no number of requests is below 0.
    fn to_packs(self) -> i64 {
        -1 - (self.packs as i64 * PACK + self.in_pack as i64)
    }
}

impl Asked {
    /// For all rows of a stream.
    pub fn all(stream: Stream) -> Self {
        Self { stream, pin: None, number: None, bio_type: None, from: None, to: None }
    }

    /// Which rows, `?1` and `?2` being the range of numbers.
    fn condition(&self, source: &Source) -> String {
        let filter = self.filter(source);
        let column = source.resend;
        let by_pin = self.by_pin();
        let mut sql = format!("({filter}) AND {by_pin}{column} > ?1 AND {by_pin}{column} <= ?2");
        for (is_asked, part) in [
            (self.pin.is_some(), " AND pin = ?3"),
            (self.number.is_some(), " AND number = ?4"),
            (self.from.is_some(), " AND time >= ?5"),
            (self.to.is_some(), " AND time <= ?6"),
            (self.bio_type.is_some(), " AND type = ?7"),
        ] {
            if is_asked {
                sql.push_str(part);
            }
        }
        // Every parameter has to stand somewhere.
        sql + " AND coalesce(?3, ?4, ?5, ?6, ?7, 0) IS NOT NULL"
    }

    /// Before the column of numbers: of one person the rows are found by the PIN, and not by that column.
    fn by_pin(&self) -> &'static str {
        if self.pin.is_some() { "+" } else { "" }
    }

    fn filter(&self, source: &Source) -> &'static str {
        match self.stream {
            // Rows with and without an identity card are asked for together; a verification of one is
            // no attendance.
            Stream::Punches => "held IS NULL AND verification IS NOT 1",
            Stream::Photos => "held IS NULL",
            // Who asks for a guest by name gets them.
            _ if self.pin.is_some() => {
                source.filter.strip_suffix(RESIDENTS).unwrap_or(source.filter)
            }
            _ => source.filter,
        }
    }

    fn times(&self) -> (Option<i64>, Option<i64>) {
        (self.from.map(LocalTime::seconds), self.to.map(LocalTime::seconds))
    }
}

/// Numbers that are looked through together.
const WINDOW: Seq = 5_000;

/// The columns `packs` and `pack` of a query whose rows are counted, or still being counted.
fn state(is_over: bool, counted: Counted) -> (i64, Seq) {
    if is_over { (counted.packs as i64, 0) } else { (counted.to_packs(), counted.upto) }
}

/// Queries under way.
#[derive(Clone, Copy)]
pub struct Queries<'a> {
    db: &'a Db,
}

impl<'a> Queries<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Begins a query. Whether there are rows to send; where there are many, there may be. Of one person
    /// the rows are copied as they are now: what changes later is not sent, and nothing waits for the
    /// query.
    pub fn begin(&self, command: i64, asked: &Asked, rows_a_pack: u64) -> Result<bool> {
        let until = self.db.last_seq();
        let mut counted = Counted::default();
        let is_copied = asked.pin.is_some();
        let is_over = self.count_more(asked, until, &mut counted, rows_a_pack)?;
        if is_over && counted.rows == 0 {
            return Ok(false);
        }
        let (from, to) = asked.times();
        let (packs, pack) = state(is_over, counted);
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO query (command, pin, after, until, packs, pack, count, stream,
                    number, begins, ends, copied, type)
                 VALUES (?1, ?2, 0, ?3, ?4, ?12, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                command,
                asked.pin,
                until,
                packs,
                counted.rows,
                asked.stream.code(),
                asked.number,
                from,
                to,
                is_copied,
                asked.bio_type,
                pack
            ])?;
        if is_copied {
            self.copy(command, asked, until)?;
        }
        Ok(true)
    }

    /// Whether the rows of a query are counted. If not, counts some more.
    pub fn count_on(&self, query: &Query, rows_a_pack: u64) -> Result<bool> {
        let Some(mut counted) = query.counted else { return Ok(true) };
        let is_over = self.count_more(&query.asked, query.until, &mut counted, rows_a_pack)?;
        let (packs, pack) = state(is_over, counted);
        self.db
            .prepare_cached(
                "UPDATE query SET packs = ?2, pack = ?3, count = ?4 WHERE command = ?1",
            )?
            .execute(params![query.command, packs, pack, counted.rows])?;
        Ok(false)
    }

    /// Counts some more rows, and how many requests they take. Whether all are counted.
    fn count_more(
        &self,
        asked: &Asked,
        until: Seq,
        counted: &mut Counted,
        rows_a_pack: u64,
    ) -> Result<bool> {
        let Some(upto) = self.window(asked, counted.upto, until)? else { return Ok(true) };
        // A row of the operation log with the word `USERPIC` in a value goes alone, where it stands.
        let texts = match asked.stream {
            Stream::UserPics => None,
            Stream::Users => Some("pin || ' ' || name || ' ' || password"),
            stream => (stream.table() == Table::Operlog).then_some("pin"),
        };
        if let Some(texts) = texts {
            self.count_packs(asked, texts, upto, counted, rows_a_pack)?;
        } else {
            counted.rows += self.count_rows(asked, counted.upto, upto)?;
            counted.packs = counted.rows.div_ceil(rows_a_pack);
        }
        counted.upto = upto;
        Ok(upto >= until)
    }

    fn count_packs(
        &self,
        asked: &Asked,
        texts: &str,
        upto: Seq,
        counted: &mut Counted,
        rows_a_pack: u64,
    ) -> Result<()> {
        let source = Source::of(asked.stream);
        let sql = format!(
            "SELECT instr(upper({texts}), 'USERPIC') > 0 FROM {} WHERE {} ORDER BY {}{}",
            source.table,
            asked.condition(&source),
            asked.by_pin(),
            source.resend
        );
        let (from, to) = asked.times();
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params![
            counted.upto,
            upto,
            asked.pin,
            asked.number,
            from,
            to,
            asked.bio_type
        ])?;
        while let Some(row) = rows.next()? {
            let is_alone: bool = row.get(0)?;
            counted.rows += 1;
            counted.packs += u64::from(is_alone || counted.in_pack == 0);
            counted.in_pack = if is_alone { 0 } else { (counted.in_pack + 1) % rows_a_pack };
        }
        Ok(())
    }

    /// The end of the next numbers after one and up to another that are looked through together: drivers
    /// are served between. `None` if no row comes any more.
    pub fn window(&self, asked: &Asked, after: Seq, until: Seq) -> Result<Option<Seq>> {
        if asked.pin.is_some() {
            return Ok((after < until).then_some(until));
        }
        let source = Source::of(asked.stream);
        let filter = asked.filter(&source);
        self.db.window(source.table, filter, source.resend, (after, until), WINDOW)
    }

    fn copy(&self, command: i64, asked: &Asked, until: Seq) -> Result<()> {
        let source = Source::of(asked.stream);
        let (columns, table, column) = (source.columns, source.table, source.resend);
        let probe = format!("SELECT {columns} FROM {table} LIMIT 0");
        let count = self.db.prepare_cached(&probe)?.column_count();
        let sql = format!(
            "INSERT OR REPLACE INTO query_row (command, seq, {}) SELECT ?8, {column}, {columns}
             FROM {table} WHERE {}",
            copied_columns(count),
            asked.condition(&source)
        );
        let (from, to) = asked.times();
        let values = params![0, until, asked.pin, asked.number, from, to, asked.bio_type, command];
        self.db.prepare_cached(&sql)?.execute(values).map(drop)?;
        Ok(())
    }

    /// How many rows are asked for.
    pub fn count_rows(&self, asked: &Asked, after: Seq, until: Seq) -> Result<u64> {
        let source = Source::of(asked.stream);
        let sql =
            format!("SELECT count(*) FROM {} WHERE {}", source.table, asked.condition(&source));
        let (from, to) = asked.times();
        Ok(self.db.prepare_cached(&sql)?.query_row(
            params![after, until, asked.pin, asked.number, from, to, asked.bio_type],
            |row| row.get(0),
        )?)
    }

    /// How many queries are under way.
    pub fn count(&self) -> Result<u64> {
        Ok(self.db.prepare_cached("SELECT count(*) FROM query")?.query_row([], |row| row.get(0))?)
    }

    /// The oldest query under way.
    pub fn next(&self) -> Result<Option<Query>> {
        Ok(self
            .db
            .prepare_cached(
                "SELECT query.command, command.id, query.pin, after, until, count, packs, pack, stream,
                    number, begins, ends, copied, type
                 FROM query CROSS JOIN command ON command.row = query.command ORDER BY query.command LIMIT 1",
            )?
            .query_row([], |row| {
                let (from, to): (Option<i64>, Option<i64>) = (row.get(10)?, row.get(11)?);
                let time = |seconds: Option<i64>| seconds.and_then(LocalTime::from_seconds);
                let stream: String = row.get(8)?;
                let (count, packs, pack): (u64, i64, i64) = (row.get(5)?, row.get(6)?, row.get(7)?);
                let is_counted = packs >= 0;
                let counting = (-1 - packs).unsigned_abs();
                Ok(Query {
                    command: row.get(0)?,
                    id: row.get(1)?,
                    asked: Asked {
                        stream: Stream::from_code(&stream).unwrap_or(Stream::Users),
                        pin: row.get(2)?,
                        number: row.get(9)?,
                        bio_type: row.get(13)?,
                        from: time(from),
                        to: time(to),
                    },
                    after: row.get(3)?,
                    until: row.get(4)?,
                    count,
                    packs: packs.unsigned_abs(),
                    pack: pack.unsigned_abs(),
                    is_copied: row.get(12)?,
                    counted: (!is_counted).then_some(Counted {
                        upto: pack,
                        rows: count,
                        packs: counting / PACK as u64,
                        in_pack: counting % PACK as u64,
                    }),
                })
            })
            .optional()?)
    }

    /// The next rows that a query asks for, after one number and up to another.
    pub fn rows(&self, query: &Query, after: Seq, upto: Seq, most: u64) -> Result<Vec<PendingRow>> {
        if query.is_copied {
            return self.copied_rows(query, most);
        }
        let source = Source::of(query.asked.stream);
        let column = source.resend;
        let sql = format!(
            "SELECT {column}, NULL, {} FROM {} WHERE {} ORDER BY {column} LIMIT ?8",
            source.columns,
            source.table,
            query.asked.condition(&source)
        );
        let (from, to) = query.asked.times();
        let mut statement = self.db.prepare_cached(&sql)?;
        let (pin, number) = (&query.asked.pin, query.asked.number);
        let mut found = statement.query(params![
            after,
            upto,
            pin,
            number,
            from,
            to,
            query.asked.bio_type,
            most as i64
        ])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let content = (source.read)(row)?;
            rows.push(PendingRow { seq: row.get(0)?, stream: query.asked.stream, content });
        }
        Ok(rows)
    }

    fn copied_rows(&self, query: &Query, most: u64) -> Result<Vec<PendingRow>> {
        let source = Source::of(query.asked.stream);
        let probe = format!("SELECT {} FROM {} LIMIT 0", source.columns, source.table);
        let count = self.db.prepare_cached(&probe)?.column_count();
        let sql = format!(
            "SELECT seq, NULL, {} FROM query_row WHERE command = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            copied_columns(count)
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut found = statement.query(params![query.command, query.after, most as i64])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let content = (source.read)(row)?;
            rows.push(PendingRow { seq: row.get(0)?, stream: query.asked.stream, content });
        }
        Ok(rows)
    }

    /// The server acknowledged a request of a query, up to the row with this number.
    pub fn advance(&self, command: i64, last: Seq) -> Result<()> {
        self.db
            .prepare_cached("UPDATE query SET after = ?2, pack = pack + 1 WHERE command = ?1")?
            .execute([command, last])?;
        Ok(())
    }

    /// None of the rows up to this number has a form that the server knows.
    pub fn skip(&self, command: i64, last: Seq) -> Result<()> {
        let sql = "UPDATE query SET after = ?2 WHERE command = ?1";
        self.db.prepare_cached(sql)?.execute([command, last]).map(drop)?;
        Ok(())
    }

    /// A query has been answered.
    pub fn end(&self, command: i64) -> Result<()> {
        for table in ["query", "query_row"] {
            let sql = format!("DELETE FROM {table} WHERE command = ?1");
            self.db.prepare_cached(&sql)?.execute([command])?;
        }
        Ok(())
    }
}

/// The names of the columns that hold copies of so many.
fn copied_columns(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|nth| format!("c{nth}")).collect();
    names.join(", ")
}
