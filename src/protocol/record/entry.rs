//! The terminal's small tables, as the server fills them (§12.2.9 to §12.2.18): short
//! messages, work codes, shortcut keys, access groups and times, holidays, pictures to show,
//! the blacklist. One description a table; what is allowed in a field is a [`Rule`].

use std::collections::BTreeMap;

use base64::Engine as _;

use super::Pin;
use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::fields::{Fields, Refusal, clip};
use crate::protocol::text;
use crate::protocol::time::LocalTime;

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// A whole number within these bounds.
    Number(i64, i64),
    /// One of these numbers.
    OneOf(&'static [i64]),
    /// Text of up to so many bytes in the terminal's encoding.
    Text(usize),
    /// A PIN.
    Pin,
    /// `YYYY-MM-DD hh:mm:ss`.
    Time,
    /// `hhmm`.
    Hhmm,
    /// `MMDD`.
    Mmdd,
    /// Numbers apart by semicolons, within this many.
    Numbers(usize, usize),
    /// Times `hh:mm` apart by semicolons; may be empty.
    Times(usize),
    /// Base64, whose length stands in `size`.
    Base64(usize),
}

/// A table of the terminal.
#[derive(Debug, PartialEq, Eq)]
pub struct EntryTable {
    /// Its name in commands.
    pub name: &'static str,
    /// What tells one entry from another.
    id: &'static [&'static str],
    fields: &'static [(&'static str, Rule)],
    /// Most entries.
    pub most: u64,
    /// Whether the document has a `DATA DELETE` for it.
    pub can_delete: bool,
}

/// An entry, or what a record carries of one; keys in lower case.
pub type Entry = BTreeMap<String, String>;

const FLAG: Rule = Rule::Number(0, 1);
const GROUP: Rule = Rule::Number(0, 255);
const NUMBER: Rule = Rule::Number(0, 65_535);

/// Every such table.
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
        most: 1000,
        can_delete: true,
    },
    EntryTable {
        name: "USER_SMS",
        id: &["pin", "uid"],
        fields: &[("pin", Rule::Pin), ("uid", NUMBER)],
        most: 10_000,
        can_delete: false,
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
        most: 20,
        can_delete: true,
    },
    EntryTable {
        name: "WORKCODE",
        id: &["code"],
        fields: &[("pin", NUMBER), ("code", Rule::Text(24)), ("name", Rule::Text(64))],
        most: 1000,
        can_delete: true,
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
        most: 8,
        can_delete: false,
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
        most: 256,
        can_delete: false,
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
        most: 1000,
        can_delete: false,
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
        most: 1000,
        can_delete: false,
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
        most: 256,
        can_delete: false,
    },
    EntryTable {
        name: "Blacklist",
        id: &["idnum"],
        fields: &[("idnum", Rule::Text(18))],
        most: 100_000,
        can_delete: false,
    },
];

impl EntryTable {
    /// Every such table.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        TABLES.iter()
    }

    /// The table with this name, in any case.
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }

    /// Reads and checks what a record carries. What makes up the identity must be there; the
    /// rest may be left out, and is then left as it is.
    pub fn parse(&self, record: &[u8], language: Language) -> Result<Entry, Refusal> {
        let keys: Vec<&str> = self.fields.iter().map(|(key, _)| *key).collect();
        let fields = Fields::parse(record, &keys, language)?;
        let mut entry = Entry::new();
        for (key, rule) in self.fields {
            // The document itself writes `StatusCode==`.
            let value = fields.get(key).map(|value| value.strip_prefix('=').unwrap_or(value));
            match value {
                Some(value) if !value.is_empty() => {
                    rule.check(key, value, &fields, language)?;
                    entry.insert((*key).to_owned(), value.to_owned());
                }
                Some(_) if self.id.contains(key) => return Err(Refusal::field(key, "is empty")),
                None if self.id.contains(key) => return Err(Refusal::field(key, "is missing")),
                Some(empty) => drop(entry.insert((*key).to_owned(), empty.to_owned())),
                None => {}
            }
        }
        Ok(entry)
    }

    /// Reads what a record that deletes carries: the identity alone.
    pub fn parse_id(&self, record: &[u8], language: Language) -> Result<String, Refusal> {
        let fields = Fields::parse(record, self.id, language)?;
        for key in self.id {
            fields.required(key)?;
        }
        Ok(self.id.iter().filter_map(|key| fields.get(key)).collect::<Vec<_>>().join("\t"))
    }

    /// The fields that make up an identity.
    pub fn identity(&self, id: &str) -> Entry {
        let pairs = self.id.iter().zip(id.split('\t'));
        pairs.map(|(key, value)| ((*key).to_owned(), value.to_owned())).collect()
    }

    /// What tells an entry from the others of the table.
    pub fn id_of(&self, entry: &Entry) -> String {
        self.id.iter().filter_map(|key| entry.get(*key)).cloned().collect::<Vec<_>>().join("\t")
    }
}

