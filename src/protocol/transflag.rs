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
    /// Templates in the unified form, whatever they are of. The document has no such kind; servers
    /// in use name it.
    BioData,
}

impl Kind {
    /// Its name in `TransFlag`.
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }
}

/// The kinds in the order of the digits of format one, with their names in format two. The last has
/// no digit.
const KINDS: [(Kind, &str); 13] = [
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
    (Kind::BioData, "BioData"),
];
/// How many kinds have a digit.
const DIGITS: usize = 12;
/// The bit of everything that has no flag.
const REST: u16 = 1 << 15;

/// The set of kinds that are uploaded without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransFlag(u16);

impl TransFlag {
    /// All kinds: the default.
    pub const ALL: Self = Self(REST | 0x1FFF);

    /// Whether the kind is in the set.
    pub fn allows(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether data goes that has no flag in the document: always, but for zeros only.
    pub fn allows_the_rest(self) -> bool {
        self.0 & REST != 0
    }

    /// Whether a value is of one of the two formats, and the second names a kind that is known.
    pub fn names_any(value: &str) -> bool {
        let kinds = KINDS.iter().map(|(_, name)| name.to_ascii_lowercase());
        let lower = value.to_ascii_lowercase();
        Self::parse(value).is_some_and(|(_, unknown)| {
            unknown.is_empty() || kinds.into_iter().any(|kind| lower.contains(&kind))
        })
    }

    /// Reads both formats: `1111000000`, and `TransData AttLog⇥OpLog…` with TABs, blanks, `,`, `;`,
    /// `|`, or a backslash and a `t` between the names, with or without `TransData`. The second
    /// value holds the words that are not known; if none is known, everything is on.
    ///
    /// As in the document, zeros only means attendance photos only. `None` if the value is empty
    /// or holds other digits.
    pub fn parse(value: &str) -> Option<(Self, Vec<String>)> {
        let value = value.trim();
        if !value.is_empty() && value.bytes().all(|byte| matches!(byte, b'0' | b'1')) {
            let set = value
                .bytes()
                .zip(&KINDS[..DIGITS])
                .filter(|(digit, _)| *digit == b'1')
                .fold(REST, |set, (_, (kind, _))| set | 1 << *kind as u8);
            let set = if value.contains('1') { set } else { 1 << Kind::AttPhoto as u8 };
            return Some((Self(set), Vec::new()));
        }
        if value.is_empty() || value.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Three servers in use write the two characters backslash and t.
        let value = value.replace("\\t", "\t");
        let names = value.split(['\t', ' ', ',', ';', '|']).filter(|name| !name.is_empty());
        let (mut set, mut unknown, mut words) = (REST, Vec::new(), 0);
        for name in names.filter(|name| !name.eq_ignore_ascii_case("TransData")) {
            words += 1;
            match KINDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)) {
                Some((kind, _)) => set |= 1 << *kind as u8,
                None => unknown.push(name.chars().take(40).collect()),
            }
        }
        Some((if words > 0 && unknown.len() == words { Self::ALL } else { Self(set) }, unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let all = KINDS.map(|(kind, _)| kind);
        let cases: [(&str, &[Kind]); 15] = [
            ("1100000000", &[Kind::AttLog, Kind::OpLog]),
            ("0000000000", &[Kind::AttPhoto]),
            ("000000000001", &[Kind::BioPhoto]),
            ("0000000000001", &[]),
            ("TransData BioData", &[Kind::BioData]),
            ("TransData AttLog\tOpLog\tEnrollFP", &[Kind::AttLog, Kind::OpLog, Kind::EnrollFp]),
            ("transdata attlog,oplog Unheard", &[Kind::AttLog, Kind::OpLog]),
            ("TransData", &[]),
            ("TransData AttLog\\tOpLog", &[Kind::AttLog, Kind::OpLog]),
            ("AttLog;OpLog|FACE", &[Kind::AttLog, Kind::OpLog, Kind::Face]),
            ("AttLog OpLog", &[Kind::AttLog, Kind::OpLog]),
            ("TransData  AttLog", &[Kind::AttLog]),
            ("maybe", &all),
            ("TransData Everything", &all),
            ("Unheard AttLog", &[Kind::AttLog]),
        ];
        for (value, kinds) in cases {
            let (flag, _) = TransFlag::parse(value).unwrap();
            for (kind, name) in KINDS {
                assert_eq!(flag.allows(kind), kinds.contains(&kind), "{value}: {name}");
            }
            assert_eq!(flag.allows_the_rest(), value != "0000000000", "{value}");
        }
    }

    #[test]
    fn other_values_are_refused() {
        for value in ["", "  ", "2111"] {
            assert_eq!(TransFlag::parse(value), None, "{value:?}");
        }
    }
}
