//! `[dialect]` of `punchd.toml`: a firmware family, and single settings that override it.

use serde::de::{Deserialize, Deserializer, Error as _};

use crate::protocol::dialect::{DOCUMENT_FIELDS, Dialect, FAHRENHEIT, FIXED_STAMP, Family};
use crate::protocol::version::Version;

/// The dialect that the table describes.
pub(super) fn dialect<'de, D: Deserializer<'de>>(input: D) -> Result<Dialect, D::Error> {
    Settings::deserialize(input)?.dialect().map_err(D::Error::custom)
}

/// The table as it is written. A key that is missing has the family's value.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    #[serde(deserialize_with = "family")]
    family: Family,
    #[serde(deserialize_with = "attlog_fields")]
    attlog_fields: Option<usize>,
    empty_workcode: Option<bool>,
    empty_extra: Option<bool>,
    running_index: Option<bool>,
    mask_temperature: Option<bool>,
    tab_at_end: Option<bool>,
    user_validity: Option<bool>,
    #[serde(deserialize_with = "name_bytes")]
    name_bytes: Option<usize>,
    /// Whether it is `fdata`.
    #[serde(deserialize_with = "photo_path")]
    photo_path: Option<bool>,
    /// Whether it is the fixed one, 9999.
    #[serde(deserialize_with = "stamp")]
    stamp: Option<bool>,
    op_stamp: Option<bool>,
    #[serde(deserialize_with = "info_values")]
    info_values: Option<usize>,
    #[serde(deserialize_with = "suffix")]
    suffix: Option<String>,
    #[serde(deserialize_with = "device_type")]
    device_type: Option<String>,
    push_options_flag: Option<bool>,
    language_first: Option<bool>,
    #[serde(deserialize_with = "pushver")]
    pushver: Option<String>,
    replies_alone: Option<bool>,
    one_line_replies: Option<bool>,
    packed: Option<bool>,
    attlog_count: Option<bool>,
}

impl Settings {
    fn dialect(self) -> Result<Dialect, String> {
        let family = self.family.dialect();
        let dialect = Dialect {
            attlog_fields: self.attlog_fields.unwrap_or(family.attlog_fields),
            empty_workcode: self.empty_workcode.unwrap_or(family.empty_workcode),
            empty_extra: self.empty_extra.unwrap_or(family.empty_extra),
            running_index: self.running_index.unwrap_or(family.running_index),
            mask_temperature: self.mask_temperature.unwrap_or(family.mask_temperature),
            tab_at_end: self.tab_at_end.unwrap_or(family.tab_at_end),
            user_validity: self.user_validity.unwrap_or(family.user_validity),
            name_bytes: self.name_bytes.unwrap_or(family.name_bytes),
            photos_to_fdata: self.photo_path.unwrap_or(family.photos_to_fdata),
            fixed_stamp: self.stamp.unwrap_or(family.fixed_stamp),
            op_stamp: self.op_stamp.unwrap_or(family.op_stamp),
            info_values: self.info_values.unwrap_or(family.info_values),
            suffix: self.suffix.unwrap_or(family.suffix),
            device_type: self.device_type.unwrap_or(family.device_type),
            push_options_flag: self.push_options_flag.unwrap_or(family.push_options_flag),
            language_first: self.language_first.unwrap_or(family.language_first),
            pushver: self.pushver.unwrap_or(family.pushver),
            replies_alone: self.replies_alone.unwrap_or(family.replies_alone),
            one_line_replies: self.one_line_replies.unwrap_or(family.one_line_replies),
            packed: self.packed.unwrap_or(family.packed),
            attlog_count: self.attlog_count.unwrap_or(family.attlog_count),
        };
        if dialect.running_index && dialect.attlog_fields == DOCUMENT_FIELDS {
            return Err("[dialect] running_index needs attlog_fields = 8 or more".into());
        }
        if dialect.mask_temperature && dialect.attlog_fields < FAHRENHEIT {
            return Err(format!(
                "[dialect] mask_temperature needs attlog_fields = {FAHRENHEIT} or more"
            ));
        }
        if dialect.mask_temperature && dialect.running_index && dialect.attlog_fields == FAHRENHEIT
        {
            return Err(
                "[dialect] running_index with mask_temperature needs attlog_fields = 11".into()
            );
        }
        Ok(dialect)
    }
}

