//! Photos of users (§11.13, §12.2.7) and photos for comparison (§11.15, §12.2.8).

use super::data::{self, Rules, required_number};
use super::invalid::clean;
use super::{Invalid, Pin};
use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::foreign::quoted;
use crate::protocol::tables::BioType;

/// Most bytes of a photo. The camera of a terminal makes about 60 KB, a portrait from an office
/// has about 500 KB. A terminal with 64 MB of memory can hold no more than this in base64.
pub const LONGEST_PHOTO: usize = 2 * 1024 * 1024;

const RULES: Rules =
    Rules { most: LONGEST_PHOTO, size: ReturnCode::PHOTO_SIZE, base64: ReturnCode::PARAMETER };

/// A JPEG picture, the only format of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jpeg(Vec<u8>);

impl Jpeg {
    /// Checks that the bytes begin and end like a JPEG, and are at most [`LONGEST_PHOTO`]. An
    /// error names `field`.
    pub fn new(field: &'static str, bytes: Vec<u8>) -> Result<Self, Invalid> {
        RULES.check(field, &bytes)?;
        if !bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
            return Err(Invalid::new(field, "is not a JPEG: it does not begin with FF D8 FF"));
        }
        if !bytes.ends_with(&[0xFF, 0xD9]) {
            return Err(Invalid::new(field, "is not a complete JPEG: it does not end with FF D9"));
        }
        Ok(Self(bytes))
    }

    /// Decodes base64 from a driver. A refusal names `field`.
    pub fn from_base64(field: &'static str, text: &str) -> Result<Self, Refusal> {
        Ok(Self::new(field, RULES.decode(field, text)?)?)
    }

    /// Decodes a required field whose number of characters is in `size`.
    fn sized(fields: &Fields, field: &'static str) -> Result<Self, Refusal> {
        Ok(Self::new(field, RULES.sized(fields, field)?)?)
    }

    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Writes the last two fields of a row: the number of characters, and the characters.
    fn write(&self, out: &mut Vec<u8>) {
        let size = data::characters(self.0.len());
        out.extend_from_slice(format!("\tSize={size}\tContent=").as_bytes());
        data::write(&self.0, out);
    }
}

/// The photo of a user, shown when the user is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPic {
    /// The user.
    pub pin: Pin,
    /// The photo.
    pub photo: Jpeg,
}

impl UserPic {
    /// The keys of a record from the server. `FileName` is that of an upload: it means nothing here.
    pub(crate) const KEYS: [&'static str; 4] = ["PIN", "Size", "Content", "FileName"];

    /// Writes the row without its line end. The name of the file is the PIN.
    pub fn write(&self, out: &mut Vec<u8>) {
        let pin = &self.pin;
        out.extend_from_slice(format!("USERPIC PIN={pin}\tFileName={pin}.jpg").as_bytes());
        self.photo.write(out);
    }

    /// Reads and checks the record of a `DATA UPDATE USERPIC`.
    pub fn parse(record: &[u8], language: Language) -> Result<Self, Refusal> {
        let fields = Fields::parse(record, &Self::KEYS, language)?;
        Ok(Self { pin: Pin::from_fields(&fields)?, photo: Jpeg::sized(&fields, "content")? })
    }
}

/// A photo for comparison, from which the terminal makes a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BioPhoto {
    /// The user.
    pub pin: Pin,
    /// What it shows.
    pub bio_type: BioType,
    /// The photo.
    pub photo: Jpeg,
}

impl BioPhoto {
    /// Writes the row without its line end. The name of the file is the PIN.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (pin, code) = (&self.pin, self.bio_type.code());
        let head = format!("BIOPHOTO PIN={pin}\tFileName={pin}.jpg\tType={code}");
        out.extend_from_slice(head.as_bytes());
        self.photo.write(out);
    }
}

/// A comparison photo from the server: in the record, or as an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BioPhotoUpdate {
    /// `Format=0`: the record has the picture.
    Here(BioPhoto),
    /// `Format=1`: the picture must be fetched; [`Jpeg::new`] checks it.
    At {
        /// The user.
        pin: Pin,
        /// What it shows.
        bio_type: BioType,
        /// An `http` or `https` URL, or a path on the server.
        url: String,
    },
}

