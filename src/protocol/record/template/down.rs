//! Templates from the server: `FINGERTMP`, `FACE`, `FVEIN`, `BIODATA` (§12.2.3 to §12.2.6).

use super::{Algorithm, RULES, Template, TemplateData, TemplateForm, TemplateKind, TemplateSlot};
use crate::protocol::codes::Language;
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::foreign::quoted;
use crate::protocol::record::Pin;
use crate::protocol::record::data::required_number;
use crate::protocol::tables::BioType;

impl Template {
    /// The keys of a record of a form.
    pub(crate) fn keys(form: TemplateForm) -> &'static [&'static str] {
        match form {
            TemplateForm::Fingerprint => &FINGERTMP,
            TemplateForm::Face => &FACE,
            TemplateForm::FingerVein => &FVEIN,
            TemplateForm::Unified => &BIODATA,
        }
    }

    /// Reads and checks the record of a `DATA UPDATE` of a table of templates.
    pub fn parse(form: TemplateForm, record: &[u8], language: Language) -> Result<Self, Refusal> {
        match form {
            TemplateForm::Fingerprint => Self::parse_fingertmp(record, language),
            TemplateForm::Face => Self::parse_face(record, language),
            TemplateForm::FingerVein => Self::parse_fvein(record, language),
            TemplateForm::Unified => Self::parse_biodata(record, language),
        }
    }

    /// Reads and checks the record of a `DATA UPDATE FINGERTMP` (§12.2.3).
    fn parse_fingertmp(record: &[u8], language: Language) -> Result<Self, Refusal> {
        let fields = Fields::parse(record, &FINGERTMP, language)?;
        let (valid, duress) = match required_number(&fields, "valid")? {
            0 => (false, false),
            1 => (true, false),
            3 => (true, true),
            other => return Err(not_one_of("valid", other, "0, 1, 3")),
        };
        let template = Self::from_common_fields(&fields, TemplateKind::Fingerprint, 0)?;
        Ok(Self { valid, duress, ..template })
    }

    /// Reads and checks the record of a `DATA UPDATE FACE` (§12.2.4). Only uploads have the
    /// 16 leading bytes: the data is stored as it comes.
    fn parse_face(record: &[u8], language: Language) -> Result<Self, Refusal> {
        let fields = Fields::parse(record, &FACE, language)?;
        let valid = flag(required_number(&fields, "valid")?, "valid")?;
        Ok(Self { valid, ..Self::from_common_fields(&fields, TemplateKind::Face, 0)? })
    }

    /// Reads and checks the record of a `DATA UPDATE FVEIN` (§12.2.5).
    fn parse_fvein(record: &[u8], language: Language) -> Result<Self, Refusal> {
        let fields = Fields::parse(record, &FVEIN, language)?;
        let valid = flag(required_number(&fields, "valid")?, "valid")?;
        let index = required_number(&fields, "index")?;
        Ok(Self { valid, ..Self::from_common_fields(&fields, TemplateKind::FingerVein, index)? })
    }

    /// Reads and checks the record of a `DATA UPDATE BIODATA` (§12.2.6). The document has
    /// defaults for `No`, `Valid` and `Duress`; servers in use leave out `Index`, the version and
    /// the format, too.
    fn parse_biodata(record: &[u8], language: Language) -> Result<Self, Refusal> {
        let fields = Fields::parse(record, &BIODATA, language)?;
        let code = required_number(&fields, "type")?;
        let bio_type = BioType::new(code)
            .ok_or_else(|| Refusal::field("type", format_args!("is {code}; allowed are 0 to 9")))?;
        let (major, minor) = version(&fields)?;
        let algorithm = Algorithm::new(major, minor, fields.number("format")?.unwrap_or(0));
        let number = fields.number("no")?.unwrap_or(0);
        let index = fields.number("index")?.unwrap_or(0);
        Ok(Self {
            pin: Pin::from_fields(&fields)?,
            slot: slot(TemplateKind::Unified(bio_type), ("no", number), index)?,
            valid: flag(fields.number("valid")?.unwrap_or(1), "valid")?,
            duress: flag(fields.number("duress")?.unwrap_or(0), "duress")?,
            algorithm: algorithm?,
            data: TemplateData::from_base64("tmp", fields.required("tmp")?)?,
        })
    }

    /// The fields that the three older forms share.
    fn from_common_fields(fields: &Fields, kind: TemplateKind, index: u8) -> Result<Self, Refusal> {
        Ok(Self {
            pin: Pin::from_fields(fields)?,
            slot: slot(kind, ("fid", required_number(fields, "fid")?), index)?,
            valid: true,
            duress: false,
            algorithm: Algorithm::default(),
            data: TemplateData::new("tmp", RULES.sized(fields, "tmp")?)?,
        })
    }
}

