//! Identity cards (§11.6): `IDCARD`, a blank, seventeen keys. The text is UTF-8 whatever the
//! terminal's language.

use serde::Serialize;

use super::{after, base64, keyed};
use crate::deviation::{Flaw, Kind};
use crate::text::{self, integer, number};

/// What an identity card holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the names are the document's
pub struct IdCard {
    /// The user the card is bound to, or 0.
    pub pin: String,
    pub sn_num: String,
    pub id_num: String,
    pub dn_num: String,
    pub name: String,
    /// 1 male, 2 female.
    pub gender: i64,
    /// The code of the nation, 0 to 57, 97, 98.
    pub nation: i64,
    pub birthday: String,
    /// First and last day of validity in one.
    pub valid_info: String,
    pub address: String,
    pub additional_info: String,
    pub issuer: String,
    /// How many bytes of photo and of the two fingerprints there are.
    pub data_bytes: [usize; 3],
    pub reserve: String,
    pub notice: String,
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

/// Reads a row.
pub fn parse(row: &str) -> Result<IdCard, Flaw> {
    let values = keyed(after(row, "IDCARD")?, KEYS)?;
    let [
        pin,
        sn_num,
        id_num,
        dn_num,
        name,
        gender,
        nation,
        birthday,
        valid_info,
        address,
        additional_info,
        issuer,
        photo,
        fp1,
        fp2,
        reserve,
        notice,
    ] = values;
    Ok(IdCard {
        pin: text::pin(pin)?,
        sn_num: sn_num.to_owned(),
        id_num: id_num.to_owned(),
        dn_num: dn_num.to_owned(),
        name: name.to_owned(),
        gender: number("Gender", gender, 1..=2)?,
        nation: nation_code(nation)?,
        birthday: days("Birthday", birthday, 1)?,
        valid_info: days("ValidInfo", valid_info, 2)?,
        address: address.to_owned(),
        additional_info: additional_info.to_owned(),
        issuer: issuer.to_owned(),
        data_bytes: [
            base64("Photo", photo)?.len(),
            base64("FPTemplate1", fp1)?.len(),
            base64("FPTemplate2", fp2)?.len(),
        ],
        reserve: reserve.to_owned(),
        notice: notice.to_owned(),
    })
}

fn nation_code(text: &str) -> Result<i64, Flaw> {
    match integer("Nation", text)? {
        code @ (0..=57 | 97 | 98) => Ok(code),
        code => Err(Flaw::new(Kind::Value, format!("Nation is {code}, not 0 to 57, 97 or 98"))),
    }
}

/// So many days of the form YYYYMMDD in one, or nothing.
fn days(field: &str, text: &str, count: usize) -> Result<String, Flaw> {
    let days = text.is_ascii()
        && text.len() == 8 * count
        && (0..count).all(|n| text::date(&text[8 * n..8 * n + 8]).is_ok());
    if text.is_empty() || days {
        Ok(text.to_owned())
    } else {
        Err(Flaw::new(Kind::Time, format!("{field} is {text:?}, not {count} times YYYYMMDD")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const GOOD: &str = "IDCARD PIN=2\tSNNum=0000460088000000\tIDNum=000000199112180000\tDNNum=\tName=张三\tGender=1\tNation=1\tBirthday=19911218\t\
        ValidInfo=2017091520270915\tAddress=xx省\tAdditionalInfo=\tIssuer=xxx\tPhoto=V0xm\tFPTemplate1=QwGI\tFPTemplate2=QwGI\tReserve=\tNotice=";

    #[test]
    fn the_documents_form() {
        let card = parse(GOOD).unwrap();
        assert_eq!((card.name.as_str(), card.data_bytes), ("张三", [3, 3, 3]));
    }

    #[test]
    fn what_is_wrong() {
        for (from, to, kind) in [
            ("Gender=1", "Gender=0", Kind::Value),
            ("Nation=1", "Nation=58", Kind::Value),
            ("Birthday=19911218", "Birthday=19911318", Kind::Time),
            ("Birthday", "BirthDay", Kind::Keys),
            ("2017091520270915", "20170915", Kind::Time),
            ("V0xm", "V0x", Kind::Base64),
            ("PIN=2", "PIN=", Kind::Pin),
            ("\tNotice=", "", Kind::Keys),
        ] {
            assert_eq!(parse(&GOOD.replace(from, to)).map_err(|flaw| flaw.kind), Err(kind), "{to}");
        }
    }
}
