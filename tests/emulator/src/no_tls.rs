//! In place of `tls`, where the crate is built without that feature: there is no acceptor.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::settings::Tls;

pub(crate) enum Acceptor {}

pub(crate) enum Stream {}

impl Acceptor {
    pub(crate) fn new(_: &Tls) -> io::Result<Acceptor> {
        let why = "HTTPS is not in this build: it needs the feature `tls`";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    pub(crate) fn accept(&self, _: TcpStream) -> io::Result<Stream> {
        match *self {}
    }
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        match *self {}
    }

    pub(crate) fn say_end(&mut self) {
        match *self {}
    }
}

impl Read for Stream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl Write for Stream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}
