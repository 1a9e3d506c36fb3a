//! TCP for ureq, which waits in the reactor.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use super::exchange::ReadLimit;
use crate::reactor::{self, Woken};

/// Makes connections. It is the first of ureq's chain of connectors; TLS is the second.
#[derive(Debug, Default)]
pub(super) struct TcpConnector {
    next: NextExchange,
}

/// What the exchange that begins next and its connection share. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(super) struct NextExchange(Arc<Mutex<Shared>>);

/// What an exchange and its connection share: the body of an earlier exchange may still be read on
/// a connection of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub(super) excess: ExcessBytes,
    pub(super) reads: ReadLimit,
}

impl NextExchange {
    /// An exchange begins.
    pub(super) fn begin(&self) -> Shared {
        let shared = Shared::default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shared.clone();
        shared
    }

    fn shared(&self) -> Shared {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether a server sent bytes after the end of its answer: then the `Content-Length` was wrong,
/// and what was read may be cut off. Known for plain HTTP only. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub(super) struct ExcessBytes(Arc<AtomicBool>);

impl ExcessBytes {
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl TcpConnector {
    pub(super) fn new(next: NextExchange) -> Self {
        Self { next }
    }
}

impl Connector for TcpConnector {
    type Out = Tcp;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Tcp>, Error> {
        let deadline = deadline(details.timeout);
        let mut last = Error::HostNotFound;
        let addresses = details.addrs.len() as u32;
        for (nth, address) in details.addrs.iter().enumerate() {
            // Each address gets its share of the time that is left.
            let left =
                deadline.saturating_duration_since(Instant::now()) / (addresses - nth as u32);
            match open(*address, Instant::now() + left, details.timeout.reason) {
                Ok(stream) => {
                    let (input, output) =
                        (details.config.input_buffer_size(), details.config.output_buffer_size());
                    let buffers = LazyBuffers::new(input, output);
                    let Shared { excess, reads } = self.next.shared();
                    let excess = (!details.needs_tls()).then_some(excess);
                    let heard_at = Instant::now();
                    let tcp = Tcp { stream, buffers, corked: false, excess, reads, heard_at };
                    return Ok(Some(tcp));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn open(address: SocketAddr, deadline: Instant, reason: Timeout) -> Result<TcpStream, Error> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
        .map_err(io::Error::from)?;
    match connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            ready(&socket, PollFlags::OUT, deadline, reason)?;
            sockopt::socket_error(&socket).and_then(|result| result).map_err(io::Error::from)?;
        }
        Err(error) => return Err(io::Error::from(error).into()),
    }
    Ok(TcpStream::from(socket))
}

/// Waits until the socket is ready.
fn ready(
    fd: &impl AsFd,
    interest: PollFlags,
    deadline: Instant,
    reason: Timeout,
) -> Result<(), Error> {
    match reactor::wait(fd.as_fd(), interest, deadline)? {
        Woken::Ready => Ok(()),
        Woken::TimedOut => Err(Error::Timeout(reason)),
    }
}

/// Fails when no time is left. [`ready`] does not fail as long as a peer keeps sending, and TLS
/// asks for more as long as it gets records without data.
fn in_time(timeout: NextTimeout) -> Result<(), Error> {
    if timeout.after.is_zero() { Err(Error::Timeout(timeout.reason)) } else { Ok(()) }
}

fn deadline(timeout: NextTimeout) -> Instant {
    Instant::now()
        + *timeout.after.min(ureq::unversioned::transport::time::Duration::from_secs(86_400))
}

/// A connection. What is written stays in the kernel (`TCP_CORK`) until something is to be read,
/// so that header and body leave together: some servers read their socket only once.
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    corked: bool,
    /// Set when bytes follow the answer. None with TLS, whose close_notify marks the end.
    excess: Option<ExcessBytes>,
    /// Until when a read may wait.
    reads: ReadLimit,
    /// When the last bytes came.
    heard_at: Instant,
}

impl Drop for Tcp {
    fn drop(&mut self) {
        let Some(excess) = &self.excess else { return };
        // Line ends after the body are harmless.
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let mut late = [0; 16];
        let late = (&self.stream).read(&mut late).map_or(&[][..], |amount| &late[..amount]);
        let more = !self.buffers.input().iter().chain(late).all(is_line_end);
        excess.0.store(more, Ordering::Relaxed);
    }
}

impl Tcp {
    fn cork(&mut self, corked: bool) -> io::Result<()> {
        if self.corked != corked {
            sockopt::set_tcp_cork(&self.stream, corked)?;
            self.corked = corked;
        }
        Ok(())
    }

    /// The time that a read has. One that goes on after its limit has what is left of it.
    fn read_timeout(&self, timeout: NextTimeout) -> NextTimeout {
        let silent = match self.reads.get() {
            Some(_) => self.heard_at.elapsed(),
            None => Duration::ZERO,
        };
        let left = |per_read: Duration| per_read.saturating_sub(silent).into();
        NextTimeout { per_read: timeout.per_read.map(|per_read| left(*per_read)), ..timeout }
            .for_read()
    }

    /// Waits until bytes are there, but not beyond the limit of the exchange.
    fn readable(&self, deadline: Instant, reason: Timeout) -> Result<(), Error> {
        let limit = self.reads.get().filter(|limit| *limit < deadline);
        match ready(&self.stream, PollFlags::IN, limit.unwrap_or(deadline), reason) {
            Err(Error::Timeout(_)) if limit.is_some() => Err(ReadLimit::reached().into()),
            is_ready => is_ready,
        }
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        in_time(timeout)?;
        self.cork(true)?;
        let timeout = timeout.for_write();
        let deadline = deadline(timeout);
        let mut left = &self.buffers.output()[..amount];
        while !left.is_empty() {
            match (&self.stream).write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready(&self.stream, PollFlags::OUT, deadline, timeout.reason)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        in_time(timeout)?;
        self.cork(false)?;
        let timeout = self.read_timeout(timeout);
        let deadline = deadline(timeout);
        loop {
            // Also when bytes are there already, so that drivers are served during a long answer.
            self.readable(deadline, timeout.reason)?;
            match (&self.stream).read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.heard_at = Instant::now();
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                // ureq takes these errors for the end of the body.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
                    ) =>
                {
                    return Err(io::Error::other("the connection was reset").into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        false // Every exchange has a connection of its own.
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use ureq::Timeout;
    use ureq::unversioned::transport::time::Duration;

    use super::*;

    #[test]
    fn a_peer_that_keeps_sending_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        listener.accept().unwrap().0.write_all(b"more and more").unwrap();
        let buffers = LazyBuffers::new(100, 100);
        let reads = ReadLimit::default();
        let heard_at = Instant::now();
        let mut tcp = Tcp { stream, buffers, corked: false, excess: None, reads, heard_at };
        let left = |seconds| NextTimeout {
            after: Duration::from_secs(seconds),
            reason: Timeout::RecvBody,
            ..NextTimeout::default()
        };
        assert!(tcp.await_input(left(5)).unwrap());
        for late in [tcp.await_input(left(0)).map(drop), tcp.transmit_output(0, left(0))] {
            assert!(matches!(late, Err(Error::Timeout(Timeout::RecvBody))), "{late:?}");
        }
    }
}
