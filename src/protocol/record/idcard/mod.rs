//! Identity cards (§11.6, §12.2.2). Their text is UTF-8 in every language of the terminal.

mod values;

pub use values::{CardData, CardText, Day, IdNumber, LONGEST_CARD_DATA};

use super::Pin;
use super::data::{self, required_number};
use crate::protocol::codes::Language;
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::foreign::quoted;
use crate::protocol::tables::{Gender, Nation};
use values::RULES;

/// The data of an identity card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdCard {
    /// The user to whom the card is bound, if any.
    pub pin: Option<Pin>,
    /// Number of the chip.
    pub sn_num: CardText,
    /// Number of the person.
    pub id_num: IdNumber,
    /// Number of the card's body.
    pub dn_num: CardText,
    /// Name of the person.
    pub name: CardText,
    /// As the card says.
    pub gender: Gender,
    /// As the card says; two numbers mean that the reader failed.
    pub nation: Nation,
    /// Day of birth.
    pub birthday: Option<Day>,
    /// First and last day of validity.
    pub valid: Option<(Day, Day)>,
    /// As it is printed.
    pub address: CardText,
    /// An address that was added later, by machine.
    pub additional_info: CardText,
    /// The authority that issued it.
    pub issuer: CardText,
    /// Encrypted as it is on the card.
    pub photo: CardData,
    /// Features of two fingerprints.
    pub fingerprints: [CardData; 2],
    /// Reserved by the document.
    pub reserve: CardText,
    /// A remark.
    pub notice: CardText,
}

const KEYS: [&str; 17] = [
    "PIN",
    "SNNum",
    "IDNum",
    "DNNum",
    "Name",
    "Gender",
    "Nation",
    "Birthday",
    "ValidInfo",
    "Address",
    "AdditionalInfo",
    "Issuer",
    "Photo",
    "FPTemplate1",
    "FPTemplate2",
    "Reserve",
    "Notice",
];

impl IdCard {
    /// The keys of a record.
    pub(crate) const KEYS: [&'static str; 17] = KEYS;

    /// Writes the row without its line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { sn_num, id_num, dn_num, name, address, additional_info, issuer, .. } = self;
        let pin = self.pin.as_ref().map_or("0", Pin::as_str);
        let (gender, nation) = (self.gender.code(), self.nation.code());
        let birthday = self.birthday.map(|day| day.to_string()).unwrap_or_default();
        let valid = self.valid.map(|(first, last)| format!("{first}{last}")).unwrap_or_default();
        let head = format!(
            "IDCARD PIN={pin}\tSNNum={sn_num}\tIDNum={id_num}\tDNNum={dn_num}\tName={name}\
             \tGender={gender}\tNation={nation}\tBirthday={birthday}\tValidInfo={valid}\
             \tAddress={address}\tAdditionalInfo={additional_info}\tIssuer={issuer}"
        );
        out.extend_from_slice(head.as_bytes());
        let [first, second] = &self.fingerprints;
        for (key, bytes) in
            [("Photo", &self.photo), ("FPTemplate1", first), ("FPTemplate2", second)]
        {
            out.extend_from_slice(format!("\t{key}=").as_bytes());
            data::write(bytes.as_bytes(), out);
        }
        let tail = format!("\tReserve={}\tNotice={}", self.reserve, self.notice);
        out.extend_from_slice(tail.as_bytes());
    }

    /// The fields that are not empty, by their names in lower case.
    pub fn fields(&self) -> Vec<(String, String)> {
        let mut row = Vec::new();
        self.write(&mut row);
        let row = String::from_utf8_lossy(&row);
        let fields = row.strip_prefix("IDCARD ").unwrap_or_default().split('\t');
        fields
            .filter_map(|field| field.split_once('='))
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
            .collect()
    }

    /// Reads and checks the record of a `DATA UPDATE IDCARD`.
    pub fn parse(record: &[u8]) -> Result<Self, Refusal> {
        // Any language but the one of GB2312: the text of a card is always UTF-8.
        Self::from_fields(&Fields::parse(record, &KEYS, Language::ENGLISH)?)
    }

    /// Reads what [`Self::write`] has written. A text of a card may hold ` Name=`, which a record
    /// of the server may not.
    pub fn from_row(row: &[u8]) -> Result<Self, Refusal> {
        let fields = row.strip_prefix(b"IDCARD ").unwrap_or(row);
        Self::from_fields(&Fields::split(fields, &KEYS, Language::ENGLISH)?)
    }

    /// Checks a card whose fields have the names of an `IDCARD` record.
    pub fn from_fields(fields: &Fields) -> Result<Self, Refusal> {
        let text =
            |field: &'static str| CardText::new(field, fields.get(field).unwrap_or_default());
        let bytes = |field: &'static str| {
            let bytes = RULES.decode(field, fields.get(field).unwrap_or_default())?;
            Ok::<_, Refusal>(CardData::new(field, bytes)?)
        };
        Ok(Self {
            pin: match fields.required("pin")? {
                "0" => None,
                pin => Some(Pin::new(pin)?),
            },
            sn_num: text("snnum")?,
            id_num: IdNumber::new("idnum", fields.required("idnum")?)?,
            dn_num: text("dnnum")?,
            name: text("name")?,
            gender: code(fields, "gender", Gender::new, "1, 2")?,
            nation: code(fields, "nation", Nation::new, "0 to 57, 97, 98")?,
            birthday: birthday(fields)?,
            valid: valid(fields)?,
            address: text("address")?,
            additional_info: text("additionalinfo")?,
            issuer: text("issuer")?,
            photo: bytes("photo")?,
            fingerprints: [bytes("fptemplate1")?, bytes("fptemplate2")?],
            reserve: text("reserve")?,
            notice: text("notice")?,
        })
    }
}

