//! Attendance rows in RC4, where the server says `EncryptFlag=1…` (§6, from version 2.3.0).
//!
//! RC4 is what the protocol names. It keeps rows from a passing glance and from nothing else:
//! whoever wants them safe uses HTTPS. How the key comes about is not public, so the owner
//! gives it.

use rc4::{KeyInit, Rc4, StreamCipher};

/// The body of a request in RC4. The key stream starts again with each request, so that a request
/// that is sent again has the same bytes.
pub(super) fn encrypt(key: &[u8], bytes: &[u8]) -> Vec<u8> {
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
        // Twice is not at all, and starts again each time.
        assert_eq!(encrypt(&long, &encrypt(&long, b"1001\t2026")), b"1001\t2026");
    }
}
