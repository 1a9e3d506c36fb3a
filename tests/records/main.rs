//! Every record for the server, with random content: punchd writes it, the parser of the emulator
//! reads it, all fields are equal.
//!
//! The two were written independently from the document, so that a mistake in one is found. The
//! cases are the same in every run. Records from the server are read back by punchd itself.

#![allow(clippy::unwrap_used)] // A test that cannot go on panics.

mod content;

use iclock_emulator::Charset;
use iclock_emulator::record as theirs;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, RngSeed};
use serde_json::Value;

use punchd::protocol::codes::Language;
use punchd::protocol::record::*;
use punchd::protocol::version::Version;

use content::*;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x0009_EC04_D500),
        ..ProptestConfig::default()
    }
}

/// The row of a record without its LF, as the emulator decodes it. `since` is the first version
/// of the protocol that has the record.
fn row(record: Record, since: Version, language: Language) -> String {
    assert_eq!(record.since(), since);
    let mut bytes = Vec::new();
    record.write(&mut bytes, language);
    assert_eq!(bytes.pop(), Some(b'\n'));
    assert!(!bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)), "{bytes:?}");
    let utf8 = matches!(record, Record::IdCard(_));
    let charset = if utf8 { Charset::Utf8 } else { charset(language) };
    charset.decode(&bytes).unwrap()
}

fn charset(language: Language) -> Charset {
    if language == Language::SIMPLIFIED_CHINESE { Charset::Gbk } else { Charset::Utf8 }
}

