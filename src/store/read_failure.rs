//! Reads of the store at which the disk failed. SQLite calls such a file malformed: it turns `EIO` of a
//! read into the code of a damage, and the check of a store any error. What the system said of the read
//! tells them apart.

use std::ffi::{c_int, c_void};
use std::ptr;

use rusqlite::{Connection, ffi};
use rustix::io::Errno;

/// What the system says of the last read of the store, or of its log, at which the disk failed in a way that
/// SQLite takes for a damage.
pub(super) fn last(connection: &Connection) -> Option<String> {
    last_of(connection, |error| [Errno::IO, Errno::NXIO, Errno::RANGE].contains(&error))
}

/// What the system says of the last operation on the store, or on its log, that failed: for a connection that
/// was opened just now.
pub(super) fn any(connection: &Connection) -> Option<String> {
    last_of(connection, |_| true)
}

fn last_of(connection: &Connection, is_meant: impl Fn(Errno) -> bool) -> Option<String> {
    let mut log: *mut ffi::sqlite3_file = ptr::null_mut();
    let mut errors: [c_int; 2] = [0; 2];
    // SAFETY: the handle is of a connection that lives until the end of this function, on its own
    // thread. SQLite writes a pointer and a number into what is given to it, during the calls only. The
    // pointer is of a file that the connection keeps open meanwhile; without methods it is not open.
    unsafe {
        control(connection, ffi::SQLITE_FCNTL_LAST_ERRNO, (&raw mut errors[0]).cast());
        control(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER, (&raw mut log).cast());
        if let Some(methods) = log.as_ref().and_then(|log| log.pMethods.as_ref())
            && let Some(file_control) = methods.xFileControl
        {
            file_control(log, ffi::SQLITE_FCNTL_LAST_ERRNO, (&raw mut errors[1]).cast());
        }
    }
    let mut errors = errors.into_iter().filter(|error| *error != 0).map(Errno::from_raw_os_error);
    let error = errors.find(|error| is_meant(*error))?;
    Some(format!("a read failed: {}", std::io::Error::from(error)))
}

/// # Safety
/// `out` is what SQLite's documentation says of `operation`.
unsafe fn control(connection: &Connection, operation: c_int, out: *mut c_void) {
    // SAFETY: as in `last`; the name ends with a zero byte.
    unsafe {
        ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), operation, out);
    }
}
