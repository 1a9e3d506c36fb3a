//! What a command touches: a command waits for those before it that touch the same, and passes the
//! others. The table is in docs/architecture.md; a test compares the two.

use std::ops::BitOr;

use super::command::Command;
use crate::protocol::data_table::DataTable;
use crate::protocol::enroll::Sought;
use crate::protocol::file::Action;
use crate::protocol::record::{EntryTable, Pin};

/// Things that commands touch. The numbers stand in stores: they never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Things(pub u16);

impl Things {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// One person: the user, their templates, pictures, messages, identity card.
    pub const PERSON: Self = Self(1);
    /// The people as a whole.
    pub const PEOPLE: Self = Self(1 << 1);
    /// Card numbers, each of which belongs to one person.
    pub const CARDS: Self = Self(1 << 2);
    /// The small tables (§12.2.9 to §12.2.18).
    pub const TABLES: Self = Self(1 << 3);
    /// The attendance log.
    pub const LOG: Self = Self(1 << 4);
    /// Photos taken at punches.
    pub const PHOTOS: Self = Self(1 << 5);
    /// Files in the directories of the owner.
    pub const FILES: Self = Self(1 << 6);
    /// Options.
    pub const OPTIONS: Self = Self(1 << 7);
    /// The device itself: its programs, its start.
    pub const DEVICE: Self = Self(1 << 8);

    /// Each of them by its name.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("person", Self::PERSON),
        ("people", Self::PEOPLE),
        ("cards", Self::CARDS),
        ("tables", Self::TABLES),
        ("log", Self::LOG),
        ("photos", Self::PHOTOS),
        ("files", Self::FILES),
        ("options", Self::OPTIONS),
        ("device", Self::DEVICE),
    ];

    /// Whether both have one of them.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Things {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a command waits for besides the commands before it that touch the same. The numbers stand in
/// stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Also {
    /// Nothing.
    #[default]
    Nothing,
    /// Rows of the attendance log that the server asked for again (`CLEAR LOG`).
    Resend,
    /// Every command before it, for a time (`REBOOT`).
    All,
    /// Nothing, but it waits only for a short time: a person stands there (enrolments).
    Briefly,
    /// That few queries are under way (`DATA QUERY`).
    Queries,
}

impl Also {
    /// In the order of their numbers in the store.
    pub const ALL: [Self; 5] =
        [Self::Nothing, Self::Resend, Self::All, Self::Briefly, Self::Queries];
}

/// What a command touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touches {
    /// What it only reads.
    pub reads: Things,
    /// What it changes.
    pub writes: Things,
    /// The one person, where [`Things::PERSON`] is among them.
    pub pin: Option<String>,
    /// What it waits for besides.
    pub also: Also,
}

impl Touches {
    fn reads(things: Things) -> Self {
        Self { reads: things, ..Self::default() }
    }

    fn writes(things: Things) -> Self {
        Self { writes: things, ..Self::default() }
    }

    /// Whether it touches nothing, and waits for nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What of others gets in its way, persons left out: things that others read, and that others
    /// change. Persons stand for any person here.
    pub fn obstacles(&self) -> (Things, Things) {
        let (reads, writes) = (self.reads, self.writes);
        let mut read_by_others = Things(writes.0 & !Things::PERSON.0);
        let mut written_by_others = Things((reads | writes).0 & !Things::PERSON.0);
        if (reads | writes).meets(Things::PERSON) {
            written_by_others = written_by_others | Things::PEOPLE;
        }
        if writes.meets(Things::PERSON) {
            read_by_others = read_by_others | Things::PEOPLE;
        }
        if (reads | writes).meets(Things::PEOPLE) {
            written_by_others = written_by_others | Things::PERSON;
        }
        if writes.meets(Things::PEOPLE) {
            read_by_others = read_by_others | Things::PERSON;
        }
        (read_by_others, written_by_others)
    }

    /// Whether one of the two has to wait for the other, the one that came first.
    pub fn conflicts(&self, other: &Self) -> bool {
        let (read, written) = self.obstacles();
        let same_person = self.pin.is_some() && self.pin == other.pin;
        other.reads.meets(read)
            || other.writes.meets(written)
            || same_person && (self.writes | other.writes).meets(Things::PERSON)
    }
}

