//! Records, both ways: what was read is written, and read again as the same; what was made is one row, of
//! which a reader that knows only the document makes the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::codes::Language;
use crate::protocol::data_table::DataTable;
use crate::protocol::record::{
    AttPhoto, BioPhotoUpdate, CardPhotoKind, EntryTable, ErrorCode, ErrorLog, IdCard, IdNumber,
    IdPunch, Jpeg, LONGEST_TEMPLATE, Operand, Operation, PictureKind, Pin, Punch, Screening,
    Template, TemplateForm, User, UserChange, UserPic, WorkCode,
};
use crate::protocol::time::LocalTime;

/// The bytes before the data of a face, in rows that go up.
const BEFORE_A_FACE: usize = 16;

/// By the first byte: a record of `DATA UPDATE` (§12.2), `TABLE fields`, or the parts of a row that goes
/// up (§11), one a line; and the language.
pub fn records(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else { return };
    let language = match first % 2 {
        0 => Language::ENGLISH,
        _ => Language::SIMPLIFIED_CHINESE,
    };
    if *first >= 0x80 {
        made(text, language);
        return;
    }
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let Ok(name) = std::str::from_utf8(&text[..end]) else { return };
    update(DataTable::named(name), text[end..].trim_ascii_start(), language);
}

/// Reads a record. What was taken is one row when it goes up, and read again it is the same.
pub(super) fn update(table: DataTable<'_>, record: &[u8], language: Language) {
    match table {
        DataTable::Users => {
            let read = |record: &[u8]| {
                let change = UserChange::parse(record, language).ok()?;
                let mut user = User::new(change.pin.clone());
                change.apply(&mut user);
                Some(user)
            };
            both_ways(record, language, read, |user, row| user.write(row, language));
        }
        DataTable::IdCards => {
            // Its text is UTF-8 in every language.
            let Ok(card) = IdCard::parse(record) else { return };
            let mut row = Vec::new();
            card.write(&mut row);
            assert_one_row(&row);
            assert_eq!(IdCard::from_row(&row).ok(), Some(card), "{row:?}");
        }
        DataTable::Templates(form) => template(form, record, language),
        DataTable::Pictures(PictureKind::User) => {
            let read = |record: &[u8]| UserPic::parse(record, language).ok();
            both_ways(record, language, read, |picture, row| picture.write(row));
        }
        DataTable::Pictures(PictureKind::Comparison) => {
            let read = |record: &[u8]| match BioPhotoUpdate::parse(record, language).ok()? {
                BioPhotoUpdate::Here(picture) => Some(picture),
                BioPhotoUpdate::At { url, .. } => {
                    assert!(!url.contains(char::is_whitespace), "{url:?}");
                    None
                }
            };
            both_ways(record, language, read, |picture, row| picture.write(row));
        }
        DataTable::Entries(table) => entry(table, record, language),
        DataTable::Punches | DataTable::Photos | DataTable::Unknown(_) => {}
    }
}

/// Parsed, written, parsed: the same, as far as the language can carry its characters; from then on the
/// bytes are the same.
fn both_ways<T: PartialEq + std::fmt::Debug>(
    record: &[u8],
    language: Language,
    read: impl Fn(&[u8]) -> Option<T>,
    write: impl Fn(&T, &mut Vec<u8>),
) {
    let Some(first) = read(record) else { return };
    let (mut row, mut again) = (Vec::new(), Vec::new());
    write(&first, &mut row);
    assert_one_row(&row);
    let name = row.iter().position(|byte| *byte == b' ').map_or(0, |blank| blank + 1);
    let Some(second) = read(&row[name..]) else {
        panic!("not read again: {:?}", String::from_utf8_lossy(&row))
    };
    write(&second, &mut again);
    assert_eq!(again, row);
    if language == Language::ENGLISH {
        assert_eq!(first, second);
    }
}

