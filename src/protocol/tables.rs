//! Code tables: what a number on the wire means, and which numbers there are.
//!
//! Kinds of biometrics (§11.12), gender and nation of an identity card (§11.6), operations
//! (App. 3), alarms (App. 5), ways of verification (App. 7), errors (App. 9). What must be one
//! of a table is a type here; what field firmware carries past its table is a number, and the
//! table only knows a text for it.

use std::fmt;

/// What a template or a comparison photo is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BioType(u8);

/// Name, and the highest `No` of an individual of it: ten fingers, two eyes, two hands, one
/// face. The document counts no individuals of the others; the field's limit stands for them.
const BIO_TYPES: [(&str, u8); 10] = [
    ("general", MOST_INDIVIDUALS),
    ("fingerprint", 9),
    ("face", 0),
    ("voice", MOST_INDIVIDUALS),
    ("iris", 1),
    ("retina", MOST_INDIVIDUALS),
    ("palm print", MOST_INDIVIDUALS),
    ("finger vein", 9),
    ("palm", 1),
    ("visible-light face", MOST_INDIVIDUALS),
];

/// Highest `No`, `FID` or `Index` where the document sets no limit.
pub const MOST_INDIVIDUALS: u8 = 99;

impl BioType {
    /// A fingerprint.
    pub const FINGERPRINT: Self = Self(1);
    /// A face in near infrared.
    pub const FACE: Self = Self(2);
    /// A finger vein.
    pub const FINGER_VEIN: Self = Self(7);
    /// A palm.
    pub const PALM: Self = Self(8);
    /// A face in visible light.
    pub const VISIBLE_FACE: Self = Self(9);

    /// The type of a number of the table.
    pub fn new(code: u8) -> Option<Self> {
        (usize::from(code) < BIO_TYPES.len()).then_some(Self(code))
    }

    /// Its number in `Type=`.
    pub fn code(self) -> u8 {
        self.0
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        BIO_TYPES[usize::from(self.0)].0
    }

    /// The highest `No` that an individual of it can have.
    pub fn last_number(self) -> u8 {
        BIO_TYPES[usize::from(self.0)].1
    }
}

impl fmt::Display for BioType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The gender on an identity card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    /// 1.
    Male,
    /// 2.
    Female,
}

impl Gender {
    /// The gender of a number of the table.
    pub fn new(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Male),
            2 => Some(Self::Female),
            _ => None,
        }
    }

    /// Its number in `Gender=`.
    pub fn code(self) -> u8 {
        match self {
            Self::Male => 1,
            Self::Female => 2,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Male => "male",
            Self::Female => "female",
        }
    }
}

/// The nation on an identity card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nation(u8);

/// The nations of the card, by the Romanised names of GB/T 3304. Two entries are the card
/// reader's ways to fail.
#[rustfmt::skip]
const NATIONS: [&str; 58] = [
    "could not be decoded", "Han", "Mongol", "Hui", "Zang", "Uygur", "Miao", "Yi", "Zhuang",
    "Buyei", "Chosen", "Man", "Dong", "Yao", "Bai", "Tujia", "Hani", "Kazak", "Dai", "Li", "Lisu",
    "Va", "She", "Gaoshan", "Lahu", "Sui", "Dongxiang", "Naxi", "Jingpo", "Kirgiz", "Tu", "Daur",
    "Mulao", "Qiang", "Blang", "Salar", "Maonan", "Gelao", "Xibe", "Achang", "Pumi", "Tajik", "Nu",
    "Uzbek", "Russ", "Ewenki", "Deang", "Bonan", "Yugur", "Gin", "Tatar", "Derung", "Oroqen",
    "Hezhen", "Monba", "Lhoba", "Jino", "encoded wrongly",
];

impl Nation {
    /// The nation of a number of the table: 0 to 57, 97 (another), 98 (of foreign descent).
    pub fn new(code: u8) -> Option<Self> {
        (usize::from(code) < NATIONS.len() || matches!(code, 97 | 98)).then_some(Self(code))
    }

    /// Its number in `Nation=`.
    pub fn code(self) -> u8 {
        self.0
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self.0 {
            97 => "another",
            98 => "of foreign descent",
            code => NATIONS[usize::from(code)],
        }
    }
}

/// App. 7.
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

/// The text for a way of verification (App. 7), if the number stands there.
pub fn verify_mode(code: u8) -> Option<&'static str> {
    VERIFY_MODES.get(usize::from(code)).copied()
}

/// App. 3.
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

/// The text for an operation (App. 3), if the number stands there.
pub fn operation(code: u16) -> Option<&'static str> {
    OPERATIONS.get(usize::from(code)).copied()
}

/// The text for the reason of an alarm (App. 5), if the number stands there.
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

/// The text for an error (App. 9), if the code stands there.
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

/// The text for the part of a terminal that an error comes from (App. 9).
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
        let known = |there: &dyn Fn(u16) -> bool| (0..=u16::MAX).filter(|n| there(*n)).count();
        let byte = |code: u16| u8::try_from(code).ok();
        assert_eq!(known(&|code| byte(code).and_then(BioType::new).is_some()), 10);
        assert_eq!(known(&|code| byte(code).and_then(Gender::new).is_some()), 2);
        assert_eq!(known(&|code| byte(code).and_then(Nation::new).is_some()), 60);
        assert_eq!(known(&|code| byte(code).and_then(verify_mode).is_some()), 29);
        assert_eq!(known(&|code| byte(code).and_then(error_module).is_some()), 7);
        assert_eq!(known(&|code| operation(code).is_some()), 33);
        assert_eq!(known(&|code| alarm(code).is_some()), 7);
        assert_eq!(error("D01E0006"), Some("no template could be made"));
        assert_eq!(error("D01E0007"), None);
    }

    #[test]
    fn names_stand_at_their_numbers() {
        for (code, name, last) in [
            (BioType::FINGERPRINT, "fingerprint", 9),
            (BioType::FACE, "face", 0),
            (BioType::FINGER_VEIN, "finger vein", 9),
            (BioType::PALM, "palm", 1),
            (BioType::VISIBLE_FACE, "visible-light face", 99),
        ] {
            assert_eq!((code.name(), code.last_number()), (name, last));
        }
        for (code, name) in [
            (1, "Han"),
            (17, "Kazak"),
            (32, "Mulao"),
            (37, "Gelao"),
            (56, "Jino"),
            (57, "encoded wrongly"),
            (97, "another"),
        ] {
            assert_eq!(Nation::new(code).unwrap().name(), name);
        }
        assert_eq!(Gender::new(2).unwrap().name(), "female");
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