impl BioPhotoUpdate {
    /// The keys of a record from the server, `FileName` as in [`UserPic::KEYS`].
    pub(crate) const KEYS: [&'static str; 7] =
        ["PIN", "Type", "Size", "Content", "Format", "Url", "FileName"];

    /// Reads and checks the record of a `DATA UPDATE BIOPHOTO`. Without `Format`, the
    /// picture is the `Content`, if there is one, and else at `Url`.
    pub fn parse(record: &[u8], language: Language) -> Result<Self, Refusal> {
        let fields = Fields::parse(record, &Self::KEYS, language)?;
        let pin = Pin::from_fields(&fields)?;
        let code = required_number(&fields, "type")?;
        let bio_type = BioType::new(code)
            .ok_or_else(|| Refusal::field("type", format_args!("is {code}; allowed are 0 to 9")))?;
        let has = |key| fields.get(key).is_some_and(|value| !value.is_empty());
        match fields.number::<u8>("format")? {
            Some(1) => {
                let url = url(fields.required("url")?)?;
                Ok(Self::At { pin, bio_type, url })
            }
            None if has("url") && !has("content") => {
                let url = url(fields.required("url")?)?;
                Ok(Self::At { pin, bio_type, url })
            }
            None | Some(0) => {
                let photo = Jpeg::sized(&fields, "content")?;
                Ok(Self::Here(BioPhoto { pin, bio_type, photo }))
            }
            Some(other) => {
                Err(Refusal::field("format", format_args!("is neither 0 nor 1: {other}")))
            }
        }
    }
}

/// Longest URL taken.
const LONGEST_URL: usize = 2048;

/// A URL or path without blanks, and of no other scheme than the server's own.
fn url(text: &str) -> Result<String, Refusal> {
    let url = clean("url", text, LONGEST_URL)?;
    if url.contains(char::is_whitespace) {
        return Err(Refusal::field("url", format_args!("holds a blank: {}", quoted(&url))));
    }
    match url.split_once("://") {
        Some((scheme, _)) if !["http", "https"].contains(&&*scheme.to_ascii_lowercase()) => {
            let why = format!("is neither http nor https: {}", quoted(&url));
            Err(Refusal::field("url", why))
        }
        _ => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The smallest that passes for a JPEG: FF D8 FF D9.
    const USERPIC: &str = "USERPIC PIN=123\tFileName=123.jpg\tSize=8\tContent=/9j/2Q==";
    const BIOPHOTO: &str = "BIOPHOTO PIN=123\tFileName=123.jpg\tType=2\tSize=8\tContent=/9j/2Q==";
    const DOWN: &str = "PIN=123\tSize=8\tContent=/9j/2Q==";
    const BIO_DOWN: &str = "PIN=123\tType=2\tSize=8\tContent=/9j/2Q==\tFormat=0\tUrl=";

    fn user_pic(record: &str) -> Result<UserPic, Refusal> {
        UserPic::parse(record.as_bytes(), Language::ENGLISH)
    }

    fn bio_photo(record: &str) -> Result<BioPhotoUpdate, Refusal> {
        BioPhotoUpdate::parse(record.as_bytes(), Language::ENGLISH)
    }

    #[test]
    fn rows_are_as_in_the_document() {
        let mut row = Vec::new();
        user_pic(DOWN).unwrap().write(&mut row);
        assert_eq!(String::from_utf8(row).unwrap(), USERPIC);

        let mut row = Vec::new();
        let BioPhotoUpdate::Here(photo) = bio_photo(BIO_DOWN).unwrap() else { panic!("no photo") };
        photo.write(&mut row);
        assert_eq!(String::from_utf8(row).unwrap(), BIOPHOTO);
    }

    #[test]
    fn a_comparison_photo_is_in_the_record_or_on_the_server() {
        for (record, at) in [
            ("PIN=1\tType=9\tFormat=1\tUrl=/photos/1.jpg", Some("/photos/1.jpg")),
            (
                "PIN=1\tType=9\tSize=0\tContent=\tFormat=1\tUrl=HTTP://s/1.jpg",
                Some("HTTP://s/1.jpg"),
            ),
            ("PIN=1\tType=9\tUrl=1.jpg", Some("1.jpg")),
            ("PIN=1\tType=9\tUrl=1.jpg\tSize=8\tContent=/9j/2Q==", None),
            ("pin=1\ttype=9\tsize=8\tcontent=/9j/2Q==", None),
        ] {
            match (bio_photo(record).unwrap(), at) {
                (BioPhotoUpdate::At { url, .. }, Some(expected)) => assert_eq!(url, expected),
                (BioPhotoUpdate::Here(photo), None) => {
                    assert_eq!(photo.bio_type, BioType::VISIBLE_FACE);
                }
                (other, _) => panic!("{record}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_field_and_code() {
        let (base64, long) = ("/9j/2Q==", "AAAA".repeat(LONGEST_PHOTO / 3 + 1));
        let too_long = format!("Size={}\tContent={long}", long.len());
        for (record, from, to, code, field) in [
            (DOWN, "PIN=123", "PIN=", -1, "pin"),
            (DOWN, "Size=8", "Size=5", -2, "size"),
            (DOWN, "Size=8\t", "", -1, "size"),
            (DOWN, base64, "", -1, "content"),
            (DOWN, base64, "/9j/2Q=x", -1, "base64"),
            (DOWN, base64, "SghTUw==", -1, "FF D8 FF"),
            (DOWN, base64, "/9j/AA==", -1, "FF D9"),
            (DOWN, "Size=8\tContent=/9j/2Q==", &too_long, -1006, "content"),
            (BIO_DOWN, "Size=8", "Size=9", -2, "size"),
            (BIO_DOWN, "Type=2", "Type=10", -1, "type"),
            (BIO_DOWN, "Type=2\t", "", -1, "type"),
            (BIO_DOWN, "Format=0", "Format=2", -1, "format"),
            (BIO_DOWN, "Format=0", "Format=1", -1, "url"),
            (BIO_DOWN, "Format=0\tUrl=", "Format=1\tUrl=file:///etc/1.jpg", -1, "http"),
            (BIO_DOWN, "Format=0\tUrl=", "Format=1\tUrl=/a b.jpg", -1, "blank"),
            (BIO_DOWN, "Content=/9j/2Q==\tFormat=0\t", "", -1, "content"),
        ] {
            let record = record.replace(from, to);
            let refusal = match record.contains("Type") || record.contains("Url") {
                true => bio_photo(&record).unwrap_err(),
                false => user_pic(&record).unwrap_err(),
            };
            assert_eq!(refusal.code.0, code, "{}: {}", quoted(&record), refusal.why);
            assert!(refusal.why.contains(field), "{}: {}", quoted(&record), refusal.why);
        }
    }

    #[test]
    fn a_photo_of_30_mb_is_refused_with_the_limit() {
        let why = Jpeg::new("photo", vec![0xFF; 30_000_000]).unwrap_err().why;
        assert!(why.contains("30000000") && why.contains("2097152"), "{why}");
    }
}
