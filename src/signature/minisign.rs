//! The owner's key, and what it signed.

use std::io::{Read, Write};

use minisign_verify::{Error, Signature};

use super::{Comment, Untrusted, Version};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// The owner's public key.
#[derive(Clone, Debug)]
pub struct PublicKey(minisign_verify::PublicKey);

impl PublicKey {
    /// Parses the second line of a `.pub` file.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = minisign_verify::PublicKey::from_base64(text);
        key.map(Self).map_err(|_| {
            "is no public key of minisign: it is the second line of the .pub file, which begins with RW"
                .into()
        })
    }

    /// Reads a file to its end, writes what it reads into `copy`, and says what the owner's signature says of
    /// it. What was copied must not be used before that.
    ///
    /// # Errors
    /// The signature is wrong, or reading or writing failed.
    pub fn check(
        &self,
        signature: &[u8],
        mut content: impl Read,
        copy: &mut impl Write,
    ) -> Result<Comment, Untrusted> {
        let wrong = |error: Error| Untrusted::Wrong(why(&error).into());
        let text = std::str::from_utf8(signature).map_err(|_| wrong(Error::InvalidEncoding))?;
        let signature = Signature::decode(text).map_err(wrong)?;
        let mut check = self.0.verify_stream(&signature).map_err(wrong)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match content.read(&mut chunk).map_err(Untrusted::Io)? {
                0 => break,
                count => {
                    check.update(&chunk[..count]);
                    copy.write_all(&chunk[..count]).map_err(Untrusted::Io)?;
                }
            }
        }
        check.finalize().map_err(wrong)?;
        comment(signature.trusted_comment()).map_err(Untrusted::Wrong)
    }
}

/// Parses a trusted comment: words `version:…` and `target:…`, each once; other words are passed over.
pub(super) fn comment(text: &str) -> Result<Comment, String> {
    let value = |key: &str| {
        let mut values = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key));
        values.next().filter(|_| values.next().is_none())
    };
    let wrong = |what: &str| {
        format!(
            "is signed with a trusted comment that has no {what}, or two: sign it with scripts/sign-upgrade"
        )
    };
    let version = value("version:").and_then(Version::parse);
    let target = value("target:").filter(|target| !target.is_empty());
    Ok(Comment {
        version: version.ok_or_else(|| wrong("version:N.N.N"))?,
        target: target.ok_or_else(|| wrong("target:…"))?.to_owned(),
    })
}

/// What is wrong, as the end of a sentence that begins with the file.
fn why(error: &Error) -> &'static str {
    match error {
        Error::InvalidSignature => {
            "was changed after it was signed, or the signature is another file's: the signature does not fit"
        }
        Error::UnexpectedKeyId => "is signed by another key than the one in [upgrade] public_key",
        Error::UnsupportedLegacyMode => {
            "is signed in the old mode of minisign: sign it with scripts/sign-upgrade, or minisign -H"
        }
        _ => "has a signature that cannot be read",
    }
}
