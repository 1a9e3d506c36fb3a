//! The list of the small tables.

use super::rule::Rule;
use super::table::EntryTable;

impl EntryTable {
    /// Every such table.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        TABLES.iter()
    }

    /// The table with this name, in any case.
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }
}

const FLAG: Rule = Rule::Number(0, 1);
const GROUP: Rule = Rule::Number(0, 255);
const NUMBER: Rule = Rule::Number(0, 65_535);

static TABLES: [EntryTable; 10] = [
    EntryTable {
        name: "SMS",
        id: &["uid"],
        fields: &[
            ("msg", Rule::Text(320)),
            ("tag", Rule::OneOf(&[253, 254, 255])),
            ("uid", NUMBER),
            ("min", NUMBER),
            ("starttime", Rule::Time),
        ],
        required: &["msg"],
        most: 1000,
    },
    EntryTable {
        name: "USER_SMS",
        id: &["pin", "uid"],
        fields: &[("pin", Rule::Pin), ("uid", NUMBER)],
        required: &[],
        most: 10_000,
    },
    EntryTable {
        name: "ADPIC",
        id: &["index"],
        fields: &[
            ("index", Rule::Number(0, 99)),
            ("size", Rule::Number(0, i64::MAX)),
            ("extension", Rule::Text(8)),
            ("content", Rule::Base64(1 << 20)),
        ],
        required: &["content"],
        most: 20,
    },
    EntryTable {
        name: "WORKCODE",
        id: &["code"],
        fields: &[("pin", NUMBER), ("code", Rule::Text(24)), ("name", Rule::Text(64))],
        required: &[],
        most: 1000,
    },
    EntryTable {
        name: "ShortcutKey",
        id: &["keyid"],
        fields: &[
            ("keyid", Rule::Number(1, 8)),
            ("keyfun", Rule::Number(0, 6)),
            ("statuscode", Rule::Number(0, 255)),
            ("showname", Rule::Text(64)),
            ("autostate", FLAG),
            ("autotime", Rule::Times(7)),
            ("sun", FLAG),
            ("mon", FLAG),
            ("tue", FLAG),
            ("wed", FLAG),
            ("thu", FLAG),
            ("fri", FLAG),
            ("sat", FLAG),
        ],
        required: &[],
        most: 8,
    },
    EntryTable {
        name: "AccGroup",
        id: &["id"],
        fields: &[
            ("id", GROUP),
            ("verify", Rule::Number(-1, 28)),
            ("validholiday", FLAG),
            ("tz", Rule::Numbers(3, 4)),
        ],
        required: &[],
        most: 256,
    },
    EntryTable {
        name: "AccTimeZone",
        id: &["uid"],
        fields: &[
            ("uid", NUMBER),
            ("sunstart", Rule::Hhmm),
            ("sunend", Rule::Hhmm),
            ("monstart", Rule::Hhmm),
            ("monend", Rule::Hhmm),
            ("tuesstart", Rule::Hhmm),
            ("tuesend", Rule::Hhmm),
            ("wedstart", Rule::Hhmm),
            ("wedend", Rule::Hhmm),
            ("thursstart", Rule::Hhmm),
            ("thursend", Rule::Hhmm),
            ("fristart", Rule::Hhmm),
            ("friend", Rule::Hhmm),
            ("satstart", Rule::Hhmm),
            ("satend", Rule::Hhmm),
        ],
        required: &[],
        most: 1000,
    },
    EntryTable {
        name: "AccHoliday",
        id: &["uid"],
        fields: &[
            ("uid", NUMBER),
            ("holidayname", Rule::Text(64)),
            ("startdate", Rule::Mmdd),
            ("enddate", Rule::Mmdd),
            ("timezone", NUMBER),
        ],
        required: &[],
        most: 1000,
    },
    EntryTable {
        name: "AccUnLockComb",
        id: &["uid"],
        fields: &[
            ("uid", NUMBER),
            ("group1", GROUP),
            ("group2", GROUP),
            ("group3", GROUP),
            ("group4", GROUP),
            ("group5", GROUP),
        ],
        required: &[],
        most: 256,
    },
    EntryTable {
        name: "Blacklist",
        id: &["idnum"],
        fields: &[("idnum", Rule::Text(18))],
        required: &[],
        most: 100_000,
    },
];
