//! What SQLite counts of a connection.

use rusqlite::{Connection, ffi};

/// One of SQLite's counts (`SQLITE_DBSTATUS_…`) since the connection was opened, or since it was last
/// taken; after the highest number comes 0.
pub(super) fn count(connection: &Connection, what: i32) -> u32 {
    read(connection, what, false)
}

/// The same, and the count begins again at 0.
#[cfg(debug_assertions)]
pub(super) fn take(connection: &Connection, what: i32) -> u32 {
    read(connection, what, true)
}

fn read(connection: &Connection, what: i32, begins_again: bool) -> u32 {
    let (mut current, mut highest) = (0, 0);
    // SAFETY: the handle is of a connection that lives until the end of this function, on its own
    // thread, and SQLite writes into the two numbers during the call only.
    unsafe {
        ffi::sqlite3_db_status(
            connection.handle(),
            what,
            &raw mut current,
            &raw mut highest,
            begins_again.into(),
        );
    }
    current.cast_unsigned()
}
