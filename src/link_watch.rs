//! Links and addresses that come, as the kernel tells of them (rtnetlink(7)): what failed for want of a
//! network need not wait for its pause.
//!
//! A link comes when it is up with a carrier and was not, an address when it can be used beyond its link
//! and was not there. What was there before punchd counts as coming when the kernel tells of it first:
//! that costs one attempt, if something has failed at the link.

mod known;
mod tries;

pub use tries::LinkTries;

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};

use crate::reactor::{self, Served};
use known::Known;

/// The groups of links, of IPv4 addresses and of IPv6 addresses (RTMGRP_LINK and so on).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Most messages that are read in one turn: drivers are served between two.
const MOST_AT_ONCE: usize = 256;
/// Bytes of a message that are read. What counts is in its first hundred.
const MESSAGE_BYTES: usize = 4096;

/// How long what comes after some news may wait: a link that flaps does not keep the thread awake.
const QUIET: Duration = Duration::from_secs(1);

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    Nothing,
    /// Nothing that makes an attempt worth while.
    Other,
    /// A link or an address has come.
    Came,
}

/// A socket on which the kernel tells of links and addresses. Served by the reactor.
pub struct LinkWatch {
    /// None after it failed.
    socket: Option<OwnedFd>,
    known: Known,
    came: bool,
    /// When what waits for the network is told: a link that flaps leaves time for an exchange. Reckoned
    /// from `since`.
    tries: LinkTries,
    tell_at: Option<Duration>,
    since: Instant,
    /// Until when it is not read.
    quiet_until: Option<Instant>,
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
        Ok(Self {
            socket: Some(socket),
            known: Known::default(),
            came: false,
            tries: LinkTries::default(),
            tell_at: None,
            since: Instant::now(),
            quiet_until: None,
        })
    }

    /// Whether a link or an address has come since the last call.
    pub fn take_came(&mut self) -> bool {
        std::mem::take(&mut self.came)
    }

    /// Reads what has come in.
    fn read(&mut self) -> Result<News, Errno> {
        let Some(socket) = &self.socket else { return Ok(News::Nothing) };
        let mut message = [0; MESSAGE_BYTES];
        let mut news = News::Nothing;
        for _ in 0..MOST_AT_ONCE {
            match recvfrom(socket, &mut message, RecvFlags::DONTWAIT) {
                Ok((amount, _, Some(sender))) => {
                    let sender = SocketAddrNetlink::try_from(sender);
                    let is_kernel = sender.is_ok_and(|sender| sender.pid() == 0);
                    let came = is_kernel && self.known.take(&message[..amount]);
                    news = news.max(if came { News::Came } else { News::Other });
                }
                Ok((.., None)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The kernel had more to tell than there was room for: anything may have come.
                Err(Errno::NOBUFS) => {
                    self.known = Known::default();
                    news = News::Came;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(news)
    }
}

impl Served for LinkWatch {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let socket = self.socket.as_ref().filter(|_| self.quiet_until.is_none());
        fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
    }

    fn serve(&mut self, _: &[PollFlags]) {
        let news = self.read().unwrap_or_else(|error| {
            self.socket = None;
            warn(&error.into());
            News::Nothing
        });
        self.quiet_until = (news > News::Nothing).then(|| Instant::now() + QUIET);
        if news == News::Came {
            self.came = true;
            reactor::wake_loop();
            self.tell_at = Some(self.tries.earliest(self.since.elapsed()));
        }
        if let Some(at) = self.tell_at.take_if(|at| *at <= self.since.elapsed()) {
            self.tries.granted(at);
            reactor::link_came();
            reactor::wake_loop();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let tell_at = self.tell_at.map(|at| self.since + at);
        self.quiet_until.into_iter().chain(tell_at).min()
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
        let came = watch.read().unwrap() == News::Came;
        watch.came = came;
        assert_eq!((watch.take_came(), watch.take_came()), (came, false));
    }
}