impl Rule {
    fn check(
        self,
        key: &'static str,
        value: &str,
        fields: &Fields,
        language: Language,
    ) -> Result<(), Refusal> {
        let refuse =
            |why: String| Err(Refusal::field(key, format_args!("{why}: {:?}", clip(value))));
        let digits =
            |count: usize| value.len() == count && value.bytes().all(|byte| byte.is_ascii_digit());
        let two = |at: usize| value.get(at..at + 2).and_then(|two| two.parse::<u8>().ok());
        let clock = |time: &str| {
            time.split_once(':').is_some_and(|(hours, minutes)| {
                matches!((hours.parse(), minutes.parse()), (Ok(0..=23), Ok(0..=59)))
            })
        };
        match self {
            Self::Number(least, most) => match value.trim().parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => refuse(format!("is no whole number from {least} to {most}")),
            },
            Self::OneOf(known) => match value.trim().parse::<i64>() {
                Ok(number) if known.contains(&number) => Ok(()),
                _ => refuse(format!("is none of {known:?}")),
            },
            Self::Text(most) if !text::is_clean(value) => {
                refuse(format!("holds a control character; it is text of up to {most} bytes"))
            }
            Self::Text(most) if text::encode(value, language).len() > most => Err(Refusal {
                code: ReturnCode::TOO_LONG,
                ..Refusal::field(key, format_args!("is longer than {most} bytes"))
            }),
            Self::Text(_) => Ok(()),
            Self::Pin => {
                Pin::new(value).map(drop).map_err(|invalid| Refusal::field(key, invalid.why))
            }
            Self::Time if LocalTime::parse(value).is_none() => {
                refuse("is no time YYYY-MM-DD hh:mm:ss".into())
            }
            Self::Time => Ok(()),
            Self::Hhmm if digits(4) && two(0) < Some(24) && two(2) < Some(60) => Ok(()),
            Self::Hhmm => refuse("is no time hhmm".into()),
            Self::Mmdd if digits(4) && matches!((two(0), two(2)), (Some(1..=12), Some(1..=31))) => {
                Ok(())
            }
            Self::Mmdd => refuse("is no day MMDD".into()),
            Self::Numbers(least, most) => {
                let parts: Vec<_> =
                    value.split(';').map(|part| part.trim().parse::<u16>()).collect();
                let fits = (least..=most).contains(&parts.len()) && parts.iter().all(Result::is_ok);
                if fits {
                    Ok(())
                } else {
                    refuse(format!("is not of {least} to {most} numbers apart by ;"))
                }
            }
            Self::Times(most) => {
                let times: Vec<&str> = value.split(';').filter(|time| !time.is_empty()).collect();
                let fits = times.len() <= most && times.iter().all(|time| clock(time));
                if fits {
                    Ok(())
                } else {
                    refuse(format!("is not of up to {most} times hh:mm apart by ;"))
                }
            }
            Self::Base64(most) => sized(key, value, fields, most),
        }
    }
}

