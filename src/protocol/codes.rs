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

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of App. 1 to 3, and of §12.9.2.
    const CODES: &str = include_str!("../../docs/protocol/codes.md");
    const CARDS: &str = include_str!("../../docs/protocol/control.md");

    fn row(number: i64, meaning: &str) -> String {
        format!("| {number} | {meaning}").replace('-', "\u{2212}")
    }

    #[test]
    fn each_return_code_has_the_number_of_its_meaning() {
        for (code, meaning) in [
            (ReturnCode::DONE, "success"),
            (ReturnCode::PARAMETER, "a parameter is wrong"),
            (ReturnCode::PHOTO_SIZE, "the data of a user's photo"),
            (ReturnCode::STORAGE, "reading or writing failed"),
            (ReturnCode::TEMPLATE_SIZE, "the data of a template"),
            (ReturnCode::UNKNOWN_PIN, "there is no user with this PIN"),
            (ReturnCode::TEMPLATE_FORMAT, "a template has a format that is not allowed"),
            (ReturnCode::TEMPLATE, "a template is not valid"),
            (ReturnCode::CAPACITY, "a limit of capacity"),
            (ReturnCode::UNSUPPORTED, "the terminal does not support it"),
            (ReturnCode::TIMED_OUT, "the command took too long"),
            (ReturnCode::MISMATCH, "the data does not fit the configuration"),
            (ReturnCode::BUSY, "the terminal is busy"),
            (ReturnCode::TOO_LONG, "the data is too long"),
            (ReturnCode::MEMORY, "memory failed"),
            (ReturnCode::NOT_FETCHED, "the data could not be fetched"),
            (ReturnCode::ENROLL_EXISTS, "the user has this fingerprint already"),
            (ReturnCode::ENROLL_FAILED, "it failed: bad quality"),
            (ReturnCode::ENROLL_DUPLICATE, "the fingerprint is there already"),
            (ReturnCode::ENROLL_CANCELLED, "cancelled"),
            (ReturnCode::ENROLL_BUSY, "the terminal is busy"),
        ] {
            assert!(CODES.contains(&row(code.0, meaning)), "{code}: {meaning}");
        }
        for (code, meaning) in [
            (ReturnCode::CARD_FAILED, "it failed, after all tries"),
            (ReturnCode::CARD_TIMED_OUT, "nobody came in time"),
            (ReturnCode::CARD_CANCELLED, "somebody left the enrolment"),
        ] {
            assert!(CARDS.contains(&row(code.0, meaning)), "{code}: {meaning}");
        }
    }

    #[test]
    fn languages_and_operations_have_the_numbers_of_their_names() {
        for (number, name) in [
            (u16::from(Language::ENGLISH.0), "English |"),
            (u16::from(Language::SIMPLIFIED_CHINESE.0), "Chinese, simplified |"),
            (operation::POWER_ON, "switched on |"),
            (operation::POWER_OFF, "switched off |"),
            (operation::ALARM, "alarm |"),
            (operation::FINGERPRINT_ENROLLED, "fingerprint enrolled |"),
            (operation::USER_DELETED, "user deleted |"),
            (operation::FINGERPRINT_DELETED, "fingerprint deleted |"),
            (operation::CARD_DELETED, "card deleted |"),
            (operation::CARD_ENROLLED, "Mifare card: enrolled |"),
            (operation::USER_ENROLLED, "user enrolled |"),
        ] {
            assert!(CODES.contains(&row(number.into(), name)), "{number}: {name}");
        }
        let (_, languages) = CODES.split_once("## App. 2").expect("a chapter");
        let (languages, _) = languages.split_once("## App. 3").expect("the next chapter");
        for number in 0..=255 {
            let is_listed = languages.contains(&format!("| {number} | "));
            assert_eq!(Language(number).is_known(), is_listed, "{number}");
        }
    }
}
