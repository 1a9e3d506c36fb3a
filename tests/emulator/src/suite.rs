//! The other half of the encryption of `docs/encryption.md`: keys and factors, and messages sealed and opened
//! whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use getrandom::rand_core::TryRng;
use hkdf::Hkdf;
use rc4::{KeyInit, Rc4, StreamCipher};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, PrivateKey, PublicKey};
use sha2::Sha256;

const KEY_BYTES: usize = 270;
const BEFORE: &[u8] = b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00";
const AFTER: &[u8] = b"\x02\x03\x01\x00\x01";
const FACTOR_BYTES: usize = 32;
const CHUNK: usize = 16_384;
/// How far below the highest number one may come that did not come before.
const WINDOW: u64 = 64;

/// The keys of a server for one session.
#[derive(Debug)]
pub struct ServerKeys {
    private: PrivateKey,
    /// What stands behind `PublicKey=`.
    pub public: String,
}

impl ServerKeys {
    /// New keys.
    ///
    /// # Panics
    /// If the kernel gives no random numbers.
    pub fn make() -> ServerKeys {
        let private = PrivateKey::new(&mut SysRng, 2048).expect("the kernel has random numbers");
        let public = STANDARD.encode([BEFORE, &private.n_bytes(), AFTER].concat());
        ServerKeys { private, public }
    }

    /// Takes the key and the factor of a terminal. Gives the secret, and what the server answers to the factor.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn agree(&self, terminal_key: &str, factors: &str) -> Result<(Secret, String), String> {
        let terminal = check_key(terminal_key)?;
        let wrapped = STANDARD.decode(factors).map_err(|_| "the factor is not in base64")?;
        let first = self.private.oaep_decrypt_with_rng::<Sha256, _>(&mut SysRng, &wrapped);
        let first = first.map_err(|_| "the factor does not decrypt")?;
        if first.len() != FACTOR_BYTES {
            return Err(format!("the factor has {} bytes, not {FACTOR_BYTES}", first.len()));
        }
        let mut second = [0; FACTOR_BYTES];
        SysRng.try_fill_bytes(&mut second).expect("the kernel has random numbers");
        let server = STANDARD.decode(&self.public).expect("it was made so");
        let info = [b"iclock exchange 1 session", &terminal[..], &server].concat();
        let secret = Secret(expand(&Hkdf::new(None, &[&first[..], &second].concat()), &info));
        let wrapped = wrap(terminal_key, &second)?;
        let confirmation = STANDARD.encode(secret.seal(0, b"200 2\nOK"));
        Ok((secret, format!("Factors={wrapped}\nConfirm={confirmation}\n")))
    }
}

/// The bytes of a public key.
///
/// # Errors
/// What is wrong with it.
pub fn check_key(text: &str) -> Result<Vec<u8>, String> {
    let der = STANDARD.decode(text).map_err(|_| "the public key is not in base64")?;
    let is_of_suite = der.len() == KEY_BYTES
        && der.starts_with(BEFORE)
        && der.ends_with(AFTER)
        && der[BEFORE.len()] >= 0x80;
    if is_of_suite { Ok(der) } else { Err("the public key is none of RSA-2048 in PKCS#1".into()) }
}

/// A factor, encrypted to a public key.
///
/// # Errors
/// What is wrong with the key.
pub fn wrap(key: &str, factor: &[u8]) -> Result<String, String> {
    let der = check_key(key)?;
    let modulus = BoxedUint::from_be_slice(&der[BEFORE.len()..][..256], 2048);
    let unusable = |error| format!("the public key: {error}");
    let key = PublicKey::new(modulus.expect("it has 2048 bits"), 65_537_u64.into());
    let wrapped = key.and_then(|key| key.oaep_encrypt_with_rng::<Sha256, _>(&mut SysRng, factor));
    Ok(STANDARD.encode(wrapped.map_err(unusable)?))
}

/// What both sides know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret([u8; 32]);

/// Whether bytes may be a sealed message of a terminal.
pub fn is_sealed(message: &[u8]) -> bool {
    message.starts_with(b"\x01T")
}

/// The session of a sealed message of a terminal, and its number.
pub fn head_of(message: &[u8]) -> Option<([u8; 8], u64)> {
    let (session, rest) = message.strip_prefix(b"\x01T")?.split_first_chunk()?;
    Some((*session, u64::from_be_bytes(*rest.first_chunk()?)))
}

impl Secret {
    /// One that nobody else knows.
    pub fn other(&self) -> Secret {
        Secret(self.0.map(|byte| !byte))
    }