fn family<'de, D: Deserializer<'de>>(input: D) -> Result<Family, D::Error> {
    let text = String::deserialize(input)?;
    Family::ALL.into_iter().find(|family| family.name() == text).ok_or_else(|| {
        let names = Family::ALL.map(Family::name).join(", ");
        D::Error::custom(format!("family {text:?} is not known; there are {names}"))
    })
}

fn attlog_fields<'de, D: Deserializer<'de>>(input: D) -> Result<Option<usize>, D::Error> {
    match i64::deserialize(input)? {
        fields @ 7..=11 => Ok(Some(fields as usize)),
        other => Err(D::Error::custom(format!("attlog_fields = {other} is not within 7 to 11"))),
    }
}

fn photo_path<'de, D: Deserializer<'de>>(input: D) -> Result<Option<bool>, D::Error> {
    match String::deserialize(input)?.as_str() {
        "cdata" => Ok(Some(false)),
        "fdata" => Ok(Some(true)),
        other => Err(D::Error::custom(format!(
            "photo_path {other:?} is neither \"cdata\" nor \"fdata\""
        ))),
    }
}

fn stamp<'de, D: Deserializer<'de>>(input: D) -> Result<Option<bool>, D::Error> {
    match String::deserialize(input)?.as_str() {
        "sequence" => Ok(Some(false)),
        FIXED_STAMP => Ok(Some(true)),
        other => {
            Err(D::Error::custom(format!("stamp {other:?} is neither \"sequence\" nor \"9999\"")))
        }
    }
}

fn info_values<'de, D: Deserializer<'de>>(input: D) -> Result<Option<usize>, D::Error> {
    match i64::deserialize(input)? {
        values @ (0 | 6 | 10 | 13) => Ok(Some(values as usize)),
        other => Err(D::Error::custom(format!("info_values = {other} is none of 0, 6, 10 and 13"))),
    }
}

fn name_bytes<'de, D: Deserializer<'de>>(input: D) -> Result<Option<usize>, D::Error> {
    match i64::deserialize(input)? {
        bytes @ 0..=255 => Ok(Some(bytes as usize)),
        other => Err(D::Error::custom(format!("name_bytes = {other} is not between 0 and 255"))),
    }
}

fn suffix<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(input)?;
    let is_ending = |ending: &str| {
        (1..=16).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if text.is_empty() || text.strip_prefix('.').is_some_and(is_ending) {
        return Ok(Some(text));
    }
    Err(D::Error::custom(format!(
        "suffix {text:?} is not a dot and 1 to 16 letters and digits, such as \".aspx\""
    )))
}

fn device_type<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(input)?;
    if text.len() <= 32 && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(Some(text));
    }
    Err(D::Error::custom(format!(
        "device_type {text:?} does not have up to 32 printable ASCII characters"
    )))
}