fn template(form: TemplateForm, record: &[u8], language: Language) {
    let Ok(template) = Template::parse(form, record, language) else { return };
    let mut row = Vec::new();
    template.write(&mut row);
    assert_one_row(&row);
    let fields = &row[form.word().len() + 1..];
    let is_face = form == TemplateForm::Face;
    let before = if is_face { BEFORE_A_FACE } else { 0 };
    let Ok(again) = Template::parse(form, fields, language) else {
        assert!(template.data.as_bytes().len() + before > LONGEST_TEMPLATE, "{row:?}");
        return;
    };
    assert_eq!(&again.data.as_bytes()[before..], template.data.as_bytes());
    assert_eq!(Template { data: template.data.clone(), ..again }, template);
}

/// What a table keeps of a record is kept the same if it comes as it was kept.
fn entry(table: &EntryTable, record: &[u8], language: Language) {
    let Ok(entry) = table.parse(record, language) else { return };
    let id = table.id_of(&entry);
    assert_eq!(table.id_of(&table.identity(&id)), id);
    let fields: Vec<String> = entry.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let kept = fields.join("\t");
    assert_one_row(kept.as_bytes());
    // A text may hold what looks like another key behind a blank: only a server may not write that.
    if let Ok(again) = table.parse(kept.as_bytes(), Language::ENGLISH) {
        assert_eq!(again, entry, "{kept:?}");
    }
}

fn assert_one_row(row: &[u8]) {
    let is_one = !row.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0));
    assert!(is_one, "it would be two rows: {:?}", String::from_utf8_lossy(row));
}

/// Rows that only go up, made of what drivers and sensors say.
fn made(bytes: &[u8], language: Language) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\n');
    let kind = parts.next().unwrap_or_default();
    let parts: Vec<&str> = parts.collect();
    match kind {
        "punch" => drop(punch(&parts)),
        "operation" => drop(operation(&parts, language)),
        "error" => drop(error(&parts, language)),
        "photo" => drop(photo(&parts, bytes)),
        _ => {}
    }
}

/// PIN, time, status, verification, work code, and perhaps the number of an identity card.
fn punch(parts: &[&str]) -> Option<()> {
    let [pin, time, status, verify, code, more @ ..] = parts else { return None };
    let punch = Punch {
        pin: Pin::new(pin).ok()?,
        time: LocalTime::parse(time)?,
        status: status.parse().ok()?,
        verify: verify.parse().ok()?,
        workcode: WorkCode::new(code).ok()?,
        screening: Screening::default(),
    };
    let number = more.first().and_then(|number| IdNumber::new("idnum", number).ok());
    let (mut row, is_carded) = (Vec::new(), number.is_some());
    match number {
        Some(number) => IdPunch::attendance(punch.clone(), number).write(&mut row),
        None => punch.write(&mut row),
    }
    assert_one_row(&row);
    let row = String::from_utf8(row).ok()?;
    let fields: Vec<&str> = row.split('\t').collect();
    assert_eq!(fields.len(), if is_carded { 9 } else { 7 }, "{row}");
    let again = Punch {
        pin: Pin::new(fields[0]).expect("a PIN that was written"),
        time: LocalTime::parse(fields[1]).expect("a time that was written"),
        status: fields[2].parse().expect("a number that was written"),
        verify: fields[3].parse().expect("a number that was written"),
        workcode: WorkCode::new(fields[4]).expect("a code that was written"),
        screening: Screening::default(),
    };
    assert_eq!(again, punch);
    assert!(!is_carded || fields[7] == more[0], "{row}");
    Some(())
}

