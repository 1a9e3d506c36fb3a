//! Room for what is written: it is made by deleting what may be deleted, or the write is refused.

use super::capacity::{Capacity, LAST_FREE, PUNCH_BYTES, measure};
use super::error::{Result, StoreError};
use super::error_log::ErrorRows;
use super::retention::{PUNCHES, Retention};
use super::rows::Origin;
use crate::protocol::record::{ErrorCode, ErrorLog, Invalid};

/// Whether there is room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// There was not, and a batch was deleted; look again soon.
    Making,
    /// There is none for punches, and nothing may be deleted. Which limit is reached.
    None(String),
}

/// Bytes that a row takes beside its data.
const ROW_BYTES: u64 = 128;
/// Most bytes that are written before the room is measured again.
const UNMEASURED: u64 = 64 << 10;

impl Retention<'_> {
    /// Checks the limits, and deletes a batch if one is reached. Runs in a transaction of its
    /// own, in a few milliseconds.
    pub fn make_room(&self) -> Result<Room> {
        let capacity = measure(self.db)?;
        let too_many = self.kept_punches()? >= self.db.limits.punches;
        let is_low = capacity.rest < capacity.drivers_part();
        let dropped = self.db.atomically(|| {
            let mut dropped = 0;
            if too_many {
                dropped += self.drop_uploaded(&PUNCHES)?;
            }
            if is_low {
                dropped += self.drop_for_rest(&capacity)?;
            }
            Ok::<_, StoreError>(dropped + self.bound_withheld(&capacity, 0)?)
        })?;
        let given_back = capacity.is_disk_short() && self.give_back(capacity.reserve)?;
        if dropped > 0 || given_back {
            self.db.full.take();
            return Ok(Room::Making);
        }
        let has_room = !too_many && capacity.has_room_for_punch();
        match if has_room { Ok(capacity) } else { self.make_room_for_punches()? } {
            Ok(_) => {
                self.db.full.take();
                self.db.full_reported.set(false);
                Ok(if self.is_counting_withheld() { Room::Making } else { Room::Enough })
            }
            Err(shortage) => {
                self.db.full.replace(Some(shortage.clone()));
                if !self.db.full_reported.replace(true) {
                    log::error!(
                        "new punches are refused: {shortage}, and nothing of it was uploaded"
                    );
                    ErrorRows::new(self.db).add(&alarm(&shortage)?)?;
                }
                Ok(Room::None(shortage))
            }
        }
    }

    /// Whether punches are refused, and this was not reported yet.
    pub fn is_full_and_unreported(&self) -> bool {
        self.db.full.borrow().is_some() && !self.db.full_reported.get()
    }

    /// Why no new punch can be taken, if none can.
    pub fn shortage(&self) -> Option<String> {
        self.db.full.borrow().clone()
    }

    /// Deletes what may be deleted for a punch, until it has room; if it has none, which limit is
    /// reached.
    pub(super) fn make_room_for_punches(&self) -> Result<std::result::Result<Capacity, String>> {
        // A batch is more than a punch: where the limit was lowered, the rest goes with the next ones.
        if self.kept_punches()? >= self.db.limits.punches && self.drop_uploaded(&PUNCHES)? == 0 {
            return Ok(Err(format!("{} punches are kept", self.db.limits.punches)));
        }
        loop {
            let capacity = measure(self.db)?;
            if capacity.has_room_for_punch() {
                self.db.full.take();
                return Ok(Ok(capacity));
            }
            if self.drop_for_punches(&capacity)? == 0 {
                return Ok(Err(match capacity.is_disk_short() {
                    true => format!("less than {} KiB of the disk are free", LAST_FREE >> 10),
                    false => format!("the store holds {} MiB", self.db.limits.bytes >> 20),
                }));
            }
        }
    }

    /// How much room is left.
    pub fn capacity(&self) -> Result<Capacity> {
        measure(self.db)
    }

    /// Makes room for a punch, or refuses it.
    pub(super) fn require_room_for_punch(&self) -> Result<()> {
        let unmeasured = &self.db.unmeasured;
        if self.kept_punches()? < self.db.limits.punches
            && let Some(left) = unmeasured.punches.get().checked_sub(PUNCH_BYTES * 4)
        {
            unmeasured.punches.set(left);
            return Ok(());
        }
        match self.make_room_for_punches()? {
            Ok(capacity) => {
                self.measured(&capacity);
                Ok(())
            }
            Err(shortage) => {
                self.db.full.replace(Some(shortage.clone()));
                Err(StoreError::NoRoom(shortage))
            }
        }
    }

    /// Makes room for so many bytes of data that is no punch, or refuses it. `whose` data it is
    /// decides how much must be left.
    pub fn require_room_for_rest(&self, whose: Origin, bytes: usize) -> Result<()> {
        self.require_room(whose, bytes, || Ok(0))
    }

    /// Makes room for a table of the server with so many bytes, a batch of what may be deleted at a time.
    /// Whether there is room now.
    ///
    /// # Errors
    /// If there is none.
    pub fn make_room_for_table(&self, bytes: u64) -> Result<bool> {
        let capacity = measure(self.db)?;
        if bytes == 0 || capacity.rest >= bytes.saturating_add(capacity.drivers_part()) {
            return Ok(true);
        }
        match self.drop_for_rest(&capacity)? {
            0 => Err(self.refuse_rest(&capacity)),
            _ => Ok(false),
        }
    }

    /// The same. Where nothing else can be deleted, `replace` deletes a batch of what the new row
    /// replaces, and says how many rows.
    pub(super) fn require_room(
        &self,
        whose: Origin,
        bytes: usize,
        replace: impl Fn() -> Result<usize>,
    ) -> Result<()> {
        let bytes = bytes as u64 + ROW_BYTES;
        let unmeasured = &self.db.unmeasured;
        if let Some(left) = unmeasured.rest.get().checked_sub(bytes) {
            unmeasured.rest.set(left);
            return Ok(());
        }
        loop {
            let capacity = measure(self.db)?;
            let kept = match whose {
                Origin::Server => capacity.drivers_part(),
                Origin::Terminal => 0,
            };
            if capacity.rest >= bytes.saturating_add(kept) {
                self.measured(&capacity);
                self.db.rest_refused.set(false);
                return Ok(());
            }
            if self.drop_for_rest(&capacity)? == 0 && replace()? == 0 {
                return Err(self.refuse_rest(&capacity));
            }
        }
    }

    /// Whether data that is no punch has room, without making some.
    pub(super) fn has_room_for_rest(&self, bytes: usize) -> Result<bool> {
        let bytes = bytes as u64 + ROW_BYTES;
        Ok(self.db.unmeasured.rest.get() >= bytes || measure(self.db)?.rest >= bytes)
    }

    /// The next rows need not measure again, as long as they are few.
    fn measured(&self, capacity: &Capacity) {
        let rest = capacity.rest.saturating_sub(capacity.drivers_part());
        self.db.unmeasured.rest.set((rest / 4).min(UNMEASURED));
        self.db.unmeasured.punches.set((capacity.punches / 4).min(UNMEASURED));
    }

    fn refuse_rest(&self, capacity: &Capacity) -> StoreError {
        let message = match capacity.is_disk_short() {
            true => format!(
                "the disk of the store has {} KiB free, which are kept for punches ([limits] free_mib)",
                capacity.disk_free >> 10
            ),
            false => format!(
                "the part of the store that is not kept for punches is used up ([limits] store_mib is {})",
                self.db.limits.bytes >> 20
            ),
        };
        if !self.db.rest_refused.replace(true) {
            log::warn!("{message}: what is no punch is refused with -1001 until there is room");
        }
        StoreError::PartFull(message)
    }
}

/// What the error log says of a full store: an error of the PUSH module, as App. 9 builds its
/// codes.
fn alarm(shortage: &str) -> Result<ErrorLog> {
    let impossible = |invalid: Invalid| StoreError::NoRoom(invalid.to_string());
    let code = ErrorCode::new("D01E1002").map_err(impossible)?;
    let message = format!("new punches are refused: {shortage}");
    ErrorLog::new(code, &message, None, serde_json::Value::Null).map_err(impossible)
}
