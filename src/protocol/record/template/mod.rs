//! Templates, against which sensors match: fingerprints (§11.9), faces (§11.10), finger veins
//! (§11.11) and the unified form (§11.12).
//!
//! Each form has its own spelling of the keys. `down` reads templates from the server.

mod down;
mod kind;

pub use kind::{TemplateForm, TemplateKind};

use super::data::{self, Rules};
use super::{Invalid, Pin};
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;

/// Most bytes of a template. The largest in the field are faces of about 20 KB. A batch of them
/// must fit into the usual `MaxPostSize` of 1 MiB.
pub const LONGEST_TEMPLATE: usize = 64 * 1024;

const RULES: Rules = Rules {
    most: LONGEST_TEMPLATE,
    size: ReturnCode::TEMPLATE_SIZE,
    base64: ReturnCode::TEMPLATE_FORMAT,
};

/// Sent before the data of a face; the document leaves the bytes to the terminal.
const BEFORE_A_FACE: [u8; 16] = [0; 16];

/// Identifies a template among those of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemplateSlot {
    kind: TemplateKind,
    number: u8,
    index: u8,
}

impl TemplateSlot {
    /// Checks that there is such a finger, eye or hand. Forms without an index have 0.
    pub fn new(kind: TemplateKind, number: u8, index: u8) -> Result<Self, Invalid> {
        let (numbers, indexes) = kind.ranges();
        for (field, value, range) in [("number", number, numbers), ("index", index, indexes)] {
            if !range.contains(&value) {
                let why = format!("is {value}; allowed are {} to {}", range.start(), range.end());
                return Err(Invalid::new(field, why));
            }
        }
        Ok(Self { kind, number, index })
    }

    /// The form, and for the unified form the type.
    pub fn kind(self) -> TemplateKind {
        self.kind
    }

    /// Which finger, eye or hand: `FID` or `No`.
    pub fn number(self) -> u8 {
        self.number
    }

    /// Which of several templates of the same finger, eye or hand.
    pub fn index(self) -> u8 {
        self.index
    }
}

/// The algorithm that made a template. Only the unified form has it; the others have zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Algorithm {
    major: u16,
    minor: u16,
    format: u8,
}

impl Algorithm {
    /// Highest part of a version; in the field are 10.3 to 39.3.
    const HIGHEST: u16 = 999;

    /// Checks a version, such as 10 and 3, and a format: 0 ZK, 1 ISO, 2 ANSI. An error names
    /// the field.
    pub fn new(major: u16, minor: u16, format: u8) -> Result<Self, Invalid> {
        for (field, value, highest) in [
            ("majorver", major, Self::HIGHEST),
            ("minorver", minor, Self::HIGHEST),
            ("format", format.into(), 2),
        ] {
            if value > highest {
                return Err(Invalid::new(field, format!("is {value}; allowed are 0 to {highest}")));
            }
        }
        Ok(Self { major, minor, format })
    }

    /// The number before the dot.
    pub fn major(self) -> u16 {
        self.major
    }

    /// The number after the dot.
    pub fn minor(self) -> u16 {
        self.minor
    }

    /// 0 ZK, 1 ISO, 2 ANSI.
    pub fn format(self) -> u8 {
        self.format
    }
}

/// The bytes of a template: 1 to [`LONGEST_TEMPLATE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateData(Vec<u8>);

impl TemplateData {
    /// Checks the number of bytes. An error names `field`.
    pub fn new(field: &'static str, bytes: Vec<u8>) -> Result<Self, Invalid> {
        RULES.check(field, &bytes).map(|()| Self(bytes))
    }

    /// Decodes base64. A refusal names `field`.
    pub fn from_base64(field: &'static str, text: &str) -> Result<Self, Refusal> {
        Ok(Self::new(field, RULES.decode(field, text)?)?)
    }

