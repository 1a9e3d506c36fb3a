//! `CLEAR`: what the server wants to be deleted, as far as it may be.

use super::cursors::Cursors;
use super::error::Result;
use super::retention::{PUNCHES, RECORDS, Retention};
use super::rows::Seq;
use super::tombstones::Tombstones;
use crate::protocol::stream::Stream;

impl Retention<'_> {
    /// Deletes all rows of these streams that the server has. The others stay, whatever the
    /// server says: each is somebody's wage.
    pub fn clear_uploaded(&self, streams: &[Stream]) -> Result<usize> {
        let mut dropped = 0;
        for stream in streams {
            let until = Cursors::new(self.db).uploaded_up_to(*stream)?;
            dropped += self.drop_rows(*stream, 0, until)?;
        }
        Ok(dropped)
    }

    /// The same, and those rows that the server does not ask for. What still goes up stays.
    pub fn clear_uploaded_and_withheld(&self, streams: &[Stream]) -> Result<usize> {
        let mut dropped = self.clear_uploaded(streams)?;
        for stream in streams.iter().filter(|stream| self.is_withheld(**stream)) {
            dropped += self.drop_rows(*stream, 0, Seq::MAX)?;
            self.db.withheld.borrow_mut().insert(*stream, Default::default());
        }
        Ok(dropped)
    }

    /// Deletes all people, the small tables, and the rows of the journals that the server has.
    /// Rows that were not uploaded stay.
    pub fn clear_data(&self) -> Result<()> {
        for table in ["user", "template", "picture", "card", "entry", "guest"] {
            self.db.prepare_cached(&format!("DELETE FROM {table}"))?.execute([])?;
        }
        self.db.counts.forget();
        self.db
            .withheld
            .borrow_mut()
            .values_mut()
            .for_each(|counted| *counted = Default::default());
        Tombstones::new(self.db).forget_all()?;
        self.clear_uploaded(&RECORDS)?;
        self.clear_uploaded(&PUNCHES).map(drop)
    }
}
