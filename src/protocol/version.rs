//! Versions of the protocol (App. 6).

use std::fmt;

/// A version such as `2.4.1`; a missing part is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u8, pub u8, pub u8);

impl Version {
    /// The version of a server that names none.
    pub const OLDEST: Self = Self(2, 2, 14);

    /// Reads a version of one to three parts (some firmware sends `2.32`), also as `V2.4.1` and
    /// `2.4.1-20190802`: the leading digits count. `None` if there are none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches(['V', 'v']);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut parts = text[..end].trim_end_matches('.').splitn(4, '.').map(str::parse::<u8>);
        let first = parts.next()?.ok()?;
        let mut next = || parts.next().map_or(Some(0), Result::ok);
        Some(Self(first, next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_parts() {
        assert!(Version(2, 4, 1) > Version(2, 2, 14));
        assert_eq!(Version::parse("2.2.14"), Some(Version::OLDEST));
        assert_eq!(Version::parse(" 2.32 "), Some(Version(2, 32, 0)));
        for text in ["V2.4.1", "v2.4.1", "2.4.1-20190802", "2.4.1.7", "2.4.1 2020", "2.4.1."] {
            assert_eq!(Version::parse(text), Some(Version(2, 4, 1)), "{text:?}");
        }
        for wrong in ["", "x", "V", "2..1", "Ver 2.0", "-1.2", "2.999.1", "."] {
            assert_eq!(Version::parse(wrong), None, "{wrong:?}");
        }
    }
}
