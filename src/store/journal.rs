//! The journals: punches, operations and attendance photos as they happened, never changed
//! afterwards.

use rusqlite::params;

use super::db::Db;
use super::error::Result;
use super::readers::{PUNCH, punch};
use super::retention::Retention;
use super::rows::{Content, NewOperation, NewPhoto, NewPunch, Seq};
use super::tally::Tally;
use crate::protocol::record::{Operand, Punch, Record, Temperature};
use crate::protocol::stream::Stream;

/// The journals.
#[derive(Clone, Copy)]
pub struct Journal<'a> {
    db: &'a Db,
}

impl<'a> Journal<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Writes a punch into the journal.
    ///
    /// # Errors
    /// If there is no room, and nothing that may be dropped for it.
    pub fn add_punch(&self, punch: &NewPunch) -> Result<Seq> {
        Retention::new(self.db).require_room_for_punch()?;
        let seq = self.db.next_seq("punch");
        let (time, held) = punch.moment.columns();
        self.db
            .prepare_cached(
                "INSERT INTO punch (seq, pin, time, status, verify, workcode, held, id_num, verification,
                    mask, temperature)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
                punch.card.as_ref().map(|card| card.verification),
                punch.screening.mask,
                punch.screening.temperature.map(Temperature::tenths)
            ])?;
        let kept = &self.db.counts.punches;
        kept.set(kept.get().map(|kept| kept + 1));
        Ok(seq)
    }

    /// Writes an operation into the journal.
    pub fn add_operation(&self, operation: &NewOperation) -> Result<Seq> {
        let texts = operation.values.iter().map(Operand::as_str);
        let bytes = texts.map(str::len).sum::<usize>() + operation.who.as_str().len();
        Retention::new(self.db).require_room_for_row(Stream::Operations, bytes)?;
        let seq = self.db.next_seq("operation");
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

    /// Writes a photo taken at a punch.
    ///
    /// # Errors
    /// If there is no room, and nothing that may be dropped for it.
    pub fn add_photo(&self, photo: &NewPhoto) -> Result<Seq> {
        let stream = if photo.card.is_some() { Stream::IdPhotos } else { Stream::Photos };
        Retention::new(self.db).require_room_for_row(stream, photo.photo.as_bytes().len())?;
        let seq = self.db.next_seq("photo");
        let (time, held) = photo.moment.columns();
        let (kind, number) =
            photo.card.as_ref().map(|(kind, number)| (kind.code(), number.as_str())).unzip();
        self.db.prepare_cached("INSERT INTO photo VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
            params![seq, photo.pin.as_str(), time, kind, number, photo.photo.as_bytes(), held],
        )?;
        Ok(seq)
    }

    /// A page of the attendance after a number, and the number with which the next begins.
    /// Rows that await the clock and verifications of cards, which are no attendance, are left out.
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
            if let Some(Content::Record(Record::Punch(read))) = punch(row)? {
                found.push(read);
            }
        }
        Ok((found, last))
    }

    /// How many punches are kept.
    pub fn count_punches(&self) -> Result<u64> {
        Tally::new(self.db).kept_punches()
    }
}
