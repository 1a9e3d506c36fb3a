//! Whose an upgrade is: signatures of minisign, and what they say of the file.
//!
//! The signature is text of four lines, at the end of the file or in one of its own. Its trusted comment is signed,
//! too: it carries the version of the program and the target that it was built for.

use std::fmt;
use std::io;

#[cfg(feature = "hardened")]
mod minisign;
#[cfg(not(feature = "hardened"))]
mod none;

#[cfg(feature = "hardened")]
pub use minisign::PublicKey;
#[cfg(not(feature = "hardened"))]
pub use none::PublicKey;

/// Whether this punchd is built with it: then a new program is on trial, too.
pub const IS_BUILT_IN: bool = cfg!(feature = "hardened");
/// Most bytes of a signature.
pub const LONGEST: usize = 2 << 10;
/// With what a signature begins.
const BEGINS: &[u8] = b"untrusted comment: ";

/// What the owner's signature says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The version of the program.
    pub version: Version,
    /// The target that it was built for, such as `armv7-unknown-linux-musleabihf`.
    pub target: String,
}

/// A version of punchd: three numbers, and what may follow them is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// The version of this program.
    pub fn own() -> Self {
        Self::parse(env!("CARGO_PKG_VERSION")).expect("Cargo takes versions of three numbers only")
    }

    /// Parses `1.2.3`, and `1.2.3-rc1` as the same.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(['-', '+']).next()?;
        let numbers: Vec<u32> =
            numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some(Self(numbers.try_into().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Comment {
    /// Whether a program for the target of the comment can run where one for `own` does: the
    /// architecture is the same. Programs for musl and for glibc are not told apart.
    pub fn is_for(&self, own: &str) -> bool {
        let architecture = |target: &str| target.split('-').next().map(str::to_owned);
        architecture(&self.target) == architecture(own)
    }
}

/// Why a file is not taken for the owner's.
#[derive(Debug)]
pub enum Untrusted {
    /// The signature is not one, or not of this file, or not by the owner's key. The end of a sentence that
    /// begins with the file.
    Wrong(String),
    /// The file could not be read.
    Io(io::Error),
}

/// Where the signature begins in the last bytes of a file, if they have one that goes on to the end.
pub fn find(end: &[u8]) -> Option<usize> {
    let at = end.windows(BEGINS.len()).rposition(|window| window == BEGINS)?;
    let text = std::str::from_utf8(&end[at..]).ok()?;
    (text.trim_end().lines().count() == 4).then_some(at)
}

#[cfg(all(test, feature = "hardened"))]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text| Version::parse(text);
        assert!(version("0.10.0") > version("0.9.9"));
        assert!(version("1.0.0-rc1") == version("1.0.0") && version("1.0.0").is_some());
        for wrong in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.-3", "1.2.99999999999"] {
            assert_eq!(version(wrong), None, "{wrong:?}");
        }
        assert_eq!(Version::own().to_string(), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn a_comment_names_a_version_and_a_target_each_once() {
        let comment =
            minisign::comment("timestamp:1 version:0.3.0\ttarget:armv7-unknown-linux-musleabihf");
        let comment = comment.unwrap();
        assert_eq!(comment.version.to_string(), "0.3.0");
        assert!(comment.is_for("armv7-unknown-linux-gnueabihf"));
        assert!(!comment.is_for("aarch64-unknown-linux-musl") && !comment.is_for("arm-linux"));
        for (text, named) in [
            ("timestamp:1 file:emfw.cfg", "version"),
            ("version:0.3 target:x", "version"),
            ("version:0.3.0", "target"),
            ("version:0.3.0 target:", "target"),
            ("version:0.3.0 version:9.9.9 target:x", "version"),
        ] {
            let error = minisign::comment(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_signature_is_found_only_if_it_goes_on_to_the_end() {
        let signature = "untrusted comment: a\nAA\ntrusted comment: b\nBB\n";
        let file = |before: &str, after: &str| format!("{before}{signature}{after}").into_bytes();
        assert_eq!(find(&file("program", "")), Some(7));
        assert_eq!(find(&file("", "\n")), Some(0));
        // The last one counts; what an attacker puts behind it makes it none.
        assert_eq!(find(&file(signature, "")), Some(signature.len()));
        assert_eq!(find(&file("program", "more")), None);
        assert_eq!(find(&signature.as_bytes()[..20]), None);
        assert_eq!(find(b"a program"), None);
    }
}
