//! New and changed told apart: whether the server knows of a user or a fingerprint that was written
//! on the terminal. `TransFlag` has a flag for each (§6), so each is a stream of its own.
//!
//! The column `is_new` says that what was written last is of something that the server did not have.
//! It stays so while the first upload waits, however often the row is written meanwhile on the
//! terminal. What is written after the server has the row, or after it wrote it, is a change.

use super::rows::Origin;
use crate::protocol::stream::Stream;

/// The values of `local` and `is_new` of a row that was not there. `new` is the stream of new rows,
/// if they are told apart; the parameter `seq` holds the number of the change.
pub(super) fn of_inserted(origin: Origin, new: Option<Stream>, seq: &str) -> String {
    match origin {
        Origin::Terminal => format!("{seq}, {}", u8::from(new.is_some())),
        Origin::Server => "0, 0".to_owned(),
    }
}

/// How `local` and `is_new` of a row of `table` change when it is written once more.
pub(super) fn of_updated(origin: Origin, table: &str, new: Option<Stream>, seq: &str) -> String {
    let Some(new) = new else {
        let local = if origin == Origin::Terminal { seq } else { "local" };
        return format!("local = {local}");
    };
    // A new row that was refused is behind the cursor, and the server does not know it either.
    let code = new.code();
    let is_unknown = format!(
        "({table}.is_new = 1 AND ({table}.local >
            coalesce((SELECT sent FROM cursor WHERE stream = '{code}'), 0)
         OR EXISTS (SELECT 1 FROM quarantine WHERE stream = '{code}' AND seq = {table}.local)))"
    );
    match origin {
        Origin::Terminal => format!("is_new = {is_unknown}, local = {seq}"),
        // What waits for its upload still does, as a change; it gets a new number, because the
        // cursor of the changed rows may be past its own.
        Origin::Server => format!(
            "is_new = iif({is_unknown}, 0, {table}.is_new),
             local = iif({is_unknown}, {seq}, {table}.local)"
        ),
    }
}

/// The value of `local` of a row of `table` that gets a new number without being written. By its old
/// number it may still have to go up: the server asked for it again, or a query found it. Then it goes
/// up as a change; otherwise nothing goes up.
pub(super) fn of_renumbered(table: &str, stream: Stream, seq: &str) -> String {
    let code = stream.code();
    format!(
        "iif(EXISTS (SELECT 1 FROM cursor WHERE stream = '{code}'
                AND again < {table}.changed AND {table}.changed <= again_end)
             OR EXISTS (SELECT 1 FROM query WHERE stream = '{code}' AND copied = 0
                AND after < {table}.changed AND {table}.changed <= until),
            {seq}, {table}.local)"
    )
}
