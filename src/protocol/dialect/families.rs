//! Firmware families, each named after what is special in its captured requests.
//!
//! A family differs from the document only where its captures do.

use super::Dialect;

/// A named dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// As the document: seven fields, stamps that count, `INFO` of ten values.
    #[default]
    Document,
    /// The document's rows with `Stamp=9999` on every upload.
    FixedStamp,
    /// `OpStamp=9999` for the operation log, `Stamp=9999` for all else.
    OpStamp,
    /// `language` before `pushver`, and `PushOptionsFlag=1` at the end.
    LanguageFirst,
    /// As `language-first`, with `DeviceType=att`: terminals of the visible-light kind.
    AttType,
    /// As `language-first`, with a region for `DeviceType` (`middle east`), eleven fields of
    /// which the last is a running index and the others 0, `Stamp=9999`.
    RegionType,
    /// Paths end in `.aspx`; `INFO` has thirteen values.
    Aspx,
    /// `pushver` has two parts, `2.32`.
    ShortVersion,
    /// `INFO` ends after the version of the fingerprint algorithm: six values, from before
    /// there were faces.
    SixValues,
    /// Eight fields, the last and an absent work code empty: the row ends in TAB.
    TrailingTab,
    /// Ten fields: an absent work code and the two after the seventh empty, the last a
    /// running index. Users with their validity. `Stamp=9999`.
    SparseIndex,
    /// As `att-type`, ten fields of which the last three are mask and temperature, users with their
    /// validity, `Stamp=9999`: newer terminals of the visible-light kind.
    VisibleLight,
    /// Ten fields, and a TAB after them.
    TabEnd,
}

impl Family {
    /// All families, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Document,
        Self::FixedStamp,
        Self::OpStamp,
        Self::LanguageFirst,
        Self::AttType,
        Self::RegionType,
        Self::Aspx,
        Self::ShortVersion,
        Self::SixValues,
        Self::TrailingTab,
        Self::SparseIndex,
        Self::VisibleLight,
        Self::TabEnd,
    ];

    /// The name in `punchd.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::FixedStamp => "fixed-stamp",
            Self::OpStamp => "op-stamp",
            Self::LanguageFirst => "language-first",
            Self::AttType => "att-type",
            Self::RegionType => "region-type",
            Self::Aspx => "aspx",
            Self::ShortVersion => "short-version",
            Self::SixValues => "six-values",
            Self::TrailingTab => "trailing-tab",
            Self::SparseIndex => "sparse-index",
            Self::VisibleLight => "visible-light",
            Self::TabEnd => "tab-end",
        }
    }

    /// The settings of the family.
    pub fn dialect(self) -> Dialect {
        let document = Dialect::default();
        match self {
            Self::Document => document,
            Self::FixedStamp => Dialect { fixed_stamp: true, ..document },
            Self::OpStamp => Dialect { fixed_stamp: true, op_stamp: true, ..document },
            Self::LanguageFirst => {
                Dialect { language_first: true, push_options_flag: true, ..document }
            }
            Self::AttType => Dialect { device_type: "att".into(), ..Self::LanguageFirst.dialect() },
            Self::RegionType => Dialect {
                attlog_fields: 11,
                running_index: true,
                fixed_stamp: true,
                device_type: "middle east".into(),
                ..Self::LanguageFirst.dialect()
            },
            Self::Aspx => Dialect { suffix: ".aspx".into(), info_values: 13, ..document },
            Self::ShortVersion => Dialect { pushver: "2.32".into(), ..document },
            Self::SixValues => Dialect { info_values: 6, ..document },
            Self::TrailingTab => {
                Dialect { attlog_fields: 8, empty_workcode: true, empty_extra: true, ..document }
            }
            Self::SparseIndex => Dialect {
                attlog_fields: 10,
                empty_workcode: true,
                empty_extra: true,
                running_index: true,
                user_validity: true,
                fixed_stamp: true,
                ..document
            },
            Self::VisibleLight => Dialect {
                attlog_fields: 10,
                mask_temperature: true,
                user_validity: true,
                fixed_stamp: true,
                ..Self::AttType.dialect()
            },
            Self::TabEnd => Dialect { attlog_fields: 10, tab_at_end: true, ..document },
        }
    }
}