impl Command<'_> {
    /// What the command touches.
    pub fn touches(&self) -> Touches {
        match self {
            Self::Update(table, record) => change(*table, record, has_card(record)),
            // The cards of somebody who is deleted are nobody's: who gets one does not wait for it.
            Self::Delete(table, record) => change(*table, record, false),
            Self::Query(table, record) => Touches { also: Also::Queries, ..query(*table, record) },
            Self::VerifySum(_) => Touches::reads(Things::LOG),
            Self::ClearLog => Touches { also: Also::Resend, ..Touches::writes(Things::LOG) },
            Self::ClearPhoto => Touches::writes(Things::PHOTOS),
            Self::ClearData => Touches::writes(
                Things::PEOPLE | Things::CARDS | Things::TABLES | Things::LOG | Things::PHOTOS,
            ),
            Self::SetOption(_) => Touches::writes(Things::OPTIONS),
            Self::ReloadOptions => Touches::writes(Things::OPTIONS),
            Self::Info => Touches::reads(Things::PEOPLE | Things::LOG | Things::OPTIONS),
            Self::GetFile(_) => Touches::reads(Things::FILES),
            Self::PutFile(put) => match put.action {
                Action::Keep => Touches::writes(Things::FILES),
                Action::Sync { .. } => Touches::writes(Things::PEOPLE | Things::CARDS),
                Action::Append => Touches::writes(Things::PEOPLE | Things::CARDS | Things::TABLES),
            },
            Self::Shell(_) => Touches::writes(Things::FILES | Things::DEVICE),
            Self::Upgrade(_) => Touches::writes(Things::DEVICE),
            Self::Enroll(enroll) => Touches {
                pin: Some(enroll.pin.to_string()),
                also: Also::Briefly,
                ..Touches::writes(match enroll.sought {
                    Sought::Card => Things::PERSON | Things::CARDS,
                    _ => Things::PERSON,
                })
            },
            Self::Reboot => Touches { also: Also::All, ..Touches::writes(Things::DEVICE) },
            Self::Check
            | Self::Log
            | Self::SetClock(_)
            | Self::Unlock
            | Self::Unalarm
            | Self::Unknown => Touches::default(),
        }
    }
}

/// `DATA UPDATE` and `DATA DELETE`.
fn change(table: DataTable<'_>, record: &[u8], has_card: bool) -> Touches {
    let cards = if has_card { Things::CARDS } else { Things::NONE };
    match table {
        DataTable::Users => of_person(record, cards),
        DataTable::IdCards => of_person(record, Things::CARDS),
        DataTable::Templates(_) | DataTable::Pictures(_) => of_person(record, Things::NONE),
        // A message to a person is of both.
        DataTable::Entries(table) if is_of_person(table) => of_person(record, Things::TABLES),
        DataTable::Entries(_) => Touches::writes(Things::TABLES),
        DataTable::Punches | DataTable::Photos | DataTable::Unknown(_) => Touches::default(),
    }
}

fn is_of_person(table: &EntryTable) -> bool {
    table.name.eq_ignore_ascii_case("USER_SMS")
}

/// Changes the one person of a record, or of several records, and more.
fn of_person(records: &[u8], more: Things) -> Touches {
    match person(records) {
        Some(pin) => Touches { pin: Some(pin), ..Touches::writes(Things::PERSON | more) },
        None => Touches::writes(Things::PEOPLE | more),
    }
}

fn query(table: DataTable<'_>, record: &[u8]) -> Touches {
    match table {
        DataTable::Punches => Touches::reads(Things::LOG),
        DataTable::Photos => Touches::reads(Things::PHOTOS),
        DataTable::Templates(_) | DataTable::Pictures(_) => query_people(record, Things::NONE),
        // Who gives a card to somebody else takes it from this person.
        DataTable::Users | DataTable::IdCards => query_people(record, Things::CARDS),
        DataTable::Entries(_) | DataTable::Unknown(_) => Touches::default(),
    }
}

/// Reads the one person of a record, and more, or all people.
fn query_people(record: &[u8], more: Things) -> Touches {
    match person(record) {
        Some(pin) => Touches { pin: Some(pin), ..Touches::reads(Things::PERSON | more) },
        None => Touches::reads(Things::PEOPLE),
    }
}

/// Whether a record of a user names a card, in one of the spellings of servers.
fn has_card(records: &[u8]) -> bool {
    records.split(|byte| matches!(byte, b'\t' | b'\n')).any(|field| {
        let key = field.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        [&b"CARD"[..], b"VICECARD", b"CARDNO"].iter().any(|card| key.eq_ignore_ascii_case(card))
    })
}