const FINGERTMP: [&str; 5] = ["PIN", "FID", "Size", "Valid", "TMP"];
const FACE: [&str; 5] = FINGERTMP;
const FVEIN: [&str; 6] = ["Pin", "FID", "Index", "Valid", "Size", "Tmp"];
const BIODATA: [&str; 10] =
    ["Pin", "No", "Index", "Valid", "Duress", "Type", "MajorVer", "MinorVer", "Format", "Tmp"];

/// `MajorVer` and `MinorVer`; 0 where there is none. Servers write a whole version in one of them,
/// such as `MinorVer=10.3`: both numbers count if the other key is empty, else the one before the dot.
fn version(fields: &Fields) -> Result<(u16, u16), Refusal> {
    let part = |key: &'static str| {
        let text = fields.get(key).map_or("", str::trim);
        let wrong = || Refusal::field(key, format_args!("is not a version: {}", quoted(text)));
        let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        Ok::<_, Refusal>(match text.split_once('.') {
            None if text.is_empty() => None,
            None => Some((number(text)?, None)),
            Some((before, after)) => Some((number(before)?, Some(number(after)?))),
        })
    };
    Ok(match (part("majorver")?, part("minorver")?) {
        (None, None) => (0, 0),
        (Some((major, minor)), None) => (major, minor.unwrap_or(0)),
        (None, Some((major, Some(minor)))) => (major, minor),
        (None, Some((minor, None))) => (0, minor),
        (Some((major, _)), Some((minor, _))) => (major, minor),
    })
}

/// The slot. A refusal names the number by the key of its form.
fn slot(
    kind: TemplateKind,
    (name, number): (&'static str, u8),
    index: u8,
) -> Result<TemplateSlot, Refusal> {
    TemplateSlot::new(kind, number, index).map_err(|invalid| {
        let field = if invalid.field == "number" { name } else { invalid.field };
        Refusal::field(field, invalid.why)
    })
}

fn flag(value: u8, field: &'static str) -> Result<bool, Refusal> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(not_one_of(field, other, "0, 1")),
    }
}

