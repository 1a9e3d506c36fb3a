//! The pin of a public key: `sha256/` and the SHA-256 of its SubjectPublicKeyInfo in base64.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "sha256/";

/// The SHA-256 of a public key, as it stands in a certificate (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub(super) [u8; 32]);

impl Pin {
    /// Reads `sha256/` and 32 bytes in base64, also with the second slash that some programs write.
    /// `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().strip_prefix(PREFIX)?;
        let decode = |text: &str| STANDARD.decode(text).ok()?.try_into().ok().map(Self);
        // Base64 has slashes, too: the length tells whose the slash is.
        decode(text).or_else(|| decode(text.strip_prefix('/')?))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_back_as_it_was_written() {
        for bytes in [[0; 32], [0xff; 32], [0xfe; 32], *b"thirty-two bytes of no meaning.."] {
            let pin = Pin(bytes);
            let text = pin.to_string();
            assert_eq!(Pin::parse(&text), Some(pin), "{text}");
            assert_eq!(Pin::parse(&text.replacen('/', "//", 1)), Some(pin), "{text}");
        }
    }

    #[test]
    fn what_is_not_32_bytes_in_base64_is_no_pin() {
        for text in [
            "",
            "sha256/",
            "sha256//",
            "sha1/2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
            "sha256/2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "sha256///AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "sha256/AAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAA=",
            "sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(Pin::parse(text), None, "{text}");
        }
    }
}
