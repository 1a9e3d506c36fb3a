//! Random records within the rules of their fields.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use punchd::protocol::codes::Language;
use punchd::protocol::record::*;
use punchd::protocol::tables::{BioType, Gender, Nation};
use punchd::protocol::time::LocalTime;

pub fn language() -> impl Strategy<Value = Language> {
    prop_oneof![Just(Language::ENGLISH), Just(Language::SIMPLIFIED_CHINESE)]
}

pub fn pin() -> impl Strategy<Value = Pin> {
    "[0-9A-Za-z._-]{1,24}".prop_map(|text| Pin::new(&text).unwrap())
}

/// From 2015 to the end of 2099. The emulator takes a clock before 2015 for unset.
pub fn time() -> impl Strategy<Value = LocalTime> {
    (1_420_070_400_i64..4_102_444_800).prop_map(|seconds| LocalTime::from_seconds(seconds).unwrap())
}

/// Text without control characters that both encodings have.
pub fn message(longest: usize) -> impl Strategy<Value = String> {
    vec(
        prop_oneof![
            4 => prop::char::range(' ', '~'),
            2 => prop::char::range('一', '龥'),
            1 => prop::sample::select(&['=', '&', ',', '"', '\\', '%', '€', 'é', 'я'][..]),
        ],
        0..longest,
    )
    .prop_map(String::from_iter)
}

pub fn template_data() -> impl Strategy<Value = TemplateData> {
    vec(any::<u8>(), 1..700).prop_map(|bytes| TemplateData::new("data", bytes).unwrap())
}

pub fn jpeg() -> impl Strategy<Value = Jpeg> {
    vec(any::<u8>(), 0..700).prop_map(|middle| {
        let bytes = [&[0xFF, 0xD8, 0xFF][..], &middle, &[0xFF, 0xD9]].concat();
        Jpeg::new("photo", bytes).unwrap()
    })
}

pub fn bio_type() -> impl Strategy<Value = BioType> {
    (0..10_u8).prop_map(|code| BioType::new(code).unwrap())
}

pub fn id_number() -> impl Strategy<Value = IdNumber> {
    prop_oneof!["[0-9]{17}[0-9X]", "[0-9]{15}", "[A-Z]{3}[0-9]{12}"]
        .prop_map(|text| IdNumber::new("idnum", &text).unwrap())
}

pub fn punch() -> impl Strategy<Value = Punch> {
    (pin(), time(), any::<u8>(), any::<u8>(), "[0-9A-Za-z]{0,24}", screening()).prop_map(
        |(pin, time, status, verify, workcode, screening)| {
            let workcode = WorkCode::new(&workcode).unwrap();
            Punch { pin, time, status, verify, workcode, screening }
        },
    )
}

pub fn screening() -> impl Strategy<Value = Screening> {
    let temperature = prop::option::of(200..=500_u16)
        .prop_map(|tenths| tenths.map(|tenths| Temperature::from_tenths(tenths).unwrap()));
    (any::<Option<bool>>(), temperature)
        .prop_map(|(mask, temperature)| Screening { mask, temperature })
}

pub fn validity() -> impl Strategy<Value = Validity> {
    let time = || {
        prop::option::of(prop_oneof![
            Just("0".to_owned()),
            "[1-9][0-9]{0,13}",
            time().prop_map(|time| time.to_string())
        ])
    };
    (time(), time(), prop::option::of(0..=3_u8)).prop_map(|(start, end, expires)| Validity {
        start,
        end,
        expires,
    })
}

pub fn operation() -> impl Strategy<Value = Operation> {
    let operand = || message(20).prop_map(|text| Operand::new("who", &text).unwrap());
    (any::<u16>(), pin(), time(), operand(), [operand(), operand(), operand()]).prop_map(
        |(code, operator, time, who, values)| {
            let operator = Operand::new("operator", operator.as_str()).unwrap();
            Operation { code, operator, time, who, values }
        },
    )
}

