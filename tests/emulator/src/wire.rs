//! A connection, plain or TLS, and the ways it can end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::tls::{Acceptor, Stream};

/// The stream a request comes in on.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Stream),
}

impl Wire {
    /// Waits at most `timeout` for each read and write.
    pub(crate) fn new(
        socket: TcpStream,
        tls: Option<&Acceptor>,
        timeout: Duration,
    ) -> io::Result<Wire> {
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        socket.set_nodelay(true)?;
        Ok(match tls {
            None => Wire::Plain(socket),
            Some(acceptor) => Wire::Tls(acceptor.accept(socket)?),
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => stream.socket(),
        }
    }

    /// The orderly end: the peer has read everything, then sees the end.
    pub(crate) fn close(mut self) {
        if let Wire::Tls(stream) = &mut self {
            stream.say_end();
        }
        let socket = self.socket();
        let _ = socket.shutdown(Shutdown::Write);
        // What the peer still sends must not turn the end into a reset before it has read the
        // answer.
        let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
        let end = Instant::now() + Duration::from_secs(1);
        let mut rest = [0; 4096];
        while Instant::now() < end && matches!((&mut &*socket).read(&mut rest), Ok(n) if n > 0) {}
    }

    /// The peer sees a reset.
    pub(crate) fn reset(self) {
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
