//! `PutFile` (§12.8.2).

use std::borrow::Cow;

use super::line::{LONGEST, plain};
use crate::protocol::codes::ReturnCode;
use crate::protocol::data_table::DataTable;
use crate::protocol::fields::Refusal;
use crate::protocol::query::path_of;
use crate::protocol::record::TemplateForm;

/// `PutFile url TAB path TAB Action=…` (§12.8.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutFile<'a> {
    /// A whole URL, or a path below the server's `/iclock/`.
    pub url: Cow<'a, str>,
    /// The path on the terminal, if the server gives one.
    pub path: Option<Cow<'a, str>>,
    /// What is done with it.
    pub action: Action,
}

/// What is done with a file that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A tgz is unpacked, another file is saved.
    Keep,
    /// It replaces all data of a table (`Action=SyncData`).
    Sync {
        /// The table.
        table: SyncTable,
        /// The number of records that it must have (`RecordCount`).
        records: u64,
    },
    /// Its commands are executed (`Action=AppendData`).
    Append,
}

/// The tables that a file can replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncTable {
    /// `USERINFO`
    Users,
    /// `FINGERTMP`
    Fingerprints,
    /// `FACE`
    Faces,
}

impl SyncTable {
    /// The table as `DATA` commands know it.
    pub fn data_table(self) -> DataTable<'static> {
        match self {
            Self::Users => DataTable::Users,
            Self::Fingerprints => DataTable::Templates(TemplateForm::Fingerprint),
            Self::Faces => DataTable::Templates(TemplateForm::Face),
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Users, Self::Fingerprints, Self::Faces]
            .into_iter()
            .find(|table| table.data_table() == DataTable::named(name))
    }
}

impl<'a> PutFile<'a> {
    /// Parses the text after `PutFile`. After the URL may be a blank, as in the examples of the
    /// document, or a TAB, as in its rule.
    pub fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        match plain(text, "PutFile")? {
            Cow::Borrowed(text) => Self::parse_text(text),
            Cow::Owned(text) => PutFile::parse_text(&text).map(PutFile::into_owned),
        }
    }

    fn into_owned<'b>(self) -> PutFile<'b> {
        PutFile {
            url: Cow::Owned(self.url.into_owned()),
            path: self.path.map(|path| Cow::Owned(path.into_owned())),
            action: self.action,
        }
    }

    fn parse_text(text: &'a str) -> Result<Self, Refusal> {
        let text = text.trim_matches(' ');
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let (url, rest) = (&text[..end], text[end..].trim_start_matches(' '));
        if url.is_empty() || url.len() > LONGEST {
            return Err(Refusal::parameter("the URL is missing or too long"));
        }
        let mut parts = rest.strip_prefix('\t').unwrap_or(rest).split('\t').map(str::trim);
        let mut file = Self { url: Cow::Borrowed(url), path: None, action: Action::Keep };
        let (mut action, mut table, mut records) = (None, None, None);
        for (nth, part) in parts.by_ref().enumerate() {
            let value = |key: &str| {
                let (name, value) = part.split_once('=')?;
                name.eq_ignore_ascii_case(key).then_some(value)
            };
            if part.is_empty() {
                continue;
            } else if let Some(value) = value("Action") {
                once(&mut action, value, "Action")?;
            } else if let Some(value) = value("TableName") {
                once(&mut table, value, "TableName")?;
            } else if let Some(value) = value("RecordCount") {
                once(&mut records, value, "RecordCount")?;
            } else if nth == 0 {
                file.path = Some(Cow::Borrowed(part));
            } else {
                return Err(Refusal::parameter(format!(
                    "PutFile has no parameter {part:?}; it has Action, TableName and RecordCount"
                )));
            }
        }
        if file
            .path
            .as_deref()
            .is_some_and(|path| path.len() > LONGEST || path.contains(" Action="))
        {
            return Err(Refusal::parameter(
                "the path is too long, or there are blanks instead of TABs",
            ));
        }
        file.action = match action {
            None => Action::Keep,
            Some(name) if name.eq_ignore_ascii_case("AppendData") => Action::Append,
            Some(name) if name.eq_ignore_ascii_case("SyncData") => {
                let table = table.ok_or_else(|| Refusal::field("tablename", "is missing"))?;
                let records: &str =
                    records.ok_or_else(|| Refusal::field("recordcount", "is missing"))?;
                Action::Sync {
                    table: SyncTable::named(table).ok_or_else(|| {
                        let why = format!("TableName={table:?} cannot be replaced; possible are USERINFO, FINGERTMP and FACE");
                        Refusal::new(ReturnCode::MISMATCH, why)
                    })?,
                    records: records
                        .parse()
                        .map_err(|_| Refusal::field("recordcount", "is not a number"))?,
                }
            }
            Some(other) => {
                return Err(Refusal::parameter(format!(
                    "Action={other:?} is not known; known are SyncData and AppendData"
                )));
            }
        };
        Ok(file)
    }

    /// Whether the URL ends like that of a tgz, which is unpacked and not saved.
    pub fn is_archive(&self) -> bool {
        let ends = |name: &str| {
            let name = path_of(name).to_ascii_lowercase();
            name.ends_with(".tgz") || name.ends_with(".tar.gz")
        };
        ends(&self.url)
    }
}

