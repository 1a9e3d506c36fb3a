//! What a certificate says (X.509, RFC 5280), for messages and for what webpki does not offer: the
//! dates of a single certificate, its common name, its issuer. Whether it is trusted is decided in
//! `trust`.

use std::net::{Ipv4Addr, Ipv6Addr};

use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, ServerName};
use tz::UtcDateTime;

use super::times::utc;
use crate::protocol::foreign;
use crate::uplink::pin::Pin;

/// Most characters of a name that a message shows.
const LONGEST_NAME: usize = 64;
/// Most host names that a summary shows.
const MOST_NAMES: usize = 4;

/// What a server shows.
pub(super) struct Shown<'a> {
    pub(super) server: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    /// The host in the URL.
    pub(super) name: &'a ServerName<'a>,
}

/// Parts of a certificate, in DER.
pub(super) struct Certificate<'a> {
    /// 1 to 3. Only version 3 has extensions.
    pub(super) version: u8,
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// First and last second in which it is valid, since 1970.
    pub(super) validity: (i64, i64),
    key: &'a [u8],
    alternative_names: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// `None` if these bytes are no certificate.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(Der(der).expect(SEQUENCE)?);
        let mut fields = Der(outer.expect(SEQUENCE)?);
        let version = match fields.optional(VERSION) {
            Some(version) => Der(version).expect(INTEGER)?.last()?.checked_add(1)?,
            None => 1,
        };
        fields.expect(INTEGER)?; // serial number
        fields.expect(SEQUENCE)?; // algorithm of the signature
        let issuer = fields.expect(SEQUENCE)?;
        let mut dates = Der(fields.expect(SEQUENCE)?);
        let validity = (dates.date()?, dates.date()?);
        let subject = fields.expect(SEQUENCE)?;
        let key = fields.next().filter(|value| value.tag == SEQUENCE)?.whole;
        let alternative_names = alternative_names(fields).unwrap_or_default();
        Some(Self { version, issuer, subject, validity, key, alternative_names })
    }

    /// The pin of its key.
    pub(super) fn pin(&self) -> Pin {
        Pin(sha256(self.key))
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// What it says, for a person: for which names, by whom, until when, and the pin of its key.
    pub(super) fn summary(&self) -> String {
        let names = match self.host_names(MOST_NAMES) {
            names if names.is_empty() => common_name(self.subject),
            names => names.join(", "),
        };
        let issuer = match self.is_self_issued() {
            true => "itself".into(),
            false => common_name(self.issuer),
        };
        let (until, pin) = (utc(self.validity.1), self.pin());
        format!("for {names}, issued by {issuer}, valid until {until}, pin {pin}")
    }

    /// The host names and addresses in its subjectAltName, at most so many.
    pub(super) fn host_names(&self, most: usize) -> Vec<String> {
        let mut names = Der(self.alternative_names);
        let names = std::iter::from_fn(|| names.next());
        names.filter_map(|name| host_name(&name)).take(most).collect()
    }
}

/// The value of the extension subjectAltName, if there is one in the rest of the fields.
fn alternative_names(mut fields: Der<'_>) -> Option<&[u8]> {
    const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
    let mut extensions = loop {
        let field = fields.next()?;
        if field.tag == EXTENSIONS {
            break Der(Der(field.content).expect(SEQUENCE)?);
        }
    };
    loop {
        let mut extension = Der(extensions.expect(SEQUENCE)?);
        if extension.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
            continue;
        }
        extension.optional(BOOLEAN); // critical
        return Der(extension.expect(OCTET_STRING)?).expect(SEQUENCE);
    }
}

fn host_name(name: &Value<'_>) -> Option<String> {
    const DNS_NAME: u8 = 0x82;
    const IP_ADDRESS: u8 = 0x87;
    match name.tag {
        DNS_NAME => Some(shown(name.content)),
        IP_ADDRESS => match name.content.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(name.content).ok()?).to_string()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(name.content).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// The common name in a distinguished name, else what it has of an organisation.
pub(super) fn common_name(name: &[u8]) -> String {
    const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
    const UNIT: [u8; 3] = [0x55, 4, 11];
    const ORGANISATION: [u8; 3] = [0x55, 4, 10];
    [COMMON_NAME, UNIT, ORGANISATION]
        .iter()
        .find_map(|kind| attribute(name, kind))
        .map_or_else(|| "(no name)".into(), shown)
}

/// The last attribute of this kind: the most specific.
fn attribute<'a>(name: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    let (mut sets, mut found) = (Der(name), None);
    while let Some(set) = sets.expect(SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.expect(SEQUENCE) {
            let mut attribute = Der(attribute);
            if attribute.expect(OBJECT_IDENTIFIER) == Some(kind) {
                found = attribute.next().map(|value| value.content);
            }
        }
    }
    found
}

