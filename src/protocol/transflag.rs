//! `TransFlag`: the kinds of data that the terminal uploads without being asked for (§6).

/// A kind of data that a server can switch on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Attendance records.
    AttLog = 0,
    /// The operation log.
    OpLog,
    /// Attendance photos.
    AttPhoto,
    /// Fingerprints enrolled on the terminal.
    EnrollFp,
    /// Users enrolled on the terminal.
    EnrollUser,
    /// Images of fingerprints.
    FpImag,
    /// Users changed on the terminal.
    ChgUser,
    /// Fingerprints changed on the terminal.
    ChgFp,
    /// Faces enrolled on the terminal.
    Face,
    /// Photos of users.
    UserPic,
    /// Work codes.
    WorkCode,
    /// Photos for comparison.
    BioPhoto,
}

/// The kinds in the order of the digits of format one, with their names in format two.
const KINDS: [(Kind, &str); 12] = [
    (Kind::AttLog, "AttLog"),
    (Kind::OpLog, "OpLog"),
    (Kind::AttPhoto, "AttPhoto"),
    (Kind::EnrollFp, "EnrollFP"),
    (Kind::EnrollUser, "EnrollUser"),
    (Kind::FpImag, "FPImag"),
    (Kind::ChgUser, "ChgUser"),
    (Kind::ChgFp, "ChgFP"),
    (Kind::Face, "FACE"),
    (Kind::UserPic, "UserPic"),
    (Kind::WorkCode, "WORKCODE"),
    (Kind::BioPhoto, "BioPhoto"),
];

/// The set of kinds that are uploaded without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransFlag(u16);

impl TransFlag {
    /// All kinds: the default.
    pub const ALL: Self = Self(0xFFF);

    /// Whether the kind is in the set.
    pub fn allows(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Reads both formats: `1111000000`, and `TransData AttLog⇥OpLog…` with TABs, blanks or
    /// commas between the names. Unknown names are ignored.
    ///
    /// As in the document, zeros only means attendance photos only. `None` if the value has
    /// neither format.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if !value.is_empty() && value.bytes().all(|byte| matches!(byte, b'0' | b'1')) {
            let set = value
                .bytes()
                .zip(KINDS)
                .filter(|(digit, _)| *digit == b'1')
                .fold(0, |set, (_, (kind, _))| set | 1 << kind as u8);
            return Some(if value.contains('1') {
                Self(set)
            } else {
                Self(1 << Kind::AttPhoto as u8)
            });
        }
        let mut names = value.split(['\t', ' ', ',']).filter(|name| !name.is_empty());
        if !names.next()?.eq_ignore_ascii_case("TransData") {
            return None;
        }
        let set = names
            .filter_map(|name| KINDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)))
            .fold(0, |set, (kind, _)| set | 1 << *kind as u8);
        Some(Self(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let cases: [(&str, &[Kind]); 6] = [
            ("1100000000", &[Kind::AttLog, Kind::OpLog]),
            ("0000000000", &[Kind::AttPhoto]),
            ("000000000001", &[Kind::BioPhoto]),
            ("TransData AttLog\tOpLog\tEnrollFP", &[Kind::AttLog, Kind::OpLog, Kind::EnrollFp]),
            ("transdata attlog,oplog Unheard", &[Kind::AttLog, Kind::OpLog]),
            ("TransData", &[]),
        ];
        for (value, kinds) in cases {
            let flag = TransFlag::parse(value).unwrap();
            for (kind, name) in KINDS {
                assert_eq!(flag.allows(kind), kinds.contains(&kind), "{value}: {name}");
            }
        }
    }

    #[test]
    fn other_values_are_refused() {
        for value in ["", "  ", "AttLog OpLog", "2111", "yes"] {
            assert_eq!(TransFlag::parse(value), None, "{value:?}");
        }
    }
}
