//! Users: `USER` rows for the server (§11.5), `USERINFO` records from it (§12.2.1).

use super::invalid::clean;
use super::{Pin, Validity};
use crate::protocol::codes::Language;
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::foreign::quoted;
use crate::protocol::text;

/// A user of the terminal, without templates and photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Identifies the user.
    pub pin: Pin,
    /// At most 255 bytes. It is never cut: a server takes a name that goes up for the new one.
    pub name: String,
    /// 0 user, 2 enroller, 6 manager, 10 custom, 14 super administrator.
    pub privilege: u8,
    /// Password for the keypad, empty for none.
    pub password: String,
    /// Number of the main card in decimal, empty for none.
    pub card: String,
    /// Access group; 1 by default.
    pub group: u16,
    /// Time zones: 16 digits (§11.5).
    pub time_zones: String,
    /// Way of verification (App. 7); −1: as the group.
    pub verify: i16,
    /// Number of the second card in decimal, empty for none.
    pub vice_card: String,
    /// How long the user is valid, if somebody said so.
    pub validity: Validity,
}

impl User {
    /// A user with the document's defaults for all but the PIN.
    pub fn new(pin: Pin) -> Self {
        Self {
            pin,
            name: String::new(),
            privilege: 0,
            password: String::new(),
            card: String::new(),
            group: 1,
            time_zones: "0000000000000000".into(),
            verify: -1,
            vice_card: String::new(),
            validity: Validity::default(),
        }
    }

    /// Writes the row without its line end.
    pub fn write(&self, out: &mut Vec<u8>, language: Language) {
        let Self { pin, name, privilege, password, card, group, time_zones, verify, .. } = self;
        out.extend_from_slice(format!("USER PIN={pin}\tName=").as_bytes());
        out.extend_from_slice(&text::encode(name, language));
        out.extend_from_slice(format!("\tPri={privilege}\tPasswd=").as_bytes());
        out.extend_from_slice(&text::encode(password, language));
        let rest = format!(
            "\tCard={card}\tGrp={group}\tTZ={time_zones}\tVerify={verify}\tViceCard={}",
            self.vice_card
        );
        out.extend_from_slice(rest.as_bytes());
        self.validity.write(out);
    }
}

/// The keys of a `USERINFO` record.
const KEYS: [&str; 12] = [
    "PIN",
    "Name",
    "Pri",
    "Passwd",
    "Card",
    "Grp",
    "TZ",
    "Verify",
    "ViceCard",
    "StartDatetime",
    "EndDatetime",
    "Expires",
];

/// Other spellings of keys that servers in use send.
const SPELLINGS: [(&str, &str); 8] = [
    ("Privilege", "pri"),
    ("Password", "passwd"),
    ("CardNo", "card"),
    ("Group", "grp"),
    ("TimeZone", "tz"),
    ("TimeZones", "tz"),
    ("VerifyStyle", "verify"),
    ("VerifyMode", "verify"),
];

/// Most bytes of a name in the encoding of the terminal.
const NAME_BYTES: usize = 255;

/// A change to a user: only the keys that the record carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// The user that is changed.
    pub pin: Pin,
    name: Option<String>,
    privilege: Option<u8>,
    password: Option<String>,
    card: Option<String>,
    group: Option<u16>,
    time_zones: Option<String>,
    verify: Option<i16>,
    vice_card: Option<String>,
    validity: Validity,
}

impl UserChange {
    /// The keys of a record, in each spelling.
    pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter().chain(SPELLINGS.iter().map(|(spelling, _)| spelling)).copied()
    }

    /// Reads and checks the record of a `DATA UPDATE USERINFO`.
    pub fn parse(record: &[u8], language: Language) -> Result<Self, Refusal> {
        let fields = Fields::parse_spelled(record, &KEYS, &SPELLINGS, language)?;
        Self::from_fields(&fields, language)
    }

    /// Checks a change whose fields have the names of a `USERINFO` record.
    pub fn from_fields(fields: &Fields, language: Language) -> Result<Self, Refusal> {
        let texted = |field: &'static str, longest| {
            fields.get(field).map(|value| clean(field, value, longest)).transpose()
        };
        Ok(Self {
            pin: Pin::from_fields(fields)?,
            name: fields.get("name").map(|value| name(value, language)).transpose()?,
            privilege: privilege(fields)?,
            password: texted("passwd", 24)?,
            card: fields.get("card").map(|value| card_number("card", value)).transpose()?,
            group: fields.number("grp")?,
            time_zones: fields
                .get("tz")
                .filter(|value| !value.is_empty())
                .map(time_zones)
                .transpose()?,
            verify: verify(fields)?,
            vice_card: fields
                .get("vicecard")
                .map(|value| card_number("vicecard", value))
                .transpose()?,
            validity: Validity::from_fields(fields)?,
        })
    }

    /// Changes the user; the PIN stays.
    pub fn apply(self, user: &mut User) {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut user.name, self.name);
        set(&mut user.privilege, self.privilege);
        set(&mut user.password, self.password);
        set(&mut user.card, self.card);
        set(&mut user.group, self.group);
        set(&mut user.time_zones, self.time_zones);
        set(&mut user.verify, self.verify);
        set(&mut user.vice_card, self.vice_card);
        self.validity.apply(&mut user.validity);
    }
}

