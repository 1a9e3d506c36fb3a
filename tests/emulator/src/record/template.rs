//! Templates: fingerprints (§11.9), faces (§11.10), finger veins (§11.11) and the unified form
//! (§11.12).
//!
//! The keys are spelt as each section spells them: `Size` and `SIZE`, `TMP` and `Tmp`, `PIN` and
//! `Pin`.

use serde::Serialize;

use super::{after, as_base64, base64, keyed, sized};
use crate::deviation::{Flaw, Kind};
use crate::text::{self, number};

/// A template of any of the four forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Template {
    /// The keyword of the row.
    pub form: &'static str,
    /// Whose it is.
    pub pin: String,
    /// The finger, the face's number, or the `No` of BIODATA.
    pub no: i64,
    /// Which of several templates of the same finger.
    pub index: i64,
    /// 0 invalid, 1 valid, 3 duress (FP).
    pub valid: i64,
    /// What BIODATA says besides.
    pub bio: Option<Bio>,
    /// The template itself.
    #[serde(serialize_with = "as_base64")]
    pub data: Vec<u8>,
}

/// What only the unified form says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the names are the document's
pub struct Bio {
    pub duress: bool,
    /// What it is a template of, 0 to 9.
    pub kind: i64,
    pub major_ver: i64,
    pub minor_ver: i64,
    pub format: i64,
}

/// Reads a row of a fingerprint.
pub fn fp(row: &str) -> Result<Template, Flaw> {
    let [pin, fid, size, valid, tmp] =
        keyed(after(row, "FP")?, ["PIN", "FID", "Size", "Valid", "TMP"])?;
    Ok(Template {
        form: "FP",
        pin: text::pin(pin)?,
        no: number("FID", fid, 0..=9)?,
        index: 0,
        valid: one_of("Valid", valid, &[0, 1, 3])?,
        bio: None,
        data: sized(size, tmp)?,
    })
}

/// Reads a row of a face, which has 16 bytes before the template proper.
pub fn face(row: &str) -> Result<Template, Flaw> {
    let [pin, fid, size, valid, tmp] =
        keyed(after(row, "FACE")?, ["PIN", "FID", "SIZE", "VALID", "TMP"])?;
    let data = sized(size, tmp)?;
    if data.len() <= 16 {
        return Err(Flaw::new(
            Kind::FaceHeader,
            format!("the face has {} bytes: 16 must lead, and the template follow", data.len()),
        ));
    }
    Ok(Template {
        form: "FACE",
        pin: text::pin(pin)?,
        no: number("FID", fid, 0..=99)?,
        index: 0,
        valid: number("VALID", valid, 0..=1)?,
        bio: None,
        data,
    })
}

/// Reads a row of a finger vein.
pub fn fvein(row: &str) -> Result<Template, Flaw> {
    let [pin, fid, index, size, valid, tmp] =
        keyed(after(row, "FVEIN")?, ["Pin", "FID", "Index", "Size", "Valid", "Tmp"])?;
    Ok(Template {
        form: "FVEIN",
        pin: text::pin(pin)?,
        no: number("FID", fid, 0..=9)?,
        index: number("Index", index, 0..=2)?,
        valid: number("Valid", valid, 0..=1)?,
        bio: None,
        data: sized(size, tmp)?,
    })
}

/// Reads a row of the table BIODATA.
pub fn biodata(row: &str) -> Result<Template, Flaw> {
    let keys =
        ["Pin", "No", "Index", "Valid", "Duress", "Type", "MajorVer", "MinorVer", "Format", "Tmp"];
    let [pin, no, index, valid, duress, kind, major, minor, format, tmp] =
        keyed(after(row, "BIODATA")?, keys)?;
    if tmp.is_empty() {
        return Err(Flaw::new(Kind::Base64, "there is no data"));
    }
    Ok(Template {
        form: "BIODATA",
        pin: text::pin(pin)?,
        no: number("No", no, 0..=99)?,
        index: number("Index", index, 0..=99)?,
        valid: number("Valid", valid, 0..=1)?,
        bio: Some(Bio {
            duress: number("Duress", duress, 0..=1)? == 1,
            kind: number("Type", kind, 0..=9)?,
            major_ver: number("MajorVer", major, 0..=999)?,
            minor_ver: number("MinorVer", minor, 0..=999)?,
            format: number("Format", format, 0..=2)?,
        }),
        data: base64("Tmp", tmp)?,
    })
}

