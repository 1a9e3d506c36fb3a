//! Commands about files (§12.8) and the online upgrade (§12.11.2): what their text says.

use super::codes::ReturnCode;
use super::data_table::DataTable;
use super::fields::Refusal;
use super::record::TemplateForm;

/// Longest URL or path that is taken.
const LONGEST: usize = 2048;

/// `PutFile url TAB path TAB Action=…` (§12.8.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutFile<'a> {
    /// A whole URL, or a path below the server's `/iclock/`.
    pub url: &'a str,
    /// Where the file goes on the terminal, if the server says so.
    pub path: Option<&'a str>,
    /// What becomes of it.
    pub action: Action,
}

/// What becomes of a file that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is unpacked, if it is a tgz, or else saved.
    Keep,
    /// It takes the place of all data of a table (`Action=SyncData`).
    Sync {
        /// Which.
        table: SyncTable,
        /// How many records it must hold (`RecordCount`).
        records: u64,
    },
    /// It holds commands that are carried out (`Action=AppendData`).
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
    /// Reads what follows `PutFile`. The document's examples have a blank after the URL, its
    /// rule a TAB: both are taken there.
    pub fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        let text = plain(text, "PutFile")?;
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let (url, rest) = (&text[..end], text[end..].trim_start_matches(' '));
        if url.is_empty() || url.len() > LONGEST {
            return Err(Refusal::parameter("the URL is missing or too long"));
        }
        let mut parts = rest.strip_prefix('\t').unwrap_or(rest).split('\t').map(str::trim);
        let mut file = Self { url, path: None, action: Action::Keep };
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
                file.path = Some(part);
            } else {
                return Err(Refusal::parameter(format!("{part:?} is none of its parameters")));
            }
        }
        if file.path.is_some_and(|path| path.len() > LONGEST || path.contains(" Action=")) {
            return Err(Refusal::parameter(
                "the path is too long, or blanks stand in place of TABs",
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
                        let why = format!("TableName={table:?} is none that a file can replace");
                        Refusal::new(ReturnCode::MISMATCH, why)
                    })?,
                    records: records
                        .parse()
                        .map_err(|_| Refusal::field("recordcount", "is no number"))?,
                }
            }
            Some(other) => {
                return Err(Refusal::parameter(format!("Action={other:?} is not known")));
            }
        };
        Ok(file)
    }

    /// Whether the file is a tgz by its name: then it is unpacked, not saved.
    pub fn is_archive(&self) -> bool {
        let ends = |name: &str| {
            let name = name.split(['?', '#']).next().unwrap_or(name).to_ascii_lowercase();
            name.ends_with(".tgz") || name.ends_with(".tar.gz")
        };
        ends(self.url)
    }
}

fn once<'a>(slot: &mut Option<&'a str>, value: &'a str, key: &str) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::parameter(format!("{key} stands twice"))),
    }
}

/// `UPGRADE …` (§12.11.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// Whether the file comes as base64 text (the first way) or as it is (`type=1`).
    pub base64: bool,
    /// MD5 of the firmware itself.
    pub checksum: [u8; 16],
    /// Bytes of the firmware itself.
    pub size: u64,
    /// Where the server finds it; handed back to it as it came.
    pub url: &'a str,
}