fn pushver<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(input)?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = text.split('.').all(is_number) && text.split('.').count() <= 3;
    if text.is_empty() || (is_version && Version::parse(&text).is_some()) {
        return Ok(Some(text));
    }
    Err(D::Error::custom(format!("pushver {text:?} is not a version such as \"2.32\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct File {
        #[serde(deserialize_with = "dialect")]
        dialect: Dialect,
    }

    fn read(text: &str) -> Result<Dialect, toml::de::Error> {
        toml::from_str(&format!("[dialect]\n{text}")).map(|file: File| file.dialect)
    }

    #[test]
    fn each_family_is_found_by_its_name() {
        assert_eq!(read("").unwrap(), Dialect::default());
        for family in Family::ALL {
            let named = read(&format!("family = {:?}", family.name())).unwrap();
            assert_eq!(named, family.dialect(), "{family:?}");
        }
    }

    #[test]
    fn single_settings_override_the_family_and_leave_the_rest() {
        let family = Family::RegionType.dialect();
        let cases = [
            ("attlog_fields = 9", Dialect { attlog_fields: 9, ..family.clone() }),
            ("running_index = false", Dialect { running_index: false, ..family.clone() }),
            ("empty_workcode = true", Dialect { empty_workcode: true, ..family.clone() }),
            ("empty_extra = true", Dialect { empty_extra: true, ..family.clone() }),
            ("stamp = \"sequence\"", Dialect { fixed_stamp: false, ..family.clone() }),
            ("op_stamp = true", Dialect { op_stamp: true, ..family.clone() }),
            ("info_values = 0", Dialect { info_values: 0, ..family.clone() }),
            ("suffix = \".php\"", Dialect { suffix: ".php".into(), ..family.clone() }),
            ("device_type = \"\"", Dialect { device_type: String::new(), ..family.clone() }),
            ("push_options_flag = false", Dialect { push_options_flag: false, ..family.clone() }),
            ("language_first = false", Dialect { language_first: false, ..family.clone() }),
            ("pushver = \"2.32\"", Dialect { pushver: "2.32".into(), ..family.clone() }),
            ("replies_alone = true", Dialect { replies_alone: true, ..family.clone() }),
            ("one_line_replies = true", Dialect { one_line_replies: true, ..family.clone() }),
            ("mask_temperature = true", Dialect { mask_temperature: true, ..family.clone() }),
            ("tab_at_end = true", Dialect { tab_at_end: true, ..family.clone() }),
            ("user_validity = true", Dialect { user_validity: true, ..family.clone() }),
            ("name_bytes = 24", Dialect { name_bytes: 24, ..family.clone() }),
            ("photo_path = \"fdata\"", Dialect { photos_to_fdata: true, ..family.clone() }),
            ("attlog_count = true", Dialect { attlog_count: true, ..family.clone() }),
            ("packed = true", Dialect { packed: true, ..family.clone() }),
        ];
        for (setting, dialect) in cases {
            assert_ne!(dialect, family, "{setting} changes nothing");
            let text = format!("family = \"region-type\"\n{setting}");
            assert_eq!(read(&text).unwrap(), dialect, "{setting}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_key_and_place() {
        for (text, message) in [
            (
                "family = \"brand\"",
                "family \"brand\" is not known; there are document, fixed-stamp",
            ),
            ("family = \"Document\"", "sparse-index"),
            ("attlog_fields = 6", "attlog_fields = 6 is not within 7 to 11"),
            ("attlog_fields = 12", "attlog_fields = 12"),
            ("attlog_fields = -1", "attlog_fields = -1"),
            ("running_index = true", "running_index needs attlog_fields"),
            ("family = \"region-type\"\nattlog_fields = 7", "running_index needs attlog_fields"),
            ("mask_temperature = true", "mask_temperature needs attlog_fields = 10"),
            (
                "family = \"visible-light\"\nattlog_fields = 9",
                "mask_temperature needs attlog_fields",
            ),
            (
                "family = \"visible-light\"\nrunning_index = true",
                "running_index with mask_temperature needs attlog_fields = 11",
            ),
            ("photo_path = \"edata\"", "photo_path \"edata\" is neither"),
            ("stamp = \"now\"", "stamp \"now\" is neither"),
            ("stamp = \"\"", "stamp \"\""),
            ("info_values = 7", "info_values = 7 is none of"),
            ("info_values = -6", "info_values = -6"),
            ("suffix = \"aspx\"", "suffix \"aspx\""),
            ("suffix = \".\"", "suffix \".\""),
            ("suffix = \".a/b\"", "suffix"),
            ("suffix = \".aspx?a=b\"", "suffix"),
            ("suffix = \".12345678901234567\"", "suffix"),
            ("device_type = \"a\\nb\"", "device_type"),
            ("device_type = \"é\"", "device_type"),
            ("device_type = \"123456789012345678901234567890123\"", "device_type"),
            ("pushver = \"new\"", "pushver \"new\" is not a version"),
            ("pushver = \" 2.4.1\"", "pushver"),
            ("pushver = \"2.4.1.1\"", "pushver"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message().contains(message), "{text:?}: {error}");
            assert!(error.to_string().contains("line "), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_shown_with_its_line() {
        for text in
            ["stamp = 9999", "packed = 1", "attlog_fields = \"8\"", "pushver = 2.32", "colour = 1"]
        {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(text), "{text:?}: {error}");
        }
    }
}