fn one_of(field: &str, text: &str, allowed: &[i64]) -> Result<i64, Flaw> {
    match text::integer(field, text)? {
        n if allowed.contains(&n) => Ok(n),
        n => Err(Flaw::new(Kind::Value, format!("{field} is {n}, not one of {allowed:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parser = fn(&str) -> Result<Template, Flaw>;

    const FP: &str = "FP PIN=2\tFID=0\tSize=8\tValid=1\tTMP=SghTUw==";
    const FACE: &str = "FACE PIN=306\tFID=2\tSIZE=24\tVALID=1\tTMP=AAAAAAAAAAAAAAAAAAAAAFo=";
    const FVEIN: &str = "FVEIN Pin=306\tFID=2\tIndex=0\tSize=8\tValid=1\tTmp=SghTUw==";
    const BIODATA: &str = "BIODATA Pin=306\tNo=0\tIndex=2\tValid=1\tDuress=0\tType=8\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp=SghTUw==";

    #[test]
    fn the_documents_forms() {
        for (parse, row) in [(fp as Parser, FP), (face, FACE), (fvein, FVEIN), (biodata, BIODATA)] {
            let template = parse(row).unwrap();
            assert!(row.starts_with(template.form) && !template.data.is_empty(), "{row}");
        }
        assert_eq!(biodata(BIODATA).unwrap().bio.unwrap().kind, 8);
    }

    #[test]
    fn what_is_wrong() {
        for (parse, row, from, to, kind) in [
            (fp as Parser, FP, "Size=8", "Size=4", Kind::Size),
            (fp, FP, "Size=8\tValid=1\tTMP=SghTUw==", "Size=6\tValid=1\tTMP=SghTUw", Kind::Base64),
            (fp, FP, "Size=8\tValid=1\tTMP=SghTUw==", "Size=0\tValid=1\tTMP=", Kind::Base64),
            (fp, FP, "FID=0", "FID=10", Kind::Value),
            (fp, FP, "Valid=1", "Valid=2", Kind::Value),
            (fp, FP, "PIN=2", "PIN=", Kind::Pin),
            (fp, FP, "Size", "SIZE", Kind::Keys),
            (face, FACE, "SIZE", "Size", Kind::Keys),
            (face, FACE, "VALID=1", "VALID=3", Kind::Value),
            (
                face,
                FACE,
                "SIZE=24\tVALID=1\tTMP=AAAAAAAAAAAAAAAAAAAAAFo=",
                "SIZE=8\tVALID=1\tTMP=SghTUw==",
                Kind::FaceHeader,
            ),
            (fvein, FVEIN, "Index=0", "Index=3", Kind::Value),
            (fvein, FVEIN, "Pin", "PIN", Kind::Keys),
            (fvein, FVEIN, "Size=8", "Size=9", Kind::Size),
            (biodata, BIODATA, "Type=8", "Type=10", Kind::Value),
            (biodata, BIODATA, "Pin", "PIN", Kind::Keys),
            (biodata, BIODATA, "SghTUw==", "", Kind::Base64),
            (biodata, BIODATA, "SghTUw==", "Sgh*Uw==", Kind::Base64),
            (biodata, BIODATA, "BIODATA ", "BIODATA\t", Kind::UnknownRow),
        ] {
            assert_eq!(parse(&row.replace(from, to)).map_err(|flaw| flaw.kind), Err(kind), "{to}");
        }
    }
}
