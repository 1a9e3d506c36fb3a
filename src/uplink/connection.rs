//! A connection to a server: bytes go out and come in, with TLS or without, and every wait is in the
//! reactor.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::ioctl::{Getter, ioctl};
use rustix::net::sockopt;

use super::exchange::ReadLimit;
use super::link_error::{LinkError, Phase};
#[cfg(feature = "tls")]
use super::tls::TlsSession;
#[cfg(feature = "tls")]
use super::waits::in_time;
use super::waits::wait_for;
use crate::reactor::{self, Woken};

/// Bytes that are read together, and most bytes in the head of a response.
pub(super) const BUFFER: usize = 16 << 10;

/// Most reads of TLS records without data before a connection is given up.
#[cfg(feature = "tls")]
const MOST_RECORDS: usize = 16;

/// What a connection has that was idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quiet {
    /// Nothing: it can be used.
    Yes,
    /// It is closed.
    Closed,
    /// Bytes that belong to no answer.
    Excess,
}

/// Who is at the other end: connections to the same place are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) https: bool,
    /// As in the URL: an IPv6 address stands in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// A connection.
pub(super) struct Connection {
    pub(super) place: Place,
    pub(super) address: SocketAddr,
    socket: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Box<TlsSession>>,
    /// What came and was not used yet is `input[from..to]`.
    input: Box<[u8]>,
    from: usize,
    to: usize,
    /// How many links had come when bytes were sent or came last.
    links: u32,
    /// When bytes came last.
    pub(super) heard_at: Instant,
}

impl Connection {
    /// A connection by TCP.
    pub(super) fn new(place: Place, address: SocketAddr, socket: TcpStream) -> Self {
        Self {
            place,
            address,
            socket,
            #[cfg(feature = "tls")]
            tls: None,
            input: vec![0; BUFFER].into(),
            from: 0,
            to: 0,
            links: reactor::links_come(),
            heard_at: Instant::now(),
        }
    }

    /// Encrypts it from now on: makes the TLS handshake.
    #[cfg(feature = "tls")]
    pub(super) fn encrypt(
        &mut self,
        mut session: TlsSession,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        while session.is_handshaking() {
            in_time(deadline, Phase::Tls)?;
            if session.wants_write() {
                match session.write_to(&mut self.socket) {
                    Err(LinkError::Paused) => self.wait_to_send(deadline, Phase::Tls)?,
                    done => done.map_err(in_handshake)?,
                }
                continue;
            }
            self.wait_to_receive(deadline, &ReadLimit::default(), Phase::Tls)?;
            match session.read_from(&mut self.socket) {
                Ok(0) => return Err(LinkError::TlsClosed),
                Ok(_) => {}
                Err(LinkError::Paused) => {}
                Err(error) => {
                    // An alert tells the server what was wrong, if it can be sent at once.
                    let _ = session.write_to(&mut self.socket);
                    return Err(in_handshake(error));
                }
            }
        }
        self.tls = Some(Box::new(session));
        Ok(())
    }

    /// What came and was not used yet.
    pub(super) fn input(&self) -> &[u8] {
        &self.input[self.from..self.to]
    }

    /// So many bytes of the input were used.
    pub(super) fn consume(&mut self, amount: usize) {
        self.from += amount;
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }

    /// Holds back what is sent until it is a full segment (`TCP_CORK`), so that header and body leave
    /// together: some servers read their socket only once.
    pub(super) fn cork(&mut self, corked: bool) -> Result<(), LinkError> {
        Ok(sockopt::set_tcp_cork(&self.socket, corked).map_err(io::Error::from)?)
    }

    /// Sends bytes. `next` says until when the next of them have to be taken.
    pub(super) fn send(
        &mut self,
        bytes: &[u8],
        next: &dyn Fn() -> Instant,
    ) -> Result<(), LinkError> {
        self.links = reactor::links_come();
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.send_encrypted(bytes, next);
        }
        let mut left = bytes;
        while !left.is_empty() {
            match self.socket.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_to_send(next(), Phase::Send)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn send_encrypted(
        &mut self,
        bytes: &[u8],
        next: &dyn Fn() -> Instant,
    ) -> Result<(), LinkError> {
        let Self { socket, tls, .. } = self;
        let Some(tls) = tls else { return Ok(()) };
        let mut left = bytes;
        loop {
            let taken = tls.encrypt(left)?;
            left = &left[taken..];
            if !tls.wants_write() {
                return Ok(());
            }
            match tls.write_to(socket) {
                Err(LinkError::Paused) => {
                    wait_for(socket.as_fd(), PollFlags::OUT, next(), Phase::Send)?;
                }
                done => done?,
            }
        }
    }

    /// Waits for bytes, and adds them to the input. 0: the other side has closed the connection.
    pub(super) fn receive(
        &mut self,
        deadline: Instant,
        reads: &ReadLimit,
    ) -> Result<usize, LinkError> {
        self.make_room();
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.receive_encrypted(deadline, reads);
        }
        loop {
            // Also when bytes are there already, so that drivers are served during a long answer.
            self.wait_to_receive(deadline, reads, Phase::Answer)?;
            match self.read_now() {
                Err(LinkError::Paused) => {}
                read => return read,
            }
        }
    }