/// The PIN that all records name; `None` if they name several, or one names none.
fn person(records: &[u8]) -> Option<String> {
    let mut found: Option<String> = None;
    for record in records.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
    {
        let pin = record.split(|byte| *byte == b'\t').find_map(|field| {
            let equals = field.iter().position(|byte| *byte == b'=')?;
            let is_pin = field[..equals].trim_ascii().eq_ignore_ascii_case(b"PIN");
            let value = is_pin.then(|| std::str::from_utf8(&field[equals + 1..]).ok())??;
            Pin::new(value).ok().map(|pin| pin.to_string())
        })?;
        if found.replace(pin.clone()).is_some_and(|before| before != pin) {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touches(text: &str) -> Touches {
        Command::parse(text.as_bytes()).unwrap().touches()
    }

    #[test]
    fn commands_wait_for_those_that_touch_the_same() {
        let cases = [
            ("DATA UPDATE USERINFO PIN=1", "DATA DELETE USERINFO PIN=1", true),
            ("DATA UPDATE FACE PIN=1\tFID=0", "DATA DELETE FACE PIN=2", false),
            ("DATA UPDATE USERINFO PIN=1\tCard=5", "DATA UPDATE USERINFO PIN=2\tCard=5", true),
            ("DATA QUERY USERINFO PIN=1", "DATA DELETE USERINFO PIN=1", true),
            ("DATA QUERY USERINFO PIN=1", "DATA QUERY FINGERTMP PIN=1", false),
            ("DATA QUERY USERINFO PIN=1", "DATA UPDATE USERINFO PIN=2\tCard=5", true),
            ("DATA QUERY USERINFO PIN=1", "DATA UPDATE USERINFO PIN=2\tName=x", false),
            ("DATA QUERY IDCARD PIN=1", "DATA DELETE IDCARD IDNum=5", true),
            ("DATA QUERY USERINFO", "DATA UPDATE FACE PIN=1", true),
            ("DATA QUERY USERINFO", "DATA QUERY USERINFO", false),
            ("DATA QUERY ATTLOG StartTime=1", "CLEAR LOG", true),
            ("DATA QUERY ATTLOG StartTime=1", "CLEAR PHOTO", false),
            ("DATA QUERY ATTLOG StartTime=1", "CLEAR DATA", true),
            ("DATA UPDATE SMS UID=1", "DATA UPDATE USERINFO PIN=1", false),
            ("DATA UPDATE USER_SMS PIN=1\tUID=1", "DATA DELETE USERINFO PIN=1", true),
            ("DATA UPDATE USER_SMS PIN=1\tUID=1", "DATA DELETE SMS UID=1", true),
            ("PutFile a.dat\tb\tAction=AppendData", "DATA UPDATE FINGERTMP PIN=1", true),
            ("PutFile a.dat\tb\tAction=AppendData", "AC_UNLOCK", false),
            ("SHELL ls > f", "GetFile f", true),
            ("SHELL ls > f", "DATA UPDATE USERINFO PIN=1", false),
            ("GetFile f", "GetFile f", false),
            ("GetFile f", "PutFile f\tg", true),
            ("ENROLL_MF PIN=1\tRETRY=3", "DATA UPDATE FACE PIN=1", true),
            ("DATA UPDATE FACE PIN=1\nPIN=1", "DATA UPDATE FACE PIN=2", false),
            ("DATA UPDATE FACE PIN=1\nPIN=3", "DATA UPDATE FACE PIN=2", true),
            ("INFO", "DATA UPDATE USERINFO PIN=1", true),
            ("CHECK", "CLEAR DATA", false),
        ];
        for (first, second, expected) in cases {
            let (first, second) = (touches(first), touches(second));
            assert_eq!(first.conflicts(&second), expected, "{first:?} {second:?}");
            assert_eq!(second.conflicts(&first), expected, "{second:?} {first:?}");
        }
    }

    /// The row of the table in docs/architecture.md for a command.
    fn row(text: &str) -> String {
        let touches = touches(text);
        let names = |things: Things| {
            let names = Things::NAMES.iter().filter(|(_, thing)| things.meets(*thing));
            names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        let besides = match touches.also {
            Also::Nothing => "",
            Also::Resend => "rows that are resent",
            Also::All => "all before it, 60 s (10 min while a download grows)",
            Also::Briefly => "10 s at most",
            Also::Queries => "few queries",
        };
        let cells =
            [format!("`{text}`"), names(touches.reads), names(touches.writes), besides.into()];
        let row = cells.map(|cell| if cell.is_empty() { " ".into() } else { format!(" {cell} ") });
        format!("|{}|", row.join("|")).replace('\t', "⇥")
    }

    #[test]
    fn the_table_in_the_document_is_what_the_code_does() {
        let document = include_str!("../../docs/architecture.md");
        let rows: Vec<&str> = document
            .lines()
            .skip_while(|line| !line.starts_with("| command | reads |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert!(rows.len() > 30, "{rows:?}");
        for line in rows {
            let text = line.split('`').nth(1).unwrap().replace('⇥', "\t");
            assert_eq!(line, row(&text));
        }
    }
}
