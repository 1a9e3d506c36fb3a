//! Queries of the server that are being answered row by row (§12.4). They survive a restart.

use rusqlite::{OptionalExtension, params};

use super::{Result, Seq, Store, people};
use crate::protocol::record::{Pin, User};

/// A query under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The row of the command that asked.
    pub command: i64,
    /// The server's id of it.
    pub id: String,
    /// Whom it asks for; `None` is everybody.
    pub pin: Option<String>,
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
}

impl Store {
    /// Begins to answer a query for one user, or for all. Whether there is anything to send.
    pub fn begin_query(&self, command: i64, pin: Option<&Pin>, rows_a_pack: u64) -> Result<bool> {
        let until = self.last_seq.get();
        let count = match pin {
            Some(pin) => u64::from(self.user(pin)?.is_some()),
            None => self.users()?,
        };
        if count > 0 {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO query VALUES (?1, ?2, 0, ?3, ?4, 0, ?5)")?
                .execute(params![
                    command,
                    pin.map(Pin::as_str),
                    until,
                    count.div_ceil(rows_a_pack),
                    count
                ])?;
        }
        Ok(count > 0)
    }

    /// The oldest query under way.
    pub fn query(&self) -> Result<Option<Query>> {
        Ok(self
            .db
            .prepare_cached(
                "SELECT query.command, command.id, query.pin, after, until, count, packs, pack
                 FROM query JOIN command ON command.row = query.command ORDER BY query.command LIMIT 1",
            )?
            .query_row([], |row| {
                Ok(Query {
                    command: row.get(0)?,
                    id: row.get(1)?,
                    pin: row.get(2)?,
                    after: row.get(3)?,
                    until: row.get(4)?,
                    count: row.get(5)?,
                    packs: row.get(6)?,
                    pack: row.get(7)?,
                })
            })
            .optional()?)
    }

    /// The next users that a query asks for, with their numbers.
    pub fn query_rows(&self, query: &Query, most: u64) -> Result<Vec<(Seq, User)>> {
        let who = if query.pin.is_some() { "pin = ?3 AND" } else { "?3 IS NULL AND" };
        let sql = format!(
            "SELECT changed, NULL, {} FROM user
             WHERE {who} changed > ?1 AND changed <= ?2 ORDER BY changed LIMIT ?4",
            people::USER
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement
            .query_map(params![query.after, query.until, query.pin, most as i64], |row| {
                Ok((row.get(0)?, people::user(row)?))
            })?;
        let rows: Vec<(Seq, Option<User>)> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(rows.into_iter().filter_map(|(seq, user)| Some((seq, user?))).collect())
    }

    /// The server took a request of a query, up to the row with this number.
    pub fn query_went(&self, command: i64, last: Seq) -> Result<()> {
        self.db
            .prepare_cached("UPDATE query SET after = ?2, pack = pack + 1 WHERE command = ?1")?
            .execute([command, last])?;
        Ok(())
    }

    /// A query has been answered.
    pub fn end_query(&self, command: i64) -> Result<()> {
        self.db.prepare_cached("DELETE FROM query WHERE command = ?1")?.execute([command])?;
        Ok(())
    }
}
