//! Information about the terminal: the values of `INFO` (§10) and the options push (§9).
//!
//! Both are one line of values separated by commas. A server can split it again: no value of
//! `INFO` has a comma, and no value of an options push has a comma that looks like the start of
//! the next pair.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Most values of `INFO`.
const MOST_VALUES: usize = 13;

/// The values of `INFO`, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Version of the firmware.
    pub firmware: String,
    /// Number of users.
    pub users: u64,
    /// Number of fingerprint templates.
    pub fingerprints: u64,
    /// Number of attendance records.
    pub punches: u64,
    /// IP address of the terminal.
    pub address: IpAddr,
    /// Version of the fingerprint algorithm.
    pub fp_version: u16,
    /// Version of the face algorithm.
    pub face_version: u16,
    /// Pictures that the enrolment of one face needs.
    pub faces_needed: u64,
    /// Number of face templates.
    pub faces: u64,
    /// The abilities of the terminal.
    pub functions: Functions,
    /// Number of cards. The document does not have this value and the two after it.
    pub cards: u64,
    /// Number of photos of users.
    pub user_photos: u64,
    /// Number of attendance photos.
    pub punch_photos: u64,
}

/// The abilities of the terminal: three digits, or five if it has a camera for visible light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// First digit.
    pub fingerprint: bool,
    /// Second digit.
    pub face: bool,
    /// Third digit.
    pub user_photo: bool,
    /// The fourth and the fifth digit (`VisilightFun=1`).
    pub visible: Option<VisibleLight>,
}

/// Further abilities of a terminal with a camera for visible light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VisibleLight {
    /// Comparison photos (`BioPhotoFun`).
    pub comparison_photo: bool,
    /// Templates of faces in visible light (`BioDataFun`).
    pub face_template: bool,
}

impl Default for DeviceInfo {
    fn default() -> Self {
        Self {
            firmware: String::new(),
            users: 0,
            fingerprints: 0,
            punches: 0,
            address: Ipv4Addr::UNSPECIFIED.into(),
            fp_version: 0,
            face_version: 0,
            faces_needed: 0,
            faces: 0,
            functions: Functions::default(),
            cards: 0,
            user_photos: 0,
            punch_photos: 0,
        }
    }
}

impl DeviceInfo {
    /// The values in their order. Old firmware sends the first 6, the document has 10.
    pub(super) fn values(&self) -> [String; MOST_VALUES] {
        [
            without_control(&self.firmware).replace(',', " "),
            self.users.to_string(),
            self.fingerprints.to_string(),
            self.punches.to_string(),
            self.address.to_string(),
            self.fp_version.to_string(),
            self.face_version.to_string(),
            self.faces_needed.to_string(),
            self.faces.to_string(),
            self.functions.to_string(),
            self.cards.to_string(),
            self.user_photos.to_string(),
            self.punch_photos.to_string(),
        ]
    }
}

impl fmt::Display for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fingerprint, face, user_photo, visible } = *self;
        let digit = u8::from;
        write!(f, "{}{}{}", digit(fingerprint), digit(face), digit(user_photo))?;
        match visible {
            Some(VisibleLight { comparison_photo, face_template }) => {
                write!(f, "{}{}", digit(comparison_photo), digit(face_template))
            }
            None => Ok(()),
        }
    }
}

/// The body of an options push: `key=value,key=value` on one line, without a line end.
///
/// A value may have commas (`ACME CO., LTD.`). A comma becomes a blank if the text after it looks
/// like a pair. Characters that a key cannot have are removed; a pair without a key is left out.
pub fn options_push(values: &[(String, String)]) -> String {
    let mut body = String::new();
    for (key, value) in values {
        let key = without_control(key).replace([',', '='], "");
        if key.is_empty() {
            continue;
        }
        if !body.is_empty() {
            body.push(',');
        }
        body.push_str(&key);
        body.push('=');
        // A TAB separates the words of some values.
        let value = value.trim().replace('\t', " ");
        for (place, chunk) in without_control(&value).split(',').enumerate() {
            if place > 0 {
                body.push(if chunk.contains('=') { ' ' } else { ',' });
            }
            body.push_str(chunk);
        }
    }
    body
}