impl<'a> Upgrade<'a> {
    /// Reads what follows `UPGRADE`. The URL may hold commas: it ends where another key
    /// begins.
    pub fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        let text = plain(text, "UPGRADE")?;
        let value = |key: &str| -> Result<Option<&'a str>, Refusal> {
            let begins: Vec<usize> = text
                .match_indices(key)
                .map(|(at, _)| at)
                .filter(|at| *at == 0 || text[..*at].ends_with(','))
                .collect();
            match begins[..] {
                [] => Ok(None),
                [at] => {
                    let value = &text[at + key.len()..];
                    let ends = ["type=", "checksum=", "size=", "url="];
                    let end = ends.iter().filter_map(|next| value.find(&format!(",{next}"))).min();
                    Ok(Some(value[..end.unwrap_or(value.len())].trim()))
                }
                _ => Err(Refusal::parameter(format!("{key} stands twice"))),
            }
        };
        let base64 = match value("type=")? {
            None => true,
            Some("1") => false,
            Some(other) => {
                let why = format!("type={other:?} is not 1, the only one there is");
                return Err(Refusal::new(ReturnCode::UNSUPPORTED, why));
            }
        };
        let checksum =
            value("checksum=")?.ok_or_else(|| Refusal::field("checksum", "is missing"))?;
        let size = value("size=")?.ok_or_else(|| Refusal::field("size", "is missing"))?;
        let url = value("url=")?.filter(|url| (1..=LONGEST).contains(&url.len()));
        Ok(Self {
            base64,
            checksum: hex(checksum)
                .ok_or_else(|| Refusal::field("checksum", "is no MD5 of 32 hexadecimal digits"))?,
            size: match size.parse() {
                Ok(size) if size > 0 => size,
                _ => return Err(Refusal::field("size", "is no number of bytes above 0")),
            },
            url: url.ok_or_else(|| Refusal::field("url", "is missing, empty or too long"))?,
        })
    }
}

fn hex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The path that `GetFile` names (§12.8.1).
pub fn get_file(text: &[u8]) -> Result<&str, Refusal> {
    let path = plain(text, "GetFile")?.trim();
    if path.is_empty() || path.len() > LONGEST {
        return Err(Refusal::parameter("the path is missing or too long"));
    }
    Ok(path)
}

/// The line that `SHELL` is to run (§12.11.1).
pub fn shell(text: &[u8]) -> Result<&str, Refusal> {
    const LONGEST_LINE: usize = 16 << 10;
    let line = std::str::from_utf8(text.trim_ascii())
        .ok()
        .filter(|line| !line.contains('\0'))
        .ok_or_else(|| Refusal::parameter("the line of SHELL is no UTF-8 text"))?;
    if line.is_empty() || line.len() > LONGEST_LINE {
        return Err(Refusal::parameter("the line of SHELL is missing or too long"));
    }
    Ok(line)
}

/// Text in which nothing but TAB is a control character.
fn plain<'a>(text: &'a [u8], command: &str) -> Result<&'a str, Refusal> {
    std::str::from_utf8(text)
        .ok()
        .map(|text| text.trim_matches(' '))
        .filter(|text| text.chars().all(|c| c == '\t' || !c.is_control()))
        .ok_or_else(|| Refusal::parameter(format!("the text of {command} is no plain UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn put_file_is_read_with_its_actions() {
        let plain = |url, path| PutFile { url, path, action: Action::Keep };
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
    }

    #[test]
    fn upgrades_are_read_in_both_ways() {
        let sum = "a5bf4dcd6020f408589224274aab132d";
        let one = format!("checksum={sum},url=http://h:8088/F20/a,b/emfw.cfg,size=2312");
        let upgrade = Upgrade::parse(one.as_bytes()).unwrap();
        assert!(upgrade.base64 && upgrade.size == 2312 && upgrade.checksum[0] == 0xa5);
        assert_eq!(upgrade.url, "http://h:8088/F20/a,b/emfw.cfg");
        let two = format!("type=1,checksum={sum},size=6558,url=http://h/emfw.cfg?size=9");
        let upgrade = Upgrade::parse(two.as_bytes()).unwrap();
        assert_eq!((upgrade.base64, upgrade.url), (false, "http://h/emfw.cfg?size=9"));
        for (text, code) in [
            ("", -1),
            ("checksum=oqoier9883kjankdefi894eu,url=u,size=1", -1),
            (&format!("checksum={sum},url=u"), -1),
            (&format!("checksum={sum},size=1"), -1),
            (&format!("checksum={sum},size=0,url=u"), -1),
            (&format!("checksum={sum},size=-1,url=u"), -1),
            (&format!("checksum={sum},size=1,url="), -1),
            (&format!("checksum={sum},size=1,size=2,url=u"), -1),
            (&format!("type=2,checksum={sum},size=1,url=u"), -1002),
        ] {
            assert_eq!(Upgrade::parse(text.as_bytes()).unwrap_err().code.0, code, "{text}");
        }
    }
}
