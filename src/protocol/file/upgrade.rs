//! `UPGRADE` (§12.11.2).

use super::line::LONGEST;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;

/// A parsed `UPGRADE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// Whether the file is sent as base64 (without `type`) or unchanged (`type=1`).
    pub base64: bool,
    /// MD5 digest of the firmware, decoded.
    pub checksum: [u8; 16],
    /// Bytes of the firmware, decoded.
    pub size: u64,
    /// The URL, sent back to the server unchanged.
    pub url: &'a str,
}

impl<'a> Upgrade<'a> {
    /// Parses the text after `UPGRADE`. The URL may have commas: it ends where another key
    /// begins.
    pub fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(text).ok().map(|text| text.trim_matches(' '));
        let text = text.filter(|text| !text.chars().any(|c| c != '\t' && c.is_control()));
        let text = text.ok_or_else(|| {
            Refusal::parameter("the text of UPGRADE has a control character or is not UTF-8")
        })?;
        let value = |key: &str| -> Result<Option<&'a str>, Refusal> {
            let begins: Vec<usize> = text
                .match_indices(key)
                .map(|(at, _)| at)
                .filter(|at| *at == 0 || text[..*at].ends_with(','))
                .collect();
            match begins[..] {
                [] => Ok(None),
                [at] => {
                    let value = &text[at + key.len()..];
                    let ends = ["type=", "checksum=", "size=", "url="];
                    let end = ends.iter().filter_map(|next| value.find(&format!(",{next}"))).min();
                    Ok(Some(value[..end.unwrap_or(value.len())].trim()))
                }
                _ => Err(Refusal::parameter(format!("{key} is there twice; it is allowed once"))),
            }
        };
        let base64 = match value("type=")? {
            None => true,
            Some("1") => false,
            Some(other) => {
                let why = format!("type={other:?} is not supported; only type=1 is");
                return Err(Refusal::new(ReturnCode::UNSUPPORTED, why));
            }
        };
        let checksum =
            value("checksum=")?.ok_or_else(|| Refusal::field("checksum", "is missing"))?;
        let size = value("size=")?.ok_or_else(|| Refusal::field("size", "is missing"))?;
        let url = value("url=")?.filter(|url| (1..=LONGEST).contains(&url.len()));
        Ok(Self {
            base64,
            checksum: hex(checksum).ok_or_else(|| {
                Refusal::field("checksum", "is not an MD5 digest of 32 hexadecimal digits")
            })?,
            size: match size.parse() {
                Ok(size) if size > 0 => size,
                _ => return Err(Refusal::field("size", "is not a number of bytes above 0")),
            },
            url: url.ok_or_else(|| Refusal::field("url", "is missing, empty or too long"))?,
        })
    }
}

fn hex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_are_parsed_in_both_forms() {
        let sum = "a5bf4dcd6020f408589224274aab132d";
        let one = format!("checksum={sum},url=http://h:8088/F20/a,b/emfw.cfg,size=2312");
        let upgrade = Upgrade::parse(one.as_bytes()).unwrap();
        assert!(upgrade.base64 && upgrade.size == 2312 && upgrade.checksum[0] == 0xa5);
        assert_eq!(upgrade.url, "http://h:8088/F20/a,b/emfw.cfg");
        let two = format!("type=1,checksum={sum},size=6558,url=http://h/emfw.cfg?size=9");
        let upgrade = Upgrade::parse(two.as_bytes()).unwrap();
        assert_eq!((upgrade.base64, upgrade.url), (false, "http://h/emfw.cfg?size=9"));
        for (text, code) in [
            ("", -1),
            ("checksum=oqoier9883kjankdefi894eu,url=u,size=1", -1),
            (&format!("checksum={sum},url=u"), -1),
            (&format!("checksum={sum},size=1"), -1),
            (&format!("checksum={sum},size=0,url=u"), -1),
            (&format!("checksum={sum},size=-1,url=u"), -1),
            (&format!("checksum={sum},size=1,url="), -1),
            (&format!("checksum={sum},size=1,size=2,url=u"), -1),
            (&format!("type=2,checksum={sum},size=1,url=u"), -1002),
        ] {
            assert_eq!(Upgrade::parse(text.as_bytes()).unwrap_err().code.0, code, "{text}");
        }
    }
}
