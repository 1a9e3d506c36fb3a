//! TLS: rustls with ring. It trusts the owner's certificates, and checks dates by the terminal's
//! own clock.

mod certificate;
mod client_certificate;
mod clock_tolerant;
mod config;
mod distrust;
mod explain;
mod times;
mod trust;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

pub(super) use self::clock_tolerant::LastVerifiedChain;
pub(super) use self::config::{LazyConfig, check};
pub(super) use self::explain::explain;
use super::link_error::LinkError;

/// TLS on one connection: bytes go in encrypted and come out decrypted, and the other way round.
pub(super) struct TlsSession(ClientConnection);

impl TlsSession {
    /// Prepares to speak TLS with a host, as in a URL; nothing is sent yet.
    pub(super) fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, LinkError> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']))
            .map_err(|_| LinkError::TlsSettings("its name cannot stand in a certificate".into()))?
            .to_owned();
        ClientConnection::new(config, name).map(Self).map_err(LinkError::Tls)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    pub(super) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Takes bytes to be sent, as many as fit; returns how many.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        Ok(self.0.writer().write(bytes)?)
    }

    /// Sends what is encrypted, as far as that goes without a wait; [`LinkError::Paused`]: not all.
    pub(super) fn write_to(&mut self, socket: &mut TcpStream) -> Result<(), LinkError> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => drop(done?),
            }
        }
        Ok(())
    }

    /// Takes what came, without a wait; 0: the connection was closed.
    pub(super) fn read_from(&mut self, socket: &mut TcpStream) -> Result<usize, LinkError> {
        let amount = loop {
            match self.0.read_tls(socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.0.process_new_packets().map_err(LinkError::Tls)?;
        Ok(amount)
    }

    /// Decrypted bytes. 0: the server said that no more come. [`LinkError::Paused`]: none are there yet.
    pub(super) fn decrypt(&mut self, into: &mut [u8]) -> Result<usize, LinkError> {
        match self.0.reader().read(into) {
            // Anybody between can cut a connection; only the server's close_notify says that the
            // body is whole.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(LinkError::NoCloseNotify),
            read => Ok(read?),
        }
    }
}

#[cfg(test)]
mod link_tests;
