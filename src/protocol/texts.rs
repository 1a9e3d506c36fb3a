//! Texts for people: what the numbers of operations (App. 3), alarms (App. 5), ways of
//! verification (App. 7) and errors (App. 9) mean.
//!
//! Firmware in the field uses numbers that the document does not have, so that an unknown
//! number is no error: it has no text.

const VERIFY_MODES: [&str; 29] = [
    "finger vein, face, fingerprint, card or password",
    "fingerprint",
    "PIN",
    "password",
    "card",
    "fingerprint or password",
    "fingerprint or card",
    "card or password",
    "PIN and fingerprint",
    "fingerprint and password",
    "card and fingerprint",
    "card and password",
    "fingerprint, password and card",
    "PIN, fingerprint and password",
    "PIN and fingerprint, or card and fingerprint",
    "face",
    "face and fingerprint",
    "face and password",
    "face and card",
    "face, fingerprint and card",
    "face, fingerprint and password",
    "finger vein",
    "finger vein and password",
    "finger vein and card",
    "finger vein, password and card",
    "palm print",
    "palm print and card",
    "palm print and face",
    "palm print and fingerprint",
];

/// The text for a way of verification (App. 7), if the document has one.
pub fn verify_mode(code: u8) -> Option<&'static str> {
    VERIFY_MODES.get(usize::from(code)).copied()
}

const OPERATIONS: [&str; 33] = [
    "switched on",
    "switched off",
    "verification failed",
    "alarm",
    "menu entered",
    "setting changed",
    "fingerprint enrolled",
    "password enrolled",
    "HID card enrolled",
    "user deleted",
    "fingerprint deleted",
    "password deleted",
    "card deleted",
    "data cleared",
    "Mifare card created",
    "Mifare card enrolled",
    "Mifare card registered",
    "Mifare card registration deleted",
    "Mifare card emptied",
    "enrolled data moved to a card",
    "data copied from a card to the terminal",
    "time set",
    "factory settings restored",
    "attendance records deleted",
    "administrator rights removed",
    "access group changed",
    "access of a user changed",
    "access time zone changed",
    "unlock combination changed",
    "door unlocked",
    "user enrolled",
    "fingerprint attributes changed",
    "duress alarm",
];

/// The text for an operation (App. 3), if the document has one.
pub fn operation(code: u16) -> Option<&'static str> {
    OPERATIONS.get(usize::from(code)).copied()
}

/// The text for the reason of an alarm (App. 5), if the document has one.
pub fn alarm(reason: u16) -> Option<&'static str> {
    Some(match reason {
        50 => "door closed",
        51 => "door opened",
        53 => "exit button pressed",
        54 => "door broken open",
        55 => "terminal tampered with",
        58 => "verification without a right tried",
        65535 => "alarm cancelled",
        _ => return None,
    })
}

/// The text for an error (App. 9), if the document has one.
pub fn error(code: &str) -> Option<&'static str> {
    Some(match code {
        "00000000" => "success",
        "D01E0001" => "no face found",
        "D01E0002" => "face covered",
        "D01E0003" => "picture not sharp enough",
        "D01E0004" => "face turned too far",
        "D01E0005" => "not a live face",
        "D01E0006" => "no template could be made",
        _ => return None,
    })
}

/// The part of a terminal that an error comes from (App. 9).
pub fn error_module(module: u8) -> Option<&'static str> {
    const MODULES: [&str; 7] = [
        "PUSH communication",
        "template processing",
        "hardware",
        "PULL communication",
        "offline communication",
        "data relay",
        "licence service",
    ];
    MODULES.get(usize::from(module).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_end_where_the_document_ends_them() {
        let known = |has_text: fn(u16) -> bool| (0..=u16::MAX).filter(|n| has_text(*n)).count();
        fn byte(code: u16) -> Option<u8> {
            u8::try_from(code).ok()
        }
        assert_eq!(known(|code| byte(code).and_then(verify_mode).is_some()), 29);
        assert_eq!(known(|code| byte(code).and_then(error_module).is_some()), 7);
        assert_eq!(known(|code| operation(code).is_some()), 33);
        assert_eq!(known(|code| alarm(code).is_some()), 7);
        assert_eq!(error("D01E0006"), Some("no template could be made"));
        assert_eq!(error("D01E0007"), None);
    }

    #[test]
    fn each_number_has_its_text() {
        assert_eq!(
            (verify_mode(15), verify_mode(28)),
            (Some("face"), Some("palm print and fingerprint"))
        );
        assert_eq!(
            (operation(6), operation(32)),
            (Some("fingerprint enrolled"), Some("duress alarm"))
        );
        assert_eq!(alarm(58), Some("verification without a right tried"));
        assert_eq!(error_module(7), Some("licence service"));
    }
}
