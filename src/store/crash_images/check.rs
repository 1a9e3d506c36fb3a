//! What must hold for every image.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ledger::Rows;
use super::session::{Recorded, TestDir};
use crate::store::marker::Marker;
use crate::store::recorded_disk::Image;
use crate::store::{Store, tally_model};

/// Opens an image as the daemon does, and compares it with what was acknowledged. How many rows it has.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(
    image: &Image,
    recorded: &Recorded,
    position: usize,
    dir: &TestDir,
) -> Result<usize, String> {
    image.write(&dir.0);
    check_marker(recorded, position, dir)?;
    let (store, loss) = Store::open_marked(&dir.store(), recorded.limits)
        .map_err(|error| format!("the store is refused: {error}"))?;
    if let Some(loss) = loss {
        return Err(format!("a loss is reported: {loss}"));
    }
    let db = store.db.connection();
    let found: String = db
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| format!("the store cannot be checked: {error}"))?;
    if found != "ok" {
        return Err(format!("the store is damaged: {found}"));
    }
    let found = Rows::read(db).map_err(|error| format!("the store cannot be read: {error}"))?;
    recorded.ledger.compare(&found, position)?;
    catch_unwind(AssertUnwindSafe(|| tally_model::check_tally(&store)))
        .map_err(|_| "the counts are not those of the rows".to_owned())?;
    Ok(found.count())
}

/// The marker says whether the store was open, as far as that was acknowledged: without it a start would not
/// notice that the store or its log is missing.
fn check_marker(recorded: &Recorded, position: usize, dir: &TestDir) -> Result<(), String> {
    let marks = &recorded.marks;
    let acknowledged = marks.partition_point(|(at, _)| *at <= position);
    let Some(last) = acknowledged.checked_sub(1) else { return Ok(()) };
    let found = Marker::read(&dir.store()).map(|marker| marker.end());
    let expected = marks[last..].iter().take(2).map(|(_, end)| *end);
    match expected.clone().any(|end| found == Some(end)) {
        true => Ok(()),
        false => Err(format!("the marker says {found:?} in place of {:?}", marks[last].1)),
    }
}
