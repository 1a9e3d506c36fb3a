//! The four forms in which templates travel, and what each is of.

use std::ops::RangeInclusive;

use crate::protocol::tables::{BioType, MOST_INDIVIDUALS};

/// The form of a template, without what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TemplateForm {
    /// `FP`, of an algorithm up to 10.0.
    Fingerprint,
    /// `FACE`.
    Face,
    /// `FVEIN`.
    FingerVein,
    /// `BIODATA`.
    Unified,
}

impl TemplateForm {
    const ALL: [Self; 4] = [Self::Fingerprint, Self::Face, Self::FingerVein, Self::Unified];

    /// The number of the form in the store. It never changes: stores in the field hold it.
    pub fn code(self) -> u8 {
        match self {
            Self::Fingerprint => 0,
            Self::Face => 1,
            Self::FingerVein => 2,
            Self::Unified => 3,
        }
    }

    /// The form with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.code() == code)
    }

    /// The name that drivers use for the form (`kind`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Face => "face",
            Self::FingerVein => "fvein",
            Self::Unified => "unified",
        }
    }

    /// The form with this name of the driver protocol.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }

    /// The word with which a row of the form begins.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fingerprint => "FP",
            Self::Face => "FACE",
            Self::FingerVein => "FVEIN",
            Self::Unified => "BIODATA",
        }
    }
}

/// The form of a template, and for the unified form what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TemplateKind {
    /// `FP`, of an algorithm up to 10.0.
    Fingerprint,
    /// `FACE`.
    Face,
    /// `FVEIN`.
    FingerVein,
    /// `BIODATA`, with its type.
    Unified(BioType),
}

impl TemplateKind {
    /// A template of this form and type. The three older forms have one type each, so that
    /// `bio_type` does not matter for them.
    pub fn new(form: TemplateForm, bio_type: BioType) -> Self {
        match form {
            TemplateForm::Fingerprint => Self::Fingerprint,
            TemplateForm::Face => Self::Face,
            TemplateForm::FingerVein => Self::FingerVein,
            TemplateForm::Unified => Self::Unified(bio_type),
        }
    }

    /// The form alone.
    pub fn form(self) -> TemplateForm {
        match self {
            Self::Fingerprint => TemplateForm::Fingerprint,
            Self::Face => TemplateForm::Face,
            Self::FingerVein => TemplateForm::FingerVein,
            Self::Unified(_) => TemplateForm::Unified,
        }
    }

    /// What it is a template of.
    pub fn bio_type(self) -> BioType {
        match self {
            Self::Fingerprint => BioType::FINGERPRINT,
            Self::Face => BioType::FACE,
            Self::FingerVein => BioType::FINGER_VEIN,
            Self::Unified(bio_type) => bio_type,
        }
    }

    /// The numbers (`FID`, `No`) and the indexes that are allowed.
    pub(super) fn ranges(self) -> (RangeInclusive<u8>, RangeInclusive<u8>) {
        match self {
            Self::Fingerprint => (0..=9, 0..=0),
            Self::Face => (0..=MOST_INDIVIDUALS, 0..=0),
            Self::FingerVein => (0..=9, 0..=2),
            Self::Unified(bio_type) => (0..=bio_type.last_number(), 0..=MOST_INDIVIDUALS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_and_names_of_the_forms_are_fixed() {
        for (code, name, word) in [
            (0, "fingerprint", "FP"),
            (1, "face", "FACE"),
            (2, "fvein", "FVEIN"),
            (3, "unified", "BIODATA"),
        ] {
            let form = TemplateForm::from_code(code).unwrap();
            assert_eq!((form.code(), form.name(), form.word()), (code, name, word));
            assert_eq!(TemplateForm::from_name(name), Some(form));
            assert_eq!(TemplateKind::new(form, BioType::PALM).form(), form);
        }
        assert_eq!((TemplateForm::from_code(4), TemplateForm::from_name("FP")), (None, None));
    }
}
