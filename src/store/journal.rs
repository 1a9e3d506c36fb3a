//! The journals: punches and operations as they happened, never changed afterwards.

use std::time::Duration;

use rusqlite::{Row, params};
use serde_json::Value;

use super::cursor::Content;
use super::{Result, Seq, Store};
use crate::protocol::record::{
    ErrorCode, ErrorLog, IdNumber, IdPunch, Operand, Operation, Pin, Punch, Record, Status,
    WorkCode,
};
use crate::protocol::time::LocalTime;

/// When something happened, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// At this time of the terminal's wall clock.
    At(LocalTime),
    /// While the clock was not set: seconds on the monotonic clock of a boot. The row is
    /// held until [`Store::release_held`].
    Held {
        /// Which boot.
        boot: String,
        /// Seconds on its monotonic clock.
        seconds: i64,
    },
}

impl Moment {
    /// Now: by the wall clock, or, while that is not set, on the monotonic clock of a boot.
    pub fn of(local: Option<LocalTime>, boot: &str, monotonic: Duration) -> Self {
        let held = || Self::Held { boot: boot.to_owned(), seconds: monotonic.as_secs() as i64 };
        local.map_or_else(held, Self::At)
    }

    pub(super) fn columns(&self) -> (i64, Option<&str>) {
        match self {
            Self::At(time) => (time.seconds(), None),
            Self::Held { boot, seconds } => (*seconds, Some(boot)),
        }
    }
}

/// A punch on its way into the journal.
#[derive(Clone, Debug)]
pub struct NewPunch {
    /// Who.
    pub pin: Pin,
    /// When.
    pub moment: Moment,
    /// Attendance status.
    pub status: Status,
    /// How the person was verified.
    pub verify: Status,
    /// What the person works on.
    pub workcode: WorkCode,
    /// The identity card that was used, if any (§11.7).
    pub card: Option<WithCard>,
}

/// The identity card of a punch.
#[derive(Clone, Debug)]
pub struct WithCard {
    /// Its number.
    pub number: IdNumber,
    /// Whether card and person were verified, and it is no attendance.
    pub verification: bool,
}

/// An operation on its way into the journal.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// What was done (App. 3).
    pub code: u16,
    /// When.
    pub moment: Moment,
    /// Who did it.
    pub operator: Operand,
    /// To whom or what (App. 4).
    pub who: Operand,
    /// Three values more (App. 4).
    pub values: [Operand; 3],
}

impl Store {
    /// Writes a punch into the journal.
    ///
    /// # Errors
    /// If there is no room, and nothing that may be dropped for it.
    pub fn add_punch(&self, punch: &NewPunch) -> Result<Seq> {
        self.has_room()?;
        let seq = self.next_seq();
        let (time, held) = punch.moment.columns();
        self.db
            .prepare_cached(
                "INSERT INTO punch (seq, pin, time, status, verify, workcode, held, id_num, verification)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                seq,
                punch.pin.as_str(),
                time,
                punch.status,
                punch.verify,
                punch.workcode.as_str(),
                held,
                punch.card.as_ref().map(|card| card.number.as_str()),
                punch.card.as_ref().map(|card| card.verification)
            ])?;
        self.counts.punches.set(self.counts.punches.get().map(|count| count + 1));
        Ok(seq)
    }

    /// Writes an operation into the journal.
    pub fn add_operation(&self, operation: &NewOperation) -> Result<Seq> {
        self.not_full()?;
        let seq = self.next_seq();
        let (time, held) = operation.moment.columns();
        let [v1, v2, v3] = operation.values.each_ref().map(Operand::as_str);
        self.db
            .prepare_cached(
                "INSERT INTO operation (seq, code, operator, time, who, v1, v2, v3, held)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                seq,
                operation.code,
                operation.operator.as_str(),
                time,
                operation.who.as_str(),
                v1,
                v2,
                v3,
                held
            ])?;
        Ok(seq)
    }

    /// Gives the rows that were held for want of a clock their time, now that it is known:
    /// `now` on the wall clock is `monotonic` seconds of `boot`. Returns how many rows were
    /// counted back exactly, and how many of earlier boots could only be estimated.
    ///
    /// The monotonic clock of an earlier boot is gone with it. Such a row gets the earliest
    /// time it can have: the last time known before it (`floor`, if none is), plus its seconds
    /// since boot.
    pub fn release_held(
        &self,
        boot: &str,
        now: LocalTime,
        monotonic: i64,
        floor: i64,
    ) -> Result<(usize, usize)> {
        self.atomically(|| {
            let (mut exact, mut estimated) = (0, 0);
            for table in ["punch", "operation", "photo"] {
                exact += self
                    .db
                    .prepare_cached(&format!(
                        "UPDATE {table} SET time = ?1 - (?2 - time), held = NULL WHERE held = ?3"
                    ))?
                    .execute(params![now.seconds(), monotonic, boot])?;
                let before: Option<i64> = self
                    .db
                    .prepare_cached(&format!(
                        "SELECT max(time) FROM {table} WHERE held IS NULL AND time <= ?1 AND seq <
                            (SELECT min(seq) FROM {table} WHERE held IS NOT NULL)"
                    ))?
                    .query_row([now.seconds()], |row| row.get(0))?;
                estimated += self
                    .db
                    .prepare_cached(&format!(
                        "UPDATE {table} SET held = NULL, time = min(?2, time + ?1) WHERE held IS NOT NULL"
                    ))?
                    .execute([before.unwrap_or(floor), now.seconds()])?;
            }
            Ok((exact, estimated))
        })
    }

    /// How many rows wait for the clock to be set.
    pub fn held(&self) -> Result<u64> {
        Ok(self
            .db
            .prepare_cached(
                "SELECT (SELECT count(*) FROM punch WHERE held IS NOT NULL)
                  + (SELECT count(*) FROM operation WHERE held IS NOT NULL)
                  + (SELECT count(*) FROM photo WHERE held IS NOT NULL)",
            )?
            .query_row([], |row| row.get(0))?)
    }

    /// A page of the attendance after a number, and the number with which the next begins.
    /// Rows that are held and verifications of cards, which are no attendance, are left out.
    pub fn punches_after(&self, after: Seq, most: usize) -> Result<(Vec<Punch>, Option<Seq>)> {
        let sql = format!(
            "SELECT seq, held, {PUNCH} FROM punch
             WHERE seq > ?1 AND held IS NULL AND coalesce(verification, 0) = 0 ORDER BY seq LIMIT ?2"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, most as i64])?;
        let (mut found, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            match punch(row)? {
                Some(Content::Record(Record::Punch(read))) => found.push(read),
                Some(Content::Record(Record::IdPunch(read))) => found.push(read.punch().clone()),
                _ => {}
            }
        }
        Ok((found, last))
    }

    /// How many punches are kept.
    pub fn punches(&self) -> Result<u64> {
        self.counted(&self.counts.punches, "SELECT count(*) FROM punch")
    }
}