fn assert_punch(seen: &theirs::attlog::Punch, punch: &Punch) {
    assert_eq!(seen.pin, punch.pin.as_str());
    assert_eq!(seen.time, punch.time.to_string());
    assert_eq!((seen.status, seen.verify), (punch.status.into(), punch.verify.into()));
    assert_eq!(seen.workcode, punch.workcode.as_str());
    assert_eq!(seen.reserved, ["0", "0"]);
    assert!(seen.dialect().is_none());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_punch_arrives_unchanged(punch in punch()) {
        let row = row(Record::Punch(punch.clone()), Version::OLDEST, Language::ENGLISH);
        let seen = theirs::attlog::parse(&row).unwrap();
        assert_punch(&seen, &punch);
        prop_assert_eq!(seen.card, None);
    }

    #[test]
    fn a_punch_with_an_identity_card_arrives_unchanged(
        (punch, number, verification) in (punch(), id_number(), any::<bool>())
    ) {
        let sent = if verification {
            let punch = Punch { status: punch.status % 3, verify: punch.verify % 3 + 1, ..punch };
            IdPunch::verification(punch, number).unwrap()
        } else {
            IdPunch::attendance(punch, number)
        };
        let row = row(Record::IdPunch(sent.clone()), Version(2, 4, 0), Language::ENGLISH);
        let seen = theirs::attlog::parse(&row).unwrap();
        assert_punch(&seen, sent.punch());
        let id_num = sent.number().to_string();
        prop_assert_eq!(seen.card, Some(theirs::attlog::Card { id_num, verification }));
    }

    #[test]
    fn an_operation_arrives_unchanged(operation in operation()) {
        let row = row(Record::Operation(operation.clone()), Version::OLDEST, Language::ENGLISH);
        let seen = theirs::oplog::parse(&row).unwrap();
        prop_assert_eq!(seen.op, i64::from(operation.code));
        prop_assert_eq!(seen.operator, operation.operator.as_str());
        prop_assert_eq!(seen.time, operation.time.to_string());
        prop_assert_eq!(seen.who, operation.who.as_str());
        prop_assert_eq!(seen.values, operation.values.each_ref().map(|value| value.as_str()));
    }

    #[test]
    fn a_user_arrives_unchanged((user, language) in (user(), language())) {
        let row = row(Record::User(user.clone()), Version::OLDEST, language);
        let seen = theirs::user::parse(&row, charset(language)).unwrap();
        prop_assert_eq!(seen.pin, user.pin.as_str());
        prop_assert_eq!(&seen.name, &user.name);
        prop_assert_eq!(seen.pri, i64::from(user.privilege));
        prop_assert_eq!(seen.passwd, user.password);
        prop_assert_eq!(seen.card, user.card);
        prop_assert_eq!(seen.grp, user.group.to_string());
        prop_assert_eq!(seen.tz, user.time_zones);
        prop_assert_eq!(seen.verify, user.verify.to_string());
        prop_assert_eq!(seen.vice_card, user.vice_card);
        let Validity { start, end, expires } = user.validity.clone();
        let was_given = user.validity != Validity::default();
        let or_zero = |time: Option<String>| time.unwrap_or_else(|| "0".into());
        prop_assert_eq!(seen.validity, was_given.then(|| (or_zero(start), or_zero(end))));
        prop_assert_eq!(seen.expires, expires.map(|expires| expires.to_string()));
    }

    #[test]
    fn a_template_arrives_unchanged(template in template()) {
        let row = row(Record::Template(template.clone()), Version::OLDEST, Language::ENGLISH);
        let Template { pin, slot, valid, duress, algorithm, data } = &template;
        let seen = match slot.kind() {
            TemplateKind::Fingerprint => theirs::template::fp(&row).unwrap(),
            TemplateKind::Face => theirs::template::face(&row).unwrap(),
            TemplateKind::FingerVein => theirs::template::fvein(&row).unwrap(),
            TemplateKind::Unified(_) => theirs::template::biodata(&row).unwrap(),
        };
        prop_assert_eq!(seen.form, slot.kind().form().word());
        prop_assert_eq!(seen.pin, pin.as_str());
        prop_assert_eq!((seen.no, seen.index), (slot.number().into(), slot.index().into()));
        let in_duress = slot.kind() == TemplateKind::Fingerprint && *valid && *duress;
        prop_assert_eq!(seen.valid, if in_duress { 3 } else { i64::from(*valid) });
        let leading = if slot.kind() == TemplateKind::Face { 16 } else { 0 };
        prop_assert_eq!(&seen.data[leading..], data.as_bytes());
        if let TemplateKind::Unified(bio_type) = slot.kind() {
            let bio = seen.bio.unwrap();
            prop_assert_eq!(bio.duress, *duress);
            prop_assert_eq!(bio.kind, i64::from(bio_type.code()));
            prop_assert_eq!(bio.major_ver, i64::from(algorithm.major()));
            prop_assert_eq!(bio.minor_ver, i64::from(algorithm.minor()));
            prop_assert_eq!(bio.format, i64::from(algorithm.format()));
            let record = row.strip_prefix("BIODATA ").unwrap();
            let down = Template::parse(TemplateForm::Unified, record.as_bytes(), Language::ENGLISH).unwrap();
            prop_assert_eq!(down, template);
        } else {
            prop_assert_eq!(seen.bio, None);
        }
    }

    #[test]
    fn photos_arrive_unchanged((pin, bio_type, photo) in (pin(), bio_type(), jpeg())) {
        let bytes = photo.as_bytes().to_vec();
        let pic = UserPic { pin: pin.clone(), photo: photo.clone() };
        let bio = BioPhoto { pin: pin.clone(), bio_type, photo };
        let pic = row(Record::UserPic(pic), Version::OLDEST, Language::ENGLISH);
        let bio = row(Record::BioPhoto(bio), Version::OLDEST, Language::ENGLISH);
        for (seen, form, kind) in [
            (theirs::photo::userpic(&pic).unwrap(), "USERPIC", None),
            (theirs::photo::biophoto(&bio).unwrap(), "BIOPHOTO", Some(bio_type.code().into())),
        ] {
            let file_name = format!("{pin}.jpg");
            let pin = pin.to_string();
            let data = bytes.clone();
            prop_assert_eq!(seen, theirs::photo::Photo { form, pin, file_name, kind, data });
        }
    }

    #[test]
    fn an_attendance_photo_arrives_unchanged(
        (pin, time, photo, base64) in (pin(), time(), jpeg(), any::<bool>()),
        card in prop::option::of((0..5_u8, id_number())),
        serial in "[0-9A-Z]{1,20}",
    ) {
        prop_assume!(card.is_some() || AttPhoto::check_pin(&pin).is_ok());
        let mut sent = AttPhoto::new(time, pin.clone(), photo);
        if let Some((kind, number)) = card.clone() {
            sent = sent.with_card(CardPhotoKind::new(kind).unwrap(), number);
        }
        let mut body = Vec::new();
        sent.write(&mut body, &serial, base64);
        let since = if card.is_some() { Version(2, 4, 0) } else { Version::OLDEST };
        prop_assert_eq!(sent.since(), since);
        let seen = theirs::attphoto::parse(&body, base64).unwrap();
        let digits: String = time.to_string().chars().filter(char::is_ascii_digit).collect();
        prop_assert_eq!(seen, theirs::attphoto::AttPhoto {
            file_name: sent.name(),
            time: digits,
            pin: pin.to_string(),
            card: card.map(|(kind, number)| {
                theirs::attphoto::Card { kind, id_num: number.to_string() }
            }),
            sn: serial,
            data: sent.photo().as_bytes().to_vec(),
        });
    }

    #[test]
    fn an_identity_card_arrives_unchanged((card, language) in (card(), language())) {
        let row = row(Record::IdCard(Box::new(card.clone())), Version(2, 3, 0), language);
        let seen = theirs::idcard::parse(&row).unwrap();
        prop_assert_eq!(seen.pin, card.pin.as_ref().map_or("0", Pin::as_str));
        prop_assert_eq!(seen.sn_num, card.sn_num.as_str());
        prop_assert_eq!(seen.id_num, card.id_num.as_str());
        prop_assert_eq!(seen.dn_num, card.dn_num.as_str());
        prop_assert_eq!(seen.name, card.name.as_str());
        prop_assert_eq!(seen.gender, i64::from(card.gender.code()));
        prop_assert_eq!(seen.nation, i64::from(card.nation.code()));
        prop_assert_eq!(seen.birthday, card.birthday.map(|day| day.to_string()).unwrap_or_default());
        let valid = card.valid.map(|(first, last)| format!("{first}{last}"));
        prop_assert_eq!(seen.valid_info, valid.unwrap_or_default());
        prop_assert_eq!(seen.address, card.address.as_str());
        prop_assert_eq!(seen.additional_info, card.additional_info.as_str());
        prop_assert_eq!(seen.issuer, card.issuer.as_str());
        let [first, second] = &card.fingerprints;
        let bytes = [&card.photo, first, second].map(|data| data.as_bytes().len());
        prop_assert_eq!(seen.data_bytes, bytes);
        prop_assert_eq!(seen.reserve, card.reserve.as_str());
        prop_assert_eq!(seen.notice, card.notice.as_str());
        // The emulator only counts the bytes of the photo and the fingerprints. They are compared
        // here.
        let record = row.strip_prefix("IDCARD ").unwrap();
        prop_assert_eq!(IdCard::parse(record.as_bytes()).unwrap(), card);
    }

    #[test]
    fn an_error_arrives_unchanged((error, language) in (error_log(), language())) {
        let row = row(Record::ErrorLog(error.clone()), Version(2, 4, 1), language);
        let seen = theirs::errorlog::parse(&row).unwrap();
        prop_assert_eq!(seen.code, error.code().as_str());
        prop_assert_eq!(seen.message, error.message());
        prop_assert_eq!(seen.of_command, error.command().is_some());
        prop_assert_eq!(seen.command, error.command().unwrap_or_default());
        prop_assert_eq!(seen.additional, error.additional().cloned().map(Value::Object));
    }
}