/// Those of the `known` options that a server asked for (`PushOptions`), in its order and
/// spelling. Case and a leading `~` make no difference. Unknown options are left out.
pub fn select(asked: &[String], known: &[(String, String)]) -> Vec<(String, String)> {
    let mut selected = HashSet::new();
    let find = |name: &String| {
        let (_, value) = known.iter().find(|(key, _)| is_same_option(key, name))?;
        selected
            .insert(bare(name).to_ascii_lowercase())
            .then(|| (name.trim().to_owned(), value.clone()))
    };
    asked.iter().filter_map(find).collect()
}

/// Whether two names are of the same option: case and a leading `~` make no difference.
pub fn is_same_option(one: &str, other: &str) -> bool {
    bare(one).eq_ignore_ascii_case(bare(other))
}

/// A key as it is compared; its case does not matter.
fn bare(key: &str) -> &str {
    key.trim().trim_start_matches('~')
}

fn without_control(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
    }

    #[test]
    fn a_value_of_info_has_no_comma() {
        let device = DeviceInfo { firmware: "Ver 1,2\n\t3".into(), ..DeviceInfo::default() };
        assert_eq!(device.values()[0], "Ver 1 23");
        assert!(device.values().iter().all(|value| !value.contains(',')));
    }

    #[test]
    fn functions_are_three_digits_or_five() {
        let three = Functions { fingerprint: true, face: false, user_photo: true, visible: None };
        assert_eq!(three.to_string(), "101");
        let visible = Some(VisibleLight { comparison_photo: true, face_template: false });
        assert_eq!(Functions { visible, ..three }.to_string(), "10110");
    }

    #[test]
    fn the_options_push_is_as_in_the_document() {
        let values = pairs([("FingerFunOn", "1"), ("FaceFunOn", "1")]);
        assert_eq!(options_push(&values), "FingerFunOn=1,FaceFunOn=1");
    }

    #[test]
    fn an_options_push_is_as_captured() {
        // C19b, its values made up.
        let values = pairs([
            ("~DeviceName", "Made 2A"),
            ("MAC", "02:00:00:00:00:01"),
            ("~Platform", "MADE_TFT"),
            ("~OEMVendor", "ACME CO., LTD."),
            ("FWVersion", "MADE-1.0"),
            ("~LockFunOn", "1"),
        ]);
        assert_eq!(
            options_push(&values),
            "~DeviceName=Made 2A,MAC=02:00:00:00:00:01,~Platform=MADE_TFT,\
             ~OEMVendor=ACME CO., LTD.,FWVersion=MADE-1.0,~LockFunOn=1"
        );
    }

    #[test]
    fn no_value_looks_like_another_pair() {
        for (key, value, written) in [
            ("k", "a,b=c", "k=a b=c"),
            ("k", "a,~b=c", "k=a ~b=c"),
            ("k", "a, b=c", "k=a  b=c"),
            ("k", "a,b,c=d,e", "k=a,b c=d,e"),
            ("k", "a,\nb=c", "k=a b=c"),
            ("k", "a=b", "k=a=b"),
            ("k", "", "k="),
            ("k", "one\r\ntwo\0\t", "k=onetwo"),
            ("a,b=c\n", "1", "abc=1"),
            ("=", "1", ""),
        ] {
            assert_eq!(options_push(&pairs([(key, value)])), written, "{key:?} {value:?}");
        }
        assert_eq!(options_push(&pairs([("", "1"), ("k", "2")])), "k=2");
        assert_eq!(options_push(&[]), "");
    }

    #[test]
    fn a_server_gets_the_options_in_its_own_spelling() {
        let known = pairs([("~LockFunOn", "1"), ("FaceCount", "7"), ("UserCount", "3")]);
        for (asked, selected) in [
            ("UserCount ~LockFunOn", "UserCount=3,~LockFunOn=1"),
            ("LockFunOn ~facecount", "LockFunOn=1,~facecount=7"),
            ("PvCount FaceCount", "FaceCount=7"),
            ("FaceCount ~FACECOUNT FaceCount", "FaceCount=7"),
            ("", ""),
        ] {
            let asked: Vec<String> = asked.split(' ').map(str::to_owned).collect();
            assert_eq!(options_push(&select(&asked, &known)), selected, "{asked:?}");
        }
    }
}
