//! Waits on the network.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::PollFlags;

use super::link_error::{LinkError, Phase};
use crate::reactor::{self, Woken};

/// Fails when no time is left, also if bytes are there.
pub(super) fn in_time(deadline: Instant, phase: Phase) -> Result<(), LinkError> {
    if Instant::now() < deadline { Ok(()) } else { Err(LinkError::TimedOut(phase)) }
}

/// Waits until a descriptor is ready. When a link comes, that is given up: the kernel repeats what waits for
/// the network at intervals that have grown while the link was away.
pub(super) fn wait_for(
    fd: BorrowedFd<'_>,
    interest: PollFlags,
    deadline: Instant,
    phase: Phase,
) -> Result<(), LinkError> {
    match reactor::wait_on_link(fd, interest, deadline)? {
        Woken::Ready => Ok(()),
        Woken::ByLink => Err(LinkError::LinkCame),
        Woken::TimedOut | Woken::ByLoop => Err(LinkError::TimedOut(phase)),
    }
}
