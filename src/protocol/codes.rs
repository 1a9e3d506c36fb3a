//! Return codes (App. 1), operation codes (App. 3) and languages (App. 2).

use std::fmt;

/// What a command answers in `Return=` (App. 1).
///
/// Zero means *done*, not *seen*. Negative values are the document's errors; a few commands
/// answer a size or a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReturnCode(pub i64);

impl ReturnCode {
    /// The command was carried out.
    pub const DONE: Self = Self(0);
    /// A parameter is missing or wrong.
    pub const PARAMETER: Self = Self(-1);
    /// A photo is not of the size that was given; also: there is no such file.
    pub const MISSING: Self = Self(-2);
    /// Reading or writing failed.
    pub const STORAGE: Self = Self(-3);
    /// The PIN is not on this terminal.
    pub const UNKNOWN_PIN: Self = Self(-10);
    /// No room.
    pub const CAPACITY: Self = Self(-1001);
    /// This terminal does not do that.
    pub const UNSUPPORTED: Self = Self(-1002);
    /// The command did not come to an end.
    pub const TIMED_OUT: Self = Self(-1003);
    /// The data does not fit the configuration of the terminal.
    pub const MISMATCH: Self = Self(-1004);
    /// The terminal is busy.
    pub const BUSY: Self = Self(-1005);
    /// The data is too long.
    pub const TOO_LONG: Self = Self(-1006);
    /// The server's data could not be had.
    pub const NOT_FETCHED: Self = Self(-1008);
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The language of the terminal, by its number in App. 2 (69 is English).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(pub u8);

impl Language {
    /// English, the default.
    pub const ENGLISH: Self = Self(69);
    /// Simplified Chinese: the only language whose text travels as GB2312.
    pub const SIMPLIFIED_CHINESE: Self = Self(83);

    /// Whether the number stands in App. 2.
    pub fn is_known(self) -> bool {
        matches!(
            self.0,
            65 | 66
                | 68
                | 69
                | 70
                | 71
                | 72
                | 73
                | 74
                | 75
                | 76
                | 80
                | 82
                | 83
                | 84
                | 86
                | 89
                | 90
                | 97
                | 103
                | 105
                | 112
                | 116
        )
    }
}

/// Operations that punchd itself writes into the operation log (App. 3). Drivers may use
/// any other number: field firmware runs past the table.
pub mod operation {
    /// The terminal started.
    pub const POWER_ON: u16 = 0;
    /// The terminal stopped.
    pub const POWER_OFF: u16 = 1;
    /// An alarm.
    pub const ALARM: u16 = 3;
    /// A fingerprint was enrolled.
    pub const FINGERPRINT_ENROLLED: u16 = 6;
    /// A card was enrolled.
    pub const CARD_ENROLLED: u16 = 15;
    /// A user was enrolled: what stands for all that has no number of its own.
    pub const USER_ENROLLED: u16 = 30;
}