    #[cfg(feature = "tls")]
    fn receive_encrypted(
        &mut self,
        deadline: Instant,
        reads: &ReadLimit,
    ) -> Result<usize, LinkError> {
        let mut is_first = true;
        loop {
            match self.read_decrypted() {
                Err(LinkError::Paused) => {}
                read => return read,
            }
            // A peer that keeps sending records without data has no more time than another.
            if !std::mem::take(&mut is_first) {
                in_time(deadline, Phase::Answer)?;
            }
            self.wait_to_receive(deadline, reads, Phase::Answer)?;
            let Self { socket, tls, .. } = self;
            let Some(tls) = tls else { return Err(LinkError::Closed) };
            match tls.read_from(socket) {
                Ok(_) | Err(LinkError::Paused) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What can be read without a wait.
    fn read_now(&mut self) -> Result<usize, LinkError> {
        loop {
            match self.socket.read(&mut self.input[self.to..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return self.appended(read?),
            }
        }
    }

    #[cfg(feature = "tls")]
    fn read_decrypted(&mut self) -> Result<usize, LinkError> {
        let Some(tls) = &mut self.tls else { return Err(LinkError::Closed) };
        let amount = tls.decrypt(&mut self.input[self.to..])?;
        self.appended(amount)
    }

    fn appended(&mut self, amount: usize) -> Result<usize, LinkError> {
        self.to += amount;
        if amount > 0 {
            self.links = reactor::links_come();
            self.heard_at = Instant::now();
        }
        Ok(amount)
    }

    fn make_room(&mut self) {
        if self.from > 0 && self.to == self.input.len() {
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
    }

    /// Whether it is open, and nothing has come that belongs to no answer. Line ends after a body are
    /// harmless.
    pub(super) fn quiet(&mut self) -> Quiet {
        // A peer that sends line ends without end is none to go on with.
        for _ in 0..2 {
            if !self.input().iter().all(is_line_end) {
                return Quiet::Excess;
            }
            (self.from, self.to) = (0, 0);
            match self.read_without_wait() {
                Ok(1..) => {}
                Err(LinkError::Paused) => return Quiet::Yes,
                Ok(0) | Err(_) => return Quiet::Closed,
            }
        }
        Quiet::Excess
    }

    #[cfg(feature = "tls")]
    fn read_without_wait(&mut self) -> Result<usize, LinkError> {
        if self.tls.is_none() {
            return self.read_now();
        }
        // Tickets of TLS come late, and are no answer. A peer that sends them without end is none to go
        // on with.
        for _ in 0..MOST_RECORDS {
            match self.read_decrypted() {
                Err(LinkError::Paused) => {}
                read => return read,
            }
            let Self { socket, tls, .. } = self;
            let Some(tls) = tls else { return Err(LinkError::Closed) };
            tls.read_from(socket)?;
        }
        Err(LinkError::Closed)
    }

    #[cfg(not(feature = "tls"))]
    fn read_without_wait(&mut self) -> Result<usize, LinkError> {
        self.read_now()
    }

    /// Whether bytes came after the end of an answer that do not belong to it, or come within so long: then
    /// its length was wrong, or the server answers more than once. The connection may have been closed,
    /// and that is no harm.
    pub(super) fn has_excess(&mut self, within: Duration) -> bool {
        if self.from == self.to {
            let _ = match within.is_zero() {
                true => self.read_without_wait(),
                false => self.receive(Instant::now() + within, &ReadLimit::default()),
            };
        }
        !self.input().iter().all(is_line_end)
    }

    fn wait_to_send(&self, deadline: Instant, phase: Phase) -> Result<(), LinkError> {
        wait_for(self.socket.as_fd(), PollFlags::OUT, deadline, phase)
    }

    /// Waits until bytes are there, but not beyond the limit of the reads.
    fn wait_to_receive(
        &mut self,
        deadline: Instant,
        reads: &ReadLimit,
        phase: Phase,
    ) -> Result<(), LinkError> {
        self.check_link()?;
        let Some(limit) = reads.get() else {
            return self.wait_for_answer(deadline, phase);
        };
        let (until, fd) = (limit.until.min(deadline), self.socket.as_fd());
        let woken = match limit.ends_when_woken {
            true => reactor::wait_unless_woken(fd, PollFlags::IN, until)?,
            false => reactor::wait(fd, PollFlags::IN, until)?,
        };
        match woken {
            Woken::Ready => Ok(()),
            Woken::TimedOut if limit.until > deadline => Err(LinkError::TimedOut(phase)),
            Woken::TimedOut | Woken::ByLoop | Woken::ByLink => Err(LinkError::Paused),
        }
    }

    /// Waits until bytes are there.
    fn wait_for_answer(&mut self, deadline: Instant, phase: Phase) -> Result<(), LinkError> {
        loop {
            match wait_for(self.socket.as_fd(), PollFlags::IN, deadline, phase) {
                Err(LinkError::LinkCame) => self.check_link()?,
                done => return done,
            }
        }
    }

    /// When a link has come, a request that was sent in vain is given up: the kernel would send it again at
    /// intervals that have grown while the link was away.
    fn check_link(&mut self) -> Result<(), LinkError> {
        let links = reactor::links_come();
        if std::mem::replace(&mut self.links, links) != links && unacknowledged(&self.socket) > 0 {
            return Err(LinkError::LinkCame);
        }
        Ok(())
    }
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Bytes that were sent and that the other side has not acknowledged (tcp(7), `SIOCOUTQ`); 0 if the kernel
/// does not say.
fn unacknowledged(socket: &TcpStream) -> i32 {
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: SIOCOUTQ writes an int to where its argument points, and nothing else.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, i32>::new()) };
    bytes.unwrap_or(0)
}

/// A failure while TLS is negotiated.
#[cfg(feature = "tls")]
fn in_handshake(error: LinkError) -> LinkError {
    if error.is_closed() { LinkError::TlsClosed } else { error }
}
