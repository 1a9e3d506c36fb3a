//! Why a command fails: it is refused with a code of App. 1, or the store failed. This is the only
//! place that maps failures of other rooms to those codes.

use crate::driver_requests::Unasked;
use crate::files::FileError;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::foreign::plain;
use crate::protocol::record::ErrorLog;
use crate::store::StoreError;

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The command is answered with the refusal's code and changed nothing.
    Refused(Refusal),
    /// The store failed: there is no answer yet, the command is carried out again later.
    Store(StoreError),
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for CommandError {
    /// A limit that the owner set does not go away by a retry, so the server is told.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoRoom(_) | StoreError::PartFull(_) | StoreError::TooManyUsers { .. } => {
                Self::Refused(Refusal::new(ReturnCode::CAPACITY, error.to_string()))
            }
            _ => Self::Store(error),
        }
    }
}

impl From<FileError> for CommandError {
    fn from(error: FileError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        let code = match &error {
            FileError::Missing(_) => ReturnCode::PHOTO_SIZE,
            FileError::Outside { .. } => ReturnCode::UNSUPPORTED,
            FileError::NotAFile { .. } | FileError::Archive { .. } => ReturnCode::PARAMETER,
            FileError::TooLarge(_) => ReturnCode::TOO_LONG,
            FileError::NoRoom(_) => ReturnCode::CAPACITY,
            FileError::Io { .. } | FileError::Stopped => ReturnCode::STORAGE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Unasked> for CommandError {
    fn from(unasked: Unasked) -> Self {
        Self::Refused(match unasked {
            Unasked::Nobody => {
                Refusal::new(ReturnCode::UNSUPPORTED, "no connected driver provides it")
            }
            Unasked::TooMany => Refusal::new(
                ReturnCode::BUSY,
                "too many requests to drivers are open already; send the command again later",
            ),
        })
    }
}

/// Longest message in the error log, in characters.
const LONGEST_MESSAGE: usize = 200;

/// Refuses a command that the store failed at, so that it stops no other.
pub(super) fn refused_by_store(error: &StoreError) -> Refusal {
    let code = match error {
        StoreError::Full => ReturnCode::CAPACITY,
        _ => ReturnCode::STORAGE,
    };
    Refusal::new(code, error.to_string())
}

/// The entry of the error log for data that was refused: an error of module 06, which passes data
/// on, with the return code as its number.
pub(crate) fn data_error(id: &str, refusal: &Refusal) -> ErrorLog {
    let number = refusal.code.0.unsigned_abs().min(9999);
    ErrorLog::of_data(&format!("D06E{number:04}"), &plain(&refusal.why, LONGEST_MESSAGE), id)
}

/// A disk, or a program of the owner's or of the server's, failed.
pub(super) fn failed(why: String) -> Refusal {
    Refusal::new(ReturnCode::STORAGE, why)
}