/// A number that must be of a table.
fn code<T>(
    fields: &Fields,
    field: &'static str,
    of_table: fn(u8) -> Option<T>,
    table: &str,
) -> Result<T, Refusal> {
    let code = required_number(fields, field)?;
    of_table(code).ok_or_else(|| Refusal::field(field, format_args!("is none of {table}: {code}")))
}

fn birthday(fields: &Fields) -> Result<Option<Day>, Refusal> {
    let Some(text) = fields.get("birthday").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    Day::parse(text).map(Some).ok_or_else(|| {
        Refusal::field("birthday", format_args!("is no day of the form yyyyMMdd: {}", quoted(text)))
    })
}

/// The document knows no word for a card that is valid for ever.
fn valid(fields: &Fields) -> Result<Option<(Day, Day)>, Refusal> {
    let Some(text) = fields.get("validinfo").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let halves = text.split_at_checked(8);
    let days = halves.and_then(|(first, last)| Day::parse(first).zip(Day::parse(last)));
    match days {
        Some((first, last)) if first <= last => Ok(Some((first, last))),
        Some(_) => Err(Refusal::field("validinfo", "ends before it begins")),
        None => {
            let why = format!("is not two days, yyyyMMddyyyyMMdd: {}", quoted(text));
            Err(Refusal::field("validinfo", why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::values::LONGEST_TEXT;
    use super::*;
    use crate::protocol::codes::ReturnCode;

    // The document's example, with what it blots out made up.
    const RECORD: &str = "PIN=2\tSNNum=0000000046008800\tIDNum=000000199112180000\tDNNum=\tName=张三\
        \tGender=1\tNation=1\tBirthday=19911218\tValidInfo=2017091520270915\tAddress=某省某市1号\
        \tAdditionalInfo=\tIssuer=某县公安局\tPhoto=V0xmAA==\tFPTemplate1=QwGI\tFPTemplate2=QwGJ\
        \tReserve=\tNotice=";

    fn row(card: &IdCard) -> String {
        let mut row = Vec::new();
        card.write(&mut row);
        String::from_utf8(row).unwrap()
    }

    #[test]
    fn a_row_is_as_in_the_document() {
        let card = IdCard::parse(RECORD.as_bytes()).unwrap();
        assert_eq!(row(&card), format!("IDCARD {RECORD}"));
        assert_eq!((card.gender.name(), card.nation.name()), ("male", "Han"));
    }

    #[test]
    fn what_was_written_is_read_back_even_if_a_text_looks_like_a_key() {
        let fields = [("pin", "2"), ("idnum", "USA110074091501"), ("gender", "1"), ("nation", "1")];
        let texts = [("name", " PIN=7 Name="), ("address", "IDCARD IDNum=1 Gender=3")];
        let pairs = fields.into_iter().chain(texts);
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let card = IdCard::from_fields(&Fields::from_pairs(pairs)).unwrap();
        assert_eq!(IdCard::from_row(row(&card).as_bytes()).unwrap(), card);
    }

    #[test]
    fn a_card_without_a_user_has_pin_0_and_what_is_missing_is_empty() {
        let card = IdCard::parse(b"pin=0\tidnum=USA110074091501\tgender=2\tnation=98").unwrap();
        assert_eq!(card.pin, None);
        assert_eq!(
            row(&card),
            "IDCARD PIN=0\tSNNum=\tIDNum=USA110074091501\tDNNum=\tName=\tGender=2\tNation=98\
             \tBirthday=\tValidInfo=\tAddress=\tAdditionalInfo=\tIssuer=\tPhoto=\tFPTemplate1=\
             \tFPTemplate2=\tReserve=\tNotice="
        );
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_field() {
        for (from, to, field) in [
            ("PIN=2\t", "", "pin"),
            ("PIN=2", "PIN=a b", "pin"),
            ("SNNum=0", "SNNum=\u{7f}", "snnum"),
            ("IDNum=0", "IDNum=", "idnum"),
            ("IDNum=0", "IDNum=-", "idnum"),
            ("Gender=1\t", "", "gender"),
            ("Gender=1", "Gender=0", "gender"),
            ("Nation=1", "Nation=58", "nation"),
            ("Nation=1", "Nation=Han", "nation"),
            ("Birthday=19911218", "Birthday=19911318", "birthday"),
            ("Birthday=19911218", "Birthday=1991-12-18", "birthday"),
            ("2017091520270915", "2017091520170914", "validinfo"),
            ("2017091520270915", "20170915", "validinfo"),
            ("2017091520270915", "20170915长期", "validinfo"),
            ("2017091520270915", "2017091五20270915", "validinfo"),
            ("V0xmAA==", "V0xmAA=", "photo"),
            ("QwGI", "QwG*", "fptemplate1"),
            ("QwGJ", "QwG", "fptemplate2"),
        ] {
            let refusal = IdCard::parse(RECORD.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(refusal.code, ReturnCode::PARAMETER, "{to}: {}", refusal.why);
            assert_eq!(refusal.field, Some(field), "{to}: {}", refusal.why);
        }
        let long = RECORD.replace("QwGI", &"QwGI".repeat(LONGEST_CARD_DATA));
        assert_eq!(IdCard::parse(long.as_bytes()).unwrap_err().code, ReturnCode::TOO_LONG);
        let long = RECORD.replace("某省", &"某".repeat(LONGEST_TEXT));
        assert_eq!(IdCard::parse(long.as_bytes()).unwrap_err().field, Some("address"));
    }
}
