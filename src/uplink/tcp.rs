//! TCP connections, and the order in which the addresses of a name are tried.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

use super::link_error::{LinkError, Phase};
use super::waits::wait_for;

/// Most addresses of which it is known that they did not answer.
const MOST_SILENT: usize = 16;

/// What is known of addresses: the one that answered last is tried first, and those that did not
/// answer are tried last.
#[derive(Debug, Default)]
pub(super) struct AddressMemory {
    answered: Option<SocketAddr>,
    silent: Vec<SocketAddr>,
}

impl AddressMemory {
    /// The addresses in the order in which they are to be tried.
    fn sorted(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        addresses.sort_by_key(|address| {
            let silent_since = self.silent.iter().position(|silent| silent == address);
            (silent_since.map_or(0, |since| since + 1), self.answered != Some(*address))
        });
        addresses
    }

    fn has_answered(&mut self, address: SocketAddr) {
        self.answered = Some(address);
        self.silent.retain(|silent| *silent != address);
    }

    /// It is the last to be tried from now on.
    pub(super) fn is_silent(&mut self, address: SocketAddr) {
        self.silent.retain(|silent| *silent != address);
        if self.silent.len() >= MOST_SILENT {
            self.silent.remove(0);
        }
        self.silent.push(address);
        self.answered.take_if(|answered| *answered == address);
    }
}

/// Connects to one of the addresses. Each gets its share of the time that is left.
pub(super) fn connect_to_one(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    memory: &mut AddressMemory,
) -> Result<(TcpStream, SocketAddr), LinkError> {
    let (mut last, mut left) = (LinkError::NotFound, addresses.len() as u32);
    for address in memory.sorted(addresses) {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        left -= 1;
        match open(address, Instant::now() + share) {
            Ok(stream) => {
                memory.has_answered(address);
                return Ok((stream, address));
            }
            Err(error @ (LinkError::Stopping | LinkError::LinkCame)) => return Err(error),
            Err(error) => {
                memory.is_silent(address);
                last = error;
            }
        }
    }
    Err(last)
}

fn open(address: SocketAddr, deadline: Instant) -> Result<TcpStream, LinkError> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
        .map_err(io::Error::from)?;
    match connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            wait_for(socket.as_fd(), PollFlags::OUT, deadline, Phase::Connect)?;
            sockopt::socket_error(&socket).and_then(|result| result).map_err(io::Error::from)?;
        }
        Err(error) => return Err(io::Error::from(error).into()),
    }
    // The kernel does not wait for an acknowledgement before it sends the rest of a request.
    sockopt::set_tcp_nodelay(&socket, true).map_err(io::Error::from)?;
    Ok(TcpStream::from(socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_answered_goes_first_and_what_did_not_goes_last() {
        let [a, b, c] = ["[2001:db8::1]:80", "192.0.2.1:80", "192.0.2.2:80"]
            .map(|text| text.parse::<SocketAddr>().unwrap());
        let mut memory = AddressMemory::default();
        let order = |memory: &AddressMemory| memory.sorted(vec![a, b, c]);
        assert_eq!(order(&memory), [a, b, c], "as the look-up gave them");
        memory.is_silent(a);
        memory.has_answered(c);
        assert_eq!(order(&memory), [c, b, a]);
        memory.is_silent(c);
        assert_eq!(order(&memory), [b, a, c], "what failed last goes last");
        memory.has_answered(a);
        assert_eq!(order(&memory), [a, b, c]);
        // It does not grow.
        for port in 1..1000 {
            memory.is_silent(SocketAddr::new(a.ip(), port));
        }
        assert_eq!(memory.silent.len(), MOST_SILENT);
    }

    /// A port that answers no more: its only place is taken. What holds it comes with it.
    fn deaf_port() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let short = Duration::from_millis(200);
        let fill = std::iter::from_fn(|| TcpStream::connect_timeout(&address, short).ok());
        let taken = fill.take(10).collect();
        (address, (listener, taken))
    }

    #[test]
    fn addresses_that_do_not_answer_leave_time_for_the_next_and_use_all_of_it() {
        let (first, _kept) = deaf_port();
        let (second, _kept_too) = deaf_port();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let time = Duration::from_secs(2);
        let connect = |addresses: Vec<_>| {
            let deadline = Instant::now() + time;
            let connected = connect_to_one(addresses, deadline, &mut AddressMemory::default());
            (connected, deadline)
        };
        let (connected, _) = connect(vec![first, second, good]);
        assert_eq!(connected.expect("the last one answers").1, good);
        let (connected, deadline) = connect(vec![first, second]);
        assert!(connected.is_err() && Instant::now() >= deadline);
    }
}
