//! How rows are read: the columns of each SQL table, and what they mean. The first two columns are
//! always the number and `held`. A row that breaks a rule of this version reads as `None`.

use rusqlite::Row;
use serde_json::Value;

use super::rows::Content;
use crate::protocol::record::{
    Algorithm, AttPhoto, BioPhoto, CardPhotoKind, ErrorCode, ErrorLog, IdCard, IdNumber, IdPunch,
    Jpeg, Operand, Operation, PictureKind, Pin, Punch, Record, Screening, Temperature, Template,
    TemplateData, TemplateForm, TemplateKind, TemplateSlot, User, UserPic, Validity, WorkCode,
};
use crate::protocol::tables::BioType;
use crate::protocol::time::LocalTime;

/// The columns that [`user`] reads, after the number and `held`.
pub(super) const USER: &str = "pin, name, privilege, password, card, grp, time_zones, verify, vice_card, valid_from, valid_until, \
     expires";

/// A user from their columns; `None` if their PIN breaks a rule of this version.
pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<Option<User>> {
    let Ok(pin) = Pin::new(&row.get::<_, String>(2)?) else { return Ok(None) };
    Ok(Some(User {
        pin,
        name: row.get(3)?,
        privilege: row.get(4)?,
        password: row.get(5)?,
        card: row.get(6)?,
        group: row.get(7)?,
        time_zones: row.get(8)?,
        verify: row.get(9)?,
        vice_card: row.get(10)?,
        validity: Validity { start: row.get(11)?, end: row.get(12)?, expires: row.get(13)? },
    }))
}

/// The same, as a row that goes up.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    Ok(user(row)?.map(|user| Content::Record(Record::User(user))))
}

/// The columns that [`template`] reads, after the number and `held`.
pub(super) const TEMPLATE: &str =
    "pin, kind, type, number, idx, valid, duress, major, minor, format, data";

/// A template from its columns; `None` if it breaks a rule of this version.
pub(super) fn template(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let (pin, kind, bio_type): (String, u8, u8) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let (number, index) = (row.get(5)?, row.get(6)?);
    let (valid, duress) = (row.get(7)?, row.get(8)?);
    let (major, minor, format) = (row.get(9)?, row.get(10)?, row.get(11)?);
    let data: Vec<u8> = row.get(12)?;
    let read = || {
        let kind = TemplateKind::new(TemplateForm::from_code(kind)?, BioType::new(bio_type)?);
        Some(Template {
            pin: Pin::new(&pin).ok()?,
            slot: TemplateSlot::new(kind, number, index).ok()?,
            valid,
            duress,
            algorithm: Algorithm::new(major, minor, format).ok()?,
            data: TemplateData::new("tmp", data).ok()?,
        })
    };
    Ok(read().map(|template| Content::Record(Record::Template(template))))
}

/// The columns that [`picture`] reads, after the number and `held`.
pub(super) const PICTURE: &str = "pin, kind, type, data";

/// A picture from its columns; `None` if it breaks a rule of this version.
pub(super) fn picture(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let (pin, kind, bio_type): (String, u8, u8) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let data: Vec<u8> = row.get(5)?;
    let read = || {
        let (pin, photo) = (Pin::new(&pin).ok()?, Jpeg::new("photo", data).ok()?);
        Some(match PictureKind::from_code(kind)? {
            PictureKind::User => Record::UserPic(UserPic { pin, photo }),
            PictureKind::Comparison => {
                Record::BioPhoto(BioPhoto { pin, bio_type: BioType::new(bio_type)?, photo })
            }
        })
    };
    Ok(read().map(Content::Record))
}

/// The columns that [`card`] reads, after the number and `held`.
pub(super) const CARD: &str = "record";

/// A card from its columns; `None` if it breaks a rule of this version.
pub(super) fn card(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let record: Vec<u8> = row.get(2)?;
    Ok(IdCard::from_row(&record).ok().map(|card| Content::Record(Record::IdCard(Box::new(card)))))
}

/// The columns that [`punch`] reads, after the number and `held`.
pub(super) const PUNCH: &str = "pin, time, status, verify, workcode, mask, temperature";

/// A punch without an identity card from its columns; `None` if it breaks a rule of this version.
pub(super) fn punch(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    Ok(plain_punch(row)?.map(|punch| Content::Record(Record::Punch(punch))))
}