fn not_one_of(field: &'static str, value: u8, allowed: &str) -> Refusal {
    Refusal::field(field, format_args!("is {value}; allowed are {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codes::ReturnCode;
    use crate::protocol::record::template::LONGEST_TEMPLATE;

    type Parse = fn(&[u8], Language) -> Result<Template, Refusal>;

    // The values of the document's examples, round made-up templates.
    const FP_UP: &str = "FP PIN=2\tFID=0\tSize=8\tValid=1\tTMP=U2gxMA==";
    const FACE_UP: &str = "FACE PIN=306\tFID=2\tSIZE=28\tVALID=1\tTMP=AAAAAAAAAAAAAAAAAAAAAEZhY2U=";
    const FVEIN_UP: &str = "FVEIN Pin=306\tFID=2\tIndex=0\tSize=8\tValid=1\tTmp=VmVpbg==";
    const BIODATA_UP: &str = "BIODATA Pin=306\tNo=0\tIndex=2\tValid=1\tDuress=0\tType=8\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp=UGFsbQ==";

    // The same from the server: keys in another order, and no bytes before a face.
    const DOWN: [(Parse, &str); 4] = [
        (Template::parse_fingertmp, "PIN=2\tFID=0\tSize=8\tValid=1\tTMP=U2gxMA=="),
        (Template::parse_face, "PIN=306\tFID=2\tValid=1\tSize=8\tTMP=RmFjZQ=="),
        (Template::parse_fvein, "Pin=306\tFID=2\tIndex=0\tValid=1\tSize=8\tTmp=VmVpbg=="),
        (
            Template::parse_biodata,
            "Pin=306\tNo=0\tIndex=2\tValid=1\tDuress=0\tType=8\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp=UGFsbQ==",
        ),
    ];

    fn row(template: &Template) -> String {
        let mut row = Vec::new();
        template.write(&mut row);
        String::from_utf8(row).unwrap()
    }

    fn read(nth: usize, record: &str) -> Result<Template, Refusal> {
        DOWN[nth].0(record.as_bytes(), Language::ENGLISH)
    }

    #[test]
    fn rows_are_as_in_the_document() {
        for (nth, up) in [FP_UP, FACE_UP, FVEIN_UP, BIODATA_UP].into_iter().enumerate() {
            let template = read(nth, DOWN[nth].1).unwrap();
            assert_eq!(row(&template), up);
            assert!(up.starts_with(template.slot.kind().form().word()));
        }
    }

    #[test]
    fn keys_in_any_case_and_order_mean_the_same() {
        for (nth, (_, record)) in DOWN.iter().enumerate() {
            let mut parts: Vec<String> = record
                .split('\t')
                .filter_map(|part| part.split_once('='))
                .map(|(key, value)| format!("{}={value}", key.to_lowercase()))
                .collect();
            parts.reverse();
            parts.push("NewKey=1".into());
            assert_eq!(read(nth, &parts.join("\t")), read(nth, record));
        }
    }

    #[test]
    fn versions_are_whole_or_in_parts_or_missing() {
        for (version, expected) in [
            ("MajorVer=39\tMinorVer=3\tFormat=0", (39, 3)),
            ("MajorVer=12\tMinorVer=10.3\tFormat=0", (12, 10)),
            ("MinorVer=10.3", (10, 3)),
            ("MajorVer=\tMinorVer=10.3", (10, 3)),
            ("MajorVer=10.3", (10, 3)),
            ("MajorVer=\tMinorVer=\tFormat=", (0, 0)),
            ("MajorVer=12", (12, 0)),
            ("", (0, 0)),
        ] {
            let record = format!("Pin=306\tType=8\t{version}\tTmp=UGFsbQ==");
            let made = read(3, &record).unwrap().algorithm;
            assert_eq!((made.major(), made.minor(), made.format()), (expected.0, expected.1, 0));
        }
    }

    #[test]
    fn each_form_has_its_own_fields_for_validity_and_duress() {
        for (nth, from, to, valid, duress, said) in [
            (0, "Valid=1", "Valid=0", false, false, "Valid=0"),
            (0, "Valid=1", "Valid=3", true, true, "Valid=3"),
            (1, "Valid=1", "Valid=0", false, false, "VALID=0"),
            (2, "Valid=1", "Valid=0", false, false, "Valid=0"),
            (3, "Valid=1\tDuress=0", "Valid=0\tDuress=1", false, true, "Valid=0\tDuress=1"),
            (
                3,
                "No=0\tIndex=2\tValid=1\tDuress=0",
                "Index=2",
                true,
                false,
                "No=0\tIndex=2\tValid=1\tDuress=0",
            ),
        ] {
            let template = read(nth, &DOWN[nth].1.replace(from, to)).unwrap();
            assert_eq!((template.valid, template.duress), (valid, duress), "{to}");
            assert!(row(&template).contains(said), "{}", row(&template));
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_field_and_code() {
        for (nth, from, to, code, field) in [
            (0, "Size=8", "Size=5", -9, "size"),
            (1, "Size=8", "Size=24", -9, "size"),
            (2, "Size=8", "Size=9", -9, "size"),
            (0, "Size=8\t", "", -1, "size"),
            (0, "Size=8", "Size=x", -1, "size"),
            (0, "U2gxMA==", "U2gxMA*=", -11, "tmp"),
            (3, "UGFsbQ==", "UGFsbQ", -11, "tmp"),
            (0, "TMP=U2gxMA==", "TMP=", -1, "tmp"),
            (3, "\tTmp=UGFsbQ==", "", -1, "tmp"),
            (0, "PIN=2\t", "", -1, "pin"),
            (0, "PIN=2", "PIN=2 3", -1, "pin"),
            (0, "FID=0", "FID=10", -1, "fid"),
            (0, "FID=0\t", "", -1, "fid"),
            (1, "FID=2", "FID=100", -1, "fid"),
            (1, "FID=2", "FID=-1", -1, "fid"),
            (2, "FID=2", "FID=10", -1, "fid"),
            (2, "Index=0", "Index=3", -1, "index"),
            (2, "Index=0\t", "", -1, "index"),
            (0, "Valid=1", "Valid=2", -1, "valid"),
            (0, "Valid=1\t", "", -1, "valid"),
            (1, "Valid=1", "Valid=3", -1, "valid"),
            (2, "Valid=1", "Valid=3", -1, "valid"),
            (3, "Valid=1", "Valid=3", -1, "valid"),
            (3, "Duress=0", "Duress=2", -1, "duress"),
            (3, "Type=8", "Type=10", -1, "type"),
            (3, "Type=8\t", "", -1, "type"),
            (3, "No=0", "No=2", -1, "no"),
            (3, "Index=2", "Index=100", -1, "index"),
            (3, "MajorVer=1", "MajorVer=1000", -1, "majorver"),
            (3, "MinorVer=0", "MinorVer=x", -1, "minorver"),
            (3, "MinorVer=0", "MinorVer=1.2.3", -1, "minorver"),
            (3, "Format=0", "Format=3", -1, "format"),
            (0, "\tFID", " FID", -1, "pin"),
        ] {
            let refusal = read(nth, &DOWN[nth].1.replace(from, to)).unwrap_err();
            assert_eq!(refusal.code.0, code, "{to}: {}", refusal.why);
            assert!(refusal.why.contains(field), "{to}: {}", refusal.why);
        }
    }

    #[test]
    fn a_template_that_is_too_long_is_not_decoded() {
        let text = "AAAA".repeat(LONGEST_TEMPLATE);
        let refusal = read(3, &DOWN[3].1.replace("UGFsbQ==", &text)).unwrap_err();
        assert_eq!((refusal.code, refusal.field), (ReturnCode::TOO_LONG, Some("tmp")));
    }
}
