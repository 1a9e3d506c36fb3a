//! Attendance photos (§11.3), also with an identity card (§11.8). Each has a request of its own:
//! three lines, `CMD=uploadphoto`, a NUL, and the picture.

use super::data;
use super::{IdNumber, Invalid, Jpeg, Pin};
use crate::protocol::time::LocalTime;
use crate::protocol::version::Version;

/// The kind of an attendance photo with an identity card (§11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardPhotoKind {
    /// 0: the user was let in.
    Attended,
    /// 1: the user was refused.
    Refused,
    /// 2: the person is on the blacklist.
    Blacklisted,
    /// 3: the card is the person's.
    Verified,
    /// 4: the card is not the person's.
    NotVerified,
}

impl CardPhotoKind {
    const ALL: [Self; 5] =
        [Self::Attended, Self::Refused, Self::Blacklisted, Self::Verified, Self::NotVerified];

    /// The kind with this number.
    pub fn new(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Its number in the name of the file.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// The photo taken at a punch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttPhoto {
    time: LocalTime,
    pin: Pin,
    card: Option<(CardPhotoKind, IdNumber)>,
    photo: Jpeg,
}

impl AttPhoto {
    /// A photo of a punch.
    pub fn new(time: LocalTime, pin: Pin, photo: Jpeg) -> Self {
        Self { time, pin, card: None, photo }
    }

    /// Refuses a PIN that the server would take for something else in the name of a photo without
    /// an identity card. The server reads the PIN from the name, whose parts are separated by
    /// dashes: a PIN may have dashes too, but not have the form of `kind-PIN-number`.
    pub fn check_pin(pin: &Pin) -> Result<(), Invalid> {
        let parts = pin.as_str().split_once('-').zip(pin.as_str().rsplit_once('-'));
        let is_ambiguous = parts.is_some_and(|((kind, _), (before, number))| {
            matches!(kind, "0" | "1" | "2" | "3" | "4")
                && before.len() > kind.len() + 1
                && IdNumber::new("pin", number).is_ok()
        });
        if is_ambiguous {
            let why =
                "has the form 0-PIN-number, which in the name of a photo means an identity card";
            return Err(Invalid::new("pin", why));
        }
        Ok(())
    }

    /// The same, with an identity card.
    pub fn with_card(self, kind: CardPhotoKind, number: IdNumber) -> Self {
        Self { card: Some((kind, number)), ..self }
    }

    /// By the wall clock of the terminal.
    pub fn time(&self) -> LocalTime {
        self.time
    }

    /// The user.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The identity card, if there was one.
    pub fn card(&self) -> Option<&(CardPhotoKind, IdNumber)> {
        self.card.as_ref()
    }

    /// The picture.
    pub fn photo(&self) -> &Jpeg {
        &self.photo
    }

    /// The name of the file: `time-PIN.jpg`, or `time-kind-PIN-number.jpg` with an identity card.
    pub fn name(&self) -> String {
        let Self { time, pin, card, .. } = self;
        let time: String = time.to_string().chars().filter(char::is_ascii_digit).collect();
        match card {
            None => format!("{time}-{pin}.jpg"),
            Some((kind, number)) => format!("{time}-{}-{pin}-{number}.jpg", kind.code()),
        }
    }

    /// Writes the whole body of the request. `size` counts the bytes of the picture, also if
    /// the server asked for base64 (`ATTPHOTOBase64=1`).
    pub fn write(&self, out: &mut Vec<u8>, serial: &str, base64: bool) {
        let (name, bytes) = (self.name(), self.photo.as_bytes());
        let size = bytes.len();
        let head = format!("PIN={name}\nSN={serial}\nsize={size}\nCMD=uploadphoto\0");
        out.extend_from_slice(head.as_bytes());
        if base64 {
            data::write(bytes, out);
        } else {
            out.extend_from_slice(bytes);
        }
    }

    /// The first version of the protocol that has such a photo.
    pub fn since(&self) -> Version {
        if self.card.is_some() { Version(2, 4, 0) } else { Version::OLDEST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: [u8; 6] = [0xFF, 0xD8, 0xFF, 0x00, 0xFF, 0xD9];

    fn photo(time: &str, pin: &str) -> AttPhoto {
        AttPhoto::new(
            LocalTime::parse(time).unwrap(),
            Pin::new(pin).unwrap(),
            Jpeg::new("photo", JPEG.to_vec()).unwrap(),
        )
    }

    fn body(photo: &AttPhoto, base64: bool) -> Vec<u8> {
        let mut body = Vec::new();
        photo.write(&mut body, "0316144680030", base64);
        body
    }

    #[test]
    fn bodies_are_as_in_the_document() {
        let plain = photo("2015-07-31 10:30:12", "123");
        let number = IdNumber::new("idnum", "210218199011304365").unwrap();
        let card = photo("2016-06-15 09:37:58", "1457").with_card(CardPhotoKind::Attended, number);
        for (photo, name, since) in [
            (plain, "20150731103012-123.jpg", Version(2, 2, 14)),
            (card, "20160615093758-0-1457-210218199011304365.jpg", Version(2, 4, 0)),
        ] {
            let head = format!("PIN={name}\nSN=0316144680030\nsize=6\nCMD=uploadphoto\0");
            assert_eq!(body(&photo, false), [head.as_bytes(), &JPEG].concat());
            assert_eq!(body(&photo, true), [head.as_bytes(), b"/9j/AP/Z"].concat());
            assert_eq!((photo.name().as_str(), photo.since()), (name, since));
        }
    }

    #[test]
    fn the_parts_of_a_name_can_be_told_apart() {
        assert_eq!(photo("2015-07-31 10:30:12", "a-1").name(), "20150731103012-a-1.jpg");
        for (pin, is_clear) in [
            ("a-1", true),
            ("0-1", true),
            ("-", true),
            ("0--1", true),
            ("0-210218199011304", true),
            ("5-1-210218199011304", true),
            ("0-1-2102181990113043", true),
            ("0-1-210218199011304", false),
            ("4-a-b-210218199011304", false),
        ] {
            assert_eq!(AttPhoto::check_pin(&Pin::new(pin).unwrap()).is_ok(), is_clear, "{pin}");
        }
        for code in 0..=4 {
            assert_eq!(CardPhotoKind::new(code).unwrap().code(), code);
        }
        assert_eq!(CardPhotoKind::new(5), None);
    }
}
