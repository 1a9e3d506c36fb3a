//! `CLEAR`: what the server wants to be deleted, as far as it may be. It deletes what stood in the
//! store when it came, a batch at a time, so that drivers are served between; what comes meanwhile
//! stays. One that is cut off begins again: what was deleted is not there any more.

use rusqlite::params;

use super::changes::PEOPLE;
use super::cursors::Cursors;
use super::db::Db;
use super::error::Result;
use super::retention::{PUNCHES, RECORDS, Retention};
use super::rows::Seq;
use super::source::Source;
use super::tombstones::Tombstones;
use crate::protocol::stream::Stream;

/// Numbers of rows that are deleted together.
const ROWS: Seq = 100;
/// The same of photos, which are many pages each, and of people and what is theirs: their indexes are
/// in another order, so that each row changes pages of its own.
const FEW: Seq = 5;

/// What is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleared {
    /// Punches that the server has. The others stay, whatever the server says: each is somebody's
    /// wage.
    Log,
    /// Photos that the server has or does not ask for. What still goes up stays.
    Photos,
    /// All people, the small tables, and the rows of the journals that the server has.
    Data,
}

/// A `CLEAR` under way.
#[derive(Debug)]
pub struct Clearing {
    what: Cleared,
    /// The last number that was given when it came.
    until: Seq,
    /// Which table or stream it is at, and the last number that was looked at there.
    place: usize,
    after: Seq,
}

impl Clearing {
    /// Begins to delete rows up to a number ([`super::Store::high_water_mark`]).
    pub fn new(what: Cleared, until: Seq) -> Self {
        Self { what, until, place: 0, after: 0 }
    }

    /// Deletes a batch. Whether that was the end of it. The caller holds the transaction.
    pub fn step(&mut self, retention: Retention<'_>) -> Result<bool> {
        let db = retention.db;
        let tables = if self.what == Cleared::Data { PEOPLE } else { &[] };
        let streams = self.streams();
        let upto = match tables.get(self.place) {
            Some(table) => self.delete_people(db, table)?,
            None => match streams.get(self.place - tables.len()) {
                Some(stream) => self.delete_rows(db, *stream)?,
                None => {
                    if self.what == Cleared::Data {
                        self.end_data(db)?;
                    }
                    return Ok(true);
                }
            },
        };
        self.after = upto.unwrap_or(0);
        self.place += usize::from(upto.is_none());
        Ok(false)
    }

    /// Deletes all that is to be deleted.
    #[cfg(test)]
    pub(super) fn run(mut self, retention: Retention<'_>) -> Result<()> {
        while !self.step(retention)? {}
        Ok(())
    }

    fn streams(&self) -> Vec<Stream> {
        match self.what {
            Cleared::Log => PUNCHES.to_vec(),
            Cleared::Photos => vec![Stream::Photos, Stream::IdPhotos],
            Cleared::Data => [&RECORDS[..], &PUNCHES[..]].concat(),
        }
    }

    /// Deletes the next rows of a table of people's. The last number that was looked at; `None` if there
    /// is nothing to delete any more.
    fn delete_people(&self, db: &Db, (table, filter): &(&str, &str)) -> Result<Option<Seq>> {
        let Some(upto) = db.window(table, filter, "changed", (self.after, self.until), FEW)? else {
            return Ok(None);
        };
        let sql = format!("DELETE FROM {table} WHERE {filter} AND changed > ?1 AND changed <= ?2");
        db.prepare_cached(&sql)?.execute([self.after, upto])?;
        db.counts.users.set(None);
        Ok(Some(upto))
    }

    /// The same of the rows of a journal.
    fn delete_rows(&self, db: &Db, stream: Stream) -> Result<Option<Seq>> {
        let retention = Retention::new(db);
        let is_withheld = self.what == Cleared::Photos && retention.is_withheld(stream);
        let until = match is_withheld {
            true => self.until,
            false => Cursors::new(db).uploaded_up_to(stream)?.min(self.until),
        };
        let Source { table, new, .. } = Source::of(stream);
        let numbers = if table == "photo" { FEW } else { ROWS };
        let Some(upto) = db.window(table, "TRUE", new, (self.after, until), numbers)? else {
            return Ok(None);
        };
        retention.drop_rows(stream, self.after, upto)?;
        if is_withheld {
            db.withheld.borrow_mut().insert(stream, Default::default());
        }
        Ok(Some(upto))
    }

    /// What drivers enrolled meanwhile for people who are deleted goes with them.
    fn end_data(&self, db: &Db) -> Result<()> {
        for (table, filter) in PEOPLE {
            if matches!(*table, "template" | "picture") {
                let sql = format!(
                    "DELETE FROM {table} WHERE {filter} AND changed > ?1
                     AND NOT EXISTS (SELECT 1 FROM user WHERE user.pin = {table}.pin)"
                );
                db.prepare_cached(&sql)?.execute(params![self.until])?;
            }
        }
        let sql =
            "DELETE FROM guest WHERE NOT EXISTS (SELECT 1 FROM user WHERE user.pin = guest.pin)";
        db.prepare_cached(sql)?.execute([])?;
        db.counts.forget();
        db.withheld.borrow_mut().values_mut().for_each(|counted| *counted = Default::default());
        Tombstones::new(db).forget_all()
    }
}
