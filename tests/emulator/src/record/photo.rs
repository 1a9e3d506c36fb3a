//! Photos in rows: of users (§11.13) and for comparison (§11.15).

use serde::Serialize;

use super::{after, as_base64, keyed, sized};
use crate::deviation::{Flaw, Kind};
use crate::text::{self, number};

/// A photo of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Photo {
    /// `USERPIC` or `BIOPHOTO`.
    pub form: &'static str,
    /// Whose it is.
    pub pin: String,
    /// The name of the file.
    pub file_name: String,
    /// What a BIOPHOTO is a photo of, 0 to 9.
    pub kind: Option<i64>,
    /// The picture.
    #[serde(serialize_with = "as_base64")]
    pub data: Vec<u8>,
}

/// Reads a row of a user's photo.
pub fn userpic(row: &str) -> Result<Photo, Flaw> {
    let [pin, name, size, content] =
        keyed(after(row, "USERPIC")?, ["PIN", "FileName", "Size", "Content"])?;
    Ok(Photo {
        form: "USERPIC",
        pin: text::pin(pin)?,
        file_name: jpg(name)?,
        kind: None,
        data: sized(size, content)?,
    })
}

/// Reads a row of a comparison photo.
pub fn biophoto(row: &str) -> Result<Photo, Flaw> {
    let keys = ["PIN", "FileName", "Type", "Size", "Content"];
    let [pin, name, kind, size, content] = keyed(after(row, "BIOPHOTO")?, keys)?;
    Ok(Photo {
        form: "BIOPHOTO",
        pin: text::pin(pin)?,
        file_name: jpg(name)?,
        kind: Some(number("Type", kind, 0..=9)?),
        data: sized(size, content)?,
    })
}

fn jpg(name: &str) -> Result<String, Flaw> {
    match name.strip_suffix(".jpg") {
        Some(stem) if !stem.is_empty() && !stem.contains(['/', '\\']) => Ok(name.to_owned()),
        _ => {
            Err(Flaw::new(Kind::FileName, format!("FileName is {name:?}, not the name of a .jpg")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parser = fn(&str) -> Result<Photo, Flaw>;

    const USERPIC: &str = "USERPIC PIN=123\tFileName=123.jpg\tSize=8\tContent=SghTUw==";
    const BIOPHOTO: &str = "BIOPHOTO PIN=123\tFileName=123.jpg\tType=2\tSize=8\tContent=SghTUw==";

    #[test]
    fn the_documents_forms() {
        assert_eq!(userpic(USERPIC).unwrap().data, b"\x4a\x08\x53\x53");
        assert_eq!(biophoto(BIOPHOTO).unwrap().kind, Some(2));
    }

    #[test]
    fn what_is_wrong() {
        for (parse, row, from, to, kind) in [
            (userpic as Parser, USERPIC, "123.jpg", "123.png", Kind::FileName),
            (userpic, USERPIC, "123.jpg", ".jpg", Kind::FileName),
            (userpic, USERPIC, "123.jpg", "../1.jpg", Kind::FileName),
            (userpic, USERPIC, "Size=8", "Size=4", Kind::Size),
            (userpic, USERPIC, "Content", "TMP", Kind::Keys),
            (biophoto, BIOPHOTO, "Type=2", "Type=x", Kind::Value),
            (biophoto, BIOPHOTO, "PIN=123", "PIN=", Kind::Pin),
            (biophoto, BIOPHOTO, "SghTUw==", "SghTUw=x", Kind::Base64),
        ] {
            assert_eq!(parse(&row.replace(from, to)).map_err(|flaw| flaw.kind), Err(kind), "{to}");
        }
    }
}
