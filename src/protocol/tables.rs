//! The numbers that must be of a table: kinds of biometrics (§11.12), gender and nation of an
//! identity card (§11.6).

use std::fmt;

/// What a template or a comparison photo is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BioType(u8);

/// For each number, the name and the highest `No`: ten fingers, two eyes, two hands, one face.
/// The document sets no limit for the others; the limit of the field takes its place.
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
    /// A fingerprint, in each form.
    pub const FINGERPRINT: Self = Self(1);
    /// A face in near infrared.
    pub const FACE: Self = Self(2);
    /// A finger vein, in each form.
    pub const FINGER_VEIN: Self = Self(7);
    /// A palm, not a palm print (6).
    pub const PALM: Self = Self(8);
    /// A face in visible light.
    pub const VISIBLE_FACE: Self = Self(9);

    /// The type with this number.
    pub fn new(code: u8) -> Option<Self> {
        (usize::from(code) < BIO_TYPES.len()).then_some(Self(code))
    }

    /// Its number in `Type=`.
    pub fn code(self) -> u8 {
        self.0
    }

    pub(crate) fn name(self) -> &'static str {
        BIO_TYPES[usize::from(self.0)].0
    }

    /// The highest `No` of this type.
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
    /// Number 1.
    Male,
    /// Number 2.
    Female,
}

impl Gender {
    /// The gender with this number.
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

    /// The text for it.
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

/// The nations by their Romanised names in GB/T 3304. The first and the last entry are errors of
/// the card reader.
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
    /// The nation with this number: 0 to 57, 97 (another), 98 (of foreign descent).
    pub fn new(code: u8) -> Option<Self> {
        (usize::from(code) < NATIONS.len() || matches!(code, 97 | 98)).then_some(Self(code))
    }

    /// Its number in `Nation=`.
    pub fn code(self) -> u8 {
        self.0
    }

    /// The text for it.
    pub fn name(self) -> &'static str {
        match self.0 {
            97 => "another",
            98 => "of foreign descent",
            code => NATIONS[usize::from(code)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_end_where_the_document_ends_them() {
        let known = |is_known: fn(u8) -> bool| (0..=u8::MAX).filter(|code| is_known(*code)).count();
        assert_eq!(known(|code| BioType::new(code).is_some()), 10);
        assert_eq!(known(|code| Gender::new(code).is_some()), 2);
        assert_eq!(known(|code| Nation::new(code).is_some()), 60);
    }

    #[test]
    fn each_number_has_its_name() {
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
    }
}
