//! The tables that `DATA UPDATE`, `DATA DELETE` and `DATA QUERY` name (§12.2 to §12.4).

use std::fmt;

use super::codes::ReturnCode;
use super::fields::Refusal;
use super::record::{
    BioPhotoUpdate, EntryTable, IdCard, PictureKind, Template, TemplateForm, UserChange, UserPic,
};

/// What `DATA` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `DATA UPDATE`.
    Update,
    /// `DATA DELETE`.
    Delete,
    /// `DATA QUERY`.
    Query,
}

/// A table by its name in a `DATA` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataTable<'a> {
    /// `USERINFO`.
    Users,
    /// `IDCARD`.
    IdCards,
    /// `FINGERTMP`, `FACE`, `FVEIN`, `BIODATA`.
    Templates(TemplateForm),
    /// `USERPIC`, `BIOPHOTO`.
    Pictures(PictureKind),
    /// One of the small tables (§12.2.9 to §12.2.18).
    Entries(&'static EntryTable),
    /// `ATTLOG`.
    Punches,
    /// `ATTPHOTO`.
    Photos,
    /// A name that is not in the list. It is refused when the command is executed: whether the
    /// owner allows the command at all is decided before.
    Unknown(&'a str),
}

/// The tables that are more than entries, with the verbs that each supports.
const TABLES: [(&str, DataTable<'static>, &[Verb]); 10] = {
    use DataTable::{IdCards, Photos, Pictures, Punches, Templates, Users};
    use Verb::{Delete, Query, Update};
    [
        ("USERINFO", Users, &[Update, Delete, Query]),
        ("IDCARD", IdCards, &[Update, Delete, Query]),
        ("FINGERTMP", Templates(TemplateForm::Fingerprint), &[Update, Delete, Query]),
        ("FACE", Templates(TemplateForm::Face), &[Update, Delete, Query]),
        ("FVEIN", Templates(TemplateForm::FingerVein), &[Update, Delete, Query]),
        ("BIODATA", Templates(TemplateForm::Unified), &[Update, Delete, Query]),
        ("USERPIC", Pictures(PictureKind::User), &[Update, Delete, Query]),
        ("BIOPHOTO", Pictures(PictureKind::Comparison), &[Update, Delete, Query]),
        ("ATTLOG", Punches, &[Query]),
        ("ATTPHOTO", Photos, &[Query]),
    ]
};

impl<'a> DataTable<'a> {
    /// The table with this name, in any case; `USER` and `FP` are what servers in use call two of
    /// them.
    pub fn named(name: &'a str) -> Self {
        let name = match name.to_ascii_uppercase().as_str() {
            "USER" => "USERINFO",
            "FP" => "FINGERTMP",
            _ => name,
        };
        TABLES
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name))
            .map(|(_, table, _)| *table)
            .or_else(|| EntryTable::named(name).map(Self::Entries))
            .unwrap_or(Self::Unknown(name))
    }

    /// Whether a record of the table may have this key.
    pub fn has_key(self, key: &str) -> bool {
        let is_it = |known: &str| known.eq_ignore_ascii_case(key);
        match self {
            Self::Users => UserChange::keys().any(is_it),
            Self::IdCards => IdCard::KEYS.iter().any(|known| is_it(known)),
            Self::Templates(form) => Template::keys(form).iter().any(|known| is_it(known)),
            Self::Pictures(PictureKind::User) => UserPic::KEYS.iter().any(|known| is_it(known)),
            Self::Pictures(PictureKind::Comparison) => {
                BioPhotoUpdate::KEYS.iter().any(|known| is_it(known))
            }
            Self::Entries(table) => table.keys().any(is_it),
            // They are not updated.
            Self::Punches | Self::Photos | Self::Unknown(_) => true,
        }
    }

    /// The refusal of a verb that the table does not support.
    pub fn refuse(self, verb: Verb) -> Refusal {
        let known = TABLES.iter().map(|(name, table, _)| (*name, *table));
        let entries = EntryTable::all().map(|table| (table.name, DataTable::Entries(table)));
        let names: Vec<&str> = known
            .chain(entries)
            .filter(|(_, table)| table.supports(verb))
            .map(|(name, _)| name)
            .collect();
        let names = names.join(", ");
        let is_known =
            [Verb::Update, Verb::Delete, Verb::Query].iter().any(|it| self.supports(*it));
        let why = match (self, is_known) {
            (Self::Unknown(""), _) => format!("it names no table; {verb} has {names}"),
            (Self::Unknown(_), _) | (_, false) => {
                format!("there is no table {self}; {verb} has {names}")
            }
            _ => format!("the table {self} has no {verb}; the tables that have it are {names}"),
        };
        Refusal::new(ReturnCode::MISMATCH, why)
    }

    fn supports(self, verb: Verb) -> bool {
        match self {
            // The document has no DATA DELETE for some of them; a server can delete them all the same.
            Self::Entries(_) => verb != Verb::Query,
            Self::Unknown(_) => false,
            _ => TABLES.iter().any(|(_, table, verbs)| *table == self && verbs.contains(&verb)),
        }
    }
}

impl fmt::Display for DataTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(table) => f.write_str(table.name),
            Self::Unknown(name) => write!(f, "{name:?}"),
            _ => match TABLES.iter().find(|(_, table, _)| table == self) {
                Some((name, ..)) => f.write_str(name),
                None => Ok(()),
            },
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Update => "DATA UPDATE",
            Self::Delete => "DATA DELETE",
            Self::Query => "DATA QUERY",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_their_name_in_any_case() {
        for (name, table, _) in TABLES {
            assert_eq!(DataTable::named(&name.to_lowercase()), table);
            assert_eq!(table.to_string(), name);
        }
        for table in EntryTable::all() {
            assert_eq!(DataTable::named(table.name), DataTable::Entries(table));
        }
        assert_eq!(DataTable::named("user"), DataTable::Users);
    }

    #[test]
    fn a_refusal_names_the_tables_that_the_verb_has() {
        for (table, verb, why) in [
            ("ATTPHOTO", Verb::Query, None),
            ("blacklist", Verb::Update, None),
            ("sms", Verb::Delete, None),
            (
                "attlog",
                Verb::Delete,
                Some(
                    "the table ATTLOG has no DATA DELETE; the tables that have it are USERINFO, IDCARD, FINGERTMP, FACE, \
                     FVEIN, BIODATA, USERPIC, BIOPHOTO, SMS, USER_SMS, ADPIC, WORKCODE, ShortcutKey, AccGroup, \
                     AccTimeZone, AccHoliday, AccUnLockComb, Blacklist",
                ),
            ),
            (
                "CHEESE",
                Verb::Query,
                Some(
                    "there is no table \"CHEESE\"; DATA QUERY has USERINFO, IDCARD, FINGERTMP, FACE, FVEIN, \
                     BIODATA, USERPIC, BIOPHOTO, ATTLOG, ATTPHOTO",
                ),
            ),
        ] {
            let table = DataTable::named(table);
            assert_eq!(table.supports(verb), why.is_none(), "{verb} {table}");
            if let Some(why) = why {
                assert_eq!(table.refuse(verb), Refusal::new(ReturnCode::MISMATCH, why));
            }
        }
    }
}