/// Code, time, operator, to whom, three values.
fn operation(parts: &[&str], language: Language) -> Option<()> {
    let [code, time, texts @ ..] = parts else { return None };
    let [operator, who, v1, v2, v3] = texts.first_chunk()?.map(|text| Operand::new("v", text).ok());
    let operation = Operation {
        code: code.parse().ok()?,
        time: LocalTime::parse(time)?,
        operator: operator?,
        who: who?,
        values: [v1?, v2?, v3?],
    };
    let mut row = Vec::new();
    operation.write(&mut row, language);
    assert_one_row(&row);
    assert_eq!(row.iter().filter(|byte| **byte == b'\t').count(), 6, "{row:?}");
    if language == Language::ENGLISH {
        let row = String::from_utf8(row).ok()?;
        let fields: Vec<&str> = row.strip_prefix("OPLOG ")?.split('\t').collect();
        let Operation { code, time, operator, who, values: [v1, v2, v3] } = &operation;
        let [operator, who, v1, v2, v3] = [operator, who, v1, v2, v3].map(Operand::as_str);
        let time = time.to_string();
        assert_eq!(fields, [&*code.to_string(), operator, &time, who, v1, v2, v3]);
    }
    Some(())
}

/// Code, message, command, additional information as JSON.
fn error(parts: &[&str], language: Language) -> Option<()> {
    let [code, message, command, additional, ..] = parts else { return None };
    let command = Some(*command).filter(|id| !id.is_empty());
    let additional = serde_json::from_str(additional).unwrap_or_default();
    let error = ErrorLog::new(ErrorCode::new(code).ok()?, message, command, additional).ok()?;
    let mut row = Vec::new();
    error.write(&mut row, language);
    assert_one_row(&row);
    let fields: Vec<&[u8]> = row.split(|byte| *byte == b'\t').collect();
    assert_eq!(fields.len(), 5, "{row:?}");
    assert_eq!(fields[0], format!("ERRORLOG ErrCode={code}").as_bytes());
    assert_eq!(fields[3], format!("CmdId={}", command.unwrap_or_default()).as_bytes());
    let data = STANDARD.decode(fields[4].strip_prefix(b"Additional=")?).expect("base64");
    let is_object =
        serde_json::from_slice(&data).is_ok_and(|value: serde_json::Value| value.is_object());
    assert_eq!(is_object, error.additional().is_some(), "{data:?}");
    Some(())
}

/// Time, PIN, and perhaps kind and number of an identity card; the picture is what all the bytes are
/// between the marks of a JPEG.
fn photo(parts: &[&str], bytes: &[u8]) -> Option<()> {
    let [time, pin, more @ ..] = parts else { return None };
    let (time, pin) = (LocalTime::parse(time)?, Pin::new(pin).ok()?);
    let jpeg = Jpeg::new("photo", [b"\xff\xd8\xff", bytes, b"\xff\xd9"].concat()).ok()?;
    let mut photo = AttPhoto::new(time, pin.clone(), jpeg);
    let card = match more {
        [kind, number, ..] => {
            let kind = kind.parse().ok().and_then(CardPhotoKind::new);
            kind.zip(IdNumber::new("idnum", number).ok())
        }
        _ => None,
    };
    match card.clone() {
        Some((kind, number)) => photo = photo.with_card(kind, number),
        None => AttPhoto::check_pin(&pin).ok()?,
    }
    for base64 in [false, true] {
        let mut body = Vec::new();
        photo.write(&mut body, "S", base64);
        let end = body.iter().position(|byte| *byte == 0)?;
        let head = String::from_utf8(body[..end].to_vec()).ok()?;
        let size = photo.photo().as_bytes().len();
        assert_eq!(head, format!("PIN={}\nSN=S\nsize={size}\nCMD=uploadphoto", photo.name()));
        let data = match base64 {
            true => STANDARD.decode(&body[end + 1..]).expect("base64"),
            false => body[end + 1..].to_vec(),
        };
        assert_eq!(data, photo.photo().as_bytes());
    }
    // The server reads the PIN from the name.
    let name = photo.name();
    let (_, named) = name.strip_suffix(".jpg")?.split_once('-')?;
    let expected = match &card {
        None => pin.to_string(),
        Some((kind, number)) => format!("{}-{pin}-{number}", kind.code()),
    };
    assert_eq!(named, expected);
    Some(())
}