/// The same columns as a punch. There are many such rows, so their texts are not copied twice.
fn plain_punch(row: &Row<'_>) -> rusqlite::Result<Option<Punch>> {
    let (pin, workcode) = (row.get_ref(2)?.as_str(), row.get_ref(6)?.as_str());
    let time = LocalTime::from_seconds(row.get(3)?);
    let (status, verify) = (row.get(4)?, row.get(5)?);
    let temperature: Option<u16> = row.get(8)?;
    let temperature = temperature.and_then(Temperature::from_tenths);
    let screening = Screening { mask: row.get(7)?, temperature };
    let read = || {
        Some(Punch {
            pin: Pin::new(pin.ok()?).ok()?,
            time: time?,
            status,
            verify,
            workcode: WorkCode::new(workcode.ok()?).ok()?,
            screening,
        })
    };
    Ok(read())
}

/// The columns that [`id_punch`] reads, after the number and `held`.
pub(super) const ID_PUNCH: &str =
    "pin, time, status, verify, workcode, mask, temperature, id_num, verification, plain";

/// A punch with an identity card from its columns; `None` if it breaks a rule of this version.
pub(super) fn id_punch(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let punch = plain_punch(row)?;
    let (number, verification): (Option<String>, Option<bool>) = (row.get(9)?, row.get(10)?);
    // What went up without its identity card goes like that again.
    let is_plain = row.get::<_, Option<bool>>(11)? == Some(true);
    let number = number.filter(|_| !is_plain);
    let read = || {
        let punch = punch?;
        let Some(number) = number else { return Some(Record::Punch(punch)) };
        let number = IdNumber::new("idnum", &number).ok()?;
        Some(Record::IdPunch(match verification {
            Some(true) => IdPunch::verification(punch, number).ok()?,
            _ => IdPunch::attendance(punch, number),
        }))
    };
    Ok(read().map(Content::Record))
}

/// The columns that [`operation`] reads, after the number and `held`.
pub(super) const OPERATION: &str = "code, operator, time, who, v1, v2, v3";

/// An operation from its columns; `None` if it breaks a rule of this version.
pub(super) fn operation(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let operand = |index| -> rusqlite::Result<Option<Operand>> {
        Ok(Operand::new("operand", &row.get::<_, String>(index)?).ok())
    };
    let code = row.get(2)?;
    let (operator, who) = (operand(3)?, operand(5)?);
    let values = [operand(6)?, operand(7)?, operand(8)?];
    let time = LocalTime::from_seconds(row.get(4)?);
    let read = || {
        let [v1, v2, v3] = values;
        Some(Record::Operation(Operation {
            code,
            operator: operator?,
            time: time?,
            who: who?,
            values: [v1?, v2?, v3?],
        }))
    };
    Ok(read().map(Content::Record))
}

/// The columns that [`photo`] reads, after the number and `held`.
pub(super) const PHOTO: &str = "pin, time, kind, id_num, data";

/// A photo from its columns; `None` if it breaks a rule of this version.
pub(super) fn photo(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let pin: String = row.get(2)?;
    let time = LocalTime::from_seconds(row.get(3)?);
    let (kind, number): (Option<u8>, Option<String>) = (row.get(4)?, row.get(5)?);
    let data: Vec<u8> = row.get(6)?;
    let read = || {
        let photo = AttPhoto::new(time?, Pin::new(&pin).ok()?, Jpeg::new("photo", data).ok()?);
        Some(match kind.zip(number) {
            Some((kind, number)) => {
                photo.with_card(CardPhotoKind::new(kind)?, IdNumber::new("idnum", &number).ok()?)
            }
            None => photo,
        })
    };
    Ok(read().map(Content::Photo))
}

/// The columns that [`error`] reads, after the number and `held`.
pub(super) const ERROR: &str = "code, message, command, additional";

/// An error from its columns; `None` if it breaks a rule of this version.
pub(super) fn error(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let (code, message): (String, String) = (row.get(2)?, row.get(3)?);
    let (command, additional): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
    let additional = additional.map_or(Some(Value::Null), |text| serde_json::from_str(&text).ok());
    let read = || {
        let code = ErrorCode::new(&code).ok()?;
        ErrorLog::stored(code, message, command, additional?)
    };
    Ok(read().map(|error| Content::Record(Record::ErrorLog(error))))
}