    /// The bytes, not encoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A template of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The user.
    pub pin: Pin,
    /// Which of the user's templates.
    pub slot: TemplateSlot,
    /// Whether it may be matched against.
    pub valid: bool,
    /// Whether its use is an alarm under duress. The forms `FACE` and `FVEIN` cannot carry it.
    pub duress: bool,
    /// All zero but for the unified form.
    pub algorithm: Algorithm,
    /// The data.
    pub data: TemplateData,
}

impl Template {
    /// Writes the row without its line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { pin, slot: TemplateSlot { kind, number, index }, .. } = self;
        let (word, valid, data) = (kind.form().word(), u8::from(self.valid), self.data.as_bytes());
        let size = data::characters(data.len());
        match kind {
            TemplateKind::Fingerprint => {
                let valid = if self.valid && self.duress { 3 } else { valid };
                let head =
                    format!("{word} PIN={pin}\tFID={number}\tSize={size}\tValid={valid}\tTMP=");
                out.extend_from_slice(head.as_bytes());
                data::write(data, out);
            }
            TemplateKind::Face => {
                let data = [&BEFORE_A_FACE, data].concat();
                let size = data::characters(data.len());
                let head =
                    format!("{word} PIN={pin}\tFID={number}\tSIZE={size}\tVALID={valid}\tTMP=");
                out.extend_from_slice(head.as_bytes());
                data::write(&data, out);
            }
            TemplateKind::FingerVein => {
                let head = format!(
                    "{word} Pin={pin}\tFID={number}\tIndex={index}\tSize={size}\tValid={valid}\tTmp="
                );
                out.extend_from_slice(head.as_bytes());
                data::write(data, out);
            }
            TemplateKind::Unified(bio_type) => {
                let Algorithm { major, minor, format } = self.algorithm;
                let (duress, code) = (u8::from(self.duress), bio_type.code());
                let head = format!(
                    "{word} Pin={pin}\tNo={number}\tIndex={index}\tValid={valid}\tDuress={duress}\
                     \tType={code}\tMajorVer={major}\tMinorVer={minor}\tFormat={format}\tTmp="
                );
                out.extend_from_slice(head.as_bytes());
                data::write(data, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::tables::BioType;

    #[test]
    fn there_are_ten_fingers_two_eyes_and_one_face() {
        let unified = |code| TemplateKind::Unified(BioType::new(code).unwrap());
        for (kind, last, last_index) in [
            (TemplateKind::Fingerprint, 9, 0),
            (TemplateKind::Face, 99, 0),
            (TemplateKind::FingerVein, 9, 2),
            (unified(1), 9, 99),
            (unified(2), 0, 99),
            (unified(4), 1, 99),
            (unified(7), 9, 99),
            (unified(8), 1, 99),
            (unified(9), 99, 99),
        ] {
            assert!(TemplateSlot::new(kind, last, last_index).is_ok(), "{kind:?}");
            let field = |number, index| TemplateSlot::new(kind, number, index).unwrap_err().field;
            assert_eq!(field(last + 1, 0), "number", "{kind:?}");
            assert_eq!(field(0, last_index + 1), "index", "{kind:?}");
        }
    }

    #[test]
    fn an_algorithm_is_a_version_and_one_of_three_formats() {
        assert_eq!(Algorithm::new(10, 3, 2).unwrap().major(), 10);
        for (major, minor, format, field) in
            [(1000, 0, 0, "majorver"), (0, 1000, 0, "minorver"), (0, 0, 3, "format")]
        {
            assert_eq!(Algorithm::new(major, minor, format).unwrap_err().field, field);
        }
    }

    #[test]
    fn a_template_has_some_bytes_and_not_too_many() {
        assert_eq!(TemplateData::new("data", vec![]).unwrap_err().field, "data");
        assert!(TemplateData::new("data", vec![1; LONGEST_TEMPLATE]).is_ok());
        let why = TemplateData::new("data", vec![1; LONGEST_TEMPLATE + 1]).unwrap_err().why;
        assert!(why.contains("65536"), "{why}");
    }
}