pub fn user() -> impl Strategy<Value = User> {
    let card = || prop_oneof![Just(String::new()), any::<u32>().prop_map(|n| n.to_string())];
    let numbers = (prop::sample::select(&[0_u8, 2, 6, 10, 14][..]), any::<u16>(), -1..=28_i16);
    let cards = [card(), card()];
    (pin(), message(30), numbers, message(24), cards, "[0-9]{16}", validity()).prop_map(
        |(pin, name, numbers, password, [card, vice_card], time_zones, validity)| User {
            pin,
            name,
            privilege: numbers.0,
            password,
            card,
            group: numbers.1,
            time_zones,
            verify: numbers.2,
            vice_card,
            validity,
        },
    )
}

pub fn template() -> impl Strategy<Value = Template> {
    let kind = prop_oneof![
        Just(TemplateKind::Fingerprint),
        Just(TemplateKind::Face),
        Just(TemplateKind::FingerVein),
        bio_type().prop_map(TemplateKind::Unified),
    ];
    let slot =
        (kind, 0..100_u8, 0..100_u8).prop_filter_map("no such finger", |(kind, number, index)| {
            let number = number % (kind.bio_type().last_number() + 1);
            TemplateSlot::new(kind, number, index % 3)
                .or_else(|_| TemplateSlot::new(kind, number, 0))
                .ok()
        });
    let algorithm = (0..1000_u16, 0..1000_u16, 0..3_u8)
        .prop_map(|(major, minor, format)| Algorithm::new(major, minor, format).unwrap());
    (pin(), slot, any::<[bool; 2]>(), algorithm, template_data()).prop_map(
        |(pin, slot, [valid, duress], algorithm, data)| Template {
            pin,
            slot,
            valid,
            duress,
            algorithm,
            data,
        },
    )
}

pub fn day() -> impl Strategy<Value = Day> {
    (1900..2100_u16, 1..=12_u8, 1..=31_u8)
        .prop_filter_map("no such day", |(y, m, d)| Day::parse(&format!("{y:04}{m:02}{d:02}")))
}

pub fn card() -> impl Strategy<Value = IdCard> {
    let text = || message(40).prop_map(|text| CardText::new("text", &text).unwrap());
    let data = || vec(any::<u8>(), 0..600).prop_map(|data| CardData::new("data", data).unwrap());
    let gender = (1..=2_u8).prop_map(|code| Gender::new(code).unwrap());
    let nation = (0..=98_u8).prop_filter_map("no such nation", Nation::new);
    let bound = pin().prop_filter("0 is for nobody", |pin| pin.as_str() != "0");
    (
        (prop::option::of(bound), id_number(), gender, nation),
        (prop::option::of(day()), prop::option::of([day(), day()])),
        [text(), text(), text(), text(), text(), text(), text(), text()],
        [data(), data(), data()],
    )
        .prop_map(|((pin, id_num, gender, nation), (birthday, valid), texts, data)| {
            let [sn_num, dn_num, name, address, additional_info, issuer, reserve, notice] = texts;
            let [photo, first, second] = data;
            let valid = valid.map(|[a, b]| (a.min(b), a.max(b)));
            let fingerprints = [first, second];
            IdCard {
                pin,
                sn_num,
                id_num,
                dn_num,
                name,
                gender,
                nation,
                birthday,
                valid,
                address,
                additional_info,
                issuer,
                photo,
                fingerprints,
                reserve,
                notice,
            }
        })
}

pub fn error_log() -> impl Strategy<Value = ErrorLog> {
    let additional = prop_oneof![
        Just(Value::Null),
        (message(20), any::<i64>()).prop_map(|(key, number)| json!({key: number, "list": [null]})),
    ];
    let command = prop::option::of("[0-9A-Za-z_-]{1,32}");
    ("[DS][0-9]{2}E[0-9]{4}", message(100), command, additional).prop_map(
        |(code, message, command, additional)| {
            let code = ErrorCode::new(&code).unwrap();
            ErrorLog::new(code, &message, command.as_deref(), additional).unwrap()
        },
    )
}