/// Base64 whose `Size` counts its characters or its bytes: the document says only "size".
fn sized(key: &'static str, value: &str, fields: &Fields, most: usize) -> Result<(), Refusal> {
    if value.len() > most / 3 * 4 {
        return Err(Refusal {
            code: ReturnCode::TOO_LONG,
            ..Refusal::field(key, format_args!("is longer than {most} bytes"))
        });
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(value)
        .map_err(|error| Refusal::field(key, format_args!("is not base64: {error}")))?;
    match fields.number::<usize>("size")? {
        Some(size) if size != value.len() && size != bytes.len() => Err(Refusal {
            code: ReturnCode::PHOTO_SIZE,
            ..Refusal::field("size", format_args!("is {size}, but there are {} bytes", bytes.len()))
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(table: &str, record: &str) -> Result<Entry, Refusal> {
        EntryTable::named(table).unwrap().parse(record.as_bytes(), Language::ENGLISH)
    }

    #[test]
    fn records_as_in_the_document_are_read() {
        for (table, record, id) in [
            ("SMS", "MSG=Made up\tTAG=253\tUID=1\tMIN=60\tStartTime=2015-07-29 00:00:00", "1"),
            ("user_sms", "PIN=7\tUID=1", "7\t1"),
            ("ADPIC", "Index=1\tSize=4\tExtension=jpg\tContent=QUJD", "1"),
            ("ADPIC", "Index=1\tSize=3\tExtension=jpg\tContent=QUJD", "1"),
            ("WORKCODE", "PIN=1\tCODE=12\tNAME=Made up", "12"),
            (
                "ShortcutKey",
                "KeyID=1\tKeyFun=1\tStatusCode==0\tShowName=In\tAutoState=1\tAutoTime=08:00;09:00\tSun=0",
                "1",
            ),
            ("AccGroup", "ID=1\tVerify=0\tValidHoliday=1\tTZ=1;1;0;0", "1"),
            ("AccGroup", "ID=1\tVerify=0\tValidHoliday=1\tTZ=1;0;0", "1"),
            ("AccTimeZone", "UID=1\tSunStart=1159\tSunEnd=2359", "1"),
            (
                "AccHoliday",
                "UID=1\tHolidayName=Made up\tStartDate=1123\tEndDate=1125\tTimeZone=1",
                "1",
            ),
            ("AccUnLockComb", "UID=1\tGroup1=1\tGroup2=2\tGroup5=0", "1"),
            ("Blacklist", "IDNum=11010519491231002X", "11010519491231002X"),
        ] {
            let entry = parse(table, record)
                .unwrap_or_else(|refusal| panic!("{table} {record}: {}", refusal.why));
            assert_eq!(EntryTable::named(table).unwrap().id_of(&entry), id);
        }
        assert_eq!(parse("ShortcutKey", "KeyID=1\tStatusCode==4").unwrap()["statuscode"], "4");
    }

    #[test]
    fn wrong_records_are_refused_with_their_field() {
        for (table, record, field) in [
            ("SMS", "MSG=x\tTAG=253", "uid"),
            ("SMS", "UID=1\tTAG=1", "tag"),
            ("SMS", "UID=1\tStartTime=2015-02-30 00:00:00", "starttime"),
            ("SMS", "UID=\tTAG=253", "uid"),
            ("USER_SMS", "PIN=a b\tUID=1", "pin"),
            ("ADPIC", "Index=1\tSize=9\tContent=QUJD", "size"),
            ("ADPIC", "Index=1\tContent=!", "content"),
            ("WORKCODE", "PIN=1\tNAME=x", "code"),
            ("ShortcutKey", "KeyID=9", "keyid"),
            ("ShortcutKey", "KeyID=1\tAutoTime=25:00", "autotime"),
            ("AccGroup", "ID=1\tTZ=1;2", "tz"),
            ("AccTimeZone", "UID=1\tSunStart=2460", "sunstart"),
            ("AccHoliday", "UID=1\tStartDate=1332", "startdate"),
            ("AccUnLockComb", "UID=1\tGroup3=x", "group3"),
            ("Blacklist", "IDNum=1234567890123456789", "idnum"),
        ] {
            let refusal = parse(table, record).unwrap_err();
            assert_eq!(refusal.field, Some(field), "{table} {record}: {}", refusal.why);
        }
    }
}
