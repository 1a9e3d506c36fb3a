//! The protocol's own encryption (§7, §8, App. 8): the exchange of keys and factors, and the sealing of what
//! follows. `docs/encryption.md` is its form; the document leaves nearly all of it to a library that is not
//! public.
//!
//! [`Channel`] carries requests to the server, sealed from the exchange of keys on. [`suite`] is the place for
//! the library; [`rsa_rc4`] is the one that we have. RC4 and CRC-32 are what the protocol names: they are no
//! protection from somebody on the way who can change bytes. TLS is.

mod agreement;
mod channel;
#[cfg(fuzzing)]
pub mod fuzzing;
mod helper;
mod message;
mod primes;
mod rsa_rc4;
mod session;
mod suite;
#[cfg(test)]
mod vectors;

pub use agreement::NotAgreed;
pub use channel::Channel;

/// What the owner wants of the protocol's own encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Where the server has it.
    #[default]
    Auto,
    /// Nothing goes in plain but the handshake and the exchange of keys.
    Required,
    /// Never.
    Off,
}
