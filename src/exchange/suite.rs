//! What App. 8 leaves to a library: the place for another one, a vendor's say.

use std::fmt;

/// The operations of the library. Keys and factors are the text that stands behind `PublicKey=` and
/// `Factors=`.
pub(super) trait CipherSuite: 'static {
    /// The keys of one side for one session.
    type KeyPair: Send + 'static;
    /// What both sides know at the end of the exchange.
    type Secret: Clone + Send + 'static;
    /// What seals or opens the chunks of one message, in order.
    type Cipher;

    /// New keys. It takes seconds on a small machine.
    fn make_key_pair() -> Result<Self::KeyPair, Unusable>;

    /// The public key of a pair.
    fn public_key(keys: &Self::KeyPair) -> &str;

    /// A new factor, and the same encrypted to the key of the server.
    fn wrap(server_key: &str) -> Result<(Factor, String), Unusable>;

    /// The factor that the server encrypted to our key.
    fn unwrap(keys: &Self::KeyPair, wrapped: &str) -> Result<Factor, Unusable>;

    /// Mixes both factors, that of the terminal first, and both public keys likewise.
    fn derive(keys: [&str; 2], factors: [&Factor; 2]) -> Result<Self::Secret, Unusable>;

    /// By which the server finds the secret.
    fn session(secret: &Self::Secret) -> SessionId;

    /// What seals or opens one message: no two messages of a session have the same direction and number.
    fn cipher(secret: &Self::Secret, direction: Direction, number: u64) -> Self::Cipher;

    /// How many bytes a chunk has more when it is sealed.
    const OVERHEAD: usize;

    /// Seals the next chunk of a message.
    fn seal(cipher: &mut Self::Cipher, chunk: &mut Vec<u8>);

    /// Opens the next chunk of a message.
    fn open(cipher: &mut Self::Cipher, chunk: &mut Vec<u8>) -> Result<(), Unusable>;
}

/// What one side contributes to the secret.
pub(super) type Factor = [u8; 32];

/// Tells one session from all others.
pub(super) type SessionId = [u8; 8];

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    FromTerminal,
    FromServer,
}

impl Direction {
    /// Its letter in a message.
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::FromTerminal => b'T',
            Self::FromServer => b'S',
        }
    }
}

/// Why a key, a factor or a message cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The key is no PKCS#1 public key in base64, of RSA with 2048 bits and the exponent 65537.
    Key,
    /// The server sent our own key back.
    OwnKey,
    /// The factor is not in base64, or does not decrypt to 32 bytes.
    Factor,
    /// The CRC-32 of a message is wrong: it was changed, cut, repeated or exchanged for another, or was sealed
    /// with other keys.
    Checksum,
    /// The kernel gives no random numbers, or the keys could not be made.
    Random,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => {
                "its key is no RSA key of 2048 bits with the exponent 65537 (PKCS#1, base64)"
            }
            Self::OwnKey => "it sent the key of the terminal back",
            Self::Factor => "its factor does not decrypt with the key of the terminal",
            Self::Checksum => "the CRC-32 of a message is wrong",
            Self::Random => "no keys could be made",
        })
    }
}