/// Requests as captured, with invented serial numbers, PINs and times.
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protocol::codes::Language;
    use crate::protocol::device::{DeviceInfo, Functions, VisibleLight};
    use crate::protocol::query::Target;
    use crate::protocol::record::{Pin, Punch, Screening, User, WorkCode};
    use crate::protocol::stream::Table;
    use crate::protocol::time::LocalTime;
    use crate::protocol::version::Version;

    #[test]
    fn each_family_differs_from_the_others() {
        let written: BTreeSet<String> =
            Family::ALL.iter().map(|family| format!("{:?}", family.dialect())).collect();
        assert_eq!(written.len(), Family::ALL.len());
    }

    #[test]
    fn handshakes_are_as_captured() {
        for (family, version, language, key, query) in [
            // C41
            (
                Family::LanguageFirst,
                Version(2, 4, 0),
                83,
                "madekey",
                "language=83&pushver=2.4.0&pushcommkey=madekey&PushOptionsFlag=1",
            ),
            // C17, C19
            (
                Family::AttType,
                Version(2, 4, 1),
                76,
                "",
                "language=76&pushver=2.4.1&DeviceType=att&PushOptionsFlag=1",
            ),
            // C01
            (
                Family::RegionType,
                Version(2, 4, 0),
                69,
                "",
                "language=69&pushver=2.4.0&DeviceType=middle%20east&PushOptionsFlag=1",
            ),
            // C21
            (
                Family::RegionType,
                Version(2, 4, 1),
                69,
                "",
                "language=69&pushver=2.4.1&DeviceType=middle%20east&PushOptionsFlag=1",
            ),
            // C43
            (Family::ShortVersion, Version(2, 4, 1), 69, "", "pushver=2.32&language=69"),
        ] {
            let target = family.dialect().handshake("MADE01", Language(language), version, key);
            let (start, rest) = target.as_str().split_once("&options=all&").unwrap();
            assert_eq!(start, "/iclock/cdata?SN=MADE01", "{family:?}");
            assert_eq!(fields(rest, '&'), fields(query, '&'), "{family:?}");
        }
    }

    #[test]
    fn polls_are_as_captured() {
        let visible = |comparison_photo, face_template| {
            Some(VisibleLight { comparison_photo, face_template })
        };
        let device = |firmware: &str, [users, fingerprints, punches]: [u64; 3], fp_version| {
            let (firmware, address) = (firmware.to_owned(), [192, 0, 2, 25].into());
            DeviceInfo {
                firmware,
                users,
                fingerprints,
                punches,
                address,
                fp_version,
                ..DeviceInfo::default()
            }
        };
        for (family, device, poll) in [
            // C45
            (
                Family::Document,
                DeviceInfo {
                    face_version: 7,
                    faces_needed: 12,
                    faces: 141,
                    functions: Functions {
                        fingerprint: true,
                        face: true,
                        user_photo: true,
                        visible: None,
                    },
                    ..device("Ver 8.0.4.2-I113-02", [143, 1, 109], 10)
                },
                "getrequest?SN=MADE01&INFO=Ver%208.0.4.2-I113-02,143,1,109,192.0.2.25,10,7,12,141,111",
            ),
            // C09
            (
                Family::Aspx,
                DeviceInfo {
                    face_version: 39,
                    faces_needed: 12,
                    faces: 1,
                    functions: Functions {
                        fingerprint: false,
                        face: true,
                        user_photo: true,
                        visible: visible(true, false),
                    },
                    ..device("ZAM180-NF50VA-Ver3.4.10", [1, 0, 16], 10)
                },
                "getrequest.aspx?SN=MADE01&INFO=ZAM180-NF50VA-Ver3.4.10,1,0,16,192.0.2.25,10,39,12,1,01110,0,0,0",
            ),
            // C47
            (
                Family::SixValues,
                device("Ver 6.60 Oct 12 2011", [5, 3, 71], 10),
                "getrequest?SN=MADE01&INFO=Ver%206.60%20Oct%2012%202011,5,3,71,192.0.2.25,10",
            ),
        ] {
            let dialect = family.dialect();
            let target = Target::new(&dialect.path("/iclock/getrequest"), "MADE01")
                .with("INFO", dialect.info(&device).unwrap());
            let written = target.as_str().strip_prefix("/iclock/").unwrap();
            assert_eq!(fields(written, ','), fields(poll, ','), "{family:?}");
        }
        // C07
        assert_eq!(Family::Aspx.dialect().path("/iclock/getrequest"), "/iclock/getrequest.aspx");
    }

    #[test]
    fn attendance_rows_are_as_captured() {
        for (family, verify, index, row) in [
            // C53
            (Family::FixedStamp, 1, 6, "made7\t2026-03-04 05:06:07\t1\t1\t0\t0\t0"),
            // C23
            (Family::RegionType, 1, 6, "made7\t2026-03-04 05:06:07\t1\t1\t0\t0\t0\t0\t0\t0\t6"),
            // C39
            (Family::TrailingTab, 1, 6, "made7\t2026-03-04 05:06:07\t1\t1\t\t0\t0\t"),
            // C49
            (Family::SparseIndex, 15, 43, "made7\t2026-03-04 05:06:07\t1\t15\t\t0\t0\t\t\t43"),
            // As terminals with a camera for visible light send it where nothing was measured.
            (Family::VisibleLight, 15, 6, "made7\t2026-03-04 05:06:07\t1\t15\t0\t0\t0\t255\t0\t0"),
            // N60
            (Family::TabEnd, 1, 6, "made7\t2026-03-04 05:06:07\t1\t1\t0\t0\t0\t0\t0\t0\t"),
        ] {
            let punch = Punch {
                pin: Pin::new("made7").unwrap(),
                time: LocalTime::parse("2026-03-04 05:06:07").unwrap(),
                status: 1,
                verify,
                workcode: WorkCode::new("").unwrap(),
                screening: Screening::default(),
            };
            let mut written = Vec::new();
            family.dialect().write_punch(&punch, index, &mut written);
            let written = String::from_utf8(written).unwrap();
            assert_eq!(fields(&written, '\t'), fields(row, '\t'), "{family:?}");
        }
    }

    #[test]
    fn users_are_as_captured() {
        let user = User { name: "Made Up".into(), ..User::new(Pin::new("2").unwrap()) };
        for (family, end) in [
            (Family::Document, "\tViceCard="),
            // C49
            (Family::SparseIndex, "\tViceCard=\tStartDatetime=0\tEndDatetime=0"),
        ] {
            let mut written = Vec::new();
            family.dialect().write_user(&user, Language::ENGLISH, &mut written);
            let written = String::from_utf8(written).unwrap();
            assert!(written.ends_with(end), "{written}");
        }
    }

    #[test]
    fn stamps_are_as_captured() {
        for (family, table, name) in [
            (Family::RegionType, Table::Operlog, "Stamp"), // C03
            (Family::OpStamp, Table::Operlog, "OpStamp"),  // C05
            (Family::FixedStamp, Table::Operlog, "Stamp"), // C33
            (Family::SparseIndex, Table::Attlog, "Stamp"), // C49
            (Family::FixedStamp, Table::Attlog, "Stamp"),  // C53
        ] {
            let stamp = family.dialect().stamp(table, 42);
            assert_eq!(stamp, (name, "9999".to_owned()), "{family:?}");
        }
    }

    fn fields(text: &str, between: char) -> Vec<&str> {
        text.split(between).collect()
    }
}
