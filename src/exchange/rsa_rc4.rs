//! The one suite that punchd has, byte by byte in `docs/encryption.md`: RSA-2048 with OAEP, HKDF with SHA-256,
//! RC4, CRC-32.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc32fast::Hasher;
use getrandom::SysRng;
use getrandom::rand_core::TryRng;
use hkdf::Hkdf;
use rc4::{KeyInit, Rc4, StreamCipher};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, PrivateKey, PublicKey};
use sha2::Sha256;

use super::primes;
use super::suite::{CipherSuite, Direction, Factor, SessionId, Unusable};

/// Bits and bytes of the modulus.
const BITS: u32 = 2048;
const BYTES: usize = 256;
/// A public key in DER: what stands before the modulus, and after it, the exponent 65537.
const BEFORE: &[u8] = b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00";
const AFTER: &[u8] = b"\x02\x03\x01\x00\x01";
const KEY_BYTES: usize = BEFORE.len() + BYTES + AFTER.len();

const SESSION: &[u8] = b"iclock exchange 1 session";
const ID: &[u8] = b"iclock exchange 1 id";
const MESSAGE: &[u8] = b"iclock exchange 1 message";
/// The first bytes of the key stream of RC4, which say something of the key, are dropped (RFC 4345).
const DROPPED: usize = 1536;
const CRC_BYTES: usize = 4;

pub(super) struct RsaRc4;

/// A private key, and the public one as it is sent.
pub(super) struct KeyPair {
    private: PrivateKey,
    public: String,
}

/// RC4 in the middle of a message, and the CRC-32 of what was sealed or opened so far.
pub(super) struct Cipher {
    stream: Rc4,
    crc: Hasher,
}

impl KeyPair {
    pub(super) fn of(private: PrivateKey) -> Self {
        let der = [BEFORE, &private.n_bytes(), AFTER].concat();
        Self { private, public: STANDARD.encode(der) }
    }
}

/// The bytes of a public key, if it is one of this suite.
fn key_bytes(text: &str) -> Result<[u8; KEY_BYTES], Unusable> {
    let der = decode::<KEY_BYTES>(text).ok_or(Unusable::Key)?;
    let modulus = &der[BEFORE.len()..BEFORE.len() + BYTES];
    let is_of_suite = der.starts_with(BEFORE)
        && der.ends_with(AFTER)
        && modulus[0] & 0x80 != 0
        && modulus[BYTES - 1] & 1 == 1;
    if is_of_suite { Ok(der) } else { Err(Unusable::Key) }
}

/// Base64 of exactly so many bytes.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    // A longer text is not even looked at.
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

impl CipherSuite for RsaRc4 {
    type KeyPair = KeyPair;
    type Secret = [u8; 32];
    type Cipher = Cipher;

    fn make_key_pair() -> Result<KeyPair, Unusable> {
        let [one, other] = primes::pair().map_err(|_| Unusable::Random)?;
        let private = PrivateKey::from_p_q(one, other, primes::EXPONENT.into());
        private.map(KeyPair::of).map_err(|_| Unusable::Random)
    }

    fn public_key(keys: &KeyPair) -> &str {
        &keys.public
    }

    fn wrap(server_key: &str) -> Result<(Factor, String), Unusable> {
        let der = key_bytes(server_key)?;
        let modulus = BoxedUint::from_be_slice(&der[BEFORE.len()..][..BYTES], BITS);
        let modulus = modulus.map_err(|_| Unusable::Key)?;
        let key = PublicKey::new(modulus, primes::EXPONENT.into()).map_err(|_| Unusable::Key)?;
        let mut factor = Factor::default();
        SysRng.try_fill_bytes(&mut factor).map_err(|_| Unusable::Random)?;
        let wrapped = key.oaep_encrypt_with_rng::<Sha256, _>(&mut SysRng, &factor);
        Ok((factor, STANDARD.encode(wrapped.map_err(|_| Unusable::Key)?)))
    }

    fn unwrap(keys: &KeyPair, wrapped: &str) -> Result<Factor, Unusable> {
        let bytes = decode::<BYTES>(wrapped).ok_or(Unusable::Factor)?;
        let factor = keys.private.oaep_decrypt_with_rng::<Sha256, _>(&mut SysRng, &bytes);
        factor.ok().and_then(|factor| factor.try_into().ok()).ok_or(Unusable::Factor)
    }

    fn derive(keys: [&str; 2], factors: [&Factor; 2]) -> Result<[u8; 32], Unusable> {
        let [terminal, server] = [key_bytes(keys[0])?, key_bytes(keys[1])?];
        let info = [SESSION, &terminal, &server].concat();
        Ok(expand(&Hkdf::new(None, factors.map(|factor| &factor[..]).concat().as_slice()), &info))
    }

    fn session(secret: &[u8; 32]) -> SessionId {
        expand(&of_secret(secret), ID)
    }

    fn cipher(secret: &[u8; 32], direction: Direction, number: u64) -> Cipher {
        let info = [MESSAGE, &[direction.letter()], &number.to_be_bytes()].concat();
        let key: [u8; 32] = expand(&of_secret(secret), &info);
        let mut stream = Rc4::new(&key.into());
        stream.apply_keystream(&mut [0; DROPPED]);
        Cipher { stream, crc: Hasher::new() }
    }

    const OVERHEAD: usize = CRC_BYTES;

    fn seal(cipher: &mut Cipher, chunk: &mut Vec<u8>) {
        cipher.crc.update(chunk);
        chunk.extend(cipher.crc.clone().finalize().to_be_bytes());
        cipher.stream.apply_keystream(chunk);
    }

    fn open(cipher: &mut Cipher, chunk: &mut Vec<u8>) -> Result<(), Unusable> {
        cipher.stream.apply_keystream(chunk);
        let Some((data, crc)) = chunk.split_last_chunk::<CRC_BYTES>() else {
            return Err(Unusable::Checksum);
        };
        cipher.crc.update(data);
        if cipher.crc.clone().finalize().to_be_bytes() != *crc {
            return Err(Unusable::Checksum);
        }
        chunk.truncate(chunk.len() - CRC_BYTES);
        Ok(())
    }
}

fn of_secret(secret: &[u8; 32]) -> Hkdf<Sha256> {
    Hkdf::from_prk(secret).expect("a secret has the bytes of a hash")
}

fn expand<const N: usize>(hkdf: &Hkdf<Sha256>, info: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    hkdf.expand(info, &mut key).expect("HKDF makes so few bytes of any");
    key
}