fn once<'a>(slot: &mut Option<&'a str>, value: &'a str, key: &str) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::parameter(format!("{key} is there twice; it is allowed once"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn put_file_is_parsed_with_its_actions() {
        let plain = |url: &'static str, path: Option<&'static str>| PutFile {
            url: url.into(),
            path: path.map(Into::into),
            action: Action::Keep,
        };
        let sync = Action::Sync { table: SyncTable::Users, records: 3 };
        for (text, expected) in [
            ("file/fw/X938/main.tgz", plain("file/fw/X938/main.tgz", None)),
            ("file/main.tgz main.tgz", plain("file/main.tgz", Some("main.tgz"))),
            ("http://h/a.dat\t/mnt/a b.dat", plain("http://h/a.dat", Some("/mnt/a b.dat"))),
            (
                "a.txt\t/mnt/a.txt\tAction=AppendData",
                PutFile { action: Action::Append, ..plain("a.txt", Some("/mnt/a.txt")) },
            ),
            (
                "a.txt\t\taction=syncdata\tTableName=userinfo\tRecordCount=3",
                PutFile { action: sync, ..plain("a.txt", None) },
            ),
        ] {
            assert_eq!(PutFile::parse(text.as_bytes()).as_ref(), Ok(&expected), "{text}");
        }
        for (text, code) in [
            ("", -1),
            ("\t/mnt/x", -1),
            ("u\t/p\tAction=Fly", -1),
            ("u\t/p\tAction=SyncData", -1),
            ("u\t/p\tAction=SyncData\tTableName=USERINFO", -1),
            ("u\t/p\tAction=SyncData\tTableName=USERINFO\tRecordCount=x", -1),
            ("u\t/p\tAction=SyncData\tTableName=ATTLOG\tRecordCount=1", -1004),
            ("u\t/p\tAction=AppendData\tAction=SyncData", -1),
            ("u\t/p Action=SyncData", -1),
            ("u\t/p\t/q", -1),
            ("u\t/p\u{1}", -1),
        ] {
            let refusal = PutFile::parse(text.as_bytes()).unwrap_err();
            assert_eq!(refusal.code.0, code, "{text:?}: {}", refusal.why);
        }
        assert!(PutFile::parse(&[b'x'; 3000]).is_err());
        assert!(PutFile::parse(b"\xff").is_err());
        // GBK, of a server that sends it in every language.
        let put = PutFile::parse(b"file/\xd5\xc5.dat\t/mnt/\xd5\xc5.dat").unwrap();
        assert_eq!((&*put.url, put.path.as_deref()), ("file/张.dat", Some("/mnt/张.dat")));
    }
}
