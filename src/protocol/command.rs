//! Commands of the server: `C:ID:text` (§12).

use std::borrow::Cow;

use super::codes::ReturnCode;
use super::data_table::DataTable;
use super::enroll::Enroll;
use super::fields::Refusal;
use super::file::{self, PutFile, Upgrade};
use super::foreign::{BYTE_ORDER_MARK, quoted};
use super::record::TemplateForm;
use super::time::LocalTime;

/// Most characters of a command id: the document says 16, servers in the field use 32.
const LONGEST_ID: usize = 32;

/// A line of a command list; the command is not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// The id that the server gave; returned unchanged.
    pub id: &'a str,
    /// The command.
    pub text: &'a [u8],
}

impl<'a> CommandLine<'a> {
    /// Whether a line is one of a command list: others belong to the command before, or mean nothing.
    pub fn begins(line: &[u8]) -> bool {
        after_c(line).is_some()
    }

    /// Splits `C:ID:text`. The error says what is wrong with the line.
    pub fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let rest = after_c(line).ok_or("it does not begin with C:")?;
        let colon =
            rest.iter().position(|&byte| byte == b':').ok_or("it has no id between colons")?;
        let (id, text) = (rest[..colon].trim_ascii(), &rest[colon + 1..]);
        let fits = (1..=LONGEST_ID).contains(&id.len())
            && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !fits {
            return Err("its id is not 1 to 32 letters, digits, - and _");
        }
        let id = std::str::from_utf8(id).map_err(|_| "its id is not text")?;
        Ok(Self { id, text: text.trim_ascii_start() })
    }
}

/// What follows `C:` in a line, without the blanks before and after it; also after a small `c`, and
/// after a byte order mark.
fn after_c(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(line).trim_ascii_start() {
        [b'C' | b'c', b':', rest @ ..] => Some(rest.trim_ascii_start()),
        _ => None,
    }
}

