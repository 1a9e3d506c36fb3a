//! Attendance rows in RC4, where the server says `EncryptFlag=1…` (§6, from version 2.3.0).
//!
//! RC4 is what the protocol names. It keeps rows from a passing glance and from nothing else:
//! whoever wants them safe uses HTTPS. How the key comes about is not public, so the owner
//! gives it.

use rc4::{KeyInit, Rc4, StreamCipher};

use super::Client;
use crate::protocol::stream::Table;
use crate::protocol::version::Version;
use crate::uplink::Uplink;

/// The first version with `EncryptFlag`.
const SINCE: Version = Version(2, 3, 0);

impl<U: Uplink> Client<U> {
    /// The body encrypted, if the server wants that of the table and there is a key.
    ///
    /// The key stream begins anew with each request, so that a request that is sent again is
    /// the same.
    pub(super) fn encrypted(&self, table: Table, bytes: &[u8]) -> Option<Vec<u8>> {
        let key = self.settings.attlog_key.as_ref()?;
        let is_wanted = table == Table::Attlog && self.wants_encrypted_punches();
        is_wanted.then(|| encrypt(key.as_bytes(), bytes))
    }

    /// Whether the server wants what cannot be done without a key.
    pub(super) fn lacks_key(&self) -> bool {
        self.settings.attlog_key.is_none() && self.wants_encrypted_punches()
    }

    /// The first digit of `EncryptFlag` stands for punches; the others mean nothing yet.
    fn wants_encrypted_punches(&self) -> bool {
        self.options.encrypt_flag.starts_with('1') && self.version() >= SINCE
    }
}

/// Says what to set.
pub(super) fn warn() {
    log::warn!(
        "the server wants punches encrypted (EncryptFlag), but there is no key: they go as they are; \
         set attlog_key in [encryption] of punchd.toml to the server's key"
    );
}

fn encrypt(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut encrypted = bytes.to_vec();
    let cipher = Rc4::new_from_slice(key);
    cipher.expect("the configuration takes keys of 1 to 256 bytes").apply_keystream(&mut encrypted);
    encrypted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rc4_is_as_everybody_has_it() {
        // RFC 6229: the key stream of the keys 01 02 03 04 05 and 01 … 20.
        let short: Vec<u8> = (1..=5).collect();
        assert_eq!(encrypt(&short, &[0; 4]), [0xb2, 0x39, 0x63, 0x05]);
        let long: Vec<u8> = (1..=32).collect();
        assert_eq!(encrypt(&long, &[0; 4]), [0xea, 0xa6, 0xbd, 0x25]);
        // Twice is not at all, and begins anew each time.
        assert_eq!(encrypt(&long, &encrypt(&long, b"1001\t2026")), b"1001\t2026");
    }
}
