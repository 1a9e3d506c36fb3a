//! What is to come of each fault, for each kind of request, on a first and on a kept connection. It is
//! written from the document and its clarifications:
//!
//! - An answer is complete when its length is met, or its last chunk is there, or, without both, when the
//!   connection is closed. What is behind it belongs to nothing: then its length was wrong.
//! - Success is a 2xx and a body that begins with `OK`; a handshake begins with `GET OPTION`; a picture is a
//!   JPEG. Anything else acknowledges nothing and carries out nothing.
//! - An answer to a poll in which there is no command is no failure.
//! - A kept connection that is closed or reset before a byte of the answer is replaced at once, and so is a new
//!   one after it: no failure is told, and `ErrorDelay` (an hour here) does not pass. A time-out is trouble.

use super::faults::Fault::{self, *};
use super::server::Kind::{self, *};
use super::server::On;

/// What is to come of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is no fault: the answer counts, and the request is sent once.
    Counts,
    /// The answer does not count. `status` says so while it lasts, and what was to be done is done once when the
    /// server is well again.
    Fails,
    /// The answer says nothing, and that is no failure: the next one counts.
    SaysNothing,
    /// The file is another than was asked for: the command is refused, and nothing is stored.
    FileRefused,
    /// The request goes again, on a new connection, at once.
    Replaced,
    /// There is no such cell.
    Nothing,
}

use Expected::*;

/// Faults of which a request on a kept connection knows only that the connection is gone.
const STALE: [Fault; 4] = [ResetBefore, ResetInRequest, ResetAfterRequest, ClosedAfterRequest];

/// The expectation of a cell.
pub fn expected(fault: Fault, kind: Kind, on: On) -> Expected {
    match (fault, kind, on) {
        // The first handshake has no kept connection before it.
        (_, Handshake, On::OnlyKept | On::KeptAndNext) => Nothing,
        (ResetBefore, _, On::KeptAndNext) => Nothing,
        (fault, _, On::OnlyKept | On::KeptAndNext) if STALE.contains(&fault) => Replaced,
        (_, _, On::OnlyKept | On::KeptAndNext) => Nothing,
        // A file whose size is not known has no known end.
        (CloseDelimited, Download, _) => Fails,
        (CloseDelimited | Chunked | Informational | ResetAfterAnswer, ..) => Counts,
        // It begins with OK; the rest of it is not read.
        (EndlessChunks, Upload | Query | Reply, _) => Counts,
        (Page | PageWithCommand | Empty | Gzip | Status(204), Poll, _) => SaysNothing,
        // It is no picture, or a longer one than a terminal can hold.
        (Page | PageWithCommand | Empty | Gzip | LengthTooShort, Download, _) => FileRefused,
        (LengthHuge | EndlessChunks, Download, _) => FileRefused,
        // The server does not have the file.
        (Status(403 | 404), Download, _) => FileRefused,
        _ => Fails,
    }
}
