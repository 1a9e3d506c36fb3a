//! HTTPS with a temporary certificate.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // this is a test

mod terminal;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use iclock_emulator::{Emulator, Settings, Tls, private_ca};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use terminal::{SN, Terminal, get};

#[test]
fn https() {
    let made = private_ca().unwrap();
    let tls = Some(Tls { certificates: made.certificate, key: made.key, clients: None });
    let server = Emulator::start(Settings { tls, ..Settings::default() }).unwrap();
    assert_eq!(server.url(), format!("https://localhost:{}", server.address().port()));

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for name in ["localhost", "127.0.0.1"] {
        let name = ServerName::try_from(name).unwrap();
        let connection = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        let socket = TcpStream::connect(server.address()).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        let request = get(&format!("/iclock/cdata?SN={SN}&options=all"));
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("GET OPTION FROM: "));
    }
    assert_eq!(Terminal::at(&server).poll_bytes().first(), Some(&0x15), "plain HTTP gets an alert");
    server.assert_strict();
}