/// A name that a stranger wrote, for a message.
fn shown(name: &[u8]) -> String {
    foreign::plain(&String::from_utf8_lossy(name), LONGEST_NAME)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// Values in DER (X.690), one after another.
struct Der<'a>(&'a [u8]);

struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    /// With its tag and length.
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    /// `None` at the end, and for what is no value.
    fn next(&mut self) -> Option<Value<'a>> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, head) = match *length {
            short @ ..0x80 => (usize::from(short), 2),
            long => {
                // At most four bytes: certificates are shorter than 16 MiB.
                let bytes = rest.get(..usize::from(long & 0x7f)).filter(|it| it.len() <= 4)?;
                let length = bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
                (usize::try_from(length).ok()?, 2 + bytes.len())
            }
        };
        let (whole, rest) = self.0.split_at_checked(head.checked_add(length)?)?;
        self.0 = rest;
        Some(Value { tag: *tag, content: &whole[head..], whole })
    }

    /// The content of the next value, which has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|value| value.tag == tag).map(|value| value.content)
    }

    /// The content of the next value, if it has this tag. Otherwise it stays.
    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.0.first().filter(|next| **next == tag)?;
        self.expect(tag)
    }

    /// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, in seconds since 1970.
    fn date(&mut self) -> Option<i64> {
        let value = self.next()?;
        let text = std::str::from_utf8(value.content).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match (value.tag, text.len()) {
            (UTC_TIME, 12) => {
                let year: i32 = text[..2].parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
            }
            (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
            _ => return None,
        };
        let part = |nth: usize| rest[2 * nth..2 * nth + 2].parse::<u8>().ok();
        UtcDateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0)
            .ok()
            .map(|date| date.unix_time())
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// The certificate of a private authority.
    fn made() -> CertificateDer<'static> {
        let made = iclock_emulator::private_ca().unwrap();
        CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_is_read() {
        let der = made();
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(certificate.version, 3);
        assert_eq!(common_name(certificate.subject), "localhost");
        assert_eq!(common_name(certificate.issuer), "iclock-emulator's throw-away authority");
        assert!(!certificate.is_self_issued());
        assert_eq!(certificate.host_names(9), ["localhost", "127.0.0.1"]);
        assert_eq!(certificate.host_names(1), ["localhost"]);
        let (from, until) = certificate.validity;
        assert_eq!(until - from, 366 * 86_400);
    }

    #[test]
    fn dates_are_read_in_both_forms() {
        for (tag, text, date) in [
            (UTC_TIME, "261126120000Z", Some(1_795_694_400)),
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (GENERALIZED_TIME, "20261126120000Z", Some(1_795_694_400)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "20261126120000Z", None),
            (GENERALIZED_TIME, "261126120000Z", None),
            (UTC_TIME, "261326120000Z", None),
            (UTC_TIME, "26112612000 Z", None),
            (UTC_TIME, "261126120000", None),
            (UTC_TIME, "2611261200+1Z", None),
            (OCTET_STRING, "261126120000Z", None),
            (UTC_TIME, "", None),
        ] {
            let mut der = vec![tag, text.len() as u8];
            der.extend(text.as_bytes());
            assert_eq!(Der(&der).date(), date, "{text}");
        }
    }

    #[test]
    fn a_name_without_a_common_name_is_that_of_the_organisation() {
        // O=Made, OU=Terminals, and CN=a, CN=b
        let organisation = b"\x31\x0d\x30\x0b\x06\x03\x55\x04\x0a\x0c\x04Made";
        let unit = b"\x31\x12\x30\x10\x06\x03\x55\x04\x0b\x0c\x09Terminals";
        let names = b"\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01b";
        assert_eq!(common_name(organisation), "Made");
        assert_eq!(common_name(&[&organisation[..], unit].concat()), "Terminals");
        assert_eq!(common_name(&[&organisation[..], names, unit].concat()), "b");
        assert_eq!(common_name(b""), "(no name)");
        let hidden = b"\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02a\n";
        assert_eq!(common_name(hidden), "a\\n");
    }

    #[test]
    fn cut_and_altered_certificates_are_read_without_harm() {
        let der = made();
        for end in 0..der.len() {
            assert!(Certificate::parse(&der[..end]).is_none());
        }
        for place in 0..der.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut altered = der.to_vec();
                altered[place] = byte;
                if let Some(certificate) = Certificate::parse(&altered) {
                    certificate.host_names(9);
                    common_name(certificate.subject);
                    common_name(certificate.issuer);
                }
            }
        }
    }
}
