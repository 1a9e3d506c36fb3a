//! Links and addresses that come, as the kernel tells of them (rtnetlink(7)): what failed for want of a
//! network need not wait for its pause.
//!
//! A link comes when it is up with a carrier and was not, an address when it can be used beyond its link
//! and was not there. What was there before punchd counts as coming when the kernel tells of it first:
//! that costs one attempt, if something has failed at the link.

mod known;

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};

use crate::reactor::{self, Served};
use known::Known;

/// The groups of links, of IPv4 addresses and of IPv6 addresses (RTMGRP_LINK and so on).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Most messages that are read in one turn: drivers are served between two.
const MOST_AT_ONCE: usize = 64;
/// Bytes of a message that are read. What counts is in its first hundred.
const MESSAGE_BYTES: usize = 4096;

/// A socket on which the kernel tells of links and addresses. Served by the reactor.
pub struct LinkWatch {
    /// None after it failed.
    socket: Option<OwnedFd>,
    known: Known,
    came: bool,
}

impl LinkWatch {
    /// Starts to watch. It needs no privilege.
    ///
    /// # Errors
    /// The kernel has no rtnetlink, or does not allow it to this process.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // No protocol is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { socket: Some(socket), known: Known::default(), came: false })
    }

    /// Whether a link or an address has come since the last call.
    pub fn take_came(&mut self) -> bool {
        std::mem::take(&mut self.came)
    }

    /// Reads what has come in. Whether a link or an address has come.
    fn read(&mut self) -> Result<bool, Errno> {
        let Some(socket) = &self.socket else { return Ok(false) };
        let mut message = [0; MESSAGE_BYTES];
        let mut came = false;
        for _ in 0..MOST_AT_ONCE {
            match recvfrom(socket, &mut message, RecvFlags::DONTWAIT) {
                Ok((amount, _, Some(sender))) => {
                    let sender = SocketAddrNetlink::try_from(sender);
                    let is_kernel = sender.is_ok_and(|sender| sender.pid() == 0);
                    came |= is_kernel && self.known.take(&message[..amount]);
                }
                Ok((.., None)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The kernel had more to tell than there was room for: anything may have come.
                Err(Errno::NOBUFS) => {
                    self.known = Known::default();
                    came = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(came)
    }
}

impl Served for LinkWatch {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(self.socket.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN)));
    }

    fn serve(&mut self, _: &[PollFlags]) {
        match self.read() {
            Ok(false) => {}
            Ok(true) => {
                self.came = true;
                reactor::wake_loop();
            }
            Err(error) => {
                self.socket = None;
                warn(&error.into());
            }
        }
    }
}

/// Says that nothing is known of links.
pub fn warn(error: &io::Error) {
    log::warn!(
        "the kernel does not tell when a link comes up (rtnetlink: {error}): after a failure of the \
         link the next attempt comes after its pause"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_without_news_does_not_wait() {
        // Where the kernel does not allow it there is nothing to test.
        let Ok(mut watch) = LinkWatch::open() else { return };
        let mut fds = Vec::new();
        watch.watch(&mut fds);
        assert_eq!(fds.len(), 1);
        drop(fds);
        // Other programs may change links of this machine meanwhile: then they have come.
        let came = watch.read().unwrap();
        watch.came = came;
        assert_eq!((watch.take_came(), watch.take_came()), (came, false));
    }
}