/// A name is kept whole: one that is cut here would overwrite the server's own when it goes up.
fn name(value: &str, language: Language) -> Result<String, Refusal> {
    let bytes = text::encode(value, language).len();
    if bytes > NAME_BYTES {
        let why = format!("has {bytes} bytes; allowed are {NAME_BYTES}");
        return Err(Refusal::field("name", why));
    }
    Ok(clean("name", value, NAME_BYTES)?)
}

fn privilege(fields: &Fields) -> Result<Option<u8>, Refusal> {
    match fields.number("pri")? {
        None => Ok(None),
        Some(known @ (0 | 2 | 6 | 10 | 14)) => Ok(Some(known)),
        Some(other) => {
            Err(Refusal::field("pri", format_args!("is {other}; allowed are 0, 2, 6, 10 and 14")))
        }
    }
}

/// App. 7 ends at 28. An empty value means: as the group.
fn verify(fields: &Fields) -> Result<Option<i16>, Refusal> {
    match (fields.get("verify"), fields.number("verify")?) {
        (None, _) => Ok(None),
        (Some(_), None) => Ok(Some(-1)),
        (Some(_), Some(way @ -1..=28)) => Ok(Some(way)),
        (Some(_), Some(other)) => {
            Err(Refusal::field("verify", format_args!("is {other}; allowed are -1 to 28")))
        }
    }
}

fn time_zones(value: &str) -> Result<String, Refusal> {
    if value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(value.to_owned())
    } else {
        Err(Refusal::field("tz", format_args!("is not 16 digits: {}", quoted(value))))
    }
}

/// Highest card number: databases of servers hold it in 63 bits.
const MOST_CARD: u64 = i64::MAX as u64;

