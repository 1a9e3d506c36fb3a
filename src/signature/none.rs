//! In place of the owner's key, where punchd is built without the feature `hardened`: there is none.

use std::io::{Read, Write};

use super::{Comment, Untrusted};

/// No key can be had.
#[derive(Clone, Debug)]
pub enum PublicKey {}

impl PublicKey {
    /// Refuses every key.
    pub fn parse(_: &str) -> Result<Self, String> {
        Err("is set, but this punchd was built without the feature `hardened`".into())
    }

    /// Nobody has a key to call it with.
    pub fn check(&self, _: &[u8], _: impl Read, _: &mut impl Write) -> Result<Comment, Untrusted> {
        match *self {}
    }
}
