//! Return codes (App. 1), languages (App. 2) and the operations that punchd records (App. 3).

use std::fmt;

/// What a command answers in `Return=`.
///
/// 0 means that the command was carried out, not only received. Negative values are errors of
/// App. 1. Some commands answer a size or a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReturnCode(pub i64);

/// The codes of App. 1, each with the document's meaning first.
impl ReturnCode {
    /// Success.
    pub const DONE: Self = Self(0);
    /// A parameter is missing or wrong.
    pub const PARAMETER: Self = Self(-1);
    /// The data of a photo does not have the given `Size`. The document has no code for a file
    /// that does not exist; `GetFile` answers this one, too.
    pub const PHOTO_SIZE: Self = Self(-2);
    /// Reading or writing failed.
    pub const STORAGE: Self = Self(-3);
    /// The data of a template does not have the given `Size`.
    pub const TEMPLATE_SIZE: Self = Self(-9);
    /// There is no user with this PIN on the terminal.
    pub const UNKNOWN_PIN: Self = Self(-10);
    /// The format of a template is not allowed: it is not base64.
    pub const TEMPLATE_FORMAT: Self = Self(-11);
    /// A template is not valid. No command of this terminal answers it.
    pub const TEMPLATE: Self = Self(-12);
    /// A limit of capacity is reached.
    pub const CAPACITY: Self = Self(-1001);
    /// The terminal does not support the command, or the owner does not allow it.
    pub const UNSUPPORTED: Self = Self(-1002);
    /// The command timed out, or was cut off and cannot be repeated.
    pub const TIMED_OUT: Self = Self(-1003);
    /// The data does not fit the configuration of the terminal.
    pub const MISMATCH: Self = Self(-1004);
    /// The terminal is busy.
    pub const BUSY: Self = Self(-1005);
    /// The data is too long.
    pub const TOO_LONG: Self = Self(-1006);
    /// Memory failed. No command of this terminal answers it.
    pub const MEMORY: Self = Self(-1007);
    /// The data could not be fetched from the server.
    pub const NOT_FETCHED: Self = Self(-1008);
}

/// The codes that App. 1 has for `ENROLL_FP` and `ENROLL_BIO`.
impl ReturnCode {
    /// The user has this fingerprint already.
    pub const ENROLL_EXISTS: Self = Self(2);
    /// The enrolment failed: bad quality, or three presses that differ.
    pub const ENROLL_FAILED: Self = Self(4);
    /// Another user has this fingerprint.
    pub const ENROLL_DUPLICATE: Self = Self(5);
    /// The enrolment was cancelled.
    pub const ENROLL_CANCELLED: Self = Self(6);
    /// The sensor is busy.
    pub const ENROLL_BUSY: Self = Self(7);
}

/// The codes of `ENROLL_MF` (§12.9.2). The text of the document has lost their minus signs.
impl ReturnCode {
    /// The enrolment failed, after all tries.
    pub const CARD_FAILED: Self = Self(-4);
    /// No card came in time.
    pub const CARD_TIMED_OUT: Self = Self(-5);
    /// Somebody left the enrolment at the terminal.
    pub const CARD_CANCELLED: Self = Self(-6);
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The language of the terminal, by its number in App. 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(pub u8);

impl Language {
    /// The default.
    pub const ENGLISH: Self = Self(69);
    /// The only language whose text is sent as GB2312.
    pub const SIMPLIFIED_CHINESE: Self = Self(83);

    /// Whether App. 2 has the number.
    pub(crate) fn is_known(self) -> bool {
        #[rustfmt::skip]
        const KNOWN: [u8; 23] = [
            65, 66, 68, 69, 70, 71, 72, 73, 74, 75, 76, 80, 82, 83, 84, 86, 89, 90, 97, 103, 105,
            112, 116,
        ];
        KNOWN.contains(&self.0)
    }
}

/// Operations that punchd writes into the operation log by itself. Drivers may use any other
/// number: firmware in the field uses numbers that App. 3 does not have.
pub(crate) mod operation {
    /// The terminal started.
    pub(crate) const POWER_ON: u16 = 0;
    /// The terminal stopped.
    pub(crate) const POWER_OFF: u16 = 1;
    pub(crate) const ALARM: u16 = 3;
    pub(crate) const FINGERPRINT_ENROLLED: u16 = 6;
    pub(crate) const USER_DELETED: u16 = 9;
    pub(crate) const FINGERPRINT_DELETED: u16 = 10;
    pub(crate) const CARD_DELETED: u16 = 12;
    pub(crate) const CARD_ENROLLED: u16 = 15;
    /// Also for what was enrolled and has no number of its own, such as a face.
    pub(crate) const USER_ENROLLED: u16 = 30;
}
