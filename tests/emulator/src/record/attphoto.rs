//! Attendance photos (§11.3, §11.8): three lines, `CMD=uploadphoto`, a NUL, and the picture, plain
//! or in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::as_base64;
use crate::deviation::{Flaw, Kind};
use crate::text;

/// The photo of one punch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttPhoto {
    /// The name of the file: it holds the time, PIN and card.
    pub file_name: String,
    /// When, as YYYYMMDDhhmmss.
    pub time: String,
    /// Whose.
    pub pin: String,
    /// The identity card it belongs to, if it does.
    pub card: Option<Card>,
    /// The serial number in the body.
    pub sn: String,
    /// The picture.
    #[serde(serialize_with = "as_base64")]
    pub data: Vec<u8>,
}

/// What the name of an identity card's photo says besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Card {
    /// 0 attendance, 1 attendance refused, 2 blacklisted, 3 verified, 4 not verified.
    pub kind: u8,
    /// The number of the citizen.
    pub id_num: String,
}

/// Reads a body. `in_base64`: the server asked for that with `ATTPHOTOBase64=1`.
pub fn parse(body: &[u8], in_base64: bool) -> Result<AttPhoto, Flaw> {
    let form = |text: String| Flaw::new(Kind::PhotoForm, text);
    let nul = body
        .iter()
        .position(|b| *b == 0)
        .ok_or_else(|| form("there is no NUL before the picture".into()))?;
    let head = std::str::from_utf8(&body[..nul])
        .map_err(|_| form("the lines before the picture are not text".into()))?;
    let lines: Vec<(&str, &str)> =
        head.split('\n').map(|line| line.split_once('=').unwrap_or((line, ""))).collect();
    let [("PIN", name), ("SN", sn), ("size", size), ("CMD", "uploadphoto")] = lines.as_slice()
    else {
        return Err(form(format!(
            "the lines before the picture are {head:?}, not PIN=, SN=, size=, CMD=uploadphoto"
        )));
    };
    if head.contains('\r') {
        return Err(form("there is a CR in the lines before the picture".into()));
    }
    let data = match in_base64 {
        true => STANDARD.decode(&body[nul + 1..]).map_err(|error| {
            Flaw::new(Kind::Base64, format!("the picture is not base64: {error}"))
        })?,
        false => body[nul + 1..].to_vec(),
    };
    if *size != data.len().to_string() {
        return Err(Flaw::new(
            Kind::Size,
            format!("size is {size}, but the picture has {} bytes", data.len()),
        ));
    }
    let (time, pin, card) = named(name)?;
    Ok(AttPhoto { file_name: (*name).to_owned(), time, pin, card, sn: (*sn).to_owned(), data })
}

/// Takes apart `20150731103012-123.jpg` or `20160615093758-0-1457-210218199011304365.jpg`. A PIN may
/// have dashes: the time ends at the first one, and the number of a card begins after the last one.
fn named(name: &str) -> Result<(String, String, Option<Card>), Flaw> {
    let wrong = |why: String| Flaw::new(Kind::FileName, format!("the photo {name:?} {why}"));
    let stem = name.strip_suffix(".jpg").ok_or_else(|| wrong("is no .jpg".into()))?;
    let (time, rest) = stem
        .split_once('-')
        .ok_or_else(|| wrong("is named neither time-PIN nor time-kind-PIN-IDNum".into()))?;
    let of_card = || {
        let (kind @ ("0" | "1" | "2" | "3" | "4"), rest) = rest.split_once('-')? else {
            return None;
        };
        let (pin, id_num) = rest.rsplit_once('-')?;
        let is_number = [15, 18].contains(&id_num.len())
            && id_num.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_number && !pin.is_empty()).then(|| {
            let card = Card { kind: kind.as_bytes()[0] - b'0', id_num: id_num.to_owned() };
            (pin, Some(card))
        })
    };
    let (pin, card) = of_card().unwrap_or((rest, None));
    text::compact_time(time)
        .map_err(|why| Flaw::new(Kind::Time, format!("the time in {name:?} {why}")))?;
    Ok((time.to_owned(), text::pin(pin)?, card))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(name: &str, size: &str, data: &str) -> Vec<u8> {
        format!("PIN={name}\nSN=TEST0001\nsize={size}\nCMD=uploadphoto\0{data}").into_bytes()
    }

    #[test]
    fn the_documents_forms() {
        let photo = parse(&body("20150731103012-123.jpg", "4", "\0\nab"), false).unwrap();
        assert_eq!(
            (photo.pin.as_str(), photo.data.as_slice(), photo.card),
            ("123", b"\0\nab".as_slice(), None)
        );
        let photo =
            parse(&body("20160615093758-0-1457-210218199011304365.jpg", "4", "SghTUw=="), true)
                .unwrap();
        assert_eq!((photo.pin.as_str(), photo.card.unwrap().kind), ("1457", 0));
    }

    #[test]
    fn what_is_wrong() {
        let name = "20150731103012-123.jpg";
        for (body, in_base64, kind) in [
            (body(name, "4", "abc"), false, Kind::Size),
            (body(name, "8", "SghTUw=="), true, Kind::Size),
            (body(name, "4", "SghTUw"), true, Kind::Base64),
            (body("20150731103012-123.png", "1", "a"), false, Kind::FileName),
            (body("20150731103012.jpg", "1", "a"), false, Kind::FileName),
            (body("20150731103012-5-1457-210218199011304365.jpg", "1", "a"), false, Kind::Pin),
            (body("20151331103012-123.jpg", "1", "a"), false, Kind::Time),
            (body("20150731103012-.jpg", "1", "a"), false, Kind::Pin),
            (
                b"PIN=20150731103012-123.jpg\nSN=1\nsize=1\nCMD=uploadphoto".to_vec(),
                false,
                Kind::PhotoForm,
            ),
            (
                b"PIN=20150731103012-123.jpg\r\nSN=1\r\nsize=1\r\nCMD=uploadphoto\0a".to_vec(),
                false,
                Kind::PhotoForm,
            ),
            (
                b"SN=1\nPIN=20150731103012-123.jpg\nsize=1\nCMD=uploadphoto\0a".to_vec(),
                false,
                Kind::PhotoForm,
            ),
        ] {
            assert_eq!(parse(&body, in_base64).map_err(|flaw| flaw.kind), Err(kind), "{body:?}");
        }
    }
}
