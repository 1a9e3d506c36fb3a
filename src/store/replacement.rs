//! The replacement of a whole table (`SyncData`, §12.8.2) in steps of a transaction each. How far it is
//! stands in an option of punchd, and is written with the rows of each step.

use rusqlite::params;

use super::biometrics::Biometrics;
use super::card_owner;
use super::db::Db;
use super::error::Result;
use super::jobs::{Job, Jobs};
use super::options::{Options, REPLACEMENT};
use super::people::People;
use super::rows::{LastChange, Seq};
use super::tombstones::Tombstones;
use crate::protocol::file::SyncTable;
use crate::protocol::record::{Pin, Template};

/// Old people who are deleted in one step, with all that hangs on their PINs.
const PEOPLE: i64 = 16;
/// Old templates that are deleted in one step.
const TEMPLATES: i64 = 64;

/// A replacement under way.
#[derive(Debug)]
pub struct Replacement {
    job: i64,
    /// The last number that was given when the command came.
    high_water_mark: Seq,
    /// The last number that was given before the first new row was stored.
    before: Seq,
    /// Records that are stored.
    records: u64,
    /// Old rows up to this number are deleted.
    deleted: Seq,
}

impl Replacement {
    /// Begins a replacement for the job in a row, whose command came at this number. Nothing is written
    /// yet.
    pub fn begin(people: People<'_>, job: i64, high_water_mark: Seq) -> Self {
        let before = people.db.last_seq();
        Self { job, high_water_mark, before, records: 0, deleted: 0 }
    }

    /// The replacement that was cut off, if one was.
    #[inline(never)]
    pub fn under_way(people: People<'_>, job: &Job) -> Result<Option<Self>> {
        let Some(state) = Options::new(people.db).get(REPLACEMENT)? else { return Ok(None) };
        let numbers: Vec<i64> = state.split(' ').filter_map(|number| number.parse().ok()).collect();
        Ok(match numbers[..] {
            [row, before, records] if row == job.row => {
                let records = records.unsigned_abs();
                let begun = Self::begin(people, row, job.high_water_mark);
                Some(Self { before, records, ..begun })
            }
            _ => None,
        })
    }

    /// The file of a job is fetched again, and may be another one: it is to be checked again, and stored
    /// from its first record on.
    pub fn read_again(people: People<'_>, job: &Job) -> Result<()> {
        match Self::under_way(people, job)? {
            Some(replacement) => replacement.keep(people.db, 0),
            None => Ok(()),
        }
    }

    /// How many records are stored.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// So many records are stored: to be called in their transaction.
    pub fn record(&mut self, people: People<'_>, records: u64) -> Result<()> {
        if records > self.records {
            self.records = records;
            self.keep(people.db, records)?;
            // A file that crashes the program does so three times: not one that gets on.
            Jobs::new(people.db).forget_failures(self.job)?;
        }
        Ok(())
    }

    fn keep(&self, db: &Db, records: u64) -> Result<()> {
        Options::new(db).set(REPLACEMENT, &format!("{} {} {records}", self.job, self.before))
    }

    /// Whether a driver deleted a person after the command came, as far as deletions are known.
    pub fn was_deleted(&self, people: People<'_>, pin: &Pin) -> Result<bool> {
        people.was_deleted_since(pin, self.high_water_mark)
    }

    /// The same of a template.
    pub fn was_template_deleted(
        &self,
        biometrics: Biometrics<'_>,
        template: &Template,
    ) -> Result<bool> {
        biometrics.was_deleted_since(template, self.high_water_mark)
    }

    /// Whether a row changed after the command came, and not by this file.
    pub fn is_newer(&self, last: Option<LastChange>) -> bool {
        last.is_some_and(|LastChange { at, local, .. }| {
            at > self.high_water_mark && (at <= self.before || local >= at)
        })
    }

    /// Deletes the next rows that the table had when the command came. Whether none are left: then the
    /// replacement is over, and its state goes with the job.
    pub fn delete_old(&mut self, people: People<'_>, table: SyncTable) -> Result<bool> {
        let last = match table {
            SyncTable::Users => self.delete_people(people.db)?,
            SyncTable::Fingerprints => self.delete_templates(people.db, 0)?,
            SyncTable::Faces => self.delete_templates(people.db, 1)?,
        };
        match last {
            Some(last) => {
                self.deleted = last;
                Jobs::new(people.db).forget_failures(self.job)?;
            }
            None => {
                // The tombstones of people were written one by one.
                if table != SyncTable::Users {
                    Tombstones::new(people.db).forget_all()?;
                }
            }
        }
        Ok(last.is_none())
    }

    /// Templates of guests stay for their time. The number of the last one.
    fn delete_templates(&self, db: &Db, kind: u8) -> Result<Option<Seq>> {
        let (after, until) = (self.deleted, self.high_water_mark);
        let sql = "SELECT max(changed) FROM (SELECT changed FROM template
                   WHERE kind = ?1 AND changed > ?2 AND changed <= ?3 ORDER BY changed LIMIT ?4)";
        let last: Option<Seq> = db
            .prepare_cached(sql)?
            .query_row(params![kind, after, until, TEMPLATES], |row| row.get(0))?;
        let sql = "DELETE FROM template WHERE kind = ?1 AND changed > ?2 AND changed <= ?3
                   AND pin NOT IN (SELECT pin FROM guest)";
        db.prepare_cached(sql)?.execute(params![kind, after, last])?;
        Ok(last)
    }

    /// Guests stay for their time, whatever the table holds. Who lost a card to somebody of the file is
    /// as old as before. The number of the last one.
    fn delete_people(&self, db: &Db) -> Result<Option<Seq>> {
        let sql = "SELECT pin, changed, written,
                       coalesce(written, changed) <= ?1 AND pin NOT IN (SELECT pin FROM guest)
                   FROM user WHERE changed > ?2 ORDER BY changed LIMIT ?3";
        let mut statement = db.prepare_cached(sql)?;
        let values = params![self.high_water_mark, self.deleted, PEOPLE];
        let rows = statement.query_map(values, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<Seq>>(2)?, row.get(3)?))
        })?;
        let people: Vec<(String, Seq, _, bool)> = rows.collect::<rusqlite::Result<_>>()?;
        for (pin, changed, written, is_old) in &people {
            match Pin::new(pin) {
                Ok(pin) if *is_old => drop(People::new(db).delete(&pin)?),
                _ if written.is_some() && *changed > self.before => {
                    let loss =
                        format!("user {pin} lost a card: the new table gives it to another user");
                    card_owner::report(db, &loss)?;
                }
                _ => {}
            }
        }
        Ok(people.last().map(|(_, changed, ..)| *changed))
    }
}
