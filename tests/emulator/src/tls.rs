//! HTTPS, as the settings say.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::settings::Tls;

/// What makes streams of connections.
pub(crate) struct Acceptor(Arc<ServerConfig>);

/// A connection with TLS.
pub(crate) struct Stream(Box<StreamOwned<ServerConnection, TcpStream>>);

impl Acceptor {
    pub(crate) fn new(tls: &Tls) -> io::Result<Acceptor> {
        let chain = certificates(&tls.certificates)?;
        let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match &tls.clients {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(authorities)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(io::Error::other)?;
        Ok(Acceptor(Arc::new(config)))
    }

    pub(crate) fn accept(&self, socket: TcpStream) -> io::Result<Stream> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        Ok(Stream(Box::new(StreamOwned::new(connection, socket))))
    }
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.0.sock
    }

    /// Tells the peer that nothing follows.
    pub(crate) fn say_end(&mut self) {
        let stream = &mut *self.0;
        stream.conn.send_close_notify();
        // Not `flush`: it would wait for a handshake that may never come.
        while stream.conn.wants_write() && stream.conn.write_tls(&mut stream.sock).is_ok() {}
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn certificates(pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)
}