/// A card number: decimal, or four or five bytes in hex with the lowest first, `[15CD5B07]`.
/// Both are stored in decimal; 0 means none.
pub fn card_number(field: &'static str, value: &str) -> Result<String, Refusal> {
    let wrong = || {
        Refusal::field(
            field,
            format_args!(
                "is neither a decimal number nor [8 or 10 hexadecimal digits]: {}",
                quoted(value)
            ),
        )
    };
    let value = value.trim();
    let number = match value.strip_prefix('[') {
        Some(hex) => {
            let hex = hex.strip_suffix(']').filter(|hex| matches!(hex.len(), 8 | 10));
            let is_hex = |hex: &&str| hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            let hex = hex.filter(is_hex).ok_or_else(wrong)?;
            let highest_first = u64::from_str_radix(hex, 16).map_err(|_| wrong())?;
            highest_first.swap_bytes() >> (64 - 4 * hex.len())
        }
        None if value.is_empty() => 0,
        None if value.bytes().all(|byte| byte.is_ascii_digit()) => {
            value.parse::<u64>().ok().filter(|card| *card <= MOST_CARD).ok_or_else(wrong)?
        }
        None => return Err(wrong()),
    };
    Ok(if number == 0 { String::new() } else { number.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(record: &str) -> Result<User, Refusal> {
        let change = UserChange::parse(record.as_bytes(), Language::ENGLISH)?;
        let mut user = User::new(change.pin.clone());
        change.apply(&mut user);
        Ok(user)
    }

    fn row(user: &User) -> String {
        let mut row = Vec::new();
        user.write(&mut row, Language::ENGLISH);
        String::from_utf8(row).unwrap()
    }

    #[test]
    fn a_user_goes_up_as_in_the_document() {
        let user = parse("PIN=36234\tName=36234\tCard=133440\tGrp=1\tTZ=0001000000000000").unwrap();
        assert_eq!(
            row(&user),
            "USER PIN=36234\tName=36234\tPri=0\tPasswd=\tCard=133440\tGrp=1\tTZ=0001000000000000\tVerify=-1\tViceCard="
        );
    }

    #[test]
    fn both_forms_of_a_card_number_mean_the_same() {
        for text in ["[15CD5B07]", "[15cd5b0700]", "123456789", "0123456789"] {
            assert_eq!(parse(&format!("PIN=1\tCard={text}")).unwrap().card, "123456789", "{text}");
        }
        assert_eq!(parse("PIN=1\tCard=0").unwrap().card, "");
        assert_eq!(parse("PIN=1\tCard=[00000000]").unwrap().card, "");
        let highest = "9223372036854775807";
        assert_eq!(parse(&format!("PIN=1\tCard={highest}")).unwrap().card, highest);
        assert!(parse("PIN=1\tCard=9223372036854775808").is_err());
    }

    #[test]
    fn a_change_changes_only_the_keys_that_it_has() {
        let mut user = parse("PIN=1\tName=Ann\tCard=5").unwrap();
        UserChange::parse(b"pin=1\tPri=14\tName=", Language::ENGLISH).unwrap().apply(&mut user);
        assert_eq!((user.name.as_str(), user.card.as_str(), user.privilege), ("", "5", 14));
    }

    #[test]
    fn a_validity_is_kept_and_goes_up_again() {
        let mut user = parse("PIN=1\tStartDatetime=2026-01-01\tEndDatetime=\tExpires=1").unwrap();
        assert!(
            row(&user).ends_with("\tViceCard=\tStartDatetime=2026-01-01\tEndDatetime=0\tExpires=1")
        );
        let change = b"PIN=1\tenddatetime=2027-01-01";
        UserChange::parse(change, Language::ENGLISH).unwrap().apply(&mut user);
        assert!(
            row(&user).ends_with("\tStartDatetime=2026-01-01\tEndDatetime=2027-01-01\tExpires=1")
        );
        UserChange::parse(b"PIN=1\tName=Ann", Language::ENGLISH).unwrap().apply(&mut user);
        assert_eq!(user.validity.expires, Some(1));
    }

    #[test]
    fn names_are_kept_whole() {
        let user = parse(&format!("PIN=1\tName={}", "é".repeat(127))).unwrap();
        assert_eq!(user.name, "é".repeat(127));
        let refusal = parse(&format!("PIN=1\tName={}", "é".repeat(128))).unwrap_err();
        assert_eq!(refusal.field, Some("name"));
    }

    #[test]
    fn keys_have_the_spellings_of_servers() {
        let plain =
            "PIN=1\tPri=14\tPasswd=9\tCard=5\tGrp=2\tTZ=0001000000000000\tVerify=3\tName=a=b";
        let spelled = "Pin=1\tPRIVILEGE=14\tpassword=9\tCardNo=[0500000000]\tGroup=2\t\t\
                       TimeZones=0001000000000000\tVerifyMode=3\tNAME=a=b";
        assert_eq!(parse(spelled).unwrap(), parse(plain).unwrap());
        let style = "PIN=1\tPri=14\tPrivilege=14\tPassword=9\tCard=[05000000]\tGroup=2\t\
                     TimeZone=0001000000000000\tVerifyStyle=3\tName=a=b";
        assert_eq!(parse(style).unwrap(), parse(plain).unwrap());
    }

    #[test]
    fn wrong_values_are_refused_with_their_field() {
        for (record, field) in [
            ("Name=x", "pin"),
            ("PIN=", "pin"),
            ("PIN=a b", "pin"),
            ("PIN=1\tPri=3", "pri"),
            ("PIN=1\tPri=x", "pri"),
            ("PIN=1\tCard=12x", "card"),
            ("PIN=1\tCard=[15CD5B]", "card"),
            ("PIN=1\tCard=[+5CD5B07]", "card"),
            ("PIN=1\tCardNo=[15CD5B070]", "card"),
            ("PIN=1\tPri=0\tPrivilege=14", "pri"),
            ("PIN=1 Group=99", "pin"),
            ("PIN=1\tCard=99999999999999999999999", "card"),
            ("PIN=1\tGrp=-1", "grp"),
            ("PIN=1\tTZ=1", "tz"),
            ("PIN=1\tVerify=29", "verify"),
            ("PIN=1\tViceCard=x", "vicecard"),
            ("PIN=1\tPasswd=1234567890123456789012345", "passwd"),
            ("PIN=1\tName=a\u{1}b", "name"),
            ("PIN=1 Name=Ann", "pin"),
            ("PIN=1\tStartDatetime=x", "startdatetime"),
            ("PIN=1\tExpires=9", "expires"),
        ] {
            let refusal = parse(record).unwrap_err();
            assert!(refusal.why.contains(field), "{record:?}: {}", refusal.why);
        }
    }
}