/// The columns that [`punch`] reads, after the number and `held`.
pub(super) const PUNCH: &str = "pin, time, status, verify, workcode, id_num, verification";
/// The columns that [`operation`] reads, after the number and `held`.
pub(super) const OPERATION: &str = "code, operator, time, who, v1, v2, v3";

/// Errors that are kept.
const MOST_ERRORS: u64 = 5000;
/// Errors that are dropped together.
const ERRORS_A_BATCH: i64 = 100;

/// The columns that [`error`] reads, after the number and `held`.
pub(super) const ERROR: &str = "code, message, command, additional";

impl Store {
    /// Writes an error into the error log, which keeps the last `MOST_ERRORS`: servers
    /// before 2.4.1 never take any.
    pub fn add_error(&self, error: &ErrorLog) -> Result<Seq> {
        // Counted in memory, and dropped by the batch: a thousand refused records are a thousand
        // errors.
        let mut count = self.counted(&self.counts.errors, "SELECT count(*) FROM error")?;
        if count >= MOST_ERRORS {
            let sql =
                "DELETE FROM error WHERE seq IN (SELECT seq FROM error ORDER BY seq LIMIT ?1)";
            count -= self.db.prepare_cached(sql)?.execute([ERRORS_A_BATCH])? as u64;
        }
        self.counts.errors.set(Some(count + 1));
        let seq = self.next_seq();
        let additional = error.additional().map(|object| Value::Object(object.clone()).to_string());
        self.db.prepare_cached("INSERT INTO error VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            params![seq, error.code().as_str(), error.message(), error.command(), additional],
        )?;
        Ok(seq)
    }
}

/// A punch from its columns; `None` if it breaks a rule of this version.
pub(super) fn punch(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let (pin, workcode): (String, String) = (row.get(2)?, row.get(6)?);
    let time = LocalTime::from_seconds(row.get(3)?);
    let (status, verify) = (row.get(4)?, row.get(5)?);
    let (number, verification): (Option<String>, Option<bool>) = (row.get(7)?, row.get(8)?);
    let read = || {
        let punch = Punch {
            pin: Pin::new(&pin).ok()?,
            time: time?,
            status,
            verify,
            workcode: WorkCode::new(&workcode).ok()?,
        };
        let Some(number) = number else { return Some(Record::Punch(punch)) };
        let number = IdNumber::new("idnum", &number).ok()?;
        Some(Record::IdPunch(match verification {
            Some(true) => IdPunch::verification(punch, number).ok()?,
            _ => IdPunch::attendance(punch, number),
        }))
    };
    Ok(read().map(Content::Record))
}

/// An operation from its columns; `None` if it breaks a rule of this version.
pub(super) fn operation(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let operand = |index| -> rusqlite::Result<Option<Operand>> {
        Ok(Operand::new("operand", &row.get::<_, String>(index)?).ok())
    };
    let code = row.get(2)?;
    let (operator, who) = (operand(3)?, operand(5)?);
    let values = [operand(6)?, operand(7)?, operand(8)?];
    let time = LocalTime::from_seconds(row.get(4)?);
    let read = || {
        let [v1, v2, v3] = values;
        Some(Record::Operation(Operation {
            code,
            operator: operator?,
            time: time?,
            who: who?,
            values: [v1?, v2?, v3?],
        }))
    };
    Ok(read().map(Content::Record))
}

/// An error from its columns; `None` if it breaks a rule of this version.
pub(super) fn error(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let (code, message): (String, String) = (row.get(2)?, row.get(3)?);
    let (command, additional): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
    let additional = additional.map_or(Some(Value::Null), |text| serde_json::from_str(&text).ok());
    let read = || {
        let code = ErrorCode::new(&code).ok()?;
        ErrorLog::new(code, &message, command.as_deref(), additional?).ok()
    };
    Ok(read().map(|error| Content::Record(Record::ErrorLog(error))))
}