    /// By which it is found.
    pub fn session(&self) -> [u8; 8] {
        expand(&self.hkdf(), b"iclock exchange 1 id")
    }

    fn hkdf(&self) -> Hkdf<Sha256> {
        Hkdf::from_prk(&self.0).expect("it is as long as a hash")
    }

    fn stream(&self, direction: u8, number: u64) -> Rc4 {
        let info = [b"iclock exchange 1 message", &[direction][..], &number.to_be_bytes()].concat();
        let key: [u8; 32] = expand(&self.hkdf(), &info);
        let mut stream = Rc4::new(&key.into());
        stream.apply_keystream(&mut [0; 1536]);
        stream
    }

    /// The answer to the request of this number: its first line and its body, sealed.
    pub fn seal(&self, number: u64, plain: &[u8]) -> Vec<u8> {
        let chunks: Vec<_> = plain.chunks(CHUNK).collect();
        self.seal_chunks(number, &chunks)
    }

    /// The same, in these chunks.
    pub fn seal_chunks(&self, number: u64, chunks: &[&[u8]]) -> Vec<u8> {
        let mut stream = self.stream(b'S', number);
        let mut message = [&b"\x01S"[..], &self.session(), &number.to_be_bytes()].concat();
        let mut crc = crc32fast::Hasher::new();
        for (nth, chunk) in chunks.iter().enumerate() {
            let mut chunk = [&[u8::from(nth + 1 == chunks.len())], *chunk].concat();
            crc.update(&chunk);
            chunk.extend(crc.clone().finalize().to_be_bytes());
            stream.apply_keystream(&mut chunk);
            message.extend(u16::try_from(chunk.len()).expect("16 KiB").to_be_bytes());
            message.extend(chunk);
        }
        message
    }

    /// What a request says: its first line, and its body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(&self, message: &[u8]) -> Result<(String, Vec<u8>), String> {
        let (session, number) = head_of(message).ok_or("the message is not sealed")?;
        if session != self.session() {
            return Err("the message is of another session".into());
        }
        let mut stream = self.stream(b'T', number);
        let mut crc = crc32fast::Hasher::new();
        let (mut rest, mut plain, mut is_over) = (&message[18..], Vec::new(), false);
        while !is_over {
            let (length, after) = rest.split_first_chunk::<2>().ok_or("the message is cut")?;
            let length = usize::from(u16::from_be_bytes(*length));
            if !(5..=CHUNK + 5).contains(&length) || after.len() < length {
                return Err("a chunk has another length".into());
            }
            let (chunk, after) = after.split_at(length);
            let mut chunk = chunk.to_vec();
            stream.apply_keystream(&mut chunk);
            let (data, sum) = chunk.split_last_chunk::<4>().ok_or("a chunk has no CRC")?;
            crc.update(data);
            if crc.clone().finalize().to_be_bytes() != *sum {
                return Err("the CRC is wrong".into());
            }
            is_over = data[0] == 1;
            plain.extend(&data[1..]);
            rest = after;
        }
        if !rest.is_empty() {
            return Err("bytes follow the message".into());
        }
        let end = plain.iter().position(|byte| *byte == b'\n').ok_or("there is no first line")?;
        let line = String::from_utf8_lossy(&plain[..end]).into_owned();
        Ok((line, plain.split_off(end + 1)))
    }
}

/// Which requests came: each number is taken once.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    highest: u64,
    /// Those that came of the [`WINDOW`] below the highest.
    came: Vec<u64>,
}

impl Numbers {
    /// Takes a number; false if it came before, or may have.
    pub fn take(&mut self, number: u64) -> bool {
        if number == 0 || number + WINDOW <= self.highest || self.came.contains(&number) {
            return false;
        }
        self.highest = self.highest.max(number);
        self.came.push(number);
        let highest = self.highest;
        self.came.retain(|came| came + WINDOW > highest);
        true
    }
}

fn expand<const N: usize>(hkdf: &Hkdf<Sha256>, info: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    hkdf.expand(info, &mut key).expect("HKDF makes so few bytes of any");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_taken_once_and_a_late_one_only_near_the_highest() {
        let mut numbers = Numbers::default();
        for (number, is_taken) in [
            (0, false),
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (100, true),
            (36, false),
            (37, true),
            (37, false),
            (u64::MAX - WINDOW - 1, true),
        ] {
            assert_eq!(numbers.take(number), is_taken, "{number}");
        }
    }
}
