//! What is known of the server's stamps (§6, and the clarifications' "Stamps").

use rusqlite::{OptionalExtension, params};

use super::{Pass, Result, Seq, Store};
use crate::protocol::stream::Table;

/// What is known of a server's stamps for one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The server has sent another stamp than 0 since the last upload from the start.
    pub nonzero: bool,
    /// A stamp that came back exactly as it was sent, or 0.
    pub proof: Seq,
    /// Two different ones did: this server keeps stamps.
    pub proven: bool,
    /// The last stamp that went up, if it was that of a row sent again; else 0.
    pub again: Seq,
}

impl Store {
    /// The number of the last row that the server acknowledged for a table: what its stamp
    /// should be.
    pub fn acknowledged(&self, table: Table) -> Result<Seq> {
        let again = self.stamp(table)?.again;
        if again != 0 {
            return Ok(again);
        }
        let mut highest = 0;
        for stream in table.streams() {
            highest = highest.max(self.cursor(stream)?.sent);
        }
        Ok(highest)
    }

    /// Whether an upload from the start, or part of one, is under way for a table.
    pub fn is_sending_again(&self, table: Table) -> Result<bool> {
        for stream in table.streams() {
            // What is left of a range may have been deleted since.
            if let Some((after, until)) = self.cursor(stream)?.again
                && self.can_go(stream, Pass::Again, after, until)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is known of the server's stamps for a table.
    pub fn stamp(&self, table: Table) -> Result<Stamp> {
        let found = self
            .db
            .prepare_cached("SELECT nonzero, proof, proven, again FROM stamp WHERE name = ?1")?
            .query_row([table.name()], |row| {
                Ok(Stamp {
                    nonzero: row.get(0)?,
                    proof: row.get(1)?,
                    proven: row.get(2)?,
                    again: row.get(3)?,
                })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Remembers what is known of the server's stamps for a table.
    pub fn set_stamp(&self, table: Table, stamp: Stamp) -> Result<()> {
        if self.stamp(table)? == stamp {
            return Ok(());
        }
        self.db
            .prepare_cached("INSERT OR REPLACE INTO stamp VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                table.name(),
                stamp.nonzero,
                stamp.proof,
                stamp.proven,
                stamp.again
            ])?;
        Ok(())
    }

    /// New rows went up: the last stamp is that of the cursor once more. Writes nothing if
    /// it was already.
    pub(super) fn forget_again(&self, table: Table) -> Result<()> {
        self.db
            .prepare_cached("UPDATE stamp SET again = 0 WHERE name = ?1 AND again <> 0")?
            .execute([table.name()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::{Pin, User};
    use crate::protocol::stream::Stream;
    use crate::store::{Limits, Origin};

    #[test]
    fn an_upload_from_the_start_comes_to_an_end_in_every_stream() {
        let path = std::env::temp_dir().join(format!("punchd-stamp-{}.db", std::process::id()));
        let store = Store::open(&path, Limits::default()).unwrap();
        let pin = Pin::new("7").unwrap();
        store.put_user(&User::new(pin.clone()), Origin::Server).unwrap();
        // Of all streams of the table only the users have a row.
        for stream in Table::Operlog.streams() {
            store.send_again(stream, 0).unwrap();
        }
        assert!(store.is_sending_again(Table::Operlog).unwrap());
        store.delete_user(&pin).unwrap();
        assert!(!store.is_sending_again(Table::Operlog).unwrap());
        store.send_again(Stream::Operations, 0).unwrap();
        assert!(!store.is_sending_again(Table::Operlog).unwrap());
        drop(store);
        for suffix in ["", "-wal"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