/// A parsed command.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `DATA UPDATE table record` (§12.2).
    Update(DataTable<'a>, &'a [u8]),
    /// `DATA DELETE table record` (§12.3).
    Delete(DataTable<'a>, &'a [u8]),
    /// `DATA QUERY table record` (§12.4).
    Query(DataTable<'a>, &'a [u8]),
    /// `CHECK` (§12.6.1).
    Check,
    /// `LOG` (§12.6.2).
    Log,
    /// `VERIFY SUM ATTLOG record` (§12.6.3).
    VerifySum(&'a [u8]),
    /// `CLEAR LOG` (§12.5.1).
    ClearLog,
    /// `CLEAR PHOTO` (§12.5.2).
    ClearPhoto,
    /// `CLEAR DATA` (§12.5.3).
    ClearData,
    /// `SET OPTION key=value` (§12.7.1).
    SetOption(&'a [u8]),
    /// `SET TIME time`, `SET OPTION DateTime=time`: the local time.
    SetClock(LocalTime),
    /// `RELOAD OPTIONS` (§12.7.2).
    ReloadOptions,
    /// `INFO` (§12.7.3).
    Info,
    /// `GetFile path` (§12.8.1).
    GetFile(Cow<'a, str>),
    /// `PutFile url path …` (§12.8.2).
    PutFile(PutFile<'a>),
    /// `SHELL line` (§12.11.1).
    Shell(Cow<'a, str>),
    /// `UPGRADE …` (§12.11.2).
    Upgrade(Upgrade<'a>),
    /// `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO` (§12.9).
    Enroll(Enroll),
    /// `REBOOT` (§12.10.1).
    Reboot,
    /// `AC_UNLOCK` (§12.10.2).
    Unlock,
    /// `AC_UNALARM` (§12.10.3).
    Unalarm,
    /// A command that this terminal does not know.
    Unknown,
}

impl<'a> Command<'a> {
    /// Parses the text of a command. Its words may be in any case, and several blanks may
    /// separate them.
    pub fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        let (first, rest) = word(text);
        Ok(match first.to_ascii_uppercase().as_str() {
            "DATA" => Self::data(rest)?,
            // Servers leave out the word DATA.
            "QUERY" => {
                let (name, record) = word(rest);
                Self::Query(DataTable::named(name), record)
            }
            "VERIFY" if word(rest).0.eq_ignore_ascii_case("SUM") => {
                let (table, record) = word(word(rest).1);
                match table.eq_ignore_ascii_case("ATTLOG") {
                    true => Self::VerifySum(record),
                    false => {
                        return Err(Refusal::parameter(format!(
                            "VERIFY SUM has no table {table:?}; it has ATTLOG"
                        )));
                    }
                }
            }
            "CLEAR" if word(rest).0.eq_ignore_ascii_case("LOG") => Self::ClearLog,
            "CLEAR" if word(rest).0.eq_ignore_ascii_case("PHOTO") => Self::ClearPhoto,
            "CLEAR" if word(rest).0.eq_ignore_ascii_case("DATA") => Self::ClearData,
            "CHECK" => Self::Check,
            "REBOOT" => Self::Reboot,
            "AC_UNLOCK" => Self::Unlock,
            "AC_UNALARM" => Self::Unalarm,
            "ENROLL_FP" => Self::Enroll(Enroll::finger(rest)?),
            "ENROLL_MF" => Self::Enroll(Enroll::card(rest)?),
            "ENROLL_BIO" => Self::Enroll(Enroll::bio(rest)?),
            "GETFILE" => Self::GetFile(file::get_file(rest)?),
            "PUTFILE" => Self::PutFile(PutFile::parse(rest)?),
            "SHELL" => Self::Shell(file::shell(rest)?),
            "UPGRADE" => Self::Upgrade(Upgrade::parse(rest)?),
            "LOG" => Self::Log,
            "INFO" => Self::Info,
            "SET" => Self::set(rest)?,
            "CONTROL" if word(rest).0.eq_ignore_ascii_case("DEVICE") => {
                match opens_door(word(rest).1) {
                    true => Self::Unlock,
                    false => {
                        let why = "CONTROL DEVICE can only open the door of the terminal, as in \
                                   CONTROL DEVICE 01010105; this asks for something else";
                        return Err(Refusal::new(ReturnCode::UNSUPPORTED, why));
                    }
                }
            }
            "RELOAD" if word(rest).0.eq_ignore_ascii_case("OPTIONS") => Self::ReloadOptions,
            _ => Self::Unknown,
        })
    }

    /// What follows `DATA`. Old servers leave out `UPDATE`, and write `DEL_USER` for
    /// `DELETE USERINFO`.
    fn data(rest: &'a [u8]) -> Result<Self, Refusal> {
        let (verb, rest) = word(rest);
        let (name, record) = word(rest);
        let table = DataTable::named(name);
        Ok(match verb.to_ascii_uppercase().as_str() {
            // The document spells it UPDATA in one place.
            "UPDATE" | "UPDATA" | "WRITE" => Self::Update(table, record),
            "DELETE" => Self::Delete(table, record),
            "QUERY" => Self::Query(table, record),
            "USER" | "FP" => Self::Update(DataTable::named(verb), rest),
            "DEL_USER" => Self::Delete(DataTable::Users, rest),
            "DEL_FP" => Self::Delete(DataTable::Templates(TemplateForm::Fingerprint), rest),
            _ => {
                return Err(Refusal::parameter(format!(
                    "DATA has no {verb:?}; it has UPDATE, DELETE and QUERY"
                )));
            }
        })
    }

    /// What follows `SET`.
    fn set(rest: &'a [u8]) -> Result<Self, Refusal> {
        let (what, rest) = word(rest);
        Ok(match what.to_ascii_uppercase().as_str() {
            "OPTION" | "OPTIONS" => match date_time(rest) {
                Some(value) => Self::SetClock(local_time(value)?),
                None => Self::SetOption(rest),
            },
            "TIME" => Self::SetClock(local_time(date_time(rest).unwrap_or(rest))?),
            _ => Self::Unknown,
        })
    }
}

/// The value in `DateTime=value`.
fn date_time(option: &[u8]) -> Option<&[u8]> {
    let equals = option.iter().position(|&byte| byte == b'=')?;
    let is_clock = option[..equals].trim_ascii().eq_ignore_ascii_case(b"DateTime");
    is_clock.then(|| option[equals + 1..].trim_ascii())
}

/// A local time, as text or as the number in which devices of this kind keep it.
fn local_time(value: &[u8]) -> Result<LocalTime, Refusal> {
    let value = String::from_utf8_lossy(value);
    let value = value.trim();
    let text = value.replacen('T', " ", 1).replace('/', "-");
    let time = LocalTime::parse(&text).or_else(|| LocalTime::from_packed(value.parse().ok()?));
    time.ok_or_else(|| {
        let why =
            "is neither a time of the form YYYY-MM-DD hh:mm:ss nor a number that stands for one";
        Refusal::field("datetime", format_args!("{why}: {}", quoted(value)))
    })
}

/// Whether the parameters of `CONTROL DEVICE` mean "open the door": pairs of hexadecimal digits, or
/// numbers separated by commas. They are: 1 for an output, the door (0: all), what kind of output (1
/// for a lock), and seconds (0 closes, 255 keeps it open). With commas the kind may be left out.
fn opens_door(parameters: &[u8]) -> bool {
    let text = String::from_utf8_lossy(parameters);
    let text = text.trim();
    let numbers: Option<Vec<u8>> = if text.contains(',') {
        text.split(',').map(|number| number.trim().parse().ok()).collect()
    } else {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| match pair {
                [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
                }
                _ => None,
            })
            .collect()
    };
    match numbers.as_deref() {
        Some([1, 0 | 1, 1, seconds, ..]) => (1..=254).contains(seconds),
        Some([1, 0 | 1, seconds, 0, ..]) if text.contains(',') => (3..=254).contains(seconds),
        _ => false,
    }
}

/// The name of a command in its reply (`CMD=`), also of one that cannot be parsed.
pub fn reply_name(text: &[u8]) -> String {
    let (first, rest) = word(text);
    let name = first.to_ascii_uppercase();
    match name.as_str() {
        "GETFILE" => "GetFile".into(),
        "PUTFILE" => "PutFile".into(),
        "SHELL" => "Shell".into(),
        "CLEAR" => match word(rest).0.to_ascii_uppercase() {
            second if second.is_empty() => name,
            second => format!("{name}_{second}"),
        },
        "SET" | "RELOAD" | "VERIFY" => match word(rest).0.to_ascii_uppercase() {
            second if second.is_empty() => name,
            second => format!("{name} {second}"),
        },
        _ => name,
    }
}

/// The next word of a command, and the text after it. Blanks separate words; servers also write a
/// TAB after the name of a table. A word is empty if it has other characters than those of command names.
fn word(text: &[u8]) -> (&str, &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|&byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let word = match std::str::from_utf8(&text[..end]) {
        Ok(word) if word.len() <= LONGEST_ID && word.bytes().all(|byte| plain(&byte)) => word,
        _ => "",
    };
    (word, text[end..].trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_its_colons() {
        let line = CommandLine::parse(b"C:info8487:DATA UPDATE USERINFO PIN=1").unwrap();
        assert_eq!((line.id, line.text), ("info8487", &b"DATA UPDATE USERINFO PIN=1"[..]));
        assert_eq!(
            CommandLine::parse(b"C:7: PutFile http://x:80/y").unwrap().text,
            b"PutFile http://x:80/y"
        );
        for spelled in [&b"C: 7:LOG"[..], b" C:7: LOG", b"c:7:LOG", b"\tc: 7 :LOG"] {
            let line = CommandLine::parse(spelled).unwrap();
            assert_eq!((line.id, line.text), ("7", &b"LOG"[..]));
        }
        for wrong in
            [&b""[..], b"OK", b"C:", b"C:1", b"C::LOG", b"C:a b:LOG", b"C:\xff:LOG", b"D:1:LOG"]
        {
            assert!(CommandLine::parse(wrong).is_err(), "{:?}", String::from_utf8_lossy(wrong));
        }
        let long = format!("C:{}:LOG", "1".repeat(33));
        assert!(CommandLine::parse(long.as_bytes()).is_err());
    }

    #[test]
    fn commands_are_parsed_in_any_case() {
        let cases: [(&str, Command<'_>); 12] = [
            (
                "DATA UPDATE USERINFO PIN=1\tName=x",
                Command::Update(DataTable::Users, b"PIN=1\tName=x"),
            ),
            ("DATA UPDATA USERINFO PIN=1", Command::Update(DataTable::Users, b"PIN=1")),
            ("data delete userinfo PIN=1", Command::Delete(DataTable::Users, b"PIN=1")),
            ("DATA QUERY USERINFO", Command::Query(DataTable::Users, b"")),
            ("CHECK", Command::Check),
            ("SET OPTION Delay=5", Command::SetOption(b"Delay=5")),
            ("RELOAD OPTIONS", Command::ReloadOptions),
            ("INFO ", Command::Info),
            ("ac_unlock", Command::Unlock),
            ("AC_UNALARM", Command::Unalarm),
            (
                "Enroll_MF PIN=408\tRETRY=3",
                Command::Enroll(Enroll::card(b"PIN=408\tRETRY=3").unwrap()),
            ),
            ("FLY", Command::Unknown),
        ];
        for (text, command) in cases {
            assert_eq!(Command::parse(text.as_bytes()), Ok(command), "{text}");
        }
        assert!(Command::parse(b"DATA EXPLODE USERINFO").is_err());
    }

    #[test]
    fn replies_name_the_command() {
        for (text, name) in [
            ("DATA UPDATE USERINFO PIN=1", "DATA"),
            ("set option x=y", "SET OPTION"),
            ("VERIFY SUM ATTLOG StartTime=x", "VERIFY SUM"),
            ("CLEAR LOG", "CLEAR_LOG"),
            ("RELOAD OPTIONS", "RELOAD OPTIONS"),
            ("Fly away", "FLY"),
            ("a&b=c", ""),
        ] {
            assert_eq!(reply_name(text.as_bytes()), name);
        }
    }
}
