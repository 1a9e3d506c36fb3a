//! Versions of the protocol (App. 6).

use std::fmt;

/// A version such as `2.4.1`; a missing part is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u8, pub u8, pub u8);

impl Version {
    /// The version of a server that names none.
    pub const OLDEST: Self = Self(2, 2, 14);

    /// Reads a version of two or three parts (some firmware sends `2.32`). `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.').map(|part| part.parse::<u8>().ok());
        let version = Self(
            parts.next()??,
            parts.next().unwrap_or(Some(0))?,
            parts.next().unwrap_or(Some(0))?,
        );
        parts.next().is_none().then_some(version)
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
        for wrong in ["", "x", "2.4.1.7", "2..1", "Ver 2.0", "-1.2", "2.999.1"] {
            assert_eq!(Version::parse(wrong), None, "{wrong:?}");
        }
    }
}
