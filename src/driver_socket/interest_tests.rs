//! What a connection waits for: a look at a socket for which nothing can be done now would be one after the
//! other, without end.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;

use super::connection::{Connection, SHORT_LINE};
use crate::driver_requests::DriverId;

/// A connection over which so many bytes of a line came, and its other end.
fn connection(unfinished: usize) -> (Connection, UnixStream) {
    let (mine, mut theirs) = UnixStream::pair().unwrap();
    let mut connection = Connection::new(mine, DriverId(1)).unwrap();
    theirs.write_all(&vec![b'x'; unfinished]).unwrap();
    while connection.unfinished() < unfinished {
        connection.set_ready(PollFlags::IN);
        assert!(connection.turn(true).next_line(<[u8]>::len).is_none());
    }
    (connection, theirs)
}

#[test]
fn a_connection_is_read_only_if_something_can_be_done_with_what_comes() {
    for (unfinished, has_ended, may_read, may_grow, reads) in [
        (0, false, true, true, true),
        (0, false, true, false, true),
        (0, false, false, true, false),
        (0, false, false, false, false),
        (SHORT_LINE, false, true, true, true),
        (SHORT_LINE - 1, false, true, false, true),
        (SHORT_LINE, false, true, false, false),
        (SHORT_LINE, false, false, true, false),
        (0, true, true, true, false),
        (0, true, false, true, false),
    ] {
        let (mut connection, theirs) = connection(unfinished);
        if has_ended {
            drop(theirs);
            connection.set_ready(PollFlags::IN);
            assert!(connection.turn(true).next_line(<[u8]>::len).is_none());
        }
        let flags = connection.interest(may_read, may_grow);
        let told = format!("{unfinished} bytes, {has_ended}, {may_read}, {may_grow}: {flags:?}");
        assert_eq!(flags == PollFlags::IN, reads, "{told}");
        assert_eq!(flags.is_empty(), !reads, "{told}");
    }
}
